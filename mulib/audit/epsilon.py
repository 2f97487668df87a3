"""ε̂: how well a per-example likelihood-ratio attack tells unlearned models from retrained ones."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from mulib.audit.intervals import check_confidence, clopper_pearson
from mulib.errors import InputError
from mulib.kernels import epsilon as kernel


@dataclass(frozen=True)
class Epsilon:
    """The audit of one approach: one ε per forget example, with its interval and what the models can certify.

    Attributes:
        point: (E,) the paper's per-example estimate, in nats; ∞ where one threshold separates all models, NaN
            where no threshold leaves both error rates above zero. It is biased upward: the attack is fitted and
            scored on the same models.
        lower, upper: (E,) bounds on the ε that this attack shows, each holding with probability `confidence`:
            fitted on one half of the models, scored on the other, Clopper-Pearson bounds on both error rates.
            `lower` is also a lower bound on the true ε; `upper` is not an upper bound on it.
        n_unlearned, n_retrained: how many models of each kind.
        ceiling: the largest `lower` that so many models can give: no scored model misjudged.
        delta, confidence, statistic: as asked for.
    """

    point: NDArray[np.float64]
    lower: NDArray[np.float64]
    upper: NDArray[np.float64]
    n_unlearned: int
    n_retrained: int
    ceiling: float
    delta: float
    confidence: float
    statistic: str

    @property
    def n_models(self) -> int:
        """Models per side (the smaller side, where they differ)."""
        return min(self.n_unlearned, self.n_retrained)

    @property
    def median(self) -> float:
        """Median over the defined examples, infinite ones included: the ε̂ of the paper's tables."""
        return _quantile(self.point, 0.5)

    @property
    def mean(self) -> float:
        """Mean over the defined examples: ∞ as soon as one example is."""
        return float(np.nanmean(self.point)) if self.undefined < len(self.point) else math.nan

    @property
    def worst_decile(self) -> float:
        """The ε that a tenth of the defined examples reach or exceed."""
        return _quantile(self.point, 0.9)

    @property
    def infinite(self) -> int:
        """How many examples have an infinite point estimate."""
        return int(np.isposinf(self.point).sum())

    @property
    def undefined(self) -> int:
        """How many examples have no point estimate."""
        return int(np.isnan(self.point).sum())

    @property
    def lower_median(self) -> float:
        """Median over all examples of the certified lower bound."""
        return _quantile(self.lower, 0.5)

    def summary(self) -> dict[str, float | int | str]:
        """The numbers of one table row, by name."""
        names = ("delta", "confidence", "statistic", "n_models", "median", "mean", "worst_decile", "infinite")
        more = ("undefined", "lower_median", "ceiling")
        return {name: getattr(self, name) for name in names + more}


def epsilon(
    unlearned: Tensor | ArrayLike,
    retrained: Tensor | ArrayLike,
    labels: Tensor | ArrayLike,
    *,
    delta: float = 0.05,
    confidence: float = 0.95,
    statistic: Literal["hinge", "loss", "residual"] = "hinge",
) -> Epsilon:
    """Per-example ε of unlearned against retrained models, on the forget set.

    For each example two Gaussians are fitted to the hinge statistic z_y − max_{c≠y} z_c of the unlearned and of
    the retrained models; a model's score is the likelihood ratio p_unlearned/p_retrained. Over all thresholds of
    the detection-error trade-off, ε = max(log((1−δ−FPR)/FNR), log((1−δ−FNR)/FPR)). With ``statistic="loss"`` the
    cross-entropy is the score itself, with no Gaussian, as in the released attack. Models that predict a value, such
    as an age, are audited by ``statistic="residual"``: predicted minus true value, with Gaussians.

    Args:
        unlearned, retrained: logits, (examples, models, classes), any float type; the model counts may differ. For
            "residual" (examples, models, 1).
        labels: (examples,) true classes, 0 ≤ label < classes; for "residual" the true values.
        delta: δ of (ε, δ)-unlearning, in [0, 1).
        confidence: of each bound, in (0, 1).
        statistic: what a model's logits are reduced to.

    Raises:
        InputError: shapes that do not fit, NaN or infinite logits, fewer than two models on a side, no examples,
            labels or δ out of range.

    Source: Krähenmann et al., *Forget with Precision*, 2023; interval after Jagielski et al., 2020.

    >>> logits = torch.randn(5, 8, 10, generator=torch.Generator().manual_seed(0))
    >>> epsilon(logits[:, :4], logits[:, 4:], torch.zeros(5, dtype=int)).n_models
    4
    """
    unlearned, retrained, labels = _check(unlearned, retrained, labels, delta, confidence, statistic)
    point, values_u, values_r = kernel.attack(unlearned, retrained, labels, delta, statistic)
    lower, upper, ceiling = _interval(values_u, values_r, delta, confidence, statistic)
    point, lower, upper = (t.cpu().numpy() for t in (point, lower, upper))
    n = unlearned.shape[1], retrained.shape[1]
    return Epsilon(point, lower, upper, *n, ceiling, delta, confidence, statistic)


