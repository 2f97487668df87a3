"""The one evaluation loop: a model's logits on sets of images, and what its layers make of them, channel by channel."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import overload

import torch
from torch import Tensor, nn

from mulib.data.sets import ImageSet
from mulib.errors import InputError
from mulib.models import answer, logits
from mulib.models.hooks import layer as find
from mulib.models.hooks import outputs
from mulib.models.modes import evaluating
from mulib.recipe import Precision


@overload
def predict(model: nn.Module, data: ImageSet, batch_size: int = ..., precision: Precision = ...) -> Tensor: ...
@overload
def predict(
    model: nn.Module, data: Mapping[str, ImageSet], batch_size: int = ..., precision: Precision = ...
) -> dict[str, Tensor]: ...
@torch.inference_mode()
def predict(model, data, batch_size=512, precision: Precision = "float32"):
    """Logits in evaluation mode, (N, classes) float32 on the CPU, in the order of the set; modes are restored.

    A mapping of sets is answered with a dict of the same names. `precision` is as for `fit`.
    """
    if isinstance(data, Mapping):
        return {name: predict(model, part, batch_size, precision) for name, part in data.items()}
    if not len(data):
        raise InputError("there is nothing to predict: the image set is empty.")
    data = data.to(model)
    with evaluating(model), autocast(data.images.device, precision):
        return torch.cat([logits(model, model(x)).float() for x, _ in data.batches(batch_size)]).cpu()


@torch.no_grad()
def stream(model: nn.Module, data: ImageSet, layer: str = "layer3", batch_size: int = 256) -> Iterator[Tensor]:
    """The layer's output, batch by batch, in evaluation mode, on the model's device; modes are restored.

    Raises:
        InputError: no images, or no such layer.
    """
    find(model, layer)
    if not len(data):
        raise InputError("there are no images to look at: the image set is empty.")
    for x, _ in data.to(model).batches(batch_size):
        with evaluating(model), outputs(model, [layer]) as seen:
            model(x)
        yield seen[layer].float()


def head_of(model: nn.Module, data: ImageSet) -> str:
    """The name of the linear layer that runs last on such images.

    Raises:
        InputError: there is none.
    """
    head = answer(model, data.to(model).pixels(slice(2)))[1]
    if head is None:
        raise InputError("the model has no linear layer: expected one at its end.")
    return head


@torch.no_grad()
def penultimate(model: nn.Module, data: ImageSet, batch_size: int = 512) -> Tensor:
    """What the last linear layer sees, in evaluation mode, (N, D) float32 on the CPU; modes and hooks are restored.

    Raises:
        InputError: no images, or a model without a linear layer.

    >>> penultimate(model, task.test).shape
    torch.Size([40, 16])
    """
    if not len(data):
        raise InputError("there is nothing to predict: the image set is empty.")
    seen: list[Tensor] = []
    head = model.get_submodule(head_of(model, data))
    with head.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].float().cpu())):
        predict(model, data, batch_size)
    return torch.cat(seen)[-len(data) :]  # it looks at two images first


def right(outputs: Tensor, labels: Tensor) -> Tensor:
    """Which answers are right, bool: of classes (N,) the largest logit, of attributes (N, A) the logit's sign.

    >>> right(torch.tensor([[2.0, 1.0], [0.0, 3.0]]), torch.tensor([0, 0])).tolist()
    [True, False]
    """
    return (outputs > 0) == (labels > 0.5) if labels.is_floating_point() else outputs.argmax(1) == labels


def feature_maps(
    model: nn.Module,
    data: ImageSet,
    layer: str = "layer3",
    *,
    channels: Sequence[int] | None = None,
    normalise: bool = True,
    batch_size: int = 256,
) -> Tensor:
    """What each channel of a layer shows of each image, (N, C, h, w) float32 on the CPU.

    Args:
        layer: as in `model.named_modules()`; with "avgpool" and ``normalise=False`` these are the penultimate features.
        channels: those to keep, in this order; all by default.
        normalise: each channel's values to [0, 1], (x − min)/(max − min) over all images; a constant one becomes 0.

    Raises:
        InputError: no images, no such layer (the nearest names are suggested), or a channel that it does not have.

    >>> feature_maps(model, task.test, channels=[4, 7]).shape
    torch.Size([40, 2, 4, 4])
    """
    kept = []
    for maps in stream(model, data, layer, batch_size):
        if channels is not None:
            maps = maps[:, [_checked(channel, maps.shape[1], layer) for channel in channels]]
        kept.append(maps.cpu())
    maps = torch.cat(kept)
    if not normalise:
        return maps
    flat = maps.transpose(0, 1).flatten(1)
    low, high = (value.view(1, -1, *[1] * (maps.ndim - 2)) for value in (flat.amin(1), flat.amax(1)))
    return (maps - low) / torch.where(high > low, high - low, torch.inf)


def _checked(channel: int, channels: int, layer: str) -> int:
    """The channel, if the layer has it; negative positions do not count from the end."""
    if not 0 <= channel < channels:
        raise InputError(f"there is no channel {channel} in {layer!r}: expected 0 … {channels - 1}.")
    return channel


def autocast(device: torch.device, precision: Precision) -> torch.autocast:
    """The context in which networks compute: as they are, or in bfloat16 where that is safe and the device has it."""
    if precision not in ("float32", "bf16"):
        raise InputError(f"unknown precision {precision!r}: expected 'float32' or 'bf16'.")
    # The cast weights are not cached: a cache filled under inference mode would hide them from the gradient.
    enabled = precision == "bf16" and has_bf16(device.type)
    return torch.autocast(device.type, torch.bfloat16, enabled=enabled, cache_enabled=False)


@cache
def has_bf16(kind: str) -> bool:
    """Whether a kind of device computes in bfloat16; a processor that does not would emulate it, at a quarter of the
    speed of float32."""
    return kind != "cpu" or any(torch.cpu.get_capabilities().get(name) for name in ("amx_bf16", "avx512_bf16", "bf16"))
