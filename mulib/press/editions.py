"""Editions: chapters as notebooks for plain Jupyter, with stubs for students or open solutions for instructors.

One source, the chapter's notebook, as plain Markdown. A solution is what stands between `solution-start` and
`solution-end`.
"""

import ast
import itertools
import re
import symtable
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from pathlib import Path

import nbformat
from nbformat import v4

from mulib import __version__
from mulib.errors import InputError
from mulib.files import replace
from mulib.press.chapters import Writer, chapter
from mulib.press.runs import find_notebooks, parameters_of, tier_parameters

KINDS = ("student", "instructor")
STUB = "stub"  # the tag of a student's answer cell
CALL = "your answer belongs here"

_BOUND = re.compile(
    r"^(?P<mark>`{3,}|:{3,})\{solution-(?P<which>start|end)\}[ \t]*(?P<label>[\w-]*)[^\n]*\n(?:[ \t]*:[^\n]*\n|\s*\n)*"
    r"(?P=mark)[ \t]*$",
    re.M,
)


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
        cells.append(v4.new_markdown_cell(writer.references(), id="references"))
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
