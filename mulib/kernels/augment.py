"""Augmentation by the batch: crop, flip, shear, scale and colour of drawn amounts, then normalisation.

Shapes: n images of C channels, H × W, uint8. Floor: every pixel is read once and written once, C·H·W bytes in and two
or four times as many out. As separate passes crop and flip read an index per byte, the affine map goes through float32
(9 bytes a byte), and each colour takes two or three passes over float32.

Source: the augmentations of torchvision named in `mulib.data.augment`, each amount drawn there.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from mulib.kernels.dispatch import fused


class Draws(NamedTuple):
    """What was drawn for n images; None where a part is left out. All lie on the CPU."""

    # (n, 3) int64: how far down and to the right the crop starts, and 1 where it is mirrored
    shift: Tensor | None = None
    affine: Tensor | None = None  # (n, 2) float32: the tangent of the shear, and the scale
    colour: Tensor | None = None  # (n, 3) float32: factors of brightness, contrast and saturation
    order: tuple[int, ...] | None = None  # in which these three are applied


@fused
def augmented(
    images: Tensor, index: Tensor, draws: Draws, mean: tuple, std: tuple, dtype: torch.dtype = torch.float32
) -> Tensor:
    """images[index], augmented as drawn, as (pixels / 255 − mean) / std.

    Args:
        images: (N, C, H, W) uint8.
        index: (n,) int64, on their device.
        mean, std: per channel, or one of each, in pixels of 0 … 1.
        dtype: of the result.

    Returns:
        (n, C, H, W), channels-last in memory.
    """
    return normalised(augmented_by(images.index_select(0, index), draws), mean, std).to(dtype)


def augmented_by(images: Tensor, draws: Draws) -> Tensor:
    """uint8 to uint8, (n, C, H, W): crop and flip, shear and scale, colour, of what was drawn."""
    if draws.shift is not None:
        images = shifted(images, draws.shift)
    if draws.affine is not None:
        images = sheared(images, draws.affine)
    if draws.colour is not None:
        images = coloured(images, draws.colour, draws.order or (0, 1, 2))
    return images


def normalised(images: Tensor, mean: tuple, std: tuple, order: torch.memory_format = torch.channels_last) -> Tensor:
    """(x / 255 − mean) / std as one multiplication and one subtraction, float32, laid out as `order`."""
    scale, offset = scale_and_offset(mean, std, images.device)
    return images.to(torch.float32, memory_format=order).mul_(scale).sub_(offset)


@lru_cache(maxsize=32)
def scale_and_offset(mean: tuple, std: tuple, device: torch.device) -> tuple[Tensor, Tensor]:
    """1/(255·std) and mean/std, (C, 1, 1), sent to the device once: a copy per batch would wait for the GPU."""
    m, s = (torch.tensor(v).view(-1, 1, 1) for v in (mean, std))
    return (1 / (255.0 * s)).to(device), (m / s).to(device)


def sent(x: Tensor, device: torch.device) -> Tensor:
    """What was drawn on the CPU, on the device, without waiting for what the GPU has still to do."""
    return x.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else x.to(device)


def shifted(images: Tensor, shift: Tensor) -> Tensor:
    """Cropped out of reflected borders, and mirrored: one gather."""
    n, channels, height, width = images.shape
    top, left, mirrored = shift.T[:, :, None]
    columns = torch.arange(width).expand(n, width)
    columns = torch.where(mirrored > 0, columns.flip(1), columns)
    rows, columns = _reflect(torch.arange(height) + top, height), _reflect(columns + left, width)
    index = (rows[:, :, None] * width + columns[:, None, :]).view(n, 1, -1)
    index = sent(index, images.device)
    return images.flatten(2).gather(2, index.expand(n, channels, -1)).view_as(images)


def sheared(images: Tensor, affine: Tensor) -> Tensor:
    """Output pixel (x, y) shows input pixel ((x + y·tan)/scale, y/scale) about the centre, the nearest, or black."""
    n, _, height, width = images.shape
    tangent, scale = affine.T
    matrix = torch.zeros(n, 2, 3)  # in coordinates of −1 … 1
    matrix[:, 0, 0], matrix[:, 0, 1], matrix[:, 1, 1] = 1 / scale, tangent / scale * height / width, 1 / scale
    grid = F.affine_grid(sent(matrix, images.device), list(images.shape), align_corners=False)
    return F.grid_sample(images.float(), grid, mode="nearest", align_corners=False).to(torch.uint8)


def coloured(images: Tensor, factors: Tensor, order: tuple[int, ...]) -> Tensor:
    """Away from black (brightness), from the mean grey (contrast) and from each pixel's grey (saturation), in order."""
    x, parts, factors = images.float(), (torch.zeros_like, _mean_grey, _grey), sent(factors, images.device)
    for part in order:
        x = torch.lerp(parts[part](x), x, factors[:, part].view(-1, 1, 1, 1)).clamp_(0, 255)
    return x.round_().to(torch.uint8)


def _reflect(index: Tensor, size: int) -> Tensor:
    """Positions outside 0 … size − 1 mirrored at the border pixel."""
    return (size - 1) - ((size - 1) - index.abs()).abs()


def _grey(x: Tensor) -> Tensor:
    red, green, blue = x.split(1, 1)
    return (0.299 * red + 0.587 * green + 0.114 * blue).expand_as(x)


def _mean_grey(x: Tensor) -> Tensor:
    return _grey(x).mean((1, 2, 3), keepdim=True).expand_as(x)
