"""Augmentation in one kernel: a program per image picks each output pixel's source, colours it and normalises it.

Floor: C·H·W bytes are read and two or four times as many written; some 60 operations a pixel. Contrast needs the mean
grey of the image as it then is, so that there the program passes twice over its image, the second time in cache. Eager
torch moves 60 bytes a byte (see `mulib.kernels.augment`).
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from mulib.kernels.augment import Draws, scale_and_offset, sent

BLOCK = 1024


@triton.jit
def _source(at, H, W, top, left, mirrored, tangent, scale, AFFINE: tl.constexpr):
    """Where in the stored image the output pixels come from, and whether they lie in it at all."""
    y, x = at // W, at % W
    seen = at < H * W
    if AFFINE:
        down, right = y - (H - 1) * 0.5, x - (W - 1) * 0.5
        from_y = _rounded(down / scale + (H - 1) * 0.5)
        from_x = _rounded((right + down * tangent) / scale + (W - 1) * 0.5)
        seen = seen & (from_y >= 0) & (from_y < H) & (from_x >= 0) & (from_x < W)
        y, x = tl.where(seen, from_y, 0.0).to(tl.int32), tl.where(seen, from_x, 0.0).to(tl.int32)
    x = tl.where(mirrored > 0, W - 1 - x, x) + left
    y = y + top
    y, x = (H - 1) - tl.abs((H - 1) - tl.abs(y)), (W - 1) - tl.abs((W - 1) - tl.abs(x))
    return y * W + x, seen


@triton.jit
def _rounded(x):
    """To the nearest whole number, ties to even, as torch.round: adding 1.5·2²³ leaves no bits below 1."""
    return (x + 12582912.0) - 12582912.0


@triton.jit
def _towards(grey, x, factor):
    return tl.minimum(tl.maximum(grey + (x - grey) * factor, 0.0), 255.0)


@triton.jit
def _one_colour(r, g, b, part, mean, bright, contrast, saturation):
    """One of the three colour changes."""
    grey = 0.299 * r + 0.587 * g + 0.114 * b
    away = tl.where(part == 0, 0.0, tl.where(part == 1, mean, grey))
    factor = tl.where(part == 0, bright, tl.where(part == 1, contrast, saturation))
    return _towards(away, r, factor), _towards(away, g, factor), _towards(away, b, factor)


@triton.jit
def _augment(
    images, index, shift, affine, colour, scales, offsets, result, H, W, C, first, second, third,
    AFFINE: tl.constexpr, COLOUR: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    n = tl.program_id(0).to(tl.int64)
    size = H * W
    image = images + tl.load(index + n) * C * size
    top, left, mirrored = tl.load(shift + 3 * n), tl.load(shift + 3 * n + 1), tl.load(shift + 3 * n + 2)
    tangent, scale = tl.load(affine + 2 * n), tl.load(affine + 2 * n + 1)
    if COLOUR:
        bright, contrast, saturation = tl.load(colour + 3 * n), tl.load(colour + 3 * n + 1), tl.load(colour + 3 * n + 2)
        total = tl.zeros([BLOCK], tl.float32)
        for start in range(0, size, BLOCK):  # the mean grey of the image, as it is when contrast comes
            at = start + tl.arange(0, BLOCK)
            where, seen = _source(at, H, W, top, left, mirrored, tangent, scale, AFFINE)
            r = tl.load(image + where, seen, other=0).to(tl.float32)
            g = tl.load(image + size + where, seen, other=0).to(tl.float32)
            b = tl.load(image + 2 * size + where, seen, other=0).to(tl.float32)
            if first != 1:
                r, g, b = _one_colour(r, g, b, first, 0.0, bright, contrast, saturation)
                if second != 1:
                    r, g, b = _one_colour(r, g, b, second, 0.0, bright, contrast, saturation)
            total += 0.299 * r + 0.587 * g + 0.114 * b
        mean = tl.sum(total, 0) / size
    for start in range(0, size, BLOCK):
        at = start + tl.arange(0, BLOCK)
        where, seen = _source(at, H, W, top, left, mirrored, tangent, scale, AFFINE)
        inside = at < size
        if COLOUR:
            r = tl.load(image + where, seen, other=0).to(tl.float32)
            g = tl.load(image + size + where, seen, other=0).to(tl.float32)
            b = tl.load(image + 2 * size + where, seen, other=0).to(tl.float32)
            r, g, b = _one_colour(r, g, b, first, mean, bright, contrast, saturation)
            r, g, b = _one_colour(r, g, b, second, mean, bright, contrast, saturation)
            r, g, b = _one_colour(r, g, b, third, mean, bright, contrast, saturation)
            r = _rounded(r) * tl.load(scales) - tl.load(offsets)
            g = _rounded(g) * tl.load(scales + 1) - tl.load(offsets + 1)
            b = _rounded(b) * tl.load(scales + 2) - tl.load(offsets + 2)
            out = result + n * C * size + 3 * at  # channels-last
            tl.store(out, r.to(result.dtype.element_ty), inside)
            tl.store(out + 1, g.to(result.dtype.element_ty), inside)
            tl.store(out + 2, b.to(result.dtype.element_ty), inside)
        else:
            for c in range(C):
                x = tl.load(image + c * size + where, seen, other=0).to(tl.float32)
                x = x * tl.load(scales + c) - tl.load(offsets + c)
                tl.store(result + n * C * size + C * at + c, x.to(result.dtype.element_ty), inside)


def augmented_refused(
    images: Tensor, index: Tensor, draws: Draws, mean: tuple, std: tuple, dtype: torch.dtype = torch.float32
) -> str:
    """Why the kernel does not apply, or nothing."""
    return "" if images.is_contiguous() else "the images are not contiguous"


def augmented(
    images: Tensor, index: Tensor, draws: Draws, mean: tuple, std: tuple, dtype: torch.dtype = torch.float32
) -> Tensor:
    """As `mulib.kernels.augment.augmented`; a pixel whose source lies halfway between two may take the other one."""
    (_, channels, height, width), n, device = images.shape, len(index), images.device
    shift = torch.zeros(n, 3, dtype=torch.int64) if draws.shift is None else draws.shift
    affine = torch.tensor([[0.0, 1.0]]).repeat(n, 1) if draws.affine is None else draws.affine
    colour = torch.ones(n, 3) if draws.colour is None else draws.colour
    scale, offset = (each.flatten().expand(channels).contiguous() for each in scale_and_offset(mean, std, device))
    result = torch.empty(n, channels, height, width, dtype=dtype, device=device, memory_format=torch.channels_last)
    amounts = [*(sent(each.contiguous(), device) for each in (shift.int(), affine, colour)), scale, offset]
    order = draws.order or (0, 1, 2)
    flags = {"AFFINE": draws.affine is not None, "COLOUR": draws.colour is not None}
    _augment[n,](images, index, *amounts, result, height, width, channels, *order, **flags, BLOCK=BLOCK)
    return result
