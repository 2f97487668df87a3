"""Accuracy sets."""

import numpy as np
import oracles
import pytest
import torch

from mulib import InputError, audit


def test_share_and_interval():
    logits = torch.eye(3)[torch.tensor([0, 1, 2, 2])]
    result = audit.accuracy(logits, torch.tensor([0, 1, 2, 0]))
    assert (result.point, result.n) == (0.75, 4)
    assert (result.lower, result.upper) == pytest.approx(oracles.clopper_pearson(3, 4, 0.95))


def test_sets_by_name():
    logits = {"test": torch.eye(2), "forget": torch.eye(2).flip(0)}
    labels = {name: torch.arange(2) for name in logits}
    assert {name: a.point for name, a in audit.accuracy_sets(logits, labels).items()} == {"test": 1.0, "forget": 0.0}


@pytest.mark.parametrize(
    ("logits", "labels"),
    [
        (torch.eye(2), torch.arange(3)),
        (torch.zeros(0, 2), torch.arange(0)),
        (torch.eye(2) * torch.nan, torch.arange(2)),
    ],
)
def test_bad_input(logits, labels):
    with pytest.raises(InputError):
        audit.accuracy(logits, labels)


def test_predictions_without_labels():
    with pytest.raises(InputError, match="without labels for: test"):
        audit.accuracy_sets({"test": torch.eye(2)}, {})


@pytest.mark.parametrize("top", [1, 2, 5])
def test_top_k_equals_scikit_learn(top):
    rng = np.random.default_rng(top)
    logits, labels = rng.normal(size=(200, 5)), rng.integers(0, 5, 200)
    ours = audit.accuracy(torch.from_numpy(logits), torch.from_numpy(labels), top=top).point
    assert ours == pytest.approx((np.argsort(-logits, 1)[:, :top] == labels[:, None]).any(1).mean())


def test_ties_go_to_the_lower_class():
    assert audit.accuracy(torch.zeros(3, 3), torch.arange(3), top=2).point == pytest.approx(2 / 3)


def test_attributes_each_and_averaged():
    labels = torch.tensor([[0.0, 1.0], [1.0, 1.0], [0.0, 0.0], [1.0, 0.0]])
    logits = torch.tensor([[-1.0, 1.0], [1.0, 1.0], [-1.0, 1.0], [-1.0, -1.0]])
    result = audit.accuracy(logits, labels)
    assert (result.point, result.n) == (0.75, 4)
    assert [a.point for a in result.attributes] == [0.75, 0.75]
    assert (result.lower, result.upper) == pytest.approx(oracles.share([2, 2, 1, 1], [2] * 4, 0.95)[1:])


def test_attributes_that_agree_count_their_images():
    """Three copies of one attribute say no more than one."""
    rng = np.random.default_rng(0)
    logits, labels = torch.from_numpy(rng.normal(size=(50, 1))), torch.from_numpy(rng.integers(0, 2, (50, 1)) * 1.0)
    one, three = audit.accuracy(logits, labels), audit.accuracy(logits.expand(-1, 3), labels.expand(-1, 3))
    assert (three.lower, three.upper) == pytest.approx((one.lower, one.upper))


@pytest.mark.parametrize(
    ("logits", "labels", "top", "message"),
    [
        (torch.eye(3), torch.arange(3), 4, "top is 4"),
        (torch.eye(3), torch.arange(3) + 1, 2, "outside 0 … 2"),
        (torch.zeros(2, 3), torch.zeros(2, 3), 2, "right or wrong"),
        (torch.zeros(2, 3), torch.full((2, 3), 0.5), 1, "neither 0 nor 1"),
        (torch.zeros(2, 3), torch.zeros(2), 1, "both"),
    ],
)
def test_bad_top_and_attributes(logits, labels, top, message):
    with pytest.raises(InputError, match=message):
        audit.accuracy(logits, labels, top=top)
