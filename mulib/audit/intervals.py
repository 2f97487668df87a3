"""Intervals over examples, in one place: for shares of correct answers, and for means."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import beta

from mulib.errors import InputError

BLOCK = 1 << 22  # drawn values held at a time: 32 MB


@dataclass(frozen=True)
class Estimate:
    """A mean over `n` examples, with a percentile-bootstrap interval over the examples."""

    point: float
    lower: float
    upper: float
    n: int


def bootstrap_mean(values: ArrayLike, *, confidence: float = 0.95, seed: int = 0, rounds: int = 1000) -> Estimate:
    """Mean of values (N,), with the interval that `rounds` resamples of the N examples give.

    The interval says how far other examples would move the mean; it says nothing about other models.

    Raises:
        InputError: no values, or values that are NaN or infinite.

    Source: Efron, Annals of Statistics 7, 1979; the percentile interval.

    >>> bootstrap_mean([0.0, 1.0]).point
    0.5
    """
    check_confidence(confidence)
    values = sample(values, "values", at_least=1)
    n, draw = len(values), np.random.default_rng(seed)
    blocks = np.diff([*range(0, rounds, max(1, BLOCK // n)), rounds])
    means = np.concatenate([values[draw.integers(0, n, (count, n))].mean(1) for count in blocks])
    lower, upper = np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Estimate(float(values.mean()), float(lower), float(upper), n)


def share(correct: NDArray, counted: NDArray, confidence: float) -> tuple[NDArray, NDArray, NDArray]:
    """Share of correct answers and its Clopper-Pearson bounds, where one example may give several answers.

    Answers about one example are not independent, so the bounds count examples, not answers: they are those of as
    many independent answers as would give the share the same variance. With one answer per example that is their
    number, and the interval is the ordinary one; it stays honest at 0 and 1, where a bootstrap has no width.

    Args:
        correct: (..., N) right answers per example, counted: (N,) answers per example, some may be 0.

    Returns:
        point, lower, upper, each of shape (...).

    Source: Korn and Graubard, Survey Methodology 24, 1998; without their correction for few clusters.
    """
    total = counted.sum()
    point = correct.sum(-1) / total
    variance = np.square(correct - point[..., None] * counted).sum(-1) / total**2
    binomial = point * (1 - point)
    # All right or all wrong: the answers weigh as their examples do. Otherwise an answer never weighs more than one.
    alike = total**2 / np.square(counted).sum()
    spread_out = np.divide(binomial, variance, out=np.full_like(point, np.inf), where=variance > 0)
    n = np.where(binomial == 0, alike, np.minimum(spread_out, total))
    right, wrong, alpha = point * n, (1 - point) * n, 1 - confidence
    with np.errstate(invalid="ignore"):
        lower, upper = beta.ppf(alpha / 2, right, wrong + 1), beta.ppf(1 - alpha / 2, right + 1, wrong)
    return point, np.where(point == 0, 0.0, lower), np.where(point == 1, 1.0, upper)


def check_confidence(confidence: float) -> None:
    if not 0 < confidence < 1:
        raise InputError(f"confidence is {confidence}: expected a value between 0 and 1, such as 0.95.")


def sample(values: ArrayLike, name: str, *, at_least: int) -> NDArray[np.float64]:
    """Values as a (N,) float64 array, or one sentence that says what is wrong with them."""
    values = np.asarray(values, dtype=np.float64)
    if values.ndim != 1 or len(values) < at_least:
        raise InputError(f"{name} have shape {values.shape}: expected one per example, at least {at_least}.")
    if not np.isfinite(values).all():
        raise InputError(f"{name} contain NaN or ∞: check the model that gave them.")
    return values
