"""A score to choose a model by, from what a request holds: no test data, no retrained model, and no audit."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mulib.data.sets import ImageSet, Request
from mulib.errors import InputError
from mulib.predict import predict, right
from mulib.train import loss_of


def validation_score(model: nn.Module, request: Request, nonmembers: ImageSet | None = None) -> float:
    """½·(accuracy on val + 1 − 2·|A − ½|), 0 to 1: the benchmark's final score, from validation data alone.

    A = ½·(1 + D) is the accuracy of the best single threshold on the loss, either way round, that tells the forget set
    from `nonmembers`; D, the largest difference of their two distribution functions, is Kolmogorov and Smirnov's. It
    has nothing to fit and nothing random, and costs one pass over the sets. Both weaknesses of the benchmark's attack
    are its own too, and for small sets D is above 0 by chance: it ranks models of one task, it certifies none.

    Args:
        request: val should hold people that the model has not seen, as `mulib.data.splits.hold_out` makes it.
        nonmembers: validation data drawn as the forget set was; by default val. Where the forget set has something that
            val lacks, such as wrong labels, val rewards the model that still knows them: take
            `mulib.data.mislabelled(val)`.

    Raises:
        InputError: val or `nonmembers` is empty, or the labels are values, such as ages.

    Source: form as Choi and Na, *Towards Machine Unlearning Benchmarks*, 2023 (NoMUS at λ = ½); the attack is Yeom et
    al., 2018.
    """
    if not len(request.val):
        raise InputError("the request has no validation set: hold one out of train, or take select=None.")
    if nonmembers is not None and not len(nonmembers):
        raise InputError("there are no non-members: pass validation images drawn as the forget set was, or None.")
    sets = {"val": request.val, "forget": request.forget} | ({} if nonmembers is None else {"nonmembers": nonmembers})
    labels = {name: data.labels.cpu() for name, data in sets.items()}
    if labels["val"].is_floating_point() and labels["val"].ndim == 1:
        raise InputError("the labels are values, (N,) float: accuracy needs classes (N,) or attributes (N, A).")
    logits = predict(model, sets)
    losses = {name: loss_of(logits[name], y, "none") for name, y in labels.items()}
    gap = _largest_gap(losses["forget"], losses.get("nonmembers", losses["val"]))
    return (float(right(logits["val"], labels["val"]).double().mean()) + 1 - gap) / 2


def _largest_gap(a: Tensor, b: Tensor) -> float:
    """max over t of |P(a ≤ t) − P(b ≤ t)|."""
    values = torch.cat([a, b])
    below = [torch.searchsorted(x.sort().values, values, right=True) / len(x) for x in (a, b)]
    return float((below[0] - below[1]).abs().max())
