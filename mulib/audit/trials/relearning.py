"""Relearning: what brings a forgotten target or forget set back, compared with models that never saw it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean, stdev

import torch
from torch import Tensor, nn

from mulib.audit.targets import target_scores
from mulib.data.sets import ImageSet
from mulib.data.targets import Target, names, position, presence
from mulib.errors import InputError
from mulib.models import copied, device_of
from mulib.predict import predict, right
from mulib.recipe import Recipe
from mulib.train import fit, loss_of

RETAINED = Recipe(epochs=1, lr=0.03, batch_size=50)  # ours


@dataclass(frozen=True)
class Recovery:
    """What training on retained images alone brings back.

    Attributes:
        steps: (S,) training steps so far; 0 is the model as it is.
        accuracy: (S,) on the forget set.
    """

    steps: tuple[int, ...]
    accuracy: tuple[float, ...]

    @property
    def most(self) -> float:
        """The highest accuracy of all."""
        return max(self.accuracy)

    def apart(self, retrained: Sequence[Recovery]) -> int | None:
        """The first step at which the accuracy is more than two standard deviations from the mean of the retrained
        models' (each no less than two percentage points); None if there is none.

        Raises:
            InputError: fewer than two retrained models, or other steps.
        """
        if len(retrained) < 2 or any(other.steps != self.steps for other in retrained):
            raise InputError(f"{len(retrained)} retrained curves: expected two or more, with steps {self.steps}.")
        for i, step in enumerate(self.steps):
            there = [other.accuracy[i] for other in retrained]
            if abs(self.accuracy[i] - fmean(there)) > max(2 * stdev(there), 0.02):
                return step
        return None


def recover(
    model: nn.Module,
    retain: ImageSet,
    forget: ImageSet,
    recipe: Recipe = RETAINED,
    *,
    steps: Sequence[int] = (0, 5, 10, 20, 40),
    seed: int = 0,
) -> Recovery:
    """Train a copy of `model` on retained images alone, and see whether the forget set comes back.

    A retrained model learns nothing of what it is not shown; where the forget accuracy of an unlearned one climbs above
    that of retrained models under the same steps, the memory was only hidden.

    Args:
        retain, forget: with labels that are classes (N,) or attributes (N, A).
        recipe: of the training; its epochs do not count, `steps` do.
        steps: after how many to look, ascending; 0 is the model as it is.

    Raises:
        InputError: steps that do not ascend, or an empty set.

    Guarantee: none of forgetting; a difference from retrained models shows memory, or its opposite. Cost: `steps[-1]`
    training steps, and a pass over the forget set at each. Source: Siddiqui et al., *From Dormant to Deleted*, 2025.

    >>> recover(model, task.retain, task.forget, steps=(0, 1)).steps
    (0, 1)
    """
    steps = tuple(steps)
    if not steps or steps[0] < 0 or any(b <= a for a, b in pairwise(steps)):
        raise InputError(f"steps are {list(steps)}: expected numbers from 0 on that ascend.")
    trained, found, labels = copied(model), {}, forget.labels.cpu()
    forget = forget.to(device_of(model))

    def look(step: int, loss: float | None = None) -> bool:
        if step in steps:
            found[step] = float(right(predict(trained, forget), labels).double().mean())
        return step >= steps[-1]

    look(0)
    if steps[-1]:
        epochs = math.ceil(steps[-1] / retain.steps(recipe.batch_size))
        fit(trained, retain, recipe.but(epochs=epochs), seed=seed, on_step=look, progress=False)
    return Recovery(steps, tuple(found[step] for step in steps))


@dataclass(frozen=True)
class Relearning:
    """What a model knows of a target after training on a few images of it.

    Attributes:
        images: (S,) on how many images it was trained, half of them with the target; 0 is the model as it is.
        balanced_accuracy, auc: (S,) of the target on the test set.
    """

    images: tuple[int, ...]
    balanced_accuracy: tuple[float, ...]
    auc: tuple[float, ...]

    def needed(self, level: float) -> int | None:
        """The fewest images with which the balanced accuracy is at least `level`; None if no number was enough."""
        reached = (n for n, score in zip(self.images, self.balanced_accuracy, strict=True) if score >= level)
        return next(reached, None)


def relearn(
    model: nn.Module,
    train: ImageSet,
    test: ImageSet,
    target: Target,
    *,
    images: Sequence[int] = (0, 8, 16, 32, 64, 128),
    steps: int = 30,
    lr: float = 0.01,
    batch_size: int = 16,
    seed: int = 0,
) -> Relearning:
    """Train copies of `model` on more and more images of a target, and see how well they tell it.

    Each copy takes as many steps, so that only the number of images differs; of an attribute only its own output is
    trained. A target that is gone needs as many images as it does in a model that never saw it: run both. One that
    is back after a handful was only hidden.

    Args:
        train: where the images are drawn from, half with and half without the target; larger draws hold smaller ones.
        images: how many in all, even numbers.
        steps, lr, batch_size: of plain gradient descent with momentum, the same for every model that is compared.

    Raises:
        InputError: an unknown target, numbers that are odd or more than `train` holds, or none.

    Source: the measure is Golatkar et al.'s relearn time (CVPR 2020), counted in images; the models compared are those
    of Xu et al., *Essential Graph*, 2024 (bibliography key xu2024target).

    >>> relearn(model, task.train, task.test, "Eyeglasses", images=(0, 8), steps=2).images
    (0, 8)
    """
    output = position(train, target)
    has = presence(train, [output])[0][:, 0]
    order = [_drawn(which, seed + i) for i, which in enumerate((has, ~has))]
    most = 2 * min(len(part) for part in order)
    if not images or any(n % 2 or not 0 <= n <= most for n in images):
        raise InputError(f"the numbers of images are {list(images)}: expected even ones, 0 … {most}.")
    scores, name, test = [], names(test, [output])[0], test.to(model)
    for n in images:
        learner = copied(model)
        if n:
            few = train.subset(torch.cat([part[: n // 2] for part in order]).sort().values)
            epochs = math.ceil(steps / few.steps(batch_size))
            options = {"objective": _objective(output), "seed": seed, "progress": False}
            fit(learner, few, Recipe(epochs, lr, batch_size), on_step=lambda step, loss: step >= steps, **options)
        scores.append(target_scores(predict(learner, test), test.labels, test.classes)[name])
    return Relearning(tuple(images), tuple(s.balanced.point for s in scores), tuple(s.auc for s in scores))


def _drawn(mask: Tensor, seed: int) -> Tensor:
    index = mask.nonzero()[:, 0]
    return index[torch.randperm(len(index), generator=torch.Generator().manual_seed(seed))]


def _objective(output: int):
    """The loss of one attribute's output; of all outputs where they are classes."""

    def loss(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        logits = model(x)
        return loss_of(logits, y) if y.ndim == 1 else loss_of(logits[:, [output]], y[:, [output]])

    return loss
