"""`mulib bench`: every kernel against its plain loop, and no speed for one that is not equal."""

import json
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from click.testing import CliRunner
from projects import ROOT

from mulib import InputError
from mulib.__main__ import main
from mulib.press import bench


@pytest.fixture(autouse=True)
def threads():
    """It measures on one thread: give back what there was."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def planted(monkeypatch, kernel):
    """Put a `kernel` in the place of the ascent's step, alone."""
    case = bench.cases(ROOT)["step of the ascent"]
    kernel = SimpleNamespace(definition=kernel, __name__="step", __module__="mulib.kernels.perturb")
    monkeypatch.setattr(bench, "cases", lambda root: {"planted": replace(case, kernel=kernel)})


def test_every_kernel_is_equal_and_has_its_floor_and_its_ratio():
    rows = list(bench.measure(ROOT, "cpu", ("small",), repeats=1))
    kernels = ["ε attack", "group loss", "blanking", "augmentation", "step of the ascent"]
    assert [(r["kernel"], r["form"]) for r in rows if r["form"] != "triton"] == [
        (kernel, form) for kernel in kernels for form in ("plain loop", "eager")
    ]
    assert all(row["equal"] and row["seconds"] > 0 for row in rows)
    assert all(row["floor_bytes"] > 0 and row["floor_operations"] > 0 for row in rows)
    loops = {row["kernel"]: row["seconds"] for row in rows if row["form"] == "plain loop"}
    for row in rows:
        if row["form"] == "eager":
            assert row["ratio"] == pytest.approx(loops[row["kernel"]] / row["seconds"])
            assert row["low"] <= row["seconds"] <= row["high"]


def test_a_kernel_that_is_not_equal_has_no_speed_and_the_command_fails(monkeypatch, tmp_path):
    planted(monkeypatch, lambda x, gradient, *bounds: x.add_(0.001))
    path = tmp_path / "record.json"
    done = CliRunner().invoke(main, ["bench", "--size", "small", "--json", str(path)])
    assert done.exit_code == 1
    assert "not equal: no speed" in done.stdout
    record = json.loads(path.read_text())
    assert [(row["form"], row["equal"], "ratio" in row) for row in record["rows"]] == [
        ("plain loop", True, False),
        ("eager", False, False),
    ]
    assert record["came_from"]["hardware"]


def test_a_form_that_cannot_run_is_a_row_with_its_reason(monkeypatch):
    def refusing(x, gradient, step, low, high):
        if len(x) == 1:  # the part that is compared with the loop
            raise RuntimeError("no such layout\nand more")
        return x

    planted(monkeypatch, refusing)
    row = list(bench.measure(ROOT, "cpu", ("small",)))[1]
    assert (row["equal"], row["note"], "seconds" in row) == (False, "no such layout", False)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_is_one_sentence():
    with pytest.raises(InputError, match="no GPU that torch can use here: leave out --device"):
        next(bench.measure(ROOT, "cuda", ("small",)))
