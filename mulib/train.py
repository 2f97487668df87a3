"""The one training loop and the one evaluation loop."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, overload

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from mulib.data.sets import ImageSet
from mulib.errors import InputError
from mulib.models import device_of

Schedule = Literal["constant", "onecycle"] | Sequence[int]


@dataclass(frozen=True)
class Fit:
    """What a training run did: the mean loss of each epoch, optimiser steps, and wall-clock seconds."""

    losses: tuple[float, ...]
    steps: int
    seconds: float


def fit(
    model: nn.Module,
    data: ImageSet,
    *,
    epochs: int,
    lr: float,
    batch_size: int = 128,
    momentum: float = 0.9,
    weight_decay: float = 5e-4,
    schedule: Schedule = "constant",
    seed: int = 0,
    on_step: Callable[[int, float], None] | None = None,
    progress: bool = True,
) -> Fit:
    """Train `model` in place with SGD on `data`, on the model's device; the mode it came in is restored.

    The same seed, model, data and number of threads give the same weights on the CPU.

    Args:
        epochs: passes over the data; 0 trains nothing.
        lr: learning rate, the peak one for "onecycle".
        schedule: "constant", "onecycle", or the epochs at which the rate is divided by ten.
        seed: order of the examples.
        on_step: called after each step with its number (from 1) and loss; it costs a synchronisation per step.
        progress: a bar on standard error, for runs longer than a second (`TQDM_DISABLE=1` turns all bars off).

    Raises:
        InputError: no data, a bad number, or a loss that is not finite (the message names the epoch).
    """
    if not len(data):
        raise InputError("there is nothing to train on: the image set is empty.")
    if epochs < 0 or lr <= 0 or batch_size < 1:
        raise InputError(f"epochs {epochs}, lr {lr}, batch_size {batch_size}: expected ≥ 0, > 0 and ≥ 1.")
    data, was_training = data.to(device_of(model)), model.training
    per_epoch = math.ceil(len(data) / batch_size)
    optimiser = torch.optim.SGD(model.parameters(), lr=lr, momentum=momentum, weight_decay=weight_decay)
    scheduler = _scheduler(optimiser, schedule, lr, epochs, per_epoch)
    generator = torch.Generator().manual_seed(seed)
    quiet = {} if progress else {"disable": True}  # a `disable=False` would override TQDM_DISABLE
    losses, step, start = [], 0, time.perf_counter()
    model.train()
    try:
        for epoch in tqdm(range(epochs), desc="epochs", leave=False, delay=1.0, **quiet):
            total = torch.zeros((), device=data.images.device)
            for x, y in data.batches(batch_size, generator):
                loss = loss_of(model(x), y)
                optimiser.zero_grad(set_to_none=True)
                loss.backward()
                optimiser.step()
                scheduler.step()
                total += loss.detach() * len(y)
                step += 1
                if on_step is not None:
                    on_step(step, loss.item())
            losses.append(total.item() / len(data))
            if not math.isfinite(losses[-1]):
                raise InputError(f"the loss is {losses[-1]} in epoch {epoch + 1}: lower the learning rate ({lr}).")
    finally:
        model.train(was_training)
    return Fit(tuple(losses), step, time.perf_counter() - start)


def loss_of(outputs: Tensor, labels: Tensor, reduction: str = "mean") -> Tensor:
    """Cross-entropy for integer labels (N,); binary cross-entropy, summed over attributes, for float labels (N, A)."""
    if not labels.is_floating_point():
        return F.cross_entropy(outputs, labels, reduction=reduction)
    each = F.binary_cross_entropy_with_logits(outputs, labels, reduction="none").flatten(1).sum(1)
    return each.mean() if reduction == "mean" else each


@overload
def predict(model: nn.Module, data: ImageSet, batch_size: int = ...) -> Tensor: ...
@overload
def predict(model: nn.Module, data: Mapping[str, ImageSet], batch_size: int = ...) -> dict[str, Tensor]: ...
@torch.inference_mode()
def predict(model, data, batch_size=512):
    """Logits in evaluation mode, (N, classes) float32 on the CPU, in the order of the set; the mode is restored.

    A mapping of sets is answered with a dict of the same names.
    """
    if isinstance(data, Mapping):
        return {name: predict(model, part, batch_size) for name, part in data.items()}
    if not len(data):
        raise InputError("there is nothing to predict: the image set is empty.")
    data, was_training = data.to(device_of(model)), model.training
    model.eval()
    try:
        return torch.cat([model(x) for x, _ in data.batches(batch_size)]).float().cpu()
    finally:
        model.train(was_training)


def _scheduler(optimiser, schedule: Schedule, lr: float, epochs: int, per_epoch: int):
    """The learning-rate schedule, stepped once per batch."""
    if schedule == "constant" or epochs == 0:
        return torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: 1.0)
    if schedule == "onecycle":
        return torch.optim.lr_scheduler.OneCycleLR(optimiser, lr, total_steps=epochs * per_epoch + 1)
    if isinstance(schedule, str):
        raise InputError(f"unknown schedule {schedule!r}: expected 'constant', 'onecycle' or a list of epochs.")
    milestones = [epoch * per_epoch for epoch in schedule]
    return torch.optim.lr_scheduler.MultiStepLR(optimiser, milestones, gamma=0.1)
