"""Editions: chapters as notebooks for plain Jupyter, with stubs for students or open solutions for instructors.

One source, the chapter's notebook: MyST's roles and directives become plain Markdown, and glued numbers are filled in
from the run that the book shows. A solution is what stands between `solution-start` and `solution-end`.
"""

import ast
import itertools
import re
import symtable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path

import nbformat
import yaml
from nbformat import v4

from mulib import __version__
from mulib.errors import InputError
from mulib.files import replace
from mulib.press.record import Record
from mulib.press.runs import find_notebooks, parameters_of, staged, tier_parameters
from mulib.press.verdicts import SMALLER, lacks
from mulib.show.glue import glued

KINDS = ("student", "instructor")
STUB = "stub"  # the tag of a student's answer cell
NOT_RUN = "*(see your run)*"  # in place of a number where no run is recorded
FOLDED = {"hide-input", "hide-cell", "remove-input", "remove-cell"}  # of a page; a notebook folds their source
CALL = "your answer belongs here"

_DIRECTIVE = re.compile(
    r"^(?P<mark>`{3,}|~{3,}|:{3,})\{(?P<name>[\w:-]+)\}[ \t]*(?P<title>[^\n]*)\n(?P<body>.*?)^(?P=mark)[ \t]*$",
    re.M | re.S,
)
_BOUND = re.compile(
    r"^(?P<mark>`{3,}|:{3,})\{solution-(?P<which>start|end)\}[ \t]*(?P<label>[\w-]*)[^\n]*\n(?:[ \t]*:[^\n]*\n|\s*\n)*"
    r"(?P=mark)[ \t]*$",
    re.M,
)
_OPTIONS = re.compile(r"\A(?:[ \t]*:(?P<name>[\w-]+):[ \t]*(?P<value>[^\n]*)\n)+")
_LABEL = re.compile(r"^:label:[ \t]*(\S+)", re.M)
_ROLE = re.compile(r"\{([\w:+.-]+)\}(`+)([^`]+?)\2")
_TARGET = re.compile(r"(.*?)\s*<([^<>]+)>\Z", re.S)
_LISTING = re.compile(r"(^```[^`{\n]*\n.*?^```[ \t]*$)", re.M | re.S)  # nothing in it is a role


@dataclass
class Chapter:
    """A chapter on its way into editions: its notebook, and what its prose refers to.

    texts: {glued name: text} of the recorded run, said in `run`; works: {bibliography key: (author, year, title,
    link)}; notes, exercises: the chapter's part and the exercises of book/course.yml; url: the book's repository, ""
    where none is set.
    """

    path: Path
    texts: dict = field(default_factory=dict)
    run: str = ""
    works: dict = field(default_factory=dict)
    notes: dict = field(default_factory=dict)
    exercises: dict = field(default_factory=dict)
    url: str = ""

    @property
    def number(self):
        """The chapter's number as its file has it, such as 8b, without a leading zero."""
        return self.path.stem.partition("_")[0].removeprefix("0")


def chapter(root, path):
    """Return the Chapter of the notebook at `path` in the project at `root`, with the run that the book shows of it."""
    root, path = Path(root), Path(path)
    config = yaml.safe_load((root / "_config.yml").read_text(encoding="utf-8"))
    notes, exercises = _course(root)
    made = Chapter(path, works=_works(root), notes=notes.get(path.stem, {}), exercises=exercises)
    made.url = (config.get("repository") or {}).get("url", "")
    twin = staged(root, path.stem)
    if twin.is_file():
        record = Record.read(twin.with_suffix(".json"))
        softer = SMALLER if lacks(root, record) else {}
        made.texts = {name: softer.get(text, text) for name, (_, text) in glued(nbformat.read(twin, 4)).items()}
        made.run = f"the {record.asked['tier']} tier with seed {record.asked['seed']}"
    return made


def write(root, out, names=(), tier=None):
    """Write `out`/student and `out`/instructor for the chapters `names` (all by default); return the files.

    Each is a project of its own, with notebooks/ and the tiers in notebooks/params/, so `mulib run` works there, too.

    Args:
        tier: put the values of this tier into the parameters cell; by default a notebook's own, those of quick, stay.
    """
    files = []
    for file in sorted((Path(root) / "notebooks" / "params").glob("*.yml")):
        for kind in KINDS:
            replace(Path(out) / kind / "notebooks" / "params" / file.name, file.read_bytes())
    for path in find_notebooks(root, names):
        made = chapter(root, path)
        for kind in KINDS:
            notebook = edition(made, kind)
            files.append(Path(out) / kind / "notebooks" / path.name)
            replace(files[-1], nbformat.writes(in_tier(notebook, root, path, tier)).encode())
    return files


