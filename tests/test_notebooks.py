"""No notebook of the book has what a page must not have; each of the faults, planted, is found."""

import re

import nbformat
import pytest
import yaml
from nbformat import v4
from projects import ROOT, code, mulib, notebook, parameters, project, prose

from mulib import InputError
from mulib.press.faults import check_executed, check_source
from mulib.press.prose import numbers, typed_numbers
from mulib.press.prose import prose as prose_of
from mulib.press.runs import declared_in, parameters_of, plan

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
names = pytest.mark.parametrize("path", NOTEBOOKS, ids=[path.stem for path in NOTEBOOKS])


@names
def test_a_notebook_is_fit_to_be_committed(path):
    assert check_source(nbformat.read(path, 4)) == []


@names
def test_a_notebook_has_the_parameters_that_every_tier_sets(path):
    for tier in (ROOT / "notebooks" / "params").glob("*.yml"):
        assert set(yaml.safe_load(tier.read_text())) <= set(parameters_of(path) or ())


@names
def test_a_notebook_declares_every_parameter(path):
    assert declared_in(path).keys() == parameters_of(path).keys()


@names
def test_a_word_that_is_no_known_value_runs_nothing(path):
    for name in {"dataset", "device", "threshold", "proportion", "reversal"} & parameters_of(path).keys():
        with pytest.raises(InputError, match=f"{name} is 'Faces' in .*: expected"):
            plan(ROOT, [path], "smoke", [0], {name: "Faces"})


LONG = 15  # lines of code that a reader sees in one cell
HIDDEN = 60  # lines that a page removes: glue, what checks the run, wrong answers to the exercises
VISIBLE = {"11_mufac_and_mucac": 200, "14_side_by_side": 200}


@names
def test_a_page_shows_code_in_small_pieces(path):
    cells = [cell for cell in nbformat.read(path, 4).cells if cell.cell_type == "code"]
    sizes = [(sum(map(bool, map(str.strip, c.source.splitlines()))), {*c.metadata.get("tags", ())}) for c in cells]
    seen = [size for size, tags in sizes if not tags & {"remove-cell", "hide-input", "hide-cell", "parameters"}]
    assert sum(n for n, tags in sizes if "remove-cell" in tags) <= HIDDEN
    assert sum(seen) <= VISIBLE.get(path.stem, 300)
    assert max(seen) <= LONG


def test_the_book_has_every_notebook():
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text())
    files = [chapter["file"] for part in toc["parts"] for chapter in part["chapters"]]
    assert [f"notebooks/{path.stem}" for path in NOTEBOOKS] == [f for f in files if f.startswith("notebooks/")]
    assert NOTEBOOKS


def test_every_scheduler_of_chapter_15_is_bound_to_the_loopback_or_asks_for_certificates():
    (path,) = (path for path in NOTEBOOKS if path.stem.startswith("15_"))
    text = "\n".join(cell.source for cell in nbformat.read(path, 4).cells)
    started = re.findall(r"^dask scheduler .*", text, flags=re.MULTILINE)
    assert [next(o for o in ("--host 127.0.0.1", "--protocol tls") if o in line) for line in started] == [
        "--host 127.0.0.1",
        "--protocol tls",
    ]
    assert "without TLS lets anyone who reaches its port run code as you" in text


# Faults of a committed notebook


def committed(*cells):
    return check_source(notebook(*cells))


def test_a_clean_notebook_has_no_findings():
    assert committed(prose("Accuracy is {glue:text}`accuracy`, see Section 4.2 of the paper."), code("1")) == []


def test_a_committed_output_is_found():
    shown = code("1")
    shown.outputs = [v4.new_output("execute_result", {"text/plain": "1"}, execution_count=1)]
    assert committed(shown) == ["cell 1 was committed with its output; clear all outputs"]


def test_committed_widget_state_is_found():
    saved = notebook(code("1"))
    saved.metadata["widgets"] = {"application/vnd.jupyter.widget-state+json": {}}
    assert check_source(saved) == ["the notebook was committed with widget state; clear all outputs"]


def test_a_misspelt_tag_is_found():
    assert committed(code("1", tags=["remove_cell"])) == ["cell 1 has the unknown tag 'remove_cell'"]


def test_a_number_typed_into_prose_is_found():
    (finding,) = committed(prose("The model reaches an accuracy of 0.947."))
    assert finding == "cell 1 has the typed number '0.947' in its prose; glue it from the run"


def test_a_chapters_number_in_its_title_is_no_number_of_the_run():
    assert numbers(prose_of("# 16 · Is it gone?\n\nOf 16 methods")) == ["16"]


