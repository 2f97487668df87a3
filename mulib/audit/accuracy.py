"""Accuracy on each set of a task, with its interval."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mulib.audit.intervals import check_confidence, share
from mulib.errors import InputError


@dataclass(frozen=True)
class Accuracy:
    """A share of correct predictions, 0 to 1, with a Clopper-Pearson interval over `n` examples.

    With several attributes per example `point` is the average over the attributes, `attributes` holds the accuracy
    of each in the order of the labels, and the interval counts examples, not predictions: the attributes of one
    image are not independent.
    """

    point: float
    lower: float
    upper: float
    n: int
    attributes: tuple[Accuracy, ...] = ()


def accuracy(logits: Tensor, labels: Tensor, *, top: int = 1, confidence: float = 0.95) -> Accuracy:
    """Share of correct predictions: logits (N, classes) and labels (N,) int, or attributes, both (N, A).

    Args:
        labels: classes, or float attributes of 0 and 1, which are predicted as 1 where the logit is above 0.
        top: a class is right when it is among the `top` highest logits (ties go to the lower class number).

    Raises:
        InputError: no examples, shapes or values that do not fit, or NaN logits.

    >>> accuracy(torch.eye(4), torch.arange(4)).point
    1.0
    """
    check_confidence(confidence)
    logits, labels = logits.cpu(), labels.cpu()
    several = labels.is_floating_point()
    if logits.ndim != 2 or labels.shape != logits.shape[: 1 + several] or len(labels) == 0:
        shapes = f"{tuple(logits.shape)} and labels {tuple(labels.shape)}"
        expected = "both (examples, attributes)" if several else "(examples, classes) and (examples,)"
        raise InputError(f"logits have shape {shapes}: expected {expected}, not empty.")
    if bool(logits.isnan().any()):
        raise InputError("the logits contain NaN: check the model that gave them.")
    correct = (_attributes(logits, labels, top) if several else _classes(logits, labels, top)).numpy()
    each = tuple(_share(column, confidence) for column in correct.T) if several else ()
    return _share(correct, confidence, each)


def accuracy_sets(logits: Mapping[str, Tensor], labels: Mapping[str, Tensor]) -> dict[str, Accuracy]:
    """Accuracy per set name (retain, forget, test, unseen …): predictions and labels by the same names."""
    if missing := set(logits) - set(labels):
        raise InputError(f"there are predictions without labels for: {', '.join(sorted(missing))}.")
    return {name: accuracy(z, torch.as_tensor(labels[name])) for name, z in logits.items()}


def _classes(logits: Tensor, labels: Tensor, top: int) -> Tensor:
    """(N,) bool: fewer than `top` classes come before the true one."""
    classes = logits.shape[1]
    if not 1 <= top <= classes:
        raise InputError(f"top is {top}: expected 1 to {classes}, the classes of the logits.")
    if bool(((labels < 0) | (labels >= classes)).any()):
        raise InputError(f"a label lies outside 0 … {classes - 1}, the classes of the logits.")
    if top == 1:
        return logits.argmax(1) == labels
    own = logits.gather(1, labels[:, None].long())
    before = (logits > own) | ((logits == own) & (torch.arange(classes) < labels[:, None]))
    return before.sum(1) < top


def _attributes(logits: Tensor, labels: Tensor, top: int) -> Tensor:
    """(N, A) bool: which attributes are predicted right."""
    if top != 1:
        raise InputError(f"top is {top}, but attributes are right or wrong: expected 1.")
    if not bool(((labels == 0) | (labels == 1)).all()):
        raise InputError("an attribute is neither 0 nor 1: labels of ages or other values have no accuracy.")
    return (logits > 0) == (labels > 0)


def _share(correct: np.ndarray, confidence: float, each: tuple[Accuracy, ...] = ()) -> Accuracy:
    """Accuracy of (N,) or (N, A) right or wrong predictions."""
    answers = correct.reshape(len(correct), -1)
    counted = np.full(len(correct), answers.shape[1])
    return Accuracy(*(float(x) for x in share(answers.sum(1), counted, confidence)), len(correct), each)
