"""Accuracy on each set of a task, with its interval."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from mulib.audit.intervals import Estimate, rate
from mulib.errors import InputError
from mulib.predict import right


def accuracy(logits: Tensor, labels: Tensor, *, top: int = 1, confidence: float = 0.95) -> Estimate:
    """Share of right predictions: logits (N, classes) and labels (N,) int, or attributes, both (N, A).

    With several attributes per example it is the average over the attributes, and `attributes` holds that of each. The
    interval is Clopper and Pearson's over examples, not predictions: the attributes of one image are not independent.

    Args:
        labels: classes, or float attributes of 0 and 1, which are predicted as 1 where the logit is above 0.
        top: a class is right when it is among the `top` highest logits (ties go to the lower class number).

    Raises:
        InputError: no examples, shapes or values that do not fit, or NaN logits.

    >>> accuracy(torch.eye(4), torch.arange(4)).point
    1.0
    """
    logits, labels = logits.cpu(), labels.cpu()
    several = labels.is_floating_point()
    if logits.ndim != 2 or labels.shape != logits.shape[: 1 + several] or len(labels) == 0:
        shapes = f"{tuple(logits.shape)} and labels {tuple(labels.shape)}"
        expected = "both (examples, attributes)" if several else "(examples, classes) and (examples,)"
        raise InputError(f"logits have shape {shapes}: expected {expected}, not empty.")
    if bool(logits.isnan().any()):
        raise InputError("the logits contain NaN: check the model that gave them.")
    _check(labels, logits.shape[1], several, top)
    correct = right(logits, labels) if top == 1 else _among(logits, labels, top)
    each = tuple(rate(column, confidence=confidence) for column in correct.T) if several else ()
    return rate(correct, confidence=confidence, attributes=each)


def accuracy_sets(logits: Mapping[str, Tensor], labels: Mapping[str, Tensor]) -> dict[str, Estimate]:
    """Accuracy per set name (retain, forget, test, unseen …): predictions and labels by the same names."""
    if missing := set(logits) - set(labels):
        raise InputError(f"there are predictions without labels for: {', '.join(sorted(missing))}.")
    return {name: accuracy(z, torch.as_tensor(labels[name])) for name, z in logits.items()}


def _check(labels: Tensor, outputs: int, several: bool, top: int) -> None:
    if several and top != 1:
        raise InputError(f"top is {top}, but attributes are right or wrong: expected 1.")
    if several and not bool(((labels == 0) | (labels == 1)).all()):
        raise InputError("an attribute is neither 0 nor 1: labels of ages or other values have no accuracy.")
    if not 1 <= top <= outputs:
        raise InputError(f"top is {top}: expected 1 to {outputs}, the classes of the logits.")
    if not several and bool(((labels < 0) | (labels >= outputs)).any()):
        raise InputError(f"a label lies outside 0 … {outputs - 1}, the classes of the logits.")


def _among(logits: Tensor, labels: Tensor, top: int) -> Tensor:
    """(N,) bool: fewer than `top` classes come before the true one."""
    own = logits.gather(1, labels[:, None].long())
    before = (logits > own) | ((logits == own) & (torch.arange(logits.shape[1]) < labels[:, None]))
    return before.sum(1) < top
