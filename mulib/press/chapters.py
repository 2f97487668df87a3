"""Chapters as plain Markdown: MyST's roles and directives written out, and glued numbers filled in from the run that
the book shows. Editions, assignments and slides are made of them.
"""

import itertools
import re
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import nbformat
import yaml
from nbformat import v4

from mulib.press.record import Record
from mulib.press.runs import staged
from mulib.press.verdicts import SMALLER, lacks
from mulib.show.glue import glued

NOT_RUN = "*(see your run)*"  # in place of a number where no run is recorded
FOLDED = {"hide-input", "hide-cell", "remove-input", "remove-cell"}  # of a page; a notebook folds their source

_DIRECTIVE = re.compile(
    r"^(?P<mark>`{3,}|~{3,}|:{3,})\{(?P<name>[\w:-]+)\}[ \t]*(?P<title>[^\n]*)\n(?P<body>.*?)^(?P=mark)[ \t]*$",
    re.M | re.S,
)
_OPTIONS = re.compile(r"\A(?:[ \t]*:(?P<name>[\w-]+):[ \t]*(?P<value>[^\n]*)\n)+")
_LABEL = re.compile(r"^:label:[ \t]*(\S+)", re.M)
_ROLE = re.compile(r"\{([\w:+.-]+)\}(`+)([^`]+?)\2")
_TARGET = re.compile(r"(.*?)\s*<([^<>]+)>\Z", re.S)
_LISTING = re.compile(r"(^```[^`{\n]*\n.*?^```[ \t]*$)", re.M | re.S)  # nothing in it is a role


def number(stem):
    """A chapter's number as prose says it: "8" of 08_prune_a_target, "8b" of 08b_one_class_of_imagenet.

    >>> number("08b_one_class_of_imagenet"), number("00_forget_in_five_minutes")
    ('8b', '0')
    """
    return re.sub(r"^0(?=\w)", "", stem.partition("_")[0])


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
        """As prose says it, such as 8b."""
        return number(self.path.stem)


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

    def references(self):
        """The works cited so far, as a section."""
        listed = ["## References", ""]
        for author, year, title, link in (self.chapter.works[key] for key in sorted(self.cited)):
            listed.append(f"- {author} ({year}). {f'[{title}]({link})' if link else title}.")
        return "\n".join(listed)

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
