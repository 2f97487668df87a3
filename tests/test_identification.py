"""Kept identification networks: what a plan writes is what is loaded, and what is loaded does what its record says."""

from dataclasses import replace

import pytest
import torch

from mulib import InputError, files
from mulib.assess import identification
from mulib.data import faces

SMOKE = replace(identification.plan_of("smoke"), networks=1)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A file that the plan wrote in smoke, and the folder that it was made in."""
    folder = tmp_path_factory.mktemp("made")
    path = folder / "kept.safetensors"
    path.write_bytes(identification.make(SMOKE, folder, progress=False))
    return path, folder


def test_a_loaded_network_does_what_its_record_says(made):
    plan, (network,), notes = identification.load(made[0])
    assert plan == SMOKE
    check = plan.check()
    for stage, numbers in notes["numbers"][0].items():
        assert identification.measured(getattr(network, stage), check) == numbers
    assert {parameter.dtype for parameter in network.grouped.parameters()} == {torch.float32}


def test_a_network_that_is_there_is_not_trained_again(made, monkeypatch):
    monkeypatch.setattr(identification.train, "fit", None)
    monkeypatch.setattr(identification.explain, "identify", None)
    again = made[1] / "again.safetensors"
    again.write_bytes(identification.make(SMOKE, made[1], progress=False))
    (weights, notes), (before, known) = (files.read_tensors(path) for path in (again, made[0]))
    assert notes == known
    assert all(torch.equal(weights[name], before[name]) for name in {*weights, *before})


def test_a_cut_file_is_one_sentence(made, tmp_path):
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(made[0].read_bytes()[:-1])
    with pytest.raises(InputError, match="is missing or damaged"):
        identification.load(cut)


def test_the_file_that_comes_with_the_library_is_small_and_true():
    assert identification.KEPT.stat().st_size < 4_000_000
    plan, kept, notes = identification.load()
    assert plan == replace(identification.plan_of("quick"), networks=plan.networks)
    stage = identification.better_stage(notes)
    found = identification.measured(getattr(kept[0], stage), plan.check())
    assert found == pytest.approx(notes["numbers"][0][stage], abs=1e-3)
    assert found["auc.mouth"] > 0.95
    assert found["iou"] > found["constant"]


def test_nobody_who_is_checked_was_trained_on():
    plan = identification.plan_of("smoke")
    assert plan.check().cast.seed != plan.load().cast.seed
    assert plan.load().train.classes == faces.ATTRIBUTES
