"""Accuracy sets."""

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
