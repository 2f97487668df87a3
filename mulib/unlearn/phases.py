"""What methods share: several trainings that count as one, seeds of their own, and resetting weights."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from mulib.data.sets import ImageSet, Request
from mulib.errors import InputError
from mulib.kernels.reset import redraw
from mulib.models import copied
from mulib.recipe import Recipe
from mulib.train import Fit, asked, fit, learning


@dataclass
class Phases:
    """Trainings that count as one: their steps are numbered through.

    `on_step` is called as by `mulib.train.fit`; once it has returned True, no later phase trains either.

    >>> phases = Phases(on_step, progress)
    >>> phases.train(model, request.forget, recipe.but(epochs=1), seed=1)
    >>> phases.train(model, request.retain, recipe, seed=0)
    """

    on_step: Callable[[int, float], object] | None = None
    progress: bool = True
    fits: list[Fit] = field(default_factory=list, init=False)
    stopped: bool = field(default=False, init=False)

    def train(self, model: nn.Module, data: ImageSet, recipe: Recipe, *, seed: int, **options) -> nn.Module:
        """Train `model` in place, and return it; the options are `objective` and `optimiser`, as for `fit`."""
        if not self.stopped:
            before = sum(done.steps for done in self.fits)

            def report(step: int, loss: float) -> bool:
                self.stopped = bool(self.on_step and self.on_step(before + step, loss))
                return self.stopped

            options |= {"on_step": None if self.on_step is None else report, "progress": self.progress}
            self.fits.append(fit(model, data, recipe, seed=seed, **options))
        return model


def begin(model: nn.Module, request: Request) -> nn.Module:
    """A copy to unlearn in, of a model that has been asked about two images first.

    Raises:
        InputError: it cannot take them, answers with something else than logits, cannot be copied, or is frozen whole.
    """
    asked(model, request.forget)
    learning(model.parameters())
    return copied(model)


def seed_for(seed: int, purpose: str) -> int:
    """A seed of its own for each purpose, so that no two draws of a method share their random numbers.

    The training that all methods end with takes `seed` itself: it then meets the examples in the order in which
    `finetune` does, and what two methods differ in is what came before.
    """
    return int.from_bytes(hashlib.sha256(f"{seed} {purpose}".encode()).digest()[:7], "big")


def generator_for(seed: int, purpose: str) -> torch.Generator:
    """A CPU generator with the seed of that purpose."""
    return torch.Generator().manual_seed(seed_for(seed, purpose))


def last_weight(model: nn.Module, data: ImageSet) -> str:
    """The name of the weight of the linear layer that runs last on such images.

    Raises:
        InputError: there is no linear layer, or a norm of weights stands in the place of its weight.
    """
    _, head = asked(model, data)
    if head is None:
        raise InputError("the model has no linear layer: expected one at its end; choose a method that needs none.")
    return weight_of(model, head)


def weight_of(model: nn.Module, layer: str) -> str:
    """The name of a layer's weight among the model's parameters.

    Raises:
        InputError: it is none of them, but computed, as under a norm of weights.
    """
    name = f"{layer}.weight" if layer else "weight"
    if name not in dict(model.named_parameters()):
        raise InputError(f"{name} is computed by a norm: remove that first, or choose a method that resets no weights.")
    return name


@torch.no_grad()
def reset_weights(model: nn.Module, masks: Mapping[str, Tensor], seed: int) -> None:
    """Draw the masked entries of the named parameters anew, in place (see `mulib.kernels.reset.redraw`).

    Parameters that do not require a gradient stay as they are: no training could repair them.
    """
    generator = generator_for(seed, "weights")
    for name, mask in masks.items():
        weight = model.get_parameter(name)
        fresh = redraw(weight, mask, generator)
        if weight.requires_grad:
            weight.copy_(fresh)
