"""Splits that keep people together."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mulib import data
from mulib.data.splits import by_people, hold_out


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 20), min_size=1, max_size=200), st.integers(0, 10**6))
def test_every_image_is_in_one_part_and_every_person_in_one(people, seed):
    people = torch.tensor(people)
    parts = by_people(people, (0.5, 0.3, 0.2), seed)
    assert torch.equal(torch.cat(parts).sort().values, torch.arange(len(people)))
    known = [set(people[part].tolist()) for part in parts]
    assert sum(map(len, known)) == len(set(people.tolist()))


def test_shares_are_met_up_to_one_person():
    people = torch.arange(1000) // 4
    for part, share in zip(by_people(people, (0.02, 0.68, 0.3), 3), (0.02, 0.68, 0.3), strict=True):
        assert len(part) == pytest.approx(1000 * share, abs=4)


def test_the_seed_decides():
    first, again, other = (by_people(torch.arange(50), (0.5, 0.5), seed)[0].tolist() for seed in (0, 0, 1))
    assert first == again != other


def test_holding_out_nothing_changes_nothing():
    task = data.digits()
    assert hold_out(task, 0, 0) is task


def test_without_people_images_are_held_out():
    task = data.digits()
    held = hold_out(task, 90, 0)
    assert (len(held.train), len(held.val)) == (910, 90)
    assert torch.equal(held.forget.images, task.forget.images)
    whole = torch.cat([held.train.images, held.val.images]).flatten(1).long().sum(1).sort().values
    assert torch.equal(whole, task.train.images.flatten(1).long().sum(1).sort().values)