def in_tier(notebook, root, path, tier):
    """Return a notebook with the values of a tier after its own, where one is named."""
    if tier is None:
        return notebook
    values = {k: v for k, v in tier_parameters(root, tier).items() if k in (parameters_of(path) or {})}
    at = next((i for i, cell in enumerate(notebook.cells) if "parameters" in cell.metadata.get("tags", ())), None)
    if values and at is not None:
        source = "\n".join(f"{name} = {value!r}" for name, value in values.items())
        notebook.cells.insert(at + 1, v4.new_code_cell(source, id="tier"))
    return notebook


def edition(chapter, kind):
    """Return the notebook of a Chapter for the student or the instructor (`KINDS`), without outputs.

    Raises:
        InputError: a solution from which no answer cell can be made.
    """
    source = nbformat.read(chapter.path, 4)
    writer = Writer(chapter, kind)
    cells = [v4.new_markdown_cell(writer.foreword(source), id="edition")]
    if chapter.url:
        cells.append(v4.new_code_cell(_INSTALL.format(url=chapter.url, version=__version__), id="install"))
    for label, own in pieces(source):
        if label and kind == "student":
            metadata = {"tags": [STUB, "raises-exception"]}
            cells.append(v4.new_code_cell(stub(own, label), id=f"answer-{label}", metadata=metadata))
            continue
        if label:
            cells.append(v4.new_markdown_cell("**Solution.**", id=f"solution-{label}"))
        for cell in own:
            cells += writer.cells(cell)
    if writer.cited:
        listed = [_listed(*chapter.works[key]) for key in sorted(writer.cited)]
        cells.append(v4.new_markdown_cell("\n".join(["## References", "", *listed]), id="references"))
    names = ("kernelspec", "language_info")
    return v4.new_notebook(cells=cells, metadata={n: source.metadata[n] for n in names if n in source.metadata})


_INSTALL = """import importlib.util

if importlib.util.find_spec("mulib") is None:
    %pip install --quiet "mulib @ git+{url}@v{version}\""""


def pieces(notebook):
    """Return (label, cells) of a notebook in order: those of the solution of an exercise; without a label, the rest.

    A Markdown cell in which a solution begins or ends is divided. Cells of the book's own bookkeeping, which only glue
    or assert, are left out.
    """
    found, label = [], None
    for cell in notebook.cells:
        if cell.cell_type != "markdown":
            found += [] if _bookkeeping(cell, notebook) else [(label, cell)]
            continue
        at, bounds = 0, list(_BOUND.finditer(cell.source))
        for n, bound in enumerate([*bounds, None]):
            if text := cell.source[at : bound and bound.start()].strip():
                found.append((label, v4.new_markdown_cell(text, id=f"{cell.id}-{n}" if n else cell.id)))
            if bound:
                label, at = bound["label"] if bound["which"] == "start" else None, bound.end()
    return [(key, [cell for _, cell in group]) for key, group in itertools.groupby(found, key=lambda each: each[0])]


def _bookkeeping(cell, notebook):
    """Tell whether a page removes a code cell and no other cell uses a name that it stores."""
    if "remove-cell" not in cell.metadata.get("tags", ()):
        return False
    stored, _ = names(cell.source)
    others = [c.source for c in notebook.cells if c.cell_type == "code" and c.id != cell.id]
    return not any(stored & names(source)[1] for source in others)


@cache
def names(source):
    """Return the names that a cell's code stores at its top level, and those that it reads from there, as two sets."""
    top = symtable.symtable(source, "cell", "exec")
    stored = {each.get_name() for each in top.get_symbols() if each.is_assigned() or each.is_imported()}
    read, todo = set(), [top]
    while todo:
        table = todo.pop()
        todo += table.get_children()
        used = (each for each in table.get_symbols() if each.is_referenced() and (table is top or each.is_global()))
        read |= {each.get_name() for each in used}
    return stored, read


