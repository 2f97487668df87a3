"""The ε attack in one kernel: a program per example, from logits to ε.

Floor: each logit is read once (4·E·(Mu + Mr)·C bytes), a float64 per model and example is written, and each example
takes 4·(Mu + Mr)² comparisons: error counts are counted, not sorted for, so that ties need no care. Eager torch reads
the logits twice, and passes some thirty times over float64 tensors of E·(Mu + Mr) and sorts three.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from mulib.kernels.epsilon import DECIMALS, MIN_STD

KINDS = {"hinge": 0, "loss": 1, "residual": 2}
MODELS, CHUNK = 1024, 16  # one program holds a float64 per model


@triton.jit
def _statistic(z, row, step, label, mask, C, KIND: tl.constexpr, BLOCK: tl.constexpr, CHUNK: tl.constexpr):
    """(BLOCK,) float64: what the logits of each model come to; z + row·step is where a model's logits start."""
    true, other = tl.zeros([BLOCK], tl.float64), tl.full([BLOCK], -float("inf"), tl.float64)
    if KIND == 2:
        true = tl.load(z + row * step, mask, other=0.0).to(tl.float64)
        return true - label
    total = tl.zeros([BLOCK], tl.float64)
    for start in range(0, C, CHUNK):
        c = start + tl.arange(0, CHUNK)
        inside = mask[:, None] & (c < C)[None, :]
        x = tl.load(z + row[:, None] * step + c[None, :], inside, other=-float("inf")).to(tl.float64)
        is_label = inside & (c == label)[None, :]
        true += tl.sum(tl.where(is_label, x, 0.0), 1)
        if KIND == 0:
            other = tl.maximum(other, tl.max(tl.where(is_label, -float("inf"), x), 1))
        else:  # log Σ exp as it streams by: rescaled whenever a larger logit comes
            higher = tl.where(mask, tl.maximum(other, tl.max(x, 1)), 0.0)
            total = total * tl.exp(other - higher) + tl.sum(tl.exp(x - higher[:, None]), 1)
            other = higher
    return true - other if KIND == 0 else other + tl.log(total) - true


@triton.jit
def _rounded(x, SCALE: tl.constexpr):
    """To so many decimals, ties to even as torch.round: adding 1.5·2⁵² leaves no bits below 1."""
    scaled = x * SCALE
    whole = (scaled + 6755399441055744.0) - 6755399441055744.0
    return tl.where(tl.abs(scaled) < 2251799813685248.0, whole, scaled) / SCALE


