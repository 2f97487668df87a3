"""What every model can do: say where it lives, and start again from a seed."""

from __future__ import annotations

import copy

import torch
from torch import nn


def reinitialise(model: nn.Module, seed: int) -> nn.Module:
    """The same architecture with new weights drawn from `seed`; `model` is untouched, its device and mode are kept.

    Every module's own `reset_parameters` runs, then the model's `init_weights` where it has one.
    """
    fresh = copy.deepcopy(model).cpu()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for module in fresh.modules():
            if hasattr(module, "reset_parameters"):
                module.reset_parameters()
        if hasattr(fresh, "init_weights"):
            fresh.init_weights()
    return fresh.to(device_of(model))


def device_of(model: nn.Module) -> torch.device:
    """Where the model's first parameter lives."""
    return next(model.parameters()).device
