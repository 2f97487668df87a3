"""Probes: what a model, or an image that went through a remover, still shows of a feature that was unlearned."""

from __future__ import annotations

import torch
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor, nn

from mulib.audit.targets import Detection, detection
from mulib.data.sets import ImageSet
from mulib.errors import InputError
from mulib.models import copied, reinitialise
from mulib.predict import predict
from mulib.recipe import Recipe
from mulib.train import fit, loss_of

PROBE = Recipe(epochs=10, lr=1e-3, batch_size=64, weight_decay=0.0, schedule="onecycle", optimiser="adam")  # ours


def linear_probe(
    features: Tensor, present: Tensor, test_features: Tensor, test_present: Tensor, *, strength: float = 1.0
) -> Detection:
    """A fresh logistic regression on frozen features: is what was unlearned still there, in a straight line?

    Args:
        features, test_features: (N, D) or more dimensions, which are flattened; standardised by the training features.
        present, test_present: (N,) or (N, 1), 0 or 1.
        strength: the inverse of the L2 penalty.

    Raises:
        InputError: no image with the feature, or none without; shapes that do not fit.

    >>> train, test = (feature_maps(model, part, "avgpool", normalise=False) for part in (task.train, task.test))
    >>> linear_probe(train, task.train.labels[:, 1], test, task.test.labels[:, 1]).accuracy.n
    40
    """
    detection(features.flatten(1)[:, 0], present)  # the same demands on what it learns from
    probe = make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=1000))
    probe.fit(features.flatten(1).cpu().numpy(), (present.flatten().cpu() > 0.5).numpy())
    scores = probe.decision_function(test_features.flatten(1).cpu().numpy())
    return detection(torch.from_numpy(scores), test_present)


def network_probe(
    network: nn.Module,
    train: ImageSet,
    test: ImageSet,
    recipe: Recipe = PROBE,
    *,
    through: nn.Module | None = None,
    seed: int = 0,
    progress: bool = True,
) -> Detection:
    """A fresh network, trained on images that went through a remover: what of the feature is left in g(x)?

    Args:
        network: the architecture; its weights are drawn anew from `seed`, and it is left untouched.
        train, test: with the feature as their only attribute, as of ``only(task.train, feature)``.
        through: g, which stays as it is, in evaluation mode; by default images are seen as they are.

    Raises:
        InputError: labels of another kind, or a test set where all or none have the feature.
    """
    if train.outputs != 1 or test.outputs != 1 or train.labels.ndim != 2:
        raise InputError(f"the labels have {train.outputs} columns: expected one attribute, as of `only(data, name)`.")
    probe = reinitialise(network, seed)
    g = nn.Identity() if through is None else copied(through).eval().requires_grad_(False)

    def objective(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        return loss_of(model(g(x)), y)

    fit(probe, train, recipe, seed=seed, objective=objective, progress=progress)
    return detection(predict(nn.Sequential(g, probe), test, precision=recipe.precision), test.labels)
