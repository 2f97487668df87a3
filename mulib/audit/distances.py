"""How far apart two samples of losses, or two models' predictions, are."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy.spatial.distance import jensenshannon
from scipy.stats import gaussian_kde
from torch import Tensor
from torch.nn import functional as F

from mulib.audit.intervals import Estimate, bootstrap_mean, sample
from mulib.errors import InputError


def js_divergence(a: ArrayLike, b: ArrayLike, *, points: int = 1000) -> float:
    """Jensen-Shannon divergence of two samples of losses, in nats, from 0 (alike) to log 2.

    Each sample's density is a Gaussian kernel estimate (scipy's, Scott's bandwidth) at `points` values from the
    smallest to the largest loss of both. A sample so narrow that its density vanishes at every point, or that has
    none because all its losses are equal, counts where it lies: each loss at the nearest point.

    Two samples of one distribution do not give 0: compare with what two retrained models give.

    Args:
        a, b: (N,) and (M,) losses.
        points: of the grid, at least 2; 1,000 as published.

    Raises:
        InputError: fewer than two losses in a sample, or NaN or infinite ones.

    Source: Choi et al. (GLI), 2024; the recipe is `calculate_jsd_between_losses` of the released notebooks.

    >>> js_divergence([0.0, 1.0], [0.0, 1.0])
    0.0
    """
    return js_distance(a, b, points=points) ** 2


def js_distance(a: ArrayLike, b: ArrayLike, *, points: int = 1000) -> float:
    """Square root of `js_divergence`, from 0 to √log 2 ≈ 0.833: what GLI's released code computes and calls JSD.

    >>> round(js_distance([0.0, 0.1], [8.0, 9.0]), 3)
    0.833
    """
    a, b = (sample(x, "the losses", at_least=2) for x in (a, b))
    if points < 2:
        raise InputError(f"points is {points}: expected at least 2, such as 1000.")
    grid = np.linspace(min(a.min(), b.min()), max(a.max(), b.max()), points)
    # Equal densities can come out a rounding error below zero, and so as NaN.
    return float(np.nan_to_num(jensenshannon(_density(a, grid), _density(b, grid))))


def activation_distance(a: Tensor, b: Tensor, *, multilabel: bool = False, confidence: float = 0.95) -> Estimate:
    """Mean L2 norm of the difference between two models' probabilities on the same examples, from 0 to √2.

    Args:
        a, b: logits (N, classes); with `multilabel`, (N, A): each attribute is a pair of probabilities, and an
            example's distance is the average over its attributes.

    Raises:
        InputError: shapes that differ or hold no examples, NaN or infinite logits.

    Source: Chundawat et al. (bad teaching), 2023, section on metrics.

    >>> activation_distance(torch.zeros(3, 4), torch.zeros(3, 4)).point
    0.0
    """
    p, q = (x.exp() for x in _log_probabilities(a, b, multilabel))
    return bootstrap_mean((p - q).norm(dim=2).mean(1), confidence=confidence)


def zrf(student: Tensor, incompetent: Tensor, *, multilabel: bool = False, confidence: float = 0.95) -> Estimate:
    """Zero retrain forgetting: 1 − mean JS divergence, in bits, to an incompetent teacher; from 0 to 1 (forgotten).

    The released code is not this formula. It averages over the N·C entries instead of the N examples, so that the
    divergence is C times too small and nearly every model scores close to 1; it swaps the two arguments of each
    Kullback-Leibler term; and it takes nats.

    Args:
        student, incompetent: logits on the forget set, (N, classes); with `multilabel`, (N, A), averaged over the
            attributes.

    Raises:
        InputError: shapes that differ or hold no examples, NaN or infinite logits.

    Source: Chundawat et al. (bad teaching), 2023, equation of the ZRF score; released code `metrics.py`, `JSDiv`.

    >>> zrf(torch.zeros(3, 4), torch.zeros(3, 4)).point
    1.0
    """
    log_p, log_q = _log_probabilities(student, incompetent, multilabel)
    log_m = torch.logaddexp(log_p, log_q) - math.log(2)
    each = log_p.exp() * (log_p - log_m) + log_q.exp() * (log_q - log_m)
    bits = each.sum(2).mean(1) / (2 * math.log(2))
    return bootstrap_mean(1 - bits.clamp(0, 1), confidence=confidence)


def _density(losses: NDArray, grid: NDArray) -> NDArray:
    """Density at the grid points, up to a factor."""
    if np.ptp(losses) > 0:
        density = gaussian_kde(losses)(grid)
        if density.any():
            return density
    nearest = np.rint((losses - grid[0]) / ((grid[1] - grid[0]) or 1.0)).astype(int)
    return np.bincount(nearest, minlength=len(grid)).astype(float)


def _log_probabilities(a: Tensor, b: Tensor, multilabel: bool) -> tuple[Tensor, Tensor]:
    """Both models' log-probabilities, float64: (N, 1, C), or with attributes (N, A, 2)."""
    for name, logits in (("first", a), ("second", b)):
        if logits.ndim != 2 or 0 in logits.shape:
            kind = "attributes" if multilabel else "classes"
            raise InputError(f"the {name} logits have shape {tuple(logits.shape)}: expected (examples, {kind}).")
        if not bool(torch.isfinite(logits).all()):
            raise InputError(f"the {name} logits contain NaN or ∞: check the model that gave them.")
    if a.shape != b.shape:
        raise InputError(f"shapes {tuple(a.shape)} and {tuple(b.shape)} differ: give both models the same examples.")
    a, b = a.detach().cpu().double(), b.detach().cpu().double()
    if multilabel:
        a, b = (torch.stack([F.logsigmoid(x), F.logsigmoid(-x)], dim=2) for x in (a, b))
        return a, b
    return a.log_softmax(1)[:, None], b.log_softmax(1)[:, None]
