"""How well a model tells each target: on everything, and by the measure of the target-unlearning paper."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from scipy.stats import rankdata
from torch import Tensor

from mulib.audit.epsilon import clopper_pearson
from mulib.errors import InputError


@dataclass(frozen=True)
class TargetScore:
    """How well one target is told from its absence.

    Attributes:
        balanced_accuracy: the mean of `true_positive` and `true_negative`; 0.5 is what saying always the same gives.
        lower, upper: its bounds, from Clopper-Pearson bounds on both rates that hold together (a union bound).
        auc: how often an image with the target has a higher score than one without; 0.5 knows nothing. It does not
            depend on a threshold, so it sees what a shifted logit still knows.
        true_positive, true_negative: shares of the images with, and without, that are answered so.
        positives, negatives: how many of each.
        paper: the true-positive rate on the images that have all targets, on which a model that always says yes is
            perfect; NaN where there is no such image.
        paper_n: how many these are.
    """

    balanced_accuracy: float
    lower: float
    upper: float
    auc: float
    true_positive: float
    true_negative: float
    positives: int
    negatives: int
    paper: float
    paper_n: int


def target_scores(
    logits: Tensor, labels: Tensor, names: Sequence[str] = (), *, confidence: float = 0.95
) -> dict[str, TargetScore]:
    """Score every output as a yes or no, by name.

    An attribute is said to be there where its logit is above 0, a class where its logit is the largest; the AUC ranks
    by the logit, less the largest other one for classes. For classes "all targets" is the class itself.

    Args:
        logits: (N, T). labels: (N, T) float 0/1 attributes, or (N,) int64 classes.
        names: of the outputs; their positions by default. Classes of which `labels` has none are left out.

    Raises:
        InputError: shapes that do not fit, NaN logits, or an attribute that all or none of the images have.

    Source: Xu et al., *Essential Graph*, 2024, evaluation (bibliography key xu2024target); the balanced accuracy, its
    interval and the AUC are ours.

    >>> target_scores(torch.tensor([[1.0], [-1.0]]), torch.tensor([[1.0], [0.0]]))["0"].balanced_accuracy
    1.0
    """
    logits, labels, names = _checked(logits, labels, names)
    several = labels.ndim == 2
    outputs = list(range(logits.shape[1])) if several else labels.unique().tolist()
    if several:
        has, said, scores = labels > 0.5, logits > 0, logits
        everything = has.all(1)
    else:
        first, second = logits.topk(2, dim=1).values.T[..., None]
        has = labels[:, None] == torch.tensor(outputs)
        scores = (logits - torch.where(logits == first, second, first))[:, outputs]
        said = logits.argmax(1)[:, None] == torch.tensor(outputs)
    found = {}
    for i, output in enumerate(outputs):
        shown = has[:, i]
        paper = everything if several else shown
        found[names[output]] = _score(names[output], shown, said[:, i], scores[:, i], paper, confidence)
    return found


def _score(name: str, has: Tensor, said: Tensor, scores: Tensor, paper: Tensor, confidence: float) -> TargetScore:
    positives, negatives = int(has.sum()), int((~has).sum())
    if not positives or not negatives:
        who = "all" if positives else "none"
        raise InputError(f"{who} of the {len(has)} images have the target {name!r}: expected some with and without it.")
    right = int(said[has].sum()), int((~said[~has]).sum())
    rates = right[0] / positives, right[1] / negatives
    each = 1 - (1 - confidence) / 2
    bounds = [clopper_pearson(n, each) for n in (positives, negatives)]
    lower, upper = ((bounds[0][side][right[0]] + bounds[1][side][right[1]]) / 2 for side in (0, 1))
    below = rankdata(scores.numpy())[has.numpy()].sum() - positives * (positives + 1) / 2
    n = int(paper.sum())
    return TargetScore(
        balanced_accuracy=sum(rates) / 2,
        lower=float(lower),
        upper=float(upper),
        auc=float(below / (positives * negatives)),
        true_positive=rates[0],
        true_negative=rates[1],
        positives=positives,
        negatives=negatives,
        paper=int(said[paper].sum()) / n if n else float("nan"),
        paper_n=n,
    )


def _checked(logits: Tensor, labels: Tensor, names: Sequence[str]) -> tuple[Tensor, Tensor, Sequence[str]]:
    logits, labels = logits.detach().cpu(), labels.cpu()
    fits = logits.ndim == 2 and len(labels) == len(logits) > 0
    several = labels.is_floating_point() and labels.shape == logits.shape
    one = not labels.is_floating_point() and labels.ndim == 1 and fits and logits.shape[1] > 1
    if not fits or not (several or (one and 0 <= int(labels.min()) <= int(labels.max()) < logits.shape[1])):
        shapes = f"{tuple(logits.shape)} and the labels {tuple(labels.shape)}"
        wanted = "(images, attributes) twice, or (images, classes) and (images,) classes among them"
        raise InputError(f"the logits have shape {shapes}: expected {wanted}, not empty.")
    if bool(logits.isnan().any()):
        raise InputError("the logits contain NaN: check the model that gave them.")
    if names and len(names) != logits.shape[1]:
        raise InputError(f"there are {len(names)} names for {logits.shape[1]} outputs: expected one each, or none.")
    return logits, labels, names or [str(i) for i in range(logits.shape[1])]
