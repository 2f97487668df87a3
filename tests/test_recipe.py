"""Recipes: one value that says how a network is trained."""

import dataclasses
import json

import pytest

from mulib import InputError
from mulib.recipe import Recipe, Steps

START = Recipe(epochs=10, lr=0.1)


def test_a_recipe_is_a_value():
    again = Recipe(**dataclasses.asdict(START))
    assert again == START
    assert hash(again) == hash(START)
    assert repr(again) == repr(START)
    assert START.but() == START
    assert START.but(lr=0.2).lr == 0.2


@pytest.mark.parametrize("schedule", ["cosine", (5, 8), Steps(0.2, at=(5, 8)), Steps(0.6, every=3)], ids=str)
def test_a_recipe_is_written_as_json_and_read_again(schedule):
    written = json.loads(json.dumps(dataclasses.asdict(START.but(schedule=schedule))))
    if isinstance(schedule, Steps):
        written["schedule"] = Steps(**written["schedule"])
    assert Recipe(**written) == START.but(schedule=schedule)


def test_faster_is_fewer_epochs_at_a_higher_rate():
    assert START.faster(5) == Recipe(epochs=2, lr=0.5)
    assert START.faster(5, rate=1) == Recipe(epochs=2, lr=0.1)
    assert START.faster(100, rate=3).epochs == 1
    assert START.but(epochs=0).faster(5).epochs == 0


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("onecycle", "onecycle"),
        ((35, 70), (7, 14)),
        (Steps(0.2, at=(35, 70)), Steps(0.2, at=(7, 14))),
        (Steps(0.6, every=125), Steps(0.6, every=25)),
    ],
    ids=str,
)
def test_faster_moves_the_epochs_of_a_schedule(schedule, expected):
    assert START.but(epochs=100, schedule=schedule).faster(5).schedule == expected


@pytest.mark.parametrize(
    "bad",
    [
        {"epochs": -1},
        {"lr": 0.0},
        {"lr": float("nan")},
        {"batch_size": 0},
        {"momentum": 1.0},
        {"weight_decay": -1e-4},
        {"momentum": 0.0, "nesterov": True},
        {"schedule": "linear"},
        {"schedule": 3},
        {"optimiser": "lion"},
        {"precision": "fp8"},
        {"learning_rate": 0.1},
    ],
    ids=str,
)
def test_bad_recipes_are_one_sentence(bad):
    with pytest.raises(InputError, match=r"^[^\n]*: expected [^\n]*\.$"):
        START.but(**bad)


@pytest.mark.parametrize("bad", [{"factor": 0.0}, {"at": (5,), "every": 5}, {"every": 0}], ids=str)
def test_bad_steps(bad):
    with pytest.raises(InputError, match="expected a factor above 0, and either epochs"):
        Steps(**{"factor": 0.1} | bad)
