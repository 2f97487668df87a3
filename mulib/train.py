"""The one training loop."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from mulib import files
from mulib.clock import clock
from mulib.data.sets import ImageSet
from mulib.errors import DivergedError, InputError
from mulib.models import answer, device_of
from mulib.models.modes import training
from mulib.predict import autocast
from mulib.recipe import Recipe, Steps

Objective = Callable[[nn.Module, Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Fit:
    """What a training run did: the mean loss of each epoch, optimiser steps, and wall-clock seconds."""

    losses: tuple[float, ...]
    steps: int
    seconds: float


def fit(
    model: nn.Module,
    data: ImageSet,
    recipe: Recipe,
    *,
    seed: int = 0,
    objective: Objective | None = None,
    optimiser: torch.optim.Optimizer | None = None,
    on_step: Callable[[int, float], object] | None = None,
    progress: bool = True,
) -> Fit:
    """Train `model` in place on `data`, on the model's device; each module's mode is restored.

    Parameters that do not require a gradient stay as they are, and so do, in a model that comes in training mode,
    modules in evaluation mode, such as frozen batch norm. The same seed, model, data and number of threads give
    the same weights on the CPU.

    Args:
        seed: order of the examples, and their augmentation.
        objective: (model, images, labels) → the loss to minimise; by default `loss_of(model(images), labels)`.
        optimiser: one of one's own, as `optimiser_of` makes it, whose state goes on from call to call: its rate,
            momentum and decay count, and the recipe's do not.
        on_step: called after each step with its number (from 1) and loss, a synchronisation per step; training ends
            early when it returns True.
        progress: a bar on standard error, for runs longer than a second (`TQDM_DISABLE=1` turns all bars off).

    Raises:
        InputError: no data, or outputs that do not fit the labels.
        DivergedError: a loss that is not finite; the model is left as it was after the last good epoch.

    >>> len(fit(model, task.train, Recipe(epochs=2, lr=0.1, schedule="onecycle"), seed=1).losses)
    2
    """
    _check(model, data, objective is None)
    data = data.to(model)
    optimise = optimiser_of(model.parameters(), recipe) if optimiser is None else optimiser
    scheduler = _scheduler(optimise, recipe, data.steps(recipe.batch_size))
    objective = _plain if objective is None else objective
    generator = torch.Generator().manual_seed(seed)
    quiet: dict[str, Any] = {} if progress else {"disable": True}  # a `disable=False` would override TQDM_DISABLE
    good = {name: value.clone() for name, value in model.state_dict().items()}
    losses, step, start, stop = [], 0, time.perf_counter(), False
    with training(model):
        for epoch in tqdm(range(recipe.epochs), desc="epochs", leave=False, delay=1.0, **quiet):
            history, sizes = [], []
            for x, y in data.batches(recipe.batch_size, generator):
                with autocast(x.device, recipe.precision):
                    loss = objective(model, x, y)
                optimise.zero_grad(set_to_none=True)
                loss.backward()
                optimise.step()
                scheduler.step()
                history.append(loss.detach())
                sizes.append(len(y))
                step += 1
                if on_step is not None:
                    value = loss.item()
                    stop = bool(on_step(step, value)) or not math.isfinite(value)
                    if stop:
                        break
            values, sizes = torch.stack(history).double().cpu(), torch.tensor(sizes, dtype=torch.float64)
            bad = (~values.isfinite()).nonzero()
            if len(bad):
                model.load_state_dict(good)
                at = step - len(values) + int(bad[0]) + 1
                raise _diverged(model, float(values[bad[0]]), at, epoch + 1, recipe.lr)
            losses.append(float((values * sizes).sum() / sizes.sum()))
            if stop:
                break
            with torch.no_grad():
                for name, value in model.state_dict().items():
                    good[name].copy_(value)
    return Fit(tuple(losses), step, time.perf_counter() - start)


def kept(model: nn.Module, data: ImageSet, recipe: Recipe, *, also: str = "", seed: int = 0, **options) -> float:
    """`fit` once: the first call trains and keeps the weights in the cache, a later one with the same arguments,
    in any notebook or process, loads them. Returns what the training took, in seconds of `clock`.

    The file belongs to the model's structure and first weights, the data's pixels and labels, the recipe, the seed, and
    what `files.key` adds.

    Args:
        also: what an `objective` does, in words; needed where there is one, because a function has no name for that.
        options: `objective`, `on_step` and `progress`, as for `fit`.
    """
    if "objective" in options and not also:
        raise InputError("there is an objective, but `also` is empty: say in it what the objective does.")
    facts = str(model), recipe, seed, also, data.mean, data.std, data.augment
    start = {"images": data.images, "labels": data.labels, **model.state_dict()}
    device = device_of(model)

    def make(part: Path) -> None:
        begin = clock(device)
        fit(model, data, recipe, seed=seed, **options)
        part.write_bytes(files.sealed(model.state_dict(), seconds=clock(device) - begin))

    path = files.cache_folder("networks") / f"{files.key(*facts, tensors=start, device=device)}.safetensors"
    weights, notes = files.once(path, make, files.read_tensors)
    model.load_state_dict(weights)
    return float(notes["seconds"])


def _plain(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    return loss_of(model(x), y)


def _diverged(model: nn.Module, loss: float, step: int, epoch: int, lr: float) -> DivergedError:
    left = f"after epoch {epoch - 1}" if epoch > 1 else "before training"
    where = f"the loss is {loss} at step {step}, in epoch {epoch}"
    error = DivergedError(f"{where}: lower the learning rate ({lr}); the model is as it was {left}.", step, epoch)
    error.model = model
    return error


def _check(model: nn.Module, data: ImageSet, plain: bool) -> None:
    """What can be seen before the first step, each as one sentence; an objective of one's own may call it otherwise."""
    if not len(data):
        raise InputError("there is nothing to train on: the image set is empty.")
    try:
        outputs, need = asked(model, data)[0].shape[1], data.outputs
    except InputError:
        if plain:
            raise
        return
    exact = bool(data.classes) or data.labels.is_floating_point()  # classes without names may be more than are shown
    if outputs < need or (exact and outputs > need):
        raise InputError(f"the model has {outputs} outputs but the labels need {need}: build it with {need}.")


