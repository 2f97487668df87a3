"""Estimates with their intervals over examples, in one place: shares of right answers, and means."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import beta, norm

from mulib.errors import InputError

BLOCK = 1 << 22  # drawn values held at a time: 32 MB


@dataclass(frozen=True)
class Estimate:
    """A number with its interval; which interval, and over what, says the function that gave it.

    Attributes:
        n: over how many examples.
        reference: what to read `point` against, where there is something: see the function that gave it.
        attributes: the same of each attribute, in the order of the labels, where an accuracy is over several.
    """

    point: float
    lower: float
    upper: float
    n: int
    reference: float | None = None
    attributes: tuple[Estimate, ...] = ()


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


def normal_mean(values: ArrayLike, *, confidence: float = 0.95, reference: float | None = None) -> Estimate:
    """Mean of two values or more, (N,), with the normal interval ± z·s/√N."""
    check_confidence(confidence)
    values = sample(values, "values", at_least=2)
    point, half = float(values.mean()), float(norm.ppf((1 + confidence) / 2) * values.std(ddof=1) / len(values) ** 0.5)
    return Estimate(point, point - half, point + half, len(values), reference)


def rate(right: ArrayLike, *, confidence: float = 0.95, attributes: tuple[Estimate, ...] = ()) -> Estimate:
    """Share of right answers, (N,) or several per example, (N, A) bool, with the interval of `share`; NaN of none."""
    check_confidence(confidence)
    answers = np.asarray(right)
    if not (n := len(answers)):
        return Estimate(np.nan, np.nan, np.nan, 0)
    answers = answers.reshape(n, -1)
    point, lower, upper = map(float, share(answers.sum(1), np.full(n, answers.shape[1]), confidence))
    return Estimate(point, lower, upper, n, attributes=attributes)


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
    return point, *clopper_pearson(point * n, (1 - point) * n, confidence)


def clopper_pearson(right: ArrayLike, wrong: ArrayLike, confidence: float) -> tuple[NDArray, NDArray]:
    """Two-sided bounds on a rate, lower and upper, from counts (...) of right and of wrong answers.

    Source: Clopper and Pearson, Biometrika 26, 1934.

    >>> round(float(clopper_pearson(0, 40, 0.95)[1]), 4)
    0.0881
    """
    right, wrong, alpha = np.asarray(right), np.asarray(wrong), 1 - confidence
    with np.errstate(invalid="ignore"):
        lower, upper = beta.ppf(alpha / 2, right, wrong + 1), beta.ppf(1 - alpha / 2, right + 1, wrong)
    return np.where(right == 0, 0.0, lower), np.where(wrong == 0, 1.0, upper)


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
