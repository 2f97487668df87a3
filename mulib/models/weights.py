"""What every model can do: be copied, say where it lives and what gives its answer, and start again from a seed."""

from __future__ import annotations

import copy
from collections.abc import Collection
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from mulib.errors import InputError
from mulib.models.hooks import watched
from mulib.models.modes import evaluating

Net = TypeVar("Net", bound=nn.Module)


def copied(model: Net) -> Net:
    """A deep copy.

    Raises:
        InputError: a model that PyTorch cannot copy, such as one under a pruning mask after a training step.
    """
    try:
        return copy.deepcopy(model)
    except RuntimeError as error:
        what = f"this {type(model).__name__} cannot be copied ({error})"
        raise InputError(f"{what}: make its pruning or weight norm permanent with `remove` first.") from error


def reinitialise(model: Net, seed: int, blocks: Collection[str] = ()) -> Net:
    """The same architecture with new weights drawn from `seed`; `model` is untouched, its device and mode are kept.

    Every module's own `reset_parameters` runs, under a weight or spectral norm too, then `_reset_parameters`, which
    attention has instead, and then the model's `init_weights` where it has one.

    Args:
        blocks: the children that must be new; by default all.

    Raises:
        InputError: parameters that none of these sets, such as a class token: they would keep what was learned.
    """
    fresh = copied(model).cpu()
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        for parameter in fresh.parameters():  # what is still so at the end was not drawn
            parameter.fill_(torch.nan)
        for reset in ("reset_parameters", "_reset_parameters"):
            for module in fresh.modules():
                if hasattr(module, reset) and not (reset[0] == "_" and hasattr(module, "reset_parameters")):
                    getattr(module, reset)()
        getattr(fresh, "init_weights", lambda: None)()
        for module in filter(parametrize.is_parametrized, fresh.modules()):
            for name, chain in module.get_submodule("parametrizations").named_children():
                norms = list(chain.children())
                if [type(each).__name__ for each in norms] in (["_WeightNorm"], ["_SpectralNorm"]):
                    _draw_under(module, name, *norms)
    kept = [name for name, parameter in fresh.named_parameters() if parameter.isnan().any()]
    if kept := [name for name in kept if not blocks or name.partition(".")[0] in blocks]:
        names = ", ".join(kept[:5]) + ", …" * (len(kept) > 5)
        raise InputError(f"nothing draws {names} anew: give {type(model).__name__} an init_weights() that does.")
    return fresh.to(device_of(model))


def _draw_under(module: nn.Module, name: str, norm: nn.Module) -> None:
    """Draw a weight that stands under a norm as its layer would without one, and let the norm start again from it."""
    layer = nn.Module.__new__(type(module).__bases__[0])
    weight = nn.Parameter(torch.empty_like(getattr(module, name)))
    layer.__dict__ = module.__dict__ | {"_parameters": module._parameters | {name: weight}, "_modules": {}}
    layer.reset_parameters()
    setattr(module, name, weight.detach())
    if type(norm).__name__ == "_SpectralNorm":  # its estimates of the singular vectors
        norm.__init__(weight, norm.n_power_iterations, norm.dim, norm.eps)


def device_of(model: nn.Module) -> torch.device:
    """Where the model's first parameter lives."""
    return next(model.parameters()).device


def answer(model: nn.Module, x: Tensor) -> tuple[Tensor, str | None]:
    """The model's outputs (N, classes) for a batch, in evaluation mode, and the linear layer that ran last: its head,
    None without one, wherever in the model it was defined.

    Raises:
        InputError: the model cannot take such images, or answers with something else.
    """
    linear = {name: module for name, module in model.named_modules() if isinstance(module, nn.Linear)}
    ran: list[str | None] = [None]
    with evaluating(model), watched(linear, lambda name, _: ran.append(name)), torch.no_grad():
        try:
            outputs = model(x)
        except Exception as error:  # a model's own code may fail in any way
            shape = f"{tuple(x.shape)} of {x.dtype}"
            why = " ".join(str(error).split())[:200]
            raise InputError(
                f"this {type(model).__name__} cannot take images {shape} ({why}): choose others."
            ) from error
    return logits(model, outputs), ran[-1]


def logits(model: nn.Module, outputs: object) -> Tensor:
    """What a model answered, if that is logits.

    Raises:
        InputError: it is something else.
    """
    if not isinstance(outputs, Tensor) or outputs.ndim != 2 or not outputs.is_floating_point():
        found = f"{outputs.dtype} of shape {tuple(outputs.shape)}" if isinstance(outputs, Tensor) else type(outputs)
        raise InputError(
            f"this {type(model).__name__} answers with {found}: expected one tensor of logits (N, classes)."
        )
    return outputs
