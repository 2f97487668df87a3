"""Population membership inference: one attacker for all examples, who sees each example's loss."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.model_selection import StratifiedShuffleSplit

from mulib.audit.forgetting import forgetting_score
from mulib.audit.intervals import Estimate, check_confidence, rate, sample, share
from mulib.errors import InputError
from mulib.kernels import logistic

# The released code shuffles the forget losses with seed 42 and splits with seed 0: `seed=0` draws what it drew.
SHUFFLE_SEED = 42
BLOCK = 1 << 17  # training losses solved at a time, over models and splits: a few arrays of 1 MB stay in the cache


@dataclass(frozen=True)
class Membership:
    """How well a logistic regression on the loss tells members from non-members.

    Attributes:
        point: mean accuracy over the splits, 0 to 1; ½ is a coin toss.
        lower, upper: Clopper-Pearson interval over the examples, fitted attacks held fixed; an example that several
            splits test counts once (see `mulib.audit.intervals.share`). In simulations 94 to 96 in 100 of the 95 %
            intervals hold the expected accuracy, but only 85 to 88 where members and non-members do not differ: the
            direction of the fit is then itself chance. For a null row, repeat over models or seeds.
        splits: the accuracy of each split.
        n_members, n_nonmembers: how many took part.
    """

    point: float
    lower: float
    upper: float
    splits: tuple[float, ...]
    n_members: int
    n_nonmembers: int

    @property
    def spread(self) -> float:
        """Standard deviation over the splits, 0 for one split. The splits share examples: it is no standard error."""
        return statistics.stdev(self.splits) if len(self.splits) > 1 else 0.0

    @property
    def n(self) -> int:
        """Examples that took part, members and non-members."""
        return self.n_members + self.n_nonmembers

    @property
    def forgetting_score(self) -> float:
        """|point − ½|, 0 to ½: low is good."""
        return forgetting_score(self.point)


def membership(
    members: ArrayLike,
    nonmembers: ArrayLike,
    *,
    seed: int = 0,
    repeats: int = 10,
    test_size: float = 0.1,
    balanced: bool = True,
    confidence: float = 0.95,
) -> Membership:
    """Accuracy of the logistic-regression attack on the per-example loss.

    As many members as non-members are drawn; then, `repeats` times, a stratified share `test_size` is held out, a
    logistic regression (L2 penalty, C = 1, intercept free) is fitted to the others' losses, and is scored on it.
    It is the benchmark's recipe, with two differences. The fit is the exact minimum, where scikit-learn's default
    stops early: on losses of ordinary shape about one split in 300 then differs, on very heavy tails one in ten,
    and one in three if those losses are float32. And there is `balanced`.

    The attack is weak: one threshold for all examples, whatever their difficulty.

    Args:
        members: (F,) losses of the forget set, in nats. The penalty makes the fit depend on their scale: the
            benchmark takes the cross-entropy, or the mean (not the sum) of the attributes' binary cross-entropies.
        nonmembers: (U,) losses of the unseen set.
        seed: of the draw and the splits; 0 gives the released code's.
        balanced: whether a larger unseen set is cut as well. The released code cuts the forget set only, so
            ``False`` gives MUFAC's printed numbers (1,500 against 1,504); with few members it scores the majority.
        confidence: of the interval.

    Raises:
        InputError: NaN or infinite losses, fewer than two on a side, or too few for the splits.

    Source: Choi and Na, 2023, and Choi et al. (GLI), 2024, released notebooks (`cal_mia`, `simple_mia`).

    >>> membership([0.0] * 20, [5.0] * 20).point
    1.0
    """
    options = {"seed": seed, "repeats": repeats, "test_size": test_size, "balanced": balanced}
    members = sample(members, "the members' losses", at_least=2)
    nonmembers = sample(nonmembers, "the non-members' losses", at_least=2)
    return memberships(members[None], nonmembers[None], confidence=confidence, **options)[0]


def memberships(
    members: ArrayLike,
    nonmembers: ArrayLike,
    *,
    seed: int = 0,
    repeats: int = 10,
    test_size: float = 0.1,
    balanced: bool = True,
    confidence: float = 0.95,
) -> list[Membership]:
    """The attack on many models at once: losses (M, F) and (M, U), one row per model, give a list of M results.

    All models share the draw and the splits, so their differences are not those of the splits. Else as `membership`.
    """
    check_confidence(confidence)
    members, nonmembers = _check(members, nonmembers, repeats, test_size)
    draw = np.random.RandomState(SHUFFLE_SEED + seed)  # the released code's generator
    f, u = members.shape[1], nonmembers.shape[1]
    members = members[:, draw.permutation(f)[:u]]
    if balanced and u > f:
        nonmembers = nonmembers[:, draw.permutation(u)[:f]]
    sizes = members.shape[1], nonmembers.shape[1]
    losses = np.concatenate([nonmembers, members], axis=1)
    is_member = np.arange(losses.shape[1]) >= sizes[1]
    train, test = _splits(*sizes, repeats, test_size, seed)

    step = max(1, BLOCK // train.size)
    hits = np.concatenate([_hits(losses[i : i + step], is_member, train, test) for i in range(0, len(losses), step)])
    correct = np.zeros(losses.shape)
    for split, rows in enumerate(test):
        correct[:, rows] += hits[:, split]
    counted = np.bincount(test.ravel(), minlength=losses.shape[1])
    columns = *(side.tolist() for side in share(correct, counted, confidence)), hits.mean(2).tolist()
    rows = zip(*columns, strict=True)
    return [Membership(point, lower, upper, tuple(splits), *sizes) for point, lower, upper, splits in rows]


def tpr_at_fpr(members: ArrayLike, nonmembers: ArrayLike, fpr: float = 0.01, *, confidence: float = 0.95) -> Estimate:
    """True-positive rate of "member where the score is above t", at the lowest t that keeps the false-positive rate.

    Args:
        members, nonmembers: scores (F,) and (U,), higher for members: minus the loss, a likelihood ratio, ….
        fpr: the most false positives among the non-members, a share in [0, 1). With fewer than 1/fpr non-members no
            false positive is allowed at all.

    The interval is Clopper and Pearson's over the members and holds the threshold fixed. With few non-members the
    threshold itself is uncertain.

    Raises:
        InputError: no scores on a side, NaN or infinite ones, or a rate out of range.

    Source: Carlini et al., *Membership Inference Attacks From First Principles*, 2022, section on metrics.

    >>> tpr_at_fpr([3.0, 4.0], [1.0, 2.0]).point
    1.0
    """
    check_confidence(confidence)
    if not 0 <= fpr < 1:
        raise InputError(f"fpr is {fpr}: expected a share of the non-members from 0 to below 1, such as 0.01.")
    members = sample(members, "the members' scores", at_least=1)
    nonmembers = np.sort(sample(nonmembers, "the non-members' scores", at_least=1))
    allowed = math.floor(fpr * len(nonmembers) + 1e-9)  # 0.29 · 100 is 28.999…96
    found = members > nonmembers[len(nonmembers) - 1 - allowed]
    return rate(found, confidence=confidence)


def _check(
    members: ArrayLike, nonmembers: ArrayLike, repeats: int, test_size: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The losses as (M, F) and (M, U) float64, or one sentence that says what is wrong with them."""
    if repeats < 1 or not 0 < test_size < 1:
        raise InputError(f"repeats is {repeats}, test_size {test_size}: expected at least 1, and a share in (0, 1).")
    members, nonmembers = np.asarray(members, dtype=np.float64), np.asarray(nonmembers, dtype=np.float64)
    if members.ndim != 2 or nonmembers.ndim != 2 or len(members) != len(nonmembers) or not len(members):
        shapes = f"{members.shape} and {nonmembers.shape}"
        raise InputError(f"losses have shapes {shapes}: expected (models, members) and (models, non-members).")
    for name, losses in (("members", members), ("non-members", nonmembers)):
        if losses.shape[1] < 2:
            raise InputError(f"there are {losses.shape[1]} {name}: the attack needs at least 2 on each side.")
        if not np.isfinite(losses).all():
            raise InputError(f"the {name}' losses contain NaN or ∞: check the model that gave them.")
    return members, nonmembers


