"""Accuracy on each set of a task, with its interval."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from mulib.audit.epsilon import clopper_pearson
from mulib.errors import InputError


@dataclass(frozen=True)
class Accuracy:
    """A share of correct predictions, 0 to 1, with a Clopper-Pearson interval over `n` examples."""

    point: float
    lower: float
    upper: float
    n: int


def accuracy(logits: Tensor, labels: Tensor, *, confidence: float = 0.95) -> Accuracy:
    """Top-1 accuracy: logits (N, classes), labels (N,) int.

    Raises:
        InputError: no examples, shapes that do not fit, or NaN logits.

    >>> accuracy(torch.eye(4), torch.arange(4)).point
    1.0
    """
    if logits.ndim != 2 or labels.shape != logits.shape[:1] or len(labels) == 0:
        shapes = f"{tuple(logits.shape)} and labels {tuple(labels.shape)}"
        raise InputError(f"logits have shape {shapes}: expected (examples, classes) and (examples,), not empty.")
    if bool(logits.isnan().any()):
        raise InputError("the logits contain NaN: check the model that gave them.")
    n = len(labels)
    correct = int((logits.argmax(1).cpu() == labels.cpu()).sum())
    lower, upper = clopper_pearson(n, confidence)
    return Accuracy(correct / n, float(lower[correct]), float(upper[correct]), n)


def accuracy_sets(logits: Mapping[str, Tensor], labels: Mapping[str, Tensor]) -> dict[str, Accuracy]:
    """Accuracy per set name (retain, forget, test, unseen …): predictions and labels by the same names."""
    if missing := set(logits) - set(labels):
        raise InputError(f"there are predictions without labels for: {', '.join(sorted(missing))}.")
    return {name: accuracy(z, torch.as_tensor(labels[name])) for name, z in logits.items()}
