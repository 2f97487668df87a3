"""Editions of the chapters: nothing of a solution in the student's, everything in the instructor's, and both run."""

import re
from functools import cache

import nbformat
import pytest
from projects import ROOT, code, notebook, prose

from mulib import InputError
from mulib.press import chapters, editions

CHAPTERS = {path.stem: chapters.chapter(ROOT, path) for path in sorted((ROOT / "notebooks").glob("*.ipynb"))}
every = pytest.mark.parametrize("stem", CHAPTERS)
LIGHT = ("00_forget_in_five_minutes", "13_measuring_epsilon")
WORDS = {"five": 5, "ten": 10, "fifteen": 15, "twenty": 20, "twenty-five": 25, "thirty": 30}


@cache
def made(stem, kind):
    return editions.edition(CHAPTERS[stem], kind)


@cache
def solutions(stem):
    """The solutions of a chapter, {label: cells}."""
    return {label: cells for label, cells in editions.pieces(nbformat.read(CHAPTERS[stem].path, 4)) if label}


@every
@pytest.mark.parametrize("kind", editions.KINDS)
def test_an_edition_is_plain_markdown(stem, kind):
    found = made(stem, kind)
    nbformat.validate(found)
    text = "\n".join(cell.source for cell in found.cells if cell.cell_type == "markdown")
    assert re.findall(r"\{[\w:+-]+\}`|^[`:~]{3,}\{.*|^:[a-z]+:", text, re.M) == []
    assert all(not cell.outputs for cell in found.cells if cell.cell_type == "code")


@every
def test_the_students_edition_holds_no_solution_and_a_stub_for_each(stem):
    found, open_ = made(stem, "student"), solutions(stem)
    text = "\n".join(cell.source for cell in found.cells)
    stubs = {cell.id: cell.source for cell in found.cells if editions.STUB in cell.metadata.get("tags", ())}
    assert set(stubs) == {f"answer-{label}" for label in open_}
    for label, cells in open_.items():
        assert not any(cell.source in text for cell in cells), label
        assert "NotImplementedError" in stubs[f"answer-{label}"]


@every
def test_the_answers_are_the_instructors_alone(stem):
    source = "\n".join(cell.source for cell in nbformat.read(CHAPTERS[stem].path, 4).cells)
    titles = re.findall(r"^`{3,}\{dropdown\} (.*(?:\?|^One .*))\n+(.+)", source, re.M)
    student, instructor = ("\n".join(c.source for c in made(stem, kind).cells) for kind in editions.KINDS)
    assert len(titles) >= (3 if "## Quiz" in source else 0)
    for title, answer in titles:
        first = re.split(r"[{`]", answer)[0][:60]
        assert title in student
        assert first not in student
        assert first in instructor


@every
def test_nothing_outside_a_solution_needs_what_only_a_solution_defines(stem):
    """Neither code nor a glued number: with stubs, all the rest of a chapter runs."""
    cells = nbformat.read(CHAPTERS[stem].path, 4).cells
    own = [
        cell for _, group in editions.pieces(notebook(*cells)) if not _ for cell in group if cell.cell_type == "code"
    ]
    stored = set().union(*(editions.names(cell.source)[0] for cell in own))
    for label, group in solutions(stem).items():
        inside = set().union(*(editions.names(cell.source)[0] for cell in group if cell.cell_type == "code"))
        lost = {name for cell in own for name in editions.names(cell.source)[1] & (inside - stored)}
        assert lost == set(), label


@every
def test_an_exercise_has_points_minutes_and_what_goes_wrong(stem):
    _, exercises = chapters._course(ROOT)
    assert solutions(stem).keys() <= exercises.keys()
    assert {"outcome", "class"} <= CHAPTERS[stem].notes.keys()


@every
def test_an_exercise_takes_the_minutes_that_the_course_counts(stem):
    _, exercises = chapters._course(ROOT)
    for text in (cell.source for cell in nbformat.read(CHAPTERS[stem].path, 4).cells if cell.cell_type == "markdown"):
        for label, rest in re.findall(r"^:label: (ex-[\w-]+)$(.*?)(?=^:label:|\Z)", text, re.M | re.S):
            minutes = re.search(r"\((?:[^()]*, )?([\w-]+) minutes", rest)[1]
            assert int(WORDS.get(minutes, minutes)) == exercises[label]["minutes"], label


def test_a_chapter_without_a_run_leaves_its_numbers_open(tmp_path):
    nbformat.write(notebook(prose("It is {glue:text}`half`, see {term}`sets <set>`.")), tmp_path / "01_one.ipynb")
    found = editions.edition(chapters.Chapter(tmp_path / "01_one.ipynb"), "student")
    assert found.cells[1].source == f"It is {chapters.NOT_RUN}, see sets."
    filled = editions.edition(chapters.Chapter(tmp_path / "01_one.ipynb", {"half": "0.50"}), "student")
    assert filled.cells[1].source == "It is 0.50, see sets."
    assert not any("mulib @" in cell.source for cell in filled.cells)


def test_a_public_address_brings_the_cell_that_installs(tmp_path):
    nbformat.write(notebook(prose("# One")), tmp_path / "01_one.ipynb")
    found = editions.edition(chapters.Chapter(tmp_path / "01_one.ipynb", url="https://host/book"), "student")
    assert "mulib @ git+https://host/book@v" in found.cells[1].source


def test_a_solution_that_no_answer_cell_can_be_made_of_is_one_sentence(tmp_path):
    cells = prose("```{solution-start} ex-a\n```"), code("1 + 1"), prose("```{solution-end}\n```")
    nbformat.write(notebook(*cells), tmp_path / "01_one.ipynb")
    with pytest.raises(InputError, match="the solution of ex-a has neither a function nor a call"):
        editions.edition(chapters.Chapter(tmp_path / "01_one.ipynb"), "student")


@pytest.mark.book
def test_with_stubs_a_chapter_fails_in_them_alone_and_with_solutions_nowhere(tmp_path):
    files = editions.write(ROOT, tmp_path, LIGHT, "smoke")
    assert [wrong for _, wrong in editions.run(files, 2)] == [[]] * 4
    (student,) = (file for file in files if file.parents[1].name == "student" and file.stem == LIGHT[0])
    broken = nbformat.read(student, 4)
    broken.cells[-1:] = [code("undefined_name"), *broken.cells[-1:]]
    nbformat.write(broken, student)
    ((_, wrong),) = editions.run([student])
    assert len(wrong) == 1
    assert "undefined_name" in wrong[0]
