"""What every model can do: say where it lives, and start again from a seed."""

from __future__ import annotations

import copy
from typing import TypeVar

import torch
from torch import nn

Net = TypeVar("Net", bound=nn.Module)


def reinitialise(model: Net, seed: int) -> Net:
    """The same architecture with new weights drawn from `seed`; `model` is untouched, its device and mode are kept.

    Every module's own `reset_parameters` runs, then the model's `init_weights` where it has one.
    """
    fresh = copy.deepcopy(model).cpu()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        steps = [getattr(module, "reset_parameters", None) for module in fresh.modules()]
        for step in filter(None, [*steps, getattr(fresh, "init_weights", None)]):
            step()
    return fresh.to(device_of(model))


def device_of(model: nn.Module) -> torch.device:
    """Where the model's first parameter lives."""
    return next(model.parameters()).device
