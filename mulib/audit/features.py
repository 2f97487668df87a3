"""What the penultimate features still know: of membership, of labels, and how far they are from retraining."""

from __future__ import annotations

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from mulib.audit.intervals import Estimate, rate
from mulib.errors import InputError


def label_probe(
    features: Tensor, labels: Tensor, forget: Tensor, forget_labels: Tensor, *, strength: float = 1.0
) -> Estimate:
    """A new last layer, fitted to retained images alone, is asked for the labels of the forget set.

    Where the features still place a forgotten image with its label, the share of right answers is that of the original
    model, whatever the unlearned one says itself. Read it against the same probe of retrained models: one that never
    saw an image can place it by its likeness to others.

    Args:
        features, forget: (N, D) and (F, D), or more dimensions, which are flattened; standardised by the retained.
        labels, forget_labels: (N,) and (F,) classes.
        strength: the inverse of the L2 penalty.

    Returns:
        The share of forgotten labels that are answered, with its interval over images (Clopper and Pearson).

    Raises:
        InputError: shapes that do not fit, or one class only.

    Guarantee: none of forgetting; a share above that of retrained models shows memory in the features. Cost: one pass
    over both sets and a logistic regression. Source: Gao et al., *An Illusion of Unlearning?*, 2026; the probe is Alain
    and Bengio's, 2016.
    """
    x, asked = _flat(features, labels), _flat(forget, forget_labels)
    if len(labels.unique()) < 2 or x.shape[1] != asked.shape[1]:
        raise InputError(f"{x.shape} and {asked.shape} features: expected the same D, and labels of two classes.")
    probe = make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=1000))
    probe.fit(x, labels.cpu().numpy())
    return rate(probe.predict(asked) == forget_labels.cpu().numpy())


def membership_probe(
    forget: Tensor, unseen: Tensor, *, folds: int = 5, strength: float = 0.1, seed: int = 0
) -> Estimate:
    """Can a line through the features tell the forget set from images that no model saw? The area under the curve.

    Each image is scored by a probe that was fitted without it. ½ is a guess; a retrained model gives what there is to
    tell between the two sets beside membership.

    Args:
        forget, unseen: (F, D) and (U, D) features, or more dimensions, which are flattened.
        folds: at least 2, and no more than either set has images.
        strength: the inverse of the L2 penalty; strong by default, because D is often as large as the sets.

    Returns:
        The area, with Hanley and McNeil's 95 % interval.

    Raises:
        InputError: shapes that do not fit, or too few images.

    Guarantee: none. Cost: `folds` logistic regressions. Source: Kim et al., *Are We Truly Forgetting?*, 2026, for
    asking the features; the probe is ours.
    """
    sides = [side.flatten(1).cpu().double().numpy() for side in (forget, unseen)]
    if sides[0].shape[1] != sides[1].shape[1] or not 2 <= folds <= min(map(len, sides)):
        raise InputError(
            f"{sides[0].shape} and {sides[1].shape} features in {folds} folds: expected the same D, F ≥ folds."
        )
    member = np.repeat([1, 0], [len(side) for side in sides])
    probe = make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=1000))
    split = StratifiedKFold(folds, shuffle=True, random_state=seed)
    scores = cross_val_predict(probe, np.concatenate(sides), member, cv=split, method="decision_function")
    area, (f, u) = roc_auc_score(member, scores), map(len, sides)
    q1, q2 = area / (2 - area), 2 * area**2 / (1 + area)
    variance = (area * (1 - area) + (f - 1) * (q1 - area**2) + (u - 1) * (q2 - area**2)) / (f * u)
    half = 1.96 * max(variance, 0.0) ** 0.5
    return Estimate(float(area), float(max(area - half, 0)), float(min(area + half, 1)), f + u, 0.5)


def cka(a: Tensor, b: Tensor) -> float:
    """Linear centred kernel alignment of two models' features of the same images, 0 to 1: 1 up to rotation and scale.

    Two retrained models do not have 1: compare with them.

    Args:
        a, b: (N, D) and (N, E), or more dimensions, which are flattened.

    Raises:
        InputError: other images, or features that are all equal.

    Guarantee: none. Cost: a product of N×D matrices. Source: Kornblith et al., *Similarity of Neural Network
    Representations Revisited*, ICML 2019, equation 5.

    >>> cka(torch.eye(3), 2 * torch.eye(3))
    1.0
    """
    if len(a) != len(b) or len(a) < 2:
        raise InputError(f"there are features of {len(a)} and of {len(b)} images: expected the same two or more.")
    a, b = ((x - x.mean(0)) for x in (a.flatten(1).double(), b.flatten(1).double()))
    sizes = (a.T @ a).norm() * (b.T @ b).norm()
    if not sizes > 0:
        raise InputError("the features of a model are the same for all images: there is nothing to align.")
    return round(float((a.T @ b).square().sum() / sizes), 12)


def nearest(features: Tensor, forget: Tensor, count: int) -> Tensor:
    """The `count` images whose features are most like one of the forget set's, by the cosine: int64 positions.

    Args:
        features, forget: (N, D) of retained images and (F, D), or more dimensions, which are flattened.

    Raises:
        InputError: a count outside 1 … N.
    """
    if not 1 <= count <= len(features):
        raise InputError(f"count is {count}: expected 1 … {len(features)}, the retained images.")
    a, b = (torch.nn.functional.normalize(x.flatten(1).double(), dim=1) for x in (features, forget))
    return (a @ b.T).amax(1).topk(count).indices.sort().values


def _flat(features: Tensor, labels: Tensor) -> np.ndarray:
    if len(features) != len(labels) or not len(labels) or labels.ndim != 1 or labels.is_floating_point():
        raise InputError(f"{tuple(features.shape)} features, {tuple(labels.shape)} labels: expected classes, one each.")
    return features.flatten(1).cpu().double().numpy()