def test_the_time_to_read_is_no_number_of_the_run():
    assert numbers(prose_of("40 minutes to read, 5 to 10 minutes to run, see chapter 13, 40 models")) == ["40"]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("It is 94.6% here.", ["94.6%"]),
        ("It is 95 % here.", ["95%"]),
        ("It is $95\\%$ of $0.947$, not $0.5$.", ["0.947"]),
        ("From 0.1–0.2 and (−0.3).", ["0.1", "0.2", "−0.3"]),
        ("Ten of 50 models, ResNet-18, CIFAR-10, 2024, a 3:1 ratio.", []),
        ("`0.05`, ``a `0.05` b``, {glue:text}`x:.2f`, {cite:p}`a2023.5`", []),
        ("[paper](https://x.org/2305.1012), <https://x.org/1.5>, https://x.org/0.5", []),
        ("Table 1.2, Eq. (3.1), § 2.3, arXiv:2305.10120", []),
        ("```python\nx = 0.05\n```\nand ~~~", []),
        ("```{code-block} python\nx = 0.05\n```", []),
        ("```{figure} x.png\n:width: 0.5\n```", []),
        ("```{admonition} Title 0.5\n:class: v1.2\nText 0.25.\n```", ["0.5", "0.25"]),
        ("````{note}\n```python\n0.1\n```\nText 0.25.\n````", ["0.25"]),
        (":::{note}\n:name: a1.5\nText 0.25.\n:::", ["0.25"]),
        ("```{math}\n\\delta = 0.5 + 0.125\n```", ["0.125"]),
        ("---\nversion: 0.5\n---\n# Title", []),
        ("<!-- 0.5 -->", []),
    ],
)
def test_what_counts_as_a_typed_number(text, found):
    assert typed_numbers(text) == found


# Faults that show when a notebook is executed: `mulib run` refuses the page

SLIDER = "from mulib.show import slider\nimport numpy as np\nfrom ipywidgets import IntSlider, VBox\n"
PLANTED = {
    "raising": (code("1 / 0"), "cell 3 (1 / 0): ZeroDivisionError: division by zero"),
    "unlinked": (
        code("from ipywidgets import interact\ninteract(lambda k: None, k=(0, 3));"),
        "the IntSlider 'k' is linked to nothing and is dead in the page",
    ),
    "no_alt": (
        code("import matplotlib.pyplot as plt\nplt.plot([1, 2]);"),
        "cell 3 shows a figure without alt text; set mystnb.image.alt in its metadata",
    ),
    "no_alt_in_widget": (
        code("from ipywidgets import HTML\nHTML('<img src=\"x.png\">')"),
        "a picture in a widget has no alt text",
    ),
    "stderr": (code("import warnings\nwarnings.warn('old')"), "cell 3 wrote to stderr: "),
    "glued_number_typed": (
        code("from mulib.show import glue\nglue('models', 40)"),
        "cell 1 types '40'; quote it as {glue:text}`models`",
    ),
    "glued_twice": (
        code("from mulib.show import glue\nglue('a', 1)\nglue('a', 2)"),
        "a is glued twice; give each value its own name",
    ),
    "heavy": (code("print('x' * 700_000)"), "the page would hold 70"),
}
FIT = notebook(
    prose("# Fit"),
    parameters(),
    code(
        SLIDER + "slider([np.zeros((4, 4)), np.ones((4, 4))], 'δ', ['Black.', 'White.'], values=['0.05', '0.10'])",
    ),
    code(
        "import matplotlib.pyplot as plt\nplt.plot([1, 2]);",
        mystnb={"image": {"alt": "A line that rises."}},
    ),
    code("from tqdm.auto import tqdm\nfor _ in tqdm(range(2)):\n    pass"),
)


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    """A project with one notebook per fault and one without, after a run: (folder, process)."""
    text = "# A page of 40 models"
    books = {name: notebook(prose(text), parameters(), cell) for name, (cell, _) in PLANTED.items()}
    folder = project(tmp_path_factory.mktemp("planted"), fit=FIT, **books)
    return folder, mulib(folder, "run", "--tier", "smoke", "--jobs", 2)


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_fault_fails_the_run(planted, name):
    folder, process = planted
    assert process.returncode == 1
    assert f"FAILED  {name}  smoke  seed 0: {PLANTED[name][1]}" in process.stderr
    assert not (folder / "_executed" / "notebooks" / f"{name}.ipynb").exists()


def test_a_notebook_without_a_fault_passes(planted):
    folder, process = planted
    assert "done    fit  smoke  seed 0" in process.stdout, process.stderr
    executed = nbformat.read(folder / "_executed" / "notebooks" / "fit.ipynb", 4)
    assert check_executed(executed) == []
    models = executed.metadata.widgets["application/vnd.jupyter.widget-state+json"]["state"].values()
    kinds = sorted(model["model_name"] for model in models if "Layout" not in model["model_name"])
    assert kinds.count("HTMLModel") == 2
    assert "LinkModel" in kinds
    assert "FloatProgressModel" not in kinds
