"""Assignments that grade themselves: a chapter in otter-grader's format, or with nbgrader's cell metadata.

An exercise is a question. Its public test is the chapter's checker, its hidden one that of book/course.yml; each has
half of the points, the hidden one all where an exercise has no checker. Both run in the names of the submission.
"""

from pathlib import Path

import nbformat
from nbformat import v4

from mulib.files import replace
from mulib.press.chapters import Writer, chapter
from mulib.press.editions import checker, in_tier, pieces, stub
from mulib.press.runs import find_notebooks

GRADERS = ("otter", "nbgrader")


def write(root, out, grader, names=(), tier=None):
    """Write `out`/grading/STEM/STEM.ipynb for the chapters that have exercises; return the files.

    `otter assign STEM.ipynb dist` makes the students' copy and the autograder of it; nbgrader takes it as a source.
    """
    files = []
    for path in find_notebooks(root, names):
        made = chapter(root, path)
        if any(label for label, _ in pieces(nbformat.read(path, 4))):
            notebook = in_tier(assignment(made, grader), root, path, tier)
            files.append(Path(out) / "grading" / path.stem / path.name)
            replace(files[-1], nbformat.writes(notebook).encode())
    return files


def assignment(chapter, grader):
    """Return the notebook that a grader (`GRADERS`) makes the students' copy and the tests of."""
    source, writer = nbformat.read(chapter.path, 4), Writer(chapter, "student")
    config = f"# ASSIGNMENT CONFIG\nname: {chapter.path.stem}\ninit_cell: true\nexport_cell: false\ngenerate: true"
    cells = [_raw(config)] if grader == "otter" else []
    cells.append(v4.new_markdown_cell(writer.foreword(source)))
    question = _otter if grader == "otter" else _nbgrader
    for label, own in pieces(source):
        if label:
            cells += question(label, own, chapter.exercises[label])
        else:
            cells += [each for cell in own for each in writer.cells(cell)]
    for number, cell in enumerate(cells):
        cell.id = f"cell-{number}"
    return v4.new_notebook(cells=cells, metadata={"kernelspec": source.metadata["kernelspec"]})


def tests(own, exercise):
    """Return (points, hidden or not, code) of the tests of an exercise whose solution is in the cells `own`."""
    call, points = checker(own), exercise["points"]
    public = [] if call is None else [(points // 2, False, _accepted(call[0]))]
    return [*public, (points - sum(each for each, *_ in public), True, exercise["hidden"].strip())]


def _accepted(call):
    return f'assert str({call}).lower().startswith(("right", "correct"))'


def _solution(own):
    return "\n\n".join(cell.source for cell in own if cell.cell_type == "code")


def _otter(label, own, exercise):
    prompt = f'""" # BEGIN PROMPT\n{stub(own, label)}\n""" # END PROMPT'
    solution = f"# BEGIN SOLUTION NO PROMPT\n{_solution(own)}\n# END SOLUTION\n{prompt}"
    cells = [_raw(f"# BEGIN QUESTION\nname: {label}\npoints: {exercise['points']}")]
    cells += [_raw("# BEGIN SOLUTION"), v4.new_code_cell(solution), _raw("# END SOLUTION"), _raw("# BEGIN TESTS")]
    for points, hidden, code in tests(own, exercise):
        config = f'""" # BEGIN TEST CONFIG\npoints: {points}\nhidden: {str(hidden).lower()}\n""" # END TEST CONFIG'
        cells.append(v4.new_code_cell(f"{config}\n{code}"))
    return [*cells, _raw("# END TESTS"), _raw("# END QUESTION")]


def _nbgrader(label, own, exercise):
    solution = f"### BEGIN SOLUTION\n{_solution(own)}\n### END SOLUTION"
    cells = [v4.new_code_cell(solution, metadata=_marked(label, solution=True))]
    for points, hidden, code in tests(own, exercise):
        name = f"{label}-{'hidden' if hidden else 'public'}"
        code = f"### BEGIN HIDDEN TESTS\n{code}\n### END HIDDEN TESTS" if hidden else code
        cells.append(v4.new_code_cell(code, metadata=_marked(name, grade=True, locked=True, points=points)))
    return cells


def _marked(name, **given):
    flags = {"grade": False, "solution": False, "locked": False, "task": False}
    return {"nbgrader": {"schema_version": 3, "grade_id": name, **flags, **given}}


def _raw(text):
    return v4.new_raw_cell(text)