def stub(cells, label):
    """Return the code of an answer cell: what the solution in `cells` gives to its checker, raising, then that call."""
    code = "\n".join(cell.source for cell in cells if cell.cell_type == "code")
    tree, lines = ast.parse(code), code.splitlines()
    functions = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
    call = checker(cells)
    asked = call[1] if call else list(functions)[:1]
    if not asked:
        raise InputError(f"the solution of {label} has neither a function nor a call of its checker: write one.")
    parts = []
    for name in asked:
        if name in functions:
            head = "\n".join(lines[functions[name].lineno - 1 : functions[name].body[0].lineno - 1])
            needed = names(f"{head}\n    pass")[1]
            told = [ast.unparse(node) for node in tree.body if isinstance(node, ast.Assign)]
            head = "\n".join([*(each for each in told if names(each)[0] & needed), head])
            parts.append(f'{head}\n    raise NotImplementedError("{CALL}")\n\n')
        else:
            parts.append(f'raise NotImplementedError("{CALL}")\n{name} = ...\n')
    if call is None:
        arguments = ", ".join(arg.arg for arg in functions[asked[0]].args.args)
        return "\n".join(parts).rstrip() + f"\n\n\n# then {asked[0]}({arguments})"
    return "\n".join([*parts, call[0]])


def checker(cells):
    """Return the first call of a `check_…` function on names, in a solution's cells, as (code, names); or None."""
    for cell in (cell for cell in cells if cell.cell_type == "code"):
        found = []
        for node in ast.walk(ast.parse(cell.source)):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id.startswith("check_"):
                given = [arg.id for arg in node.args if isinstance(arg, ast.Name)]
                if given and len(given) == len(node.args):
                    found.append((node.lineno, ast.unparse(node), given))
        if found:
            return min(found)[1:]
    return None


class Writer:
    """Writes a chapter's cells for one edition; counts exercises and figures, and gathers what is cited."""

    def __init__(self, chapter, kind):
        self.chapter, self.kind, self.cited = chapter, kind, set()
        self.exercise, self.figure = itertools.count(1), itertools.count(1)
        shown = (cell.metadata.get("mystnb", {}).get("figure", {}) for cell in nbformat.read(chapter.path, 4).cells)
        captioned = (figure.get("name") for figure in shown if figure.get("caption"))
        self.numbers = {name: f"{chapter.number}.{n}" for n, name in enumerate(captioned, 1)}

    def foreword(self, source):
        """What an edition says before its first cell."""
        run = f"those of {self.chapter.run}" if self.chapter.run else "left open: this copy was made without a run"
        numbers = f"Numbers in the text are {run}; what your machine computes may differ in the last digits."
        if self.kind == "student":
            said = "An answer cell raises until you have replaced the line that says so; then its checker tells whether"
            return _quote("Student edition", f"{said} you are done. {numbers}")
        notes, lines = self.chapter.notes, [f"Solutions and answers are open. {numbers}"]
        lines += [f"**Afterwards a student can** {notes['outcome']}"] if "outcome" in notes else []
        labels = [label for cell in source.cells for label in _LABEL.findall(cell.source) if label.startswith("ex-")]
        known = [self.chapter.exercises[label] for label in labels if label in self.chapter.exercises]
        told = (" | ".join(str(each[name]) for name in ("minutes", "points", "wrong")) for each in known)
        rows = [f"| {n} | {each} |" for n, each in enumerate(told, 1)]
        head = "| exercise | minutes, planned | points | what usually goes wrong |\n| --- | --- | --- | --- |\n"
        lines += [head + "\n".join(rows)] if rows else []
        lines += ["**In class.** " + notes["class"]] if "class" in notes else []
        return _quote("Instructor's edition", "\n\n".join(lines))

    def cells(self, cell):
        """The cell or cells that a cell of the chapter becomes."""
        if cell.cell_type == "markdown":
            return [v4.new_markdown_cell(self.markdown(cell.source), id=cell.id)]
        tags = cell.metadata.get("tags", [])
        metadata = {"tags": ["parameters"]} if "parameters" in tags else {}
        if FOLDED & set(tags):
            metadata |= {"jupyter": {"source_hidden": True}, "cellView": "form"}
        made = [v4.new_code_cell(cell.source, id=cell.id, metadata=metadata)]
        if caption := cell.metadata.get("mystnb", {}).get("figure", {}).get("caption"):
            text = f"**Figure {self.chapter.number}.{next(self.figure)}.** {self.markdown(caption)}"
            made.append(v4.new_markdown_cell(text, id=f"{cell.id}-caption"[:64]))
        return made

    def markdown(self, text):
        """MyST as plain Markdown."""
        text = _DIRECTIVE.sub(self._directive, text)
        halves = _LISTING.split(text)
        return "".join(half if n % 2 else _ROLE.sub(self._role, half) for n, half in enumerate(halves)).strip()

    def _directive(self, match):
        name, title, body = match["name"], match["title"].strip(), match["body"]
        body = _DIRECTIVE.sub(self._directive, _OPTIONS.sub("", body)).strip()
        if name == "exercise":
            title = f": {title}" if title else ""
            return f"### Exercise {self.chapter.number}.{next(self.exercise)}{title}\n\n{body}"
        if name == "math":
            return f"$$\n{body}\n$$"
        answers = name == "dropdown" and (title.endswith("?") or title.startswith("One "))
        if answers and self.kind == "student":
            return f"**{title}**\n\n*Your answer:*" if title.endswith("?") else "*Your prediction:*"
        return _quote(title or name.capitalize(), body)

    def _role(self, match):
        role, text = match[1], match[3]
        titled = _TARGET.fullmatch(text)
        title, target = titled.groups() if titled else (text, text)
        if role == "glue:text":
            return self.chapter.texts.get(text.partition(":")[0], NOT_RUN)
        if role.startswith("cite"):
            self.cited |= {key for key in map(str.strip, text.split(",")) if key in self.chapter.works}
            said = [self.chapter.works.get(key.strip(), (key.strip(), "")) for key in text.split(",")]
            if role == "cite:t":
                return ", ".join(f"{author} ({year})" for author, year, *_ in said)
            return "(" + "; ".join(f"{author}, {year}" for author, year, *_ in said) + ")"
        if role == "doc":
            stem = target.rpartition("/")[2]
            beside = self.chapter.path.with_name(f"{stem}.ipynb").is_file()
            words = title if title != target else stem.replace("_", " ")
            return f"[{words}]({stem}.ipynb)" if beside else words
        return f"Figure {self.numbers.get(target, title)}" if role == "numref" else title