def epsilon_curve(unlearned, retrained, labels, deltas, *, statistic="hinge") -> NDArray[np.float64]:
    """Median ε̂ at each δ, (D,): the scores are sorted once and serve every δ. Arguments as for `epsilon`.

    Source: Krähenmann et al., 2023, figure 2.
    """
    if not len(deltas):
        raise InputError("no δ was given: pass at least one value in [0, 1).")
    worst = max(deltas, key=lambda d: abs(d - 0.5))
    unlearned, retrained, labels = _check(unlearned, retrained, labels, worst, 0.5, statistic)
    values_u, values_r = (kernel.STATISTICS[statistic](x, labels) for x in (unlearned, retrained))
    scores = kernel.scores(values_u, values_r, values_u, values_r, statistic)
    negative, positive = kernel.orient(*scores)
    _, fp, fn = kernel.error_counts(negative, positive)
    n, p = negative.shape[1], positive.shape[1]
    points = [kernel.epsilon_at(fp, fn, n, p, float(d)) for d in deltas]
    return np.array([_quantile(p.cpu().numpy(), 0.5) for p in points])


def split_null(retrained: Tensor, seed: int | None = None) -> tuple[Tensor, Tensor]:
    """Two disjoint halves of the retrained models for the null row: (E, M, C) → "unlearned", "retrained".

    Without a seed the second half stands for the unlearned models, as in the paper; with one, a random half does.
    """
    m = retrained.shape[1]
    if m < 4:
        raise InputError(f"the null row needs at least 4 retrained models, two on each side: got {m}.")
    order = torch.arange(m)
    if seed is not None:
        order = torch.randperm(m, generator=torch.Generator().manual_seed(seed))
    return retrained[:, order[m // 2 :]], retrained[:, order[: m // 2]]


def _interval(values_u, values_r, delta, confidence, statistic) -> tuple[Tensor, Tensor, float]:
    """Bounds per example and the ceiling: attack and threshold from the even models, counts from the odd ones."""
    fit_u, fit_r, held_u, held_r = values_u[:, ::2], values_r[:, ::2], values_u[:, 1::2], values_r[:, 1::2]
    score_u, score_r = kernel.scores(fit_u, fit_r, fit_u, fit_r, statistic)
    flip = kernel.flipped(score_u, score_r)
    negative, positive = kernel.orient(score_u, score_r, flip)
    thresholds, fp, fn = kernel.error_counts(negative, positive)
    certified, _ = _bounds(fp, fn, negative.shape[1], positive.shape[1], delta, confidence)
    best = certified.argmax(1, keepdim=True)
    # Halfway to the next lower score: the middle of the gap that the threshold stands for.
    middle = (thresholds.gather(1, best) + thresholds.gather(1, (best - 1).clamp_min(0))) / 2

    held = kernel.scores(held_u, held_r, fit_u, fit_r, statistic)
    negative, positive = kernel.orient(*held, flip)
    fp, fn = (negative >= middle).sum(1), (positive < middle).sum(1)
    sizes = negative.shape[1], positive.shape[1]
    lower, upper = _bounds(fp, fn, *sizes, delta, confidence)
    ceiling, _ = _bounds(torch.tensor(0), torch.tensor(0), *sizes, delta, confidence)
    return lower, upper, ceiling.item()


def _bounds(fp: Tensor, fn: Tensor, n: int, p: int, delta: float, confidence: float) -> tuple[Tensor, Tensor]:
    """Lower and upper bound on ε from fp false positives of n and fn false negatives of p; neither is below 0,
    which holds for any two distributions.

    Each rate's Clopper-Pearson bound holds with 1 − α/2, both together with 1 − α (union bound).
    """
    (low_p, high_p), (low_n, high_n) = (_of_counts(k, m, confidence) for k, m in ((fp, n), (fn, p)))
    pairs = (high_p, high_n), (low_p, low_n)
    lower, upper = (kernel.epsilon_of_rates(a, b, delta).nan_to_num(nan=0.0, posinf=torch.inf) for a, b in pairs)
    return lower.clamp_min(0), upper.clamp_min(0)


def _of_counts(wrong: Tensor, n: int, confidence: float) -> list[Tensor]:
    """Lower and upper bound on the rate of each of many counts out of n."""
    k = np.arange(n + 1)
    return [torch.from_numpy(each).to(wrong.device)[wrong.long()] for each in clopper_pearson(k, n - k, confidence)]


def _quantile(values: NDArray[np.float64], q: float) -> float:
    """Quantile over the entries that are not NaN. The median averages the middle two; others take the upper one,
    so that ∞ and a finite neighbour are never mixed."""
    values = np.sort(values[~np.isnan(values)])
    if not len(values):
        return math.nan
    if q == 0.5:
        return float((values[(len(values) - 1) // 2] + values[len(values) // 2]) / 2)
    return float(values[min(math.ceil(q * (len(values) - 1)), len(values) - 1)])


def _check(unlearned, retrained, labels, delta, confidence, statistic) -> tuple[Tensor, Tensor, Tensor]:
    """The arguments as tensors, or one sentence that says what is wrong with them."""
    if statistic not in kernel.STATISTICS:
        raise InputError(f"unknown statistic {statistic!r}: expected one of {', '.join(kernel.STATISTICS)}.")
    if not 0 <= delta < 1:
        raise InputError(f"delta is {delta}: expected 0 ≤ delta < 1.")
    check_confidence(confidence)
    unlearned, retrained, labels = (torch.as_tensor(x) for x in (unlearned, retrained, labels))
    for name, logits in (("unlearned", unlearned), ("retrained", retrained)):
        if logits.ndim != 3:
            shape = tuple(logits.shape)
            raise InputError(f"{name} logits have shape {shape}: expected (examples, models, classes).")
        if logits.shape[0] == 0:
            raise InputError(f"there are no forget examples in the {name} logits: at least one is needed.")
        if logits.shape[1] < 2:
            raise InputError(f"there is {logits.shape[1]} {name} model: the attack needs at least 2 on each side.")
        if statistic == "residual" and logits.shape[2] != 1:
            raise InputError(f"the {name} models have {logits.shape[2]} outputs: the residual is of one value.")
        if statistic != "residual" and logits.shape[2] < 2:
            raise InputError(f"the {name} logits have {logits.shape[2]} class: at least 2 are needed.")
        if not bool(torch.isfinite(logits).all()):
            raise InputError(f"the {name} logits contain NaN or ∞: check the models that gave them.")
    if unlearned.shape[0] != retrained.shape[0]:
        counts = f"{unlearned.shape[0]} unlearned and {retrained.shape[0]} retrained"
        raise InputError(f"the example counts differ, {counts}: both must be the same forget set in one order.")
    if unlearned.shape[2] != retrained.shape[2]:
        counts = f"{unlearned.shape[2]} unlearned and {retrained.shape[2]} retrained"
        raise InputError(f"the class counts differ, {counts}: both models must be trained on one set of classes.")
    if labels.shape != unlearned.shape[:1]:
        raise InputError(f"labels have shape {tuple(labels.shape)}: expected one per example, ({len(unlearned)},).")
    if statistic == "residual":
        return unlearned, retrained.to(unlearned.device), labels.double().to(unlearned.device)
    labels = labels.long().to(unlearned.device)
    if bool(((labels < 0) | (labels >= unlearned.shape[2])).any()):
        raise InputError(f"a label lies outside 0 … {unlearned.shape[2] - 1}, the classes of the logits.")
    return unlearned, retrained.to(unlearned.device), labels
