"""ε from an attack's scores, each with what it promises: bounds over thresholds or from one run, and an estimate."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import binom, norm

from mulib.audit.intervals import check_confidence, clopper_pearson
from mulib.errors import InputError

HALVINGS = 40  # of an interval of ε: an error below 1e-10


@dataclass(frozen=True)
class EpsilonBound:
    """A lower bound on ε, per row of scores: it lies above the true ε with probability 1 − `confidence` at most.

    Attributes:
        lower: (D,) in nats, 0 or more.
        ceiling: the most that so many scores can certify.
        method: how it was found, in a word or two.
    """

    lower: NDArray[np.float64]
    ceiling: float
    delta: float
    confidence: float
    method: str

    def __str__(self) -> str:
        return f"ε ≥ {np.median(self.lower):.2f} ({self.confidence:.0%}, {self.method}; ceiling {self.ceiling:.2f})"


@dataclass(frozen=True)
class EpsilonEstimate:
    """An estimate of ε, per row of scores, under an assumption that no data can prove. It bounds nothing.

    Attributes:
        value: (D,) in nats, 0 or more.
        assumption: what must be true of the scores.
    """

    value: NDArray[np.float64]
    delta: float
    assumption: str

    def __str__(self) -> str:
        return f"estimate: ε ≈ {np.median(self.value):.2f}, if {self.assumption}"


def bonferroni(
    negative: ArrayLike, positive: ArrayLike, *, thresholds: int = 8, delta: float = 0.0, confidence: float = 0.95
) -> EpsilonBound:
    """The best of several thresholds, all scores used for each, every bound paid for.

    Thresholds are the order statistics of `negative` at `thresholds` ranks that were fixed before looking, so the
    false-positive rate above the k-th largest is at most Beta(k, n + 1 − k), and the positives are counted against a
    threshold that they had no part in. Both rates' bounds at all ranks hold together with `confidence`. No scores are
    spent on choosing, as in `audit.epsilon`: with a few dozen continuous scores the bound is two to three times as
    large, with scores of two values smaller.

    Args:
        negative, positive: (n,) and (p,) scores, or (D, n) and (D, p) for D audits at once; higher for positives.
        thresholds: 1 … n.

    Raises:
        InputError: fewer than two scores on a side, NaN, or a number out of range.

    Source: union bound over Clopper-Pearson bounds, Jagielski et al., 2020; the thresholds are ours.

    >>> bonferroni(np.zeros(1000), np.ones(1000)).lower.round(2)
    array([5.15])
    """
    negative, positive = _scores(negative, positive, delta, confidence)
    n, p = negative.shape[1], positive.shape[1]
    if not 1 <= thresholds <= n:
        raise InputError(f"thresholds is {thresholds}: expected 1 … {n}, the number of negative scores.")
    # Spaced evenly in the logarithm: few false positives are where ε is large.
    ranks = np.unique(np.geomspace(1, n, thresholds).round().astype(int))
    each = 1 - (1 - confidence) / len(ranks)  # of a pair of bounds, α/2 for each
    cuts = np.sort(negative, axis=1)[:, n - ranks]
    missed = np.stack([(positive <= cut[:, None]).sum(1) for cut in cuts.T], 1)
    fpr = clopper_pearson(ranks - 1, n - ranks + 1, each)[1]
    counts = np.arange(p + 1)
    fnr = clopper_pearson(counts, p - counts, each)[1]
    lower = _epsilon(fpr, fnr[missed], delta).max(1)
    return EpsilonBound(lower, float(_epsilon(fpr, fnr[0], delta).max()), delta, confidence, "Bonferroni")


def gaussian_estimate(negative: ArrayLike, positive: ArrayLike, *, delta: float = 0.05) -> EpsilonEstimate:
    """The ε of the Gaussian mechanism whose two outputs are as far apart as the scores' means, in their deviations.

    With few scores it says much, because it assumes much: where the scores are not Gaussian of one width it is wrong,
    in either direction, and more scores do not help (`tests/test_bounds.py` shows how far).

    Args:
        negative, positive: as for `bonferroni`.
        delta: above 0: at 0 the ε of a Gaussian mechanism is infinite.

    Source: Dong, Roth and Su, *Gaussian Differential Privacy*, 2022 (ε of μ-GDP); for audits Nasr et al., 2023.

    >>> print(gaussian_estimate([0.0, 1.0], [1.0, 2.0]))
    estimate: ε ≈ 2.68, if both scores are Gaussian of one width
    """
    if not delta > 0:
        raise InputError("delta is 0: a Gaussian mechanism has no finite ε there; expected above 0, such as 0.05.")
    negative, positive = _scores(negative, positive, delta, 0.95)
    variance = (negative.var(1, ddof=1) + positive.var(1, ddof=1)) / 2
    distance = positive.mean(1) - negative.mean(1)
    with np.errstate(divide="ignore", invalid="ignore"):
        mu = np.nan_to_num(np.abs(distance) / np.sqrt(variance), nan=0.0, posinf=np.inf)
    return EpsilonEstimate(gaussian_epsilon(mu, delta), delta, "both scores are Gaussian of one width")


def gaussian_epsilon(mu: ArrayLike, delta: float) -> NDArray[np.float64]:
    """ε of N(0, 1) against N(μ, 1) at δ, for each μ: 0 where δ covers the difference, ∞ where μ is.

    Source: Balle and Wang, *Improving the Gaussian Mechanism*, 2018, theorem 8.
    """
    mu = np.atleast_1d(np.asarray(mu, float))
    inner = np.where(np.isfinite(mu) & (mu > 0), mu, 1.0)

    def excess(epsilon: NDArray) -> NDArray:
        tail = np.exp(epsilon + norm.logcdf(-inner / 2 - epsilon / inner))
        return norm.cdf(inner / 2 - epsilon / inner) - tail - delta

    low, high = np.zeros_like(inner), inner * inner / 2 + inner * abs(norm.isf(delta)) + 1
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        more = excess(middle) > 0
        low, high = np.where(more, middle, low), np.where(more, high, middle)
    found = np.where(excess(0 * inner) > 0, low, 0.0)
    return np.where(mu > 0, np.where(np.isfinite(mu), found, np.inf), 0.0)


def one_run(
    scores: ArrayLike,
    member: ArrayLike,
    *,
    guesses: int | None = None,
    delta: float = 0.0,
    confidence: float = 0.95,
) -> EpsilonBound:
    """A bound on ε from a single model, where a fair coin drew for every example whether it was trained on.

    The highest scores are guessed to be members, the lowest not to be, as many of each; on the rest the auditor is
    silent. Under (ε, δ)-differential privacy the right guesses are not many more than r draws of a coin that shows
    heads with probability e^ε/(1 + e^ε); the bound is the smallest ε under which so many are not surprising.

    Args:
        scores: (m,) or (D, m), higher for members.
        member: (m,) or (D, m) bool, what the coins said. Drawn anew for every example and independent: a set of fixed
            size, or one that somebody chose, gives no guarantee.
        guesses: r, an even number up to m, fixed before looking; by default half of the examples.

    Raises:
        InputError: shapes that do not fit, NaN, or a number out of range.

    Source: Steinke, Nasr and Jagielski, *Privacy Auditing with One (1) Training Run*, NeurIPS 2023, theorem 5.2.

    >>> one_run(np.arange(100), np.arange(100) >= 50).lower.round(2)
    array([2.78])
    """
    scores, member = np.atleast_2d(np.asarray(scores, float)), np.atleast_2d(np.asarray(member, bool))
    m = scores.shape[1]
    guesses = int(m // 2 // 2 * 2 if guesses is None else guesses)
    check_confidence(confidence)
    if scores.shape != member.shape or scores.ndim != 2 or not np.isfinite(scores).all() or not 0 <= delta < 1:
        raise InputError(f"{scores.shape} scores, {member.shape} members, δ {delta}: expected finite ones, one each.")
    if guesses % 2 or not 2 <= guesses <= m:
        raise InputError(f"guesses is {guesses}: expected an even number from 2 to {m}, the examples.")
    order = np.argsort(scores, axis=1, kind="stable")
    ranked = np.take_along_axis(member, order, axis=1)
    right = ranked[:, m - guesses // 2 :].sum(1) + (~ranked[:, : guesses // 2]).sum(1)
    found, where = np.unique(np.append(right, guesses), return_inverse=True)
    lower = _smallest(found, guesses, m, delta, 1 - confidence)
    return EpsilonBound(lower[where[:-1]], float(lower[where[-1]]), delta, confidence, "one run")


def _smallest(right: NDArray, guesses: int, m: int, delta: float, alpha: float) -> NDArray[np.float64]:
    """The smallest ε whose chance of so many right guesses is at least α, by bisection; 0 where 0 already has it."""
    low, high = np.zeros(len(right)), np.full(len(right), 30.0)
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        surprising = _tail(right, guesses, m, middle, delta) < alpha
        low, high = np.where(surprising, middle, low), np.where(surprising, high, middle)
    return np.where(_tail(right, guesses, m, 0 * low, delta) < alpha, low, 0.0)


def _tail(right: NDArray, guesses: int, m: int, epsilon: NDArray, delta: float) -> NDArray[np.float64]:
    """The most that P(right guesses ≥ `right`) can be under (ε, δ)."""
    q = 1 / (1 + np.exp(-epsilon))
    tail = binom.sf(right - 1, guesses, q)
    if delta == 0:
        return tail
    i = np.arange(1, guesses + 1)[:, None]  # P(right − i ≤ W < right) / i, the largest over i
    near = (binom.sf(right - i - 1, guesses, q) - tail) / i
    return np.minimum(tail + 2 * m * delta * near.max(0), 1)


def _epsilon(fpr: NDArray, fnr: NDArray, delta: float) -> NDArray[np.float64]:
    """ε that two error rates show, 0 or more."""
    with np.errstate(divide="ignore", invalid="ignore"):
        both = np.log(1 - delta - fpr) - np.log(fnr), np.log(1 - delta - fnr) - np.log(fpr)
    return np.nan_to_num(np.fmax(*both), nan=0.0, posinf=np.inf, neginf=0.0).clip(min=0)


def _scores(negative: ArrayLike, positive: ArrayLike, delta: float, confidence: float) -> tuple[NDArray, NDArray]:
    check_confidence(confidence)
    if not 0 <= delta < 1:
        raise InputError(f"delta is {delta}: expected 0 ≤ delta < 1.")
    sides = [np.atleast_2d(np.asarray(side, float)) for side in (negative, positive)]
    if any(side.ndim != 2 or side.shape[1] < 2 or not np.isfinite(side).all() for side in sides):
        shapes = " and ".join(str(side.shape) for side in sides)
        raise InputError(f"scores have shapes {shapes}: expected (n,) or (D, n), at least two a side, none NaN or ∞.")
    if len(sides[0]) != len(sides[1]):
        raise InputError(f"there are {len(sides[0])} rows of negatives and {len(sides[1])} of positives: expected one.")
    return sides[0], sides[1]
