"""Assignments, graded by otter itself: full marks for the solutions, none for the stubs, a part for wrong answers."""

import ast
import builtins
import importlib.util
import json
import os
import sys
import zipfile

import nbformat
import pytest
from projects import ROOT, called, code, notebook, prose

from mulib.press import chapters, editions, grading

CHAPTERS = {path.stem: chapters.chapter(ROOT, path) for path in sorted((ROOT / "notebooks").glob("*.ipynb"))}
SQUARE, TWICE = "def square(x):\n    return x * x", "def twice(x):\n    return 2 * x"
CHECKERS = """def check_square(answer):
    return "correct" if answer(3) == 9 else "not yet"


def check_twice(answer):
    return "Right." if answer(3) == 6 else "not yet\""""
EXERCISES = {
    "ex-square": {"minutes": 1, "points": 4, "wrong": "", "hidden": "assert square(-1) == 1\nassert square(4) == 16"},
    "ex-twice": {"minutes": 1, "points": 2, "wrong": "", "hidden": "assert twice(5) == 10"},
}
CELLS = (
    prose("# Two\n\n```{exercise} Square\n:label: ex-square\n\nWrite it.\n```"),
    code(CHECKERS, tags=["hide-input"]),
    prose("```{solution-start} ex-square\n:class: dropdown\n```"),
    code(f'{SQUARE}\n\n\nassert check_square(square) == "correct"'),
    prose("```{solution-end}\n```\n\n```{exercise} Twice\n:label: ex-twice\n\nAnd that.\n```"),
    prose("```{solution-start} ex-twice\n```"),
    code(f"{TWICE}\n\n\ncheck_twice(twice)"),
    prose("```{solution-end}\n```"),
)


@pytest.mark.parametrize("stem", CHAPTERS)
def test_a_hidden_test_speaks_of_what_the_chapter_defines(stem):
    pieces = editions.pieces(nbformat.read(CHAPTERS[stem].path, 4))
    defined = {
        *dir(builtins),
        *(n for _, own in pieces for c in own if c.cell_type == "code" for n in _names(c.source)),
    }
    for label, own in pieces:
        for _, hidden, source in grading.tests(own, CHAPTERS[stem].exercises[label]) if label else ():
            every = {node.id for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Name)}
            stored = {
                n.id for n in ast.walk(ast.parse(source)) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)
            }
            assert every - stored <= defined, (label, hidden)


def _names(source):
    return editions.names(source)[0]


@pytest.fixture(scope="module")
def graded(tmp_path_factory):
    """A function that grades a copy of the students' notebook with some answers filled in: {question: points}."""
    if importlib.util.find_spec("otter") is None:
        pytest.skip("otter-grader is not installed: pip install otter-grader")
    folder = tmp_path_factory.mktemp("graded")
    nbformat.write(notebook(*CELLS), folder / "01_two.ipynb")
    master = grading.assignment(chapters.Chapter(folder / "01_two.ipynb", exercises=EXERCISES), "otter")
    nbformat.write(master, folder / "two.ipynb")
    _otter(folder, "assign", "two.ipynb", "dist")
    (autograder,) = (folder / "dist" / "autograder").glob("*.zip")

    def grade(**answers):
        submission = nbformat.read(folder / "dist" / "student" / "two.ipynb", 4)
        for cell in submission.cells:
            for name, answer in answers.items():
                if cell.source.startswith(f"def {name}("):
                    cell.source = answer
        nbformat.write(submission, folder / "submission.ipynb")
        _otter(folder, "run", "-a", str(autograder), "submission.ipynb")
        results = json.loads((folder / "results.json").read_text())
        return {
            test["name"]: test["score"] for test in results["tests"] if "score" in test and test["name"] in EXERCISES
        }

    grade.folder, grade.autograder = folder, autograder
    return grade


def _otter(folder, *arguments):
    path = f"{os.path.dirname(sys.executable)}{os.pathsep}{os.environ['PATH']}"
    made = called(folder, sys.executable, "-m", "otter", *arguments, PATH=path)
    assert made.returncode == 0, made.stderr[-2000:]


def test_the_students_copy_holds_neither_solutions_nor_hidden_tests(graded):
    copy = (graded.folder / "dist" / "student" / "two.ipynb").read_text()
    assert "NotImplementedError" in copy
    assert "x * x" not in copy
    assert "square(-1)" not in copy
    assert "square(-1)" in "".join(
        zipfile.ZipFile(graded.autograder).read(name).decode()
        for name in zipfile.ZipFile(graded.autograder).namelist()
        if "ex-square" in name
    )


@pytest.mark.parametrize(
    ("answers", "points"),
    [
        ({"square": SQUARE, "twice": TWICE}, (4, 2)),
        ({}, (0, 0)),
        ({"square": SQUARE}, (4, 0)),
        ({"square": "def square(x):\n    return 3 * x", "twice": TWICE}, (2, 2)),  # right where the checker looks
    ],
    ids=["solutions", "stubs", "one of two", "a wrong answer that the checker passes"],
)
def test_otter_gives_the_points_that_an_answer_deserves(graded, answers, points):
    assert tuple(graded(**answers).values()) == points


def test_nbgrader_finds_its_metadata(tmp_path):
    nbformat.write(notebook(*CELLS), tmp_path / "01_two.ipynb")
    made = grading.assignment(chapters.Chapter(tmp_path / "01_two.ipynb", exercises=EXERCISES), "nbgrader")
    marked = [cell for cell in made.cells if "nbgrader" in cell.metadata]
    assert [cell.metadata.nbgrader.get("points") for cell in marked] == [None, 2, 2, None, 1, 1]
    assert marked[0].source.startswith("### BEGIN SOLUTION\n")
    assert marked[2].source.startswith("### BEGIN HIDDEN TESTS\n")
    assert len({cell.metadata.nbgrader.grade_id for cell in marked}) == 6