@triton.jit
def _attack(
    unlearned, retrained, labels, values, scores, point, U, R, C, delta,
    KIND: tl.constexpr, GAUSSIAN: tl.constexpr, MIN: tl.constexpr, SCALE: tl.constexpr,
    BLOCK: tl.constexpr, CHUNK: tl.constexpr,
):  # fmt: skip
    e = tl.program_id(0).to(tl.int64)
    m, M = tl.arange(0, BLOCK), U + R
    is_u, is_r = m < U, (m >= U) & (m < M)
    label = tl.load(labels + e)
    u = _statistic(unlearned + e * U * C, m, C, label, is_u, C, KIND, BLOCK, CHUNK)
    r = _statistic(retrained + e * R * C, m - U, C, label, is_r, C, KIND, BLOCK, CHUNK)
    x = tl.where(is_u, u, r)
    tl.store(values + e * M + m, x, m < M)
    if GAUSSIAN:
        mean_u, mean_r = tl.sum(tl.where(is_u, x, 0.0), 0) / U, tl.sum(tl.where(is_r, x, 0.0), 0) / R
        square_u, square_r = (x - mean_u) * (x - mean_u), (x - mean_r) * (x - mean_r)
        std_u = tl.maximum(tl.sqrt(tl.sum(tl.where(is_u, square_u, 0.0), 0) / U), MIN)
        std_r = tl.maximum(tl.sqrt(tl.sum(tl.where(is_r, square_r, 0.0), 0) / R), MIN)
        at_u, at_r = (x - mean_u) / std_u, (x - mean_r) / std_r
        x = (at_r * at_r - at_u * at_u) * 0.5 + (tl.log(std_r) - tl.log(std_u))
    x = _rounded(x, SCALE)
    tl.store(scores + e * M + m, x, m < M)
    tl.debug_barrier()  # every thread reads what all have written
    # How many scores of either side lie below each score, and how many at or below it.
    below_u, below_r, upto_u, upto_r = (tl.zeros([BLOCK], tl.int32),) * 4
    for start in range(0, M, CHUNK):
        k = start + tl.arange(0, CHUNK)
        s = tl.load(scores + e * M + k, k < M, other=0.0)
        below, upto = s[None, :] < x[:, None], s[None, :] <= x[:, None]
        k_u, k_r = (k < U)[None, :], ((k >= U) & (k < M))[None, :]
        below_u += tl.sum((below & k_u).to(tl.int32), 1)
        below_r += tl.sum((below & k_r).to(tl.int32), 1)
        upto_u += tl.sum((upto & k_u).to(tl.int32), 1)
        upto_r += tl.sum((upto & k_r).to(tl.int32), 1)
    # The medians: a score is the k-th of its side where at most k lie below it and more than k up to it.
    low_u, high_u, low_r, high_r = (U - 1) // 2, U // 2, (R - 1) // 2, R // 2
    nothing = -float("inf")
    median_u = tl.max(tl.where(is_u & (below_u <= low_u) & (low_u < upto_u), x, nothing), 0)
    median_u += tl.max(tl.where(is_u & (below_u <= high_u) & (high_u < upto_u), x, nothing), 0)
    median_r = tl.max(tl.where(is_r & (below_r <= low_r) & (low_r < upto_r), x, nothing), 0)
    median_r += tl.max(tl.where(is_r & (below_r <= high_r) & (high_r < upto_r), x, nothing), 0)
    # "Unlearned where score ≥ threshold", or ≤ where the retrained models score higher.
    flip = median_r > median_u
    false_positive, false_negative = tl.where(flip, upto_r, R - below_r), tl.where(flip, U - upto_u, below_u)
    fpr, fnr = false_positive.to(tl.float64) / R, false_negative.to(tl.float64) / U
    one, two = 1 - delta - fpr, 1 - delta - fnr
    usable = (false_positive > 0) & (false_negative > 0)
    one = tl.where(
        usable & (one > 0), tl.log(tl.where(one > 0, one, 1.0)) - tl.log(tl.where(usable, fnr, 1.0)), nothing
    )
    two = tl.where(
        usable & (two > 0), tl.log(tl.where(two > 0, two, 1.0)) - tl.log(tl.where(usable, fpr, 1.0)), nothing
    )
    epsilon = tl.maximum(one, two)
    epsilon = tl.where((false_positive == 0) & (false_negative == 0), float("inf"), epsilon)
    best = tl.max(tl.where(m < M, epsilon, nothing), 0)
    tl.store(point + e, tl.where(best == nothing, float("nan"), best))


def attack_refused(unlearned: Tensor, retrained: Tensor, labels: Tensor, delta: float, statistic: str) -> str:
    """Why the kernel does not apply, or nothing."""
    models = unlearned.shape[1] + retrained.shape[1]
    return f"{models} models are more than the {MODELS} that one program holds" if models > MODELS else ""


def attack(
    unlearned: Tensor, retrained: Tensor, labels: Tensor, delta: float, statistic: str
) -> tuple[Tensor, Tensor, Tensor]:
    """As `mulib.kernels.epsilon.attack`."""
    (examples, u, classes), r = unlearned.shape, retrained.shape[1]
    empty = unlearned.new_empty
    values, scores = (empty(examples, u + r, dtype=torch.float64) for _ in range(2))
    point = empty(examples, dtype=torch.float64)
    block = max(16, triton.next_power_of_2(u + r))
    _attack[(examples,)](
        unlearned.contiguous(), retrained.contiguous(), labels, values, scores, point, u, r, classes, delta,
        KIND=KINDS[statistic], GAUSSIAN=statistic != "loss", MIN=MIN_STD, SCALE=10.0**DECIMALS,
        BLOCK=block, CHUNK=CHUNK,
    )  # fmt: skip
    return point, values[:, :u], values[:, u:]
