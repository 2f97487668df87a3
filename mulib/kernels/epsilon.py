"""The per-example likelihood-ratio attack, for all examples at once.

Shapes: E examples, M models (Mr retrained, Mu unlearned), C classes. Everything is float64 and lives on the
device of its input. Floor per approach: the logits are read once (4·E·(Mr+Mu)·C bytes), and E rows of Mr+Mu
scores are sorted (E·(Mr+Mu)·log2(Mr+Mu) comparisons); memory is linear in E·(Mr+Mu)·C.

Source: Krähenmann et al., *Forget with Precision*, 2023, section on the evaluation metric; the detection-error
trade-off is the one of scikit-learn's ``det_curve``, which the paper's released attack calls.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from mulib.kernels.dispatch import fused

# A Gaussian fitted to identical values would be a point mass. It gets this width (in logits or nats), which is
# below what float32 logits of ordinary size resolve, so that the density exists and equal values stay equal.
MIN_STD = 1e-6
# Scores that agree to so many decimals differ by rounding error only, and are ties.
DECIMALS = 9


def hinge(logits: Tensor, labels: Tensor) -> Tensor:
    """z_y − max_{c≠y} z_c of every model on every example: logits (E, M, C), labels (E,) → (E, M) float64."""
    index = labels.view(-1, 1, 1)
    true = logits.gather(2, index.expand(-1, logits.shape[1], 1)).squeeze(2)
    bar = logits.new_zeros(len(labels), 1, logits.shape[2]).scatter_(2, index, -torch.inf)
    return true.double() - (logits + bar).amax(2)


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """−log softmax(z)_y in nats: logits (E, M, C), labels (E,) → (E, M) float64."""
    index = labels.view(-1, 1, 1).expand(-1, logits.shape[1], 1)
    return -logits.double().log_softmax(2).gather(2, index).squeeze(2)


def residual(outputs: Tensor, values: Tensor) -> Tensor:
    """Predicted minus true value: outputs (E, M, 1), values (E,) → (E, M) float64, in the unit of the values."""
    return outputs[..., 0].double() - values[:, None]


def gaussian(x: Tensor) -> tuple[Tensor, Tensor]:
    """Maximum-likelihood mean and standard deviation per row, floored at `MIN_STD`: (E, M) → (E, 1), (E, 1)."""
    mean = x.mean(1, keepdim=True)
    return mean, (x - mean).square_().mean(1, keepdim=True).sqrt_().clamp_min_(MIN_STD)


def log_likelihood_ratio(x: Tensor, numerator: tuple, denominator: tuple) -> Tensor:
    """log p(x; numerator) − log p(x; denominator) for two `gaussian` fits: (E, M) → (E, M), rounded to `DECIMALS`."""
    (mean_n, std_n), (mean_d, std_d) = numerator, denominator
    ratio = ((x - mean_d) / std_d).square_().sub_(((x - mean_n) / std_n).square_()).mul_(0.5)
    return ratio.add_(std_d.log() - std_n.log()).round_(decimals=DECIMALS).add_(0.0)  # + 0 turns −0 into 0


STATISTICS = {"hinge": hinge, "loss": cross_entropy, "residual": residual}


@fused
def attack(
    unlearned: Tensor, retrained: Tensor, labels: Tensor, delta: float, statistic: str
) -> tuple[Tensor, Tensor, Tensor]:
    """The attack whole, from logits to ε.

    Args:
        unlearned, retrained: finite logits, (E, Mu, C) and (E, Mr, C); (E, M, 1) for "residual".
        labels: (E,) int64, or float64 values for "residual".
        statistic: of `STATISTICS`.

    Returns:
        ε per example as `epsilon_at` gives it, (E,), and the statistic of either side, (E, Mu) and (E, Mr), float64.
    """
    reduce = STATISTICS[statistic]
    u, r = reduce(unlearned, labels), reduce(retrained, labels)
    negative, positive = orient(*scores(u, r, u, r, statistic))
    _, fp, fn = error_counts(negative, positive)
    return epsilon_at(fp, fn, negative.shape[1], positive.shape[1], delta), u, r


def scores(u: Tensor, r: Tensor, fit_u: Tensor, fit_r: Tensor, statistic: str) -> tuple[Tensor, Tensor]:
    """Scores of unlearned `u` and retrained `r` models by an attack fitted to `fit_u` and `fit_r`: all (E, M).

    The likelihood ratio of two fitted Gaussians; the loss is a score itself, as in the released attack.
    """
    if statistic == "loss":
        return u.round(decimals=DECIMALS), r.round(decimals=DECIMALS)
    fits = gaussian(fit_u), gaussian(fit_r)
    return log_likelihood_ratio(u, *fits), log_likelihood_ratio(r, *fits)


def flipped(score_u: Tensor, score_r: Tensor) -> Tensor:
    """(E, 1) bool: where the retrained models score higher by the median, and so are the positives."""
    return (median(score_r) > median(score_u))[:, None]


def orient(score_u: Tensor, score_r: Tensor, flip: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """(negative, positive): the positives are the side that scores higher. Sides of unequal size keep their roles
    and change sign instead, which gives the same thresholds."""
    flip = flipped(score_u, score_r) if flip is None else flip
    sign = torch.where(flip, -1.0, 1.0)
    return score_r * sign, score_u * sign


def sort_rows(x: Tensor) -> Tensor:
    """Each row in ascending order. On the CPU NumPy's vectorised sort takes a fifth of the time of torch's."""
    return torch.from_numpy(np.sort(x.numpy(), axis=1)) if x.device.type == "cpu" else x.sort(dim=1).values


def median(x: Tensor) -> Tensor:
    """The row medians, the mean of the middle two for even lengths (as NumPy's): (E, M) → (E,)."""
    ordered, m = sort_rows(x), x.shape[1]
    return (ordered[:, (m - 1) // 2] + ordered[:, m // 2]) / 2


def error_counts(negative: Tensor, positive: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """False positives and false negatives at every threshold of "positive where score ≥ threshold".

    Args:
        negative, positive: finite scores, (E, Mn) and (E, Mp).

    Returns:
        thresholds (E, T), false positives (E, T) and false negatives (E, T), T = Mn + Mp, ascending. A threshold
        that occurs several times (a tie) has its counts at each occurrence.
    """
    n, p = negative.shape[1], positive.shape[1]
    # One sort serves both groups: the last bit of a score says which group it came from.
    keys = torch.cat([negative.view(torch.int64) & -2, positive.view(torch.int64) | 1], 1)
    keys = sort_rows(keys.view(torch.float64)).view(torch.int64)
    is_positive, scores = (keys & 1).to(torch.int32), keys & -2
    # Positives strictly below each entry; a tied entry takes the counts of the first of its ties.
    below = is_positive.cumsum(1, dtype=torch.int32) - is_positive
    total = torch.arange(n + p, dtype=torch.int32, device=keys.device)
    tied = scores[:, 1:] == scores[:, :-1]
    if bool(tied.any()):
        first = torch.zeros_like(below)
        first[:, 1:] = torch.where(tied, 0, total[1:])
        total = first.cummax(1).values
        below = below.gather(1, total.long())
    return scores.view(torch.float64), n - total + below, below


def epsilon_of_rates(fpr: Tensor, fnr: Tensor, delta: float) -> Tensor:
    """max(log((1 − δ − FPR)/FNR), log((1 − δ − FNR)/FPR)), elementwise; NaN where both numerators are negative."""
    return torch.fmax((1 - delta - fpr).log() - fnr.log(), (1 - delta - fnr).log() - fpr.log())


def epsilon_at(fp: Tensor, fn: Tensor, n_negative: int, n_positive: int, delta: float) -> Tensor:
    """The largest ε over all thresholds: counts (E, T) → (E,).

    Both rates zero at one threshold: ∞. A threshold at which exactly one rate is zero, or both numerators of
    `epsilon_of_rates` are ≤ 0, is discarded; with none left ε is NaN.
    """
    if (n_negative + 1) * (n_positive + 1) <= fp.numel():  # fewer pairs of counts than entries: look them up
        pairs = torch.arange((n_negative + 1) * (n_positive + 1), device=fp.device).view(n_negative + 1, -1)
        table = _usable_epsilon(pairs // (n_positive + 1), pairs % (n_positive + 1), n_negative, n_positive, delta)
        best = table.take((fp * (n_positive + 1) + fn).long()).amax(1)
    else:
        best = _usable_epsilon(fp, fn, n_negative, n_positive, delta).amax(1)
    return best.masked_fill(best == -torch.inf, torch.nan)


def _usable_epsilon(fp: Tensor, fn: Tensor, n_negative: int, n_positive: int, delta: float) -> Tensor:
    """ε of each pair of counts; −∞ where the threshold is discarded."""
    values = epsilon_of_rates(fp.double() / n_negative, fn.double() / n_positive, delta)
    values.nan_to_num_(nan=-torch.inf, posinf=torch.inf, neginf=-torch.inf)
    no_fp, no_fn = fp == 0, fn == 0
    return values.masked_fill_(no_fp ^ no_fn, -torch.inf).masked_fill_(no_fp & no_fn, torch.inf)
