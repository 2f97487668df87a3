"""How well yes is told from no: of one score, and of every target that a model recognises."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor

from mulib.audit.intervals import Estimate, rate
from mulib.errors import InputError


@dataclass(frozen=True)
class Detection:
    """How well those who have something are told from those who have not.

    Attributes:
        tpr, tnr: true-positive and true-negative rate: the share found among those that have it, and passed among
            those that have not; Clopper-Pearson intervals.
        accuracy: over all.
        balanced: (TPR + TNR)/2; 0.5 for any constant answer. Its bounds are those of two rates that hold together (a
            union bound).
        auc: area under the receiver operating characteristic; 0.5 knows nothing. It does not depend on a threshold, so
            it sees what a shifted logit still knows.
        paper: the true-positive rate on the images that have all targets, on which "yes" for all images gives 1; NaN
            where there is no such image. Of one target alone it is `tpr`.
    """

    tpr: Estimate
    tnr: Estimate
    accuracy: Estimate
    balanced: Estimate
    auc: float
    paper: Estimate


def detection(scores: Tensor, present: Tensor, *, confidence: float = 0.95) -> Detection:
    """True-positive rate with what it hides: scores (N,) or (N, 1), positive for "yes"; present (N,) or (N, 1), 0 or 1.

    Raises:
        InputError: shapes that do not fit, NaN, or images that all have the feature, or none.

    >>> detection(torch.ones(4), torch.tensor([1, 1, 0, 0])).balanced.point
    0.5
    """
    flat = [torch.as_tensor(x).squeeze(1) if x.ndim == 2 and x.shape[1] == 1 else x for x in (scores, present)]
    if flat[0].ndim != 1 or flat[0].shape != flat[1].shape or bool(flat[0].isnan().any()):
        shapes = f"scores {tuple(scores.shape)} and labels {tuple(present.shape)}"
        raise InputError(f"{shapes} do not fit: expected (N,) each, without NaN.")
    scores, has = flat[0].detach().float().cpu(), flat[1].cpu() > 0.5
    return _told("the feature", has, scores > 0, scores, has, confidence)


def target_scores(
    logits: Tensor, labels: Tensor, names: Sequence[str] = (), *, confidence: float = 0.95
) -> dict[str, Detection]:
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

    >>> target_scores(torch.tensor([[1.0], [-1.0]]), torch.tensor([[1.0], [0.0]]))["0"].balanced.point
    1.0
    """
    logits, labels, names = _checked(logits, labels, names)
    if labels.ndim == 2:
        outputs, has, said, scores = range(logits.shape[1]), labels > 0.5, logits > 0, logits
        paper = has.all(1, keepdim=True).expand_as(has)
    else:
        outputs = labels.unique().tolist()
        paper = has = labels[:, None] == torch.tensor(outputs)
        first, second = logits.topk(2, dim=1).values.T[..., None]
        scores = (logits - torch.where(logits == first, second, first))[:, outputs]
        said = logits.argmax(1)[:, None] == torch.tensor(outputs)
    columns = zip(outputs, has.T, said.T, scores.T, paper.T, strict=True)
    return {names[i]: _told(f"the target {names[i]!r}", *column, confidence=confidence) for i, *column in columns}


def _told(name: str, has: Tensor, said: Tensor, scores: Tensor, paper: Tensor, confidence: float) -> Detection:
    """has, said, paper (N,) bool: who has it, of whom it is said, who has all; scores (N,) for the AUC."""
    if bool(has.all()) or not bool(has.any()):
        who = "all" if len(has) and bool(has.all()) else "none"
        raise InputError(f"{who} of the {len(has)} images have {name}: expected some with and without it.")
    right = said == has
    tpr, tnr, accuracy, all_targets = (rate(right[i], confidence=confidence) for i in (has, ~has, slice(None), paper))
    sides = [rate(right[i], confidence=(1 + confidence) / 2) for i in (has, ~has)]
    point, lower, upper = (sum(getattr(s, k) for s in sides) / 2 for k in ("point", "lower", "upper"))
    balanced = Estimate(point, lower, upper, len(has))
    return Detection(tpr, tnr, accuracy, balanced, float(roc_auc_score(has, scores)), all_targets)


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
