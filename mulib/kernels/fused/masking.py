"""Blanking in one kernel: a program per tile of an image enlarges the map there, and passes once over the bytes.

Floor: the images are read and written once (2·N·channels·H·W bytes as uint8). A tile of R × S pixels costs
R·h·w + R·w·S multiply-adds, of a map that stays in cache. Eager torch writes the enlarged maps as float32 and reads
them again, writes the comparison and reads it for each channel: 10 bytes a pixel besides the images'.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from mulib.kernels.masking import resizing

ROWS, COLUMNS, SMALL = 16, 128, 64


@triton.jit
def _blank(
    images, maps, rows, columns, result, threshold, CHANNELS, H, W, h, w,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr, SMALL_H: tl.constexpr, SMALL_W: tl.constexpr,
):  # fmt: skip
    n = tl.program_id(0).to(tl.int64)
    y = tl.program_id(1) * ROWS + tl.arange(0, ROWS)
    x = tl.program_id(2) * COLUMNS + tl.arange(0, COLUMNS)
    i, j = tl.arange(0, SMALL_H), tl.arange(0, SMALL_W)
    # Y = R_H · X · R_Wᵀ of this tile, in full float32
    left = tl.load(rows + y[:, None] * h + i[None, :], (y < H)[:, None] & (i < h)[None, :], other=0.0)
    small = tl.load(maps + n * h * w + i[:, None] * w + j[None, :], (i < h)[:, None] & (j < w)[None, :], other=0.0)
    right = tl.load(columns + x[None, :] * w + j[:, None], (x < W)[None, :] & (j < w)[:, None], other=0.0)
    heat = tl.dot(tl.dot(left, small.to(tl.float32), input_precision="ieee"), right, input_precision="ieee")
    kept, inside = heat <= threshold, (y < H)[:, None] & (x < W)[None, :]
    at = n * CHANNELS * H * W + y[:, None] * W + x[None, :]
    for _ in range(CHANNELS):
        pixels = tl.load(images + at, inside & kept, other=0)  # what is blanked is not even read
        tl.store(result + at, pixels, inside)
        at += H * W


def mask_where_active_refused(images: Tensor, maps: Tensor, threshold: float = 0.2) -> str:
    """Why the kernel does not apply, or nothing."""
    if max(maps.shape[-2:]) > SMALL:
        return f"maps of {tuple(maps.shape[-2:])} are larger than {SMALL}×{SMALL}"
    return "" if maps.dtype.itemsize <= 4 else f"maps of {maps.dtype} are enlarged in float64"


def mask_where_active(images: Tensor, maps: Tensor, threshold: float = 0.2) -> Tensor:
    """As `mulib.kernels.masking.mask_where_active`; a pixel may differ whose enlarged value is the threshold up to
    float32's rounding."""
    (n, channels, height, width), (h, w) = images.shape, maps.shape[-2:]
    rows, columns = (resizing(*size).to(maps.device, torch.float32) for size in ((h, height), (w, width)))
    result = torch.empty(images.shape, dtype=images.dtype, device=images.device)
    small = {"SMALL_H": max(16, triton.next_power_of_2(h)), "SMALL_W": max(16, triton.next_power_of_2(w))}
    grid = (n, triton.cdiv(height, ROWS), triton.cdiv(width, COLUMNS))
    sizes = (threshold, channels, height, width, h, w)
    _blank[grid](
        images.contiguous(), maps.contiguous(), rows, columns, result, *sizes, ROWS=ROWS, COLUMNS=COLUMNS, **small
    )
    return result
