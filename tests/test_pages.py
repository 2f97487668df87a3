"""Every chapter keeps the rules of a page: finding first, captions, prompts in their box, no bookkeeping in sight."""

import ast
import re

import nbformat
import pytest
from projects import ROOT

from mulib.press.chapters import number

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
names = pytest.mark.parametrize("path", NOTEBOOKS, ids=[path.stem for path in NOTEBOOKS])
CONTROLS = {"show.slider", "show.picker", "show.pickers", "show.filter_picker"}
DRAWS = {"plt.subplots", "show.essential_graph", "dots"}
PROMPT = re.compile(r"\b(before you look|guess before|guess first|predict:|guess what|before you go on)\b", re.I)
BOX = re.compile(r"^(`{3,})\{(admonition|dropdown)\} *(.*?)\n(.*?)^\1$", re.M | re.S)


def cells(path):
    return nbformat.read(path, 4).cells


def tags(cell):
    return {*cell.metadata.get("tags", ())}


def visible(cell):
    """Whether a reader sees the cell's code without unfolding it."""
    return cell.cell_type == "code" and not tags(cell) & {"remove-cell", "remove-input", "hide-input", "hide-cell"}


def called(node):
    """The name of what an expression calls, "show.table", or ""."""
    return ast.unparse(node.func) if isinstance(node, ast.Call) else ""


def last(source):
    """The expression whose value the cell shows, or None."""
    body = ast.parse(source).body
    silent = source.rstrip().endswith(";")
    return body[-1].value if body and isinstance(body[-1], ast.Expr) and not silent else None


def shows(cell):
    """ "picture", "control", "viewer" or "table", what the cell puts on the page, or ""."""
    if cell.cell_type != "code" or "remove-cell" in tags(cell):
        return ""
    value = last(cell.source)
    if isinstance(value, ast.Name) and value.id == "picker":
        return "viewer"  # which says itself, row by row, what it shows
    if called(value) in CONTROLS:
        return "control"
    top = [node for node in ast.parse(cell.source).body if not isinstance(node, ast.FunctionDef)]
    if any(called(inner) in DRAWS for node in top for inner in ast.walk(node)):
        return "picture"
    return "table" if called(value).endswith(".table") else ""


@names
def test_a_title_carries_the_number_that_prose_uses(path):
    assert re.match(rf"# {number(path.stem)} · \S", cells(path)[0].source)


@names
def test_prose_names_chapters_by_that_number(path):
    text = "\n".join(cell.source for cell in cells(path))
    assert re.findall(r"[Cc]hapters? 0\d", text) == []


@names
def test_a_chapter_opens_with_its_finding_and_a_figure(path):
    (words,) = [text for _, _, title, text in BOX.findall(cells(path)[0].source) if title == "Finding"]
    assert words.startswith(":class: finding\n")
    (figure,) = re.findall(r"\{numref\}`([\w-]+)`", words)
    assert figure in [cell.metadata.get("mystnb", {}).get("figure", {}).get("name") for cell in cells(path)]


@names
def test_every_picture_and_control_has_a_caption_and_a_name(path):
    shown = [cell for cell in cells(path) if shows(cell) in ("picture", "control")]
    without = [c.source[:60] for c in shown if not c.metadata.get("mystnb", {}).get("figure", {}).get("caption")]
    assert without == []
    found = [cell.metadata["mystnb"]["figure"]["name"] for cell in shown]
    assert all(name.startswith(f"fig-{path.stem.partition('_')[0]}-") for name in found)
    assert len({*found}) == len(found)


@names
def test_no_cell_in_sight_only_asserts(path):
    """What checks the page runs out of the reader's way."""
    kinds = (ast.Assert, ast.If)
    bodies = [ast.parse(cell.source).body for cell in cells(path) if visible(cell)]
    assert [ast.unparse(body) for body in bodies if body and isinstance(body[-1], kinds) and _asserts(body)] == []


def _asserts(body):
    each = [inner for node in body for inner in (node.body if isinstance(node, ast.If) else [node])]
    return all(isinstance(node, ast.Assert) for node in each)


@names
def test_no_result_is_a_python_object(path):
    allowed = ("show.", "print", "Markdown", "Image", "torch.", "np.testing.")
    values = [last(cell.source) for cell in cells(path) if visible(cell)]
    wrong = [
        ast.unparse(value)
        for value in values
        if value is not None
        and not (called(value).startswith(allowed) or called(value).endswith(".table"))
        and not (isinstance(value, ast.Name) and value.id == "picker")
        and not (isinstance(value, ast.Constant) and isinstance(value.value, str))
        and called(value) != "dots"
    ]
    assert wrong == []


@names
def test_a_prompt_stands_in_its_box_and_hides_what_follows(path):
    found = cells(path)
    for place, cell in enumerate(found):
        if cell.cell_type != "markdown":
            continue
        outside = BOX.sub("", cell.source)
        assert not PROMPT.search(outside), PROMPT.search(outside)
        if any(title == "Predict" for _, _, title, _ in BOX.findall(cell.source)):
            after = next(
                c
                for c in found[place + 1 :]
                if shows(c) or re.search(r"\{dropdown\} (What it says|One answer)", c.source)
            )
            assert not shows(after) or tags(after) & {"hide-output", "hide-cell"}, after.source[:80]


@names
def test_every_checker_refuses_the_usual_wrong_answers(path):
    """Where the page is run, with its own networks: nothing, constants, a sign turned, the chapter's cardinal error."""
    code = [cell for cell in cells(path) if cell.cell_type == "code"]
    checkers = re.findall(r"^def (check_\w+)", "\n".join(cell.source for cell in code), re.M)
    for checker in checkers:
        assert any(f"@show.checker\ndef {checker}(" in cell.source for cell in code), checker
        tried = [cell for cell in code if re.search(rf"show\.refuses\(\s*{checker}\b", cell.source)]
        assert [tags(cell) & {"remove-cell"} for cell in tried] == [{"remove-cell"}], checker