def _quote(title, body):
    head = f"**{title}**\n\n" if title else ""
    return "\n".join(f"> {line}".rstrip() for line in (head + body).splitlines())


@cache
def _course(root):
    """The chapters' notes and the exercises of book/course.yml; none in a project without that file."""
    path = root / "book" / "course.yml"
    found = yaml.safe_load(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return found.get("chapters", {}), found.get("exercises", {})


@cache
def _works(root):
    """{key: (author, year, title, link)} of the book's bibliography."""
    from pybtex.database import parse_file
    from pybtex.richtext import Text

    found = {}
    for key, entry in parse_file(str(root / "book" / "references.bib")).entries.items():
        people = [str(Text.from_latex(" ".join(p.last_names))) for p in entry.persons.get("author", ())]
        author = " and ".join(people) if len(people) < 3 else f"{people[0]} et al."
        places = [("url", ""), ("eprint", "https://arxiv.org/abs/"), ("doi", "https://doi.org/")]
        link = next((before + entry.fields[name] for name, before in places if name in entry.fields), "")
        title = str(Text.from_latex(entry.fields.get("title", "")))
        found[key] = author or key, entry.fields.get("year", "no year"), title, link
    return found


def _listed(author, year, title, link):
    return f"- {author} ({year}). {f'[{title}]({link})' if link else title}."


def run(files, jobs=1, timeout=None):
    """Execute editions, `jobs` at a time, as Jupyter does; yield (file, what failed that should not have).

    A student's answer cells must raise, or have their checker say "not yet", and nothing else may raise. The files stay
    as they are.
    """
    with ThreadPoolExecutor(jobs) as pool:
        yield from zip(files, pool.map(partial(_failures, timeout=timeout), files), strict=True)


def _failures(file, timeout):
    from nbclient import NotebookClient

    from mulib.press.worker import ThisPython

    notebook = nbformat.read(file, 4)
    where = {"metadata": {"path": str(Path(file).parent)}}
    NotebookClient(
        notebook, timeout=timeout, allow_errors=True, resources=where, kernel_manager_class=ThisPython
    ).execute()
    found = []
    for cell in notebook.cells:
        raised = [o for o in cell.get("outputs", ()) if o.output_type == "error"]
        is_open = STUB in cell.metadata.get("tags", ()) and checker([cell]) is not None
        if raised and not (is_open and raised[0].ename == "NotImplementedError"):
            found.append(f"{cell.id}: {raised[0].ename}: {raised[0].evalue}")
        if is_open and not raised and "not yet" not in str(cell.outputs).lower():
            found.append(f"{cell.id}: its answer is open, and the checker does not say so")
    return found
