"""What methods of several phases share: training with one set of options, seeds of their own, and resetting weights."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from mulib.data.sets import ImageSet
from mulib.errors import InputError
from mulib.kernels.reset import redraw
from mulib.predict import Precision
from mulib.train import Objective, Schedule, fit


@dataclass
class Phases:
    """Trainings that count as one: the same options for all, and steps that are numbered through.

    `on_step` is called as by `mulib.train.fit`; once it has returned True, no later phase trains either.

    >>> phases = Phases(batch_size=64, on_step=None)
    >>> phases.train(model, request.forget, epochs=1, lr=1e-2, seed=1)
    >>> phases.train(model, request.retain, epochs=5, lr=1e-3, seed=0)
    """

    batch_size: int = 128
    momentum: float = 0.9
    weight_decay: float = 5e-4
    nesterov: bool = False
    precision: Precision = "float32"
    on_step: Callable[[int, float], object] | None = None
    progress: bool = True
    steps: int = field(default=0, init=False)
    stopped: bool = field(default=False, init=False)

    def train(
        self,
        model: nn.Module,
        data: ImageSet,
        *,
        epochs: int,
        lr: float,
        seed: int,
        schedule: Schedule = "constant",
        objective: Objective | None = None,
    ) -> nn.Module:
        """Train `model` in place, and return it."""
        if self.stopped:
            return model
        options = {name: getattr(self, name) for name in ("batch_size", "momentum", "weight_decay", "nesterov")}
        options |= {"precision": self.precision, "progress": self.progress, "schedule": schedule}
        report = None if self.on_step is None else self._report
        done = fit(model, data, epochs=epochs, lr=lr, seed=seed, objective=objective, on_step=report, **options)
        self.steps += done.steps
        return model

    def _report(self, step: int, loss: float) -> bool:
        self.stopped = bool(self.on_step(self.steps + step, loss))
        return self.stopped


def seed_for(seed: int, purpose: str) -> int:
    """A seed of its own for each purpose, so that no two draws of a method share their random numbers.

    The training that all methods end with takes `seed` itself: it then meets the examples in the order in which
    `finetune` does, and what two methods differ in is what came before.
    """
    return int.from_bytes(hashlib.sha256(f"{seed} {purpose}".encode()).digest()[:7], "big")


def generator_for(seed: int, purpose: str) -> torch.Generator:
    """A CPU generator with the seed of that purpose."""
    return torch.Generator().manual_seed(seed_for(seed, purpose))


def last_weight(model: nn.Module) -> str:
    """The name of the last linear layer's weight among the model's parameters.

    Raises:
        InputError: there is no linear layer.
    """
    linear = [module for module in model.modules() if isinstance(module, nn.Linear)]
    if not linear:
        raise InputError("the model has no linear layer: expected one at its end; choose a method that needs none.")
    return next(name for name, weight in model.named_parameters() if weight is linear[-1].weight)


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
