"""Relearn time: how many images bring a forgotten target back, compared with a model that never saw it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mulib.audit.targets import target_scores
from mulib.data.sets import ImageSet
from mulib.data.targets import Target, names, position, presence
from mulib.errors import InputError
from mulib.models import copied
from mulib.predict import predict
from mulib.recipe import Recipe
from mulib.train import fit, loss_of


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
