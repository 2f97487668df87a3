"""Many logistic regressions on one feature, solved together.

Shapes: (..., n) examples, one problem per leading index. Everything is float64 and lives on the device of its input.
Floor: 16·n bytes read per problem and Newton step, one exponential and one logarithm per example; 5 to 8 steps on
losses of ordinary shape. scikit-learn's lbfgs takes as many passes, one problem at a time, in Python.
"""

from __future__ import annotations

import torch
from torch import Tensor

STEPS = 200  # Newton's method needs 5 to 30: the rest is for losses that no model gives
GAIN = 1e-10  # when a step promises less, what is left after it is of the order of GAIN²


def fit(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The minimum of Σ log(1 + exp(∓z)) + w²/2 over w and b, for z = w·x + b: scikit-learn's objective at C = 1.

    Args:
        x: (..., n) finite values; y: bool, true for the positive class, of a shape that broadcasts to x. Every
            problem has examples of both classes.

    Returns:
        centre, scale, slope, level, each (..., 1): z = slope · (x − centre)/scale + level. Constant x give slope 0
        exactly, and so the same z for every example.
    """
    centre, scale = x.mean(-1, keepdim=True), x.std(-1, correction=0, keepdim=True)
    constant = scale <= 1e-12 * centre.abs()
    scale = scale.masked_fill(constant, 1.0)
    # The intercept is not penalised, so x may be shifted at will; scaled, w²/2 is slope²/(2·scale²).
    u, penalty = ((x - centre) / scale).masked_fill(constant, 0.0), scale**-2
    level = y.double().mean(-1, keepdim=True).logit().expand_as(centre)
    slope = torch.zeros_like(centre)
    value, p = _objective(u, y, slope, level, penalty)
    for _ in range(STEPS):
        error, weight = p - y.double(), p * (1 - p)
        down, free = (error * u).sum(-1, keepdim=True) + penalty * slope, error.sum(-1, keepdim=True)
        weighted = weight * u
        first = (weighted * u).sum(-1, keepdim=True) + penalty
        cross, second = weighted.sum(-1, keepdim=True), weight.sum(-1, keepdim=True)
        determinant = first * second - cross**2
        step_slope, step_level = (second * down - cross * free), (first * free - cross * down)
        step_slope, step_level = step_slope / determinant, step_level / determinant
        size = torch.ones_like(slope)
        for _ in range(60):  # halve the steps that overshoot
            trial = slope - size * step_slope, level - size * step_level
            new, p = _objective(u, y, *trial, penalty)
            worse = new > value * (1 + 1e-12)
            if not bool(worse.any()):
                break
            size = torch.where(worse, size / 2, size)
        slope, level, value = *trial, new
        if float((step_slope * down + step_level * free).max()) < GAIN:
            break
    return centre, scale, slope, level


def _objective(u: Tensor, y: Tensor, slope: Tensor, level: Tensor, penalty: Tensor) -> tuple[Tensor, Tensor]:
    """The objective (..., 1) and the probabilities of the positive class (..., n)."""
    z = slope * u + level
    small = (-z.abs()).exp()
    p = torch.where(z > 0, 1.0, small) / (1 + small)
    loss = small.log1p() + torch.where(y, -z, z).clamp_min(0)
    return loss.sum(-1, keepdim=True) + penalty * slope**2 / 2, p
