"""Many logistic regressions on one feature, solved together.

Shapes: (..., n) examples, one problem per leading index. Everything is float64 and lives on the device of its input.
Floor: 16·n bytes read per problem and Newton step, one exponential and one logarithm per example; 5 to 8 steps on
losses of ordinary shape. scikit-learn's lbfgs takes as many passes, one problem at a time, in Python.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

STEPS = 200  # Newton's method needs 5 to 30: the rest is for losses that no model gives
GAIN = 1e-10  # when a step promises less, what is left after it is of the order of GAIN²


def fit(x: Tensor, y: Tensor, start: tuple[Tensor, ...] | None = None) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The minimum of Σ log(1 + exp(∓z)) + w²/2 over w and b, for z = w·x + b: scikit-learn's objective at C = 1.

    Args:
        x: (..., n) finite values; y: bool, true for the positive class, of a shape that broadcasts to x. Every
            problem has examples of both classes.
        start: what `fit` gave for a like problem; from there three steps are enough.

    Returns:
        centre, scale, slope, level, each (..., 1): z = slope · (x − centre)/scale + level. Constant x give slope 0
        exactly, and so the same z for every example.
    """
    centre, scale = x.mean(-1, keepdim=True), x.std(-1, correction=0, keepdim=True)
    constant = scale <= 1e-12 * centre.abs()
    scale = scale.masked_fill(constant, 1.0)
    # The intercept is not penalised, so x may be shifted at will; scaled, w²/2 is slope²/(2·scale²).
    sign, penalty = y.double() * 2 - 1, scale**-2
    u = ((x - centre) / scale).masked_fill_(constant, 0.0)
    signed = u * sign
    slope, level = torch.zeros_like(centre), y.double().mean(-1, keepdim=True).logit().expand_as(centre)
    if start is not None:
        centre_0, scale_0, slope_0, level_0 = start
        slope = torch.where(constant, slope, slope_0 * scale / scale_0)
        level = torch.where(constant, level, level_0 + slope_0 * (centre - centre_0) / scale_0)
    value, wrong = _objective(signed, sign, slope, level, penalty)
    for _ in range(STEPS):
        weight = wrong * (1 - wrong)
        down, free = penalty * slope - _sum(wrong * signed), -_sum(wrong * sign)
        second, weight = _sum(weight), weight.mul_(u)
        cross, first = _sum(weight), _sum(weight.mul_(u)) + penalty
        determinant = first * second - cross**2
        step_slope = (second * down - cross * free) / determinant
        step_level = (first * free - cross * down) / determinant
        size = torch.ones_like(slope)
        for _ in range(60):  # halve the steps that overshoot
            trial = slope - size * step_slope, level - size * step_level
            new, wrong = _objective(signed, sign, *trial, penalty)
            worse = new > value * (1 + 1e-12)
            if not bool(worse.any()):
                break
            size = torch.where(worse, size / 2, size)
        slope, level, value = *trial, new
        if float((step_slope * down + step_level * free).max()) < GAIN:
            break
    return centre, scale, slope, level


def _objective(signed: Tensor, sign: Tensor, slope: Tensor, level: Tensor, penalty: Tensor) -> tuple[Tensor, Tensor]:
    """The objective (..., 1), and the probability given to the wrong class (..., n)."""
    z = (signed * slope).addcmul_(sign, level)
    return penalty * slope**2 / 2 - _sum(F.logsigmoid(z)), z.neg_().sigmoid_()


def _sum(x: Tensor) -> Tensor:
    return x.sum(-1, keepdim=True)
