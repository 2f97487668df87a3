"""Methods that train on wrong answers for the forget set."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import torch
from torch import nn

from mulib.data.sets import ImageSet, Request
from mulib.errors import InputError
from mulib.models import copied
from mulib.recipe import Recipe
from mulib.unlearn.phases import Phases, generator_for, seed_for
from mulib.unlearn.recipes import FORGET_WITH_PRECISION
from mulib.unlearn.registry import method

Draw = Literal["uniform", "wrong"]
# Our choice: the released code does not poison ages; ten years is one of the groups that it sorts them into.
NOISE = 10.0


@method("poison", title="poison", paper="krahenmann2023forget", family="poisoning")
def poison(
    model: nn.Module,
    request: Request,
    recipe: Recipe = FORGET_WITH_PRECISION.but(epochs=1, lr=7e-4),
    *,
    labels: Draw = "uniform",
    noise: float = NOISE,
    seed: int = 0,
    on_step=None,
    progress: bool = True,
) -> nn.Module:
    """Train a copy on the forget set alone, with random labels; `labels` and `noise` are those of `poisoned`.

    Source: Krähenmann et al., *Forget with Precision*, 2023, method 2 (on ages: two epochs). Fidelity: the released
    code draws among all classes, the true one included (``labels="uniform"``), and augments nothing.
    """
    wrong = poisoned(request, labels=labels, noise=noise, seed=seed)
    return Phases(on_step, progress).train(copied(model), wrong, recipe, seed=seed)


@method("poison_full", title="poison full", paper="krahenmann2023forget", family="poisoning")
def poison_full(
    model: nn.Module,
    request: Request,
    recipe: Recipe = FORGET_WITH_PRECISION.but(lr=2e-3, schedule="cosine"),
    *,
    labels: Draw = "uniform",
    noise: float = NOISE,
    seed: int = 0,
    on_step=None,
    progress: bool = True,
) -> nn.Module:
    """Train a copy on all of D, with random labels on the forget set; `labels` and `noise` are those of `poisoned`.

    Source: Krähenmann et al., *Forget with Precision*, 2023, method 3. Fidelity: the cosine schedule is the released
    code's; it does not shuffle (the retain set comes first, then the forget set) and augments nothing, and this does.
    """
    everything = request.retain.joined(poisoned(request, labels=labels, noise=noise, seed=seed))
    return Phases(on_step, progress).train(copied(model), everything, recipe, seed=seed)


@method("hybrid", title="hybrid", paper="krahenmann2023forget", family="poisoning")
def hybrid(
    model: nn.Module,
    request: Request,
    recipe: Recipe = FORGET_WITH_PRECISION,
    *,
    labels: Draw = "uniform",
    noise: float = NOISE,
    poisoning: Recipe = FORGET_WITH_PRECISION.but(epochs=1, lr=1e-2),
    seed: int = 0,
    on_step=None,
    progress: bool = True,
) -> nn.Module:
    """Poison, then finetune: random labels on the forget set alone, then the retain set as it is.

    Source: Krähenmann et al., *Forget with Precision*, 2023, method 4. Fidelity: the released code finetunes on the
    retain set in its stored order, and augments nothing; here the order is shuffled and the sets' augmentation runs.
    """
    phases = Phases(on_step, progress)
    wrong = poisoned(request, labels=labels, noise=noise, seed=seed)
    unlearned = copied(model)
    phases.train(unlearned, wrong, poisoning, seed=seed_for(seed, "poison"))
    return phases.train(unlearned, request.retain, recipe, seed=seed)


def poisoned(request: Request, *, labels: Draw = "uniform", noise: float = NOISE, seed: int = 0) -> ImageSet:
    """The forget set with random labels, drawn from `seed` alone; its images are shared, not copied.

    Args:
        labels: "uniform" among all, which hits the true label by chance, or "wrong", which never does. Classes (N,)
            are drawn among those of the request; of attributes (N, A) each is drawn on its own, and "wrong" flips
            every one of them. Ages (N,) have no such choice.
        noise: standard deviation of what is added to ages, in years, > 0; no age is cut off at 0.

    Raises:
        InputError: an impossible option, or one class only and "wrong" labels wanted.

    >>> poisoned(task.request, labels="wrong").labels != task.forget.labels
    tensor([True, True, True, …])
    """
    if labels not in ("uniform", "wrong"):
        raise InputError(f"unknown labels {labels!r}: expected 'uniform' or 'wrong'.")
    if noise <= 0:
        raise InputError(f"noise is {noise}: expected a standard deviation above 0, in the unit of the labels.")
    true, draw = request.forget.labels, generator_for(seed, "labels")
    if true.is_floating_point() and true.ndim == 1:
        return replace(request.forget, labels=true + noise * torch.randn(true.shape, generator=draw).to(true))
    if true.is_floating_point():
        drawn = torch.randint(2, true.shape, generator=draw).to(true) if labels == "uniform" else 1 - true
        return replace(request.forget, labels=drawn)
    classes = max(request.forget.outputs, request.retain.outputs)  # a set without class names may not show them all
    if labels == "uniform":
        return replace(request.forget, labels=torch.randint(classes, true.shape, generator=draw).to(true))
    if classes < 2:
        raise InputError("there is one class only: expected two or more for wrong labels; choose labels='uniform'.")
    other = torch.randint(1, classes, true.shape, generator=draw).to(true)
    return replace(request.forget, labels=(true + other) % classes)