@lru_cache(maxsize=8)
def _splits(members: int, nonmembers: int, repeats: int, test_size: float, seed: int) -> tuple[NDArray, NDArray]:
    """Positions of each split's training and test examples, non-members first: (repeats, n_train), (repeats, n_test).

    They depend on the counts alone, so a method that is scored after every step draws them once.
    """
    is_member = np.arange(members + nonmembers) >= nonmembers
    splitter = StratifiedShuffleSplit(repeats, test_size=test_size, random_state=seed)
    try:
        train, test = (np.stack(part) for part in zip(*splitter.split(is_member, is_member), strict=True))
    except ValueError:
        train = test = np.zeros((1, 0), dtype=int)
    if not (is_member[train].any(1) & ~is_member[train].all(1)).all():
        counts = f"{members} members and {nonmembers} non-members"
        raise InputError(f"{counts} are too few for a test share of {test_size}: give more of both.")
    train.flags.writeable = test.flags.writeable = False  # they are cached
    return train, test


def _hits(losses: NDArray, is_member: NDArray, train: NDArray, test: NDArray) -> NDArray:
    """Whether each split's attack is right on each of its test examples: losses (M, N) → (M, repeats, n_test)."""
    x, y = torch.from_numpy(losses)[:, None], torch.from_numpy(is_member)
    everyone = logistic.fit(x, y)
    attack = logistic.fit(torch.from_numpy(losses[:, train]), torch.from_numpy(is_member[train]), everyone)
    centre, scale, slope, level = (t.numpy() for t in attack)
    return (slope * ((losses[:, test] - centre) / scale) + level > 0) == is_member[test]