def asked(model: nn.Module, data: ImageSet) -> tuple[Tensor, str | None]:
    """What the model answers to the first two images, and its head: see `mulib.models.answer`, and its errors."""
    return answer(model, data.subset(torch.arange(min(2, len(data)))).to(model).pixels(slice(2)))


def learning(parameters: Iterable[nn.Parameter]) -> list[nn.Parameter]:
    """Those that require a gradient.

    Raises:
        InputError: none does.
    """
    found = [parameter for parameter in parameters if parameter.requires_grad]
    if not found:
        raise InputError("no parameter requires a gradient: unfreeze those that shall learn (requires_grad_()).")
    return found


def loss_of(outputs: Tensor, labels: Tensor, reduction: str = "mean") -> Tensor:
    """The loss by the kind of labels, averaged, or one per example with ``reduction="none"``.

    Cross-entropy for integer labels (N,); binary cross-entropy, summed over attributes, for float labels (N, A);
    absolute error for float values (N,), such as ages, and outputs (N, 1).
    """
    if not labels.is_floating_point():
        return F.cross_entropy(outputs, labels, reduction=reduction)
    labels = labels.to(outputs.dtype)
    if labels.ndim == 1:
        return F.l1_loss(outputs[:, 0], labels, reduction=reduction)
    each = F.binary_cross_entropy_with_logits(outputs, labels, reduction="none").flatten(1).sum(1)
    return each.mean() if reduction == "mean" else each


def optimiser_of(parameters: Iterable[nn.Parameter], recipe: Recipe) -> torch.optim.Optimizer:
    """The recipe's optimiser of those parameters that require a gradient."""
    those, decay = learning(parameters), recipe.weight_decay
    if recipe.optimiser == "adam":
        return torch.optim.Adam(those, recipe.lr, weight_decay=decay, fused=True)
    momentum, nesterov = recipe.momentum, recipe.nesterov
    return torch.optim.SGD(those, recipe.lr, momentum, weight_decay=decay, nesterov=nesterov, fused=True)


def _scheduler(optimiser: torch.optim.Optimizer, recipe: Recipe, per_epoch: int):
    """The learning-rate schedule, stepped once per batch."""
    schedule, steps = recipe.schedule, recipe.epochs * per_epoch
    if schedule == "constant" or steps == 0:
        return torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: 1.0)
    if schedule == "onecycle":
        return torch.optim.lr_scheduler.OneCycleLR(optimiser, recipe.lr, total_steps=steps + 1)
    if schedule == "cosine":
        return torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    drops = schedule if isinstance(schedule, Steps) else Steps(0.1, schedule)
    epochs = drops.at if drops.every is None else range(drops.every, recipe.epochs, drops.every)
    return torch.optim.lr_scheduler.MultiStepLR(optimiser, [e * per_epoch for e in epochs], gamma=drops.factor)
