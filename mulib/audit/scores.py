"""The benchmark's row for one model: utility, membership inference and the distance between losses, in one call."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mulib.audit.accuracy import accuracy
from mulib.audit.distances import js_distance
from mulib.audit.forgetting import final_score
from mulib.audit.intervals import Estimate
from mulib.audit.membership import Membership, membership
from mulib.errors import InputError
from mulib.train import loss_of


@dataclass(frozen=True)
class Scores:
    """One model's row in the tables of GLI and of its benchmark.

    Attributes:
        accuracy: on the test set (the average over the attributes, where there are several).
        top2: top-2 accuracy on the test set, None for attributes and for two classes.
        membership: the attack on the losses of the forget set against the unseen set.
        js_distance: between those two samples of losses, 0 to √log 2.
    """

    accuracy: Estimate
    top2: Estimate | None
    membership: Membership
    js_distance: float

    @property
    def forgetting_score(self) -> float:
        """|attack's accuracy − ½|, 0 to ½: low is good."""
        return self.membership.forgetting_score

    @property
    def final_score(self) -> float:
        """NoMUS at λ = ½, 0 to 1: high is good."""
        return final_score(self.accuracy.point, self.forgetting_score)

    def summary(self) -> dict[str, float]:
        """The numbers of one table row, by the names of `book/reported/choi2024towards.yml`."""
        return {
            "test_accuracy": self.accuracy.point,
            "top2_accuracy": self.top2.point if self.top2 else math.nan,
            "membership": self.membership.point,
            "forgetting_score": self.forgetting_score,
            "final_score": self.final_score,
            "js_distance": self.js_distance,
        }


def scores(
    logits: Mapping[str, Tensor], labels: Mapping[str, Tensor], *, seed: int = 0, balanced: bool = True
) -> Scores:
    """Score one model's predictions on the sets test, forget and unseen.

    Args:
        logits: by set name, as `mulib.predict(model, task.sets)` gives them; other sets are left alone.
        labels: by the same names, classes (N,) int or attributes (N, A) float.
        seed, balanced: as for `membership`; seed 0 and ``balanced=False`` are the released code's.

    Raises:
        InputError: a set is missing, or what `accuracy`, `membership` and `js_distance` raise.

    Source: Choi et al. (GLI), 2024, section on metrics.

    >>> z = {name: torch.eye(4).repeat(9, 1) for name in ("test", "forget", "unseen")}
    >>> scores(z, {name: torch.arange(4).repeat(9) for name in z}).final_score
    1.0
    """
    for what, given in (("logits", logits), ("labels", labels)):
        if missing := {"test", "forget", "unseen"} - set(given):
            raise InputError(f"there are no {what} for: {', '.join(sorted(missing))}; predict those sets too.")
    z, y = logits["test"], torch.as_tensor(labels["test"])
    top2 = None if y.is_floating_point() or z.shape[1] < 3 else accuracy(z, y, top=2)
    forget, unseen = (example_losses(logits[name], labels[name]) for name in ("forget", "unseen"))
    attack = membership(forget, unseen, seed=seed, balanced=balanced)
    return Scores(accuracy(z, y), top2, attack, js_distance(forget, unseen))


def example_losses(logits: Tensor, labels: Tensor) -> NDArray[np.float64]:
    """Loss of each example in nats, (N,): the cross-entropy, or the mean of the attributes' binary cross-entropies.

    The mean, not the sum that training uses: the benchmark's attack is fitted with a penalty, and so depends on the
    scale of the losses.

    >>> example_losses(torch.zeros(1, 3), torch.zeros(1, 3)).round(3).tolist()
    [0.693]
    """
    labels = torch.as_tensor(labels).cpu()
    losses = loss_of(logits.cpu().double(), labels.double() if labels.is_floating_point() else labels, "none")
    return (losses / (labels.shape[1] if labels.is_floating_point() else 1)).numpy()
