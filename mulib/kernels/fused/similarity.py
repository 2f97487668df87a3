"""The group loss in two kernels, one each way: a program per image and group streams that group's maps once.

Floor: forward reads the maps (b·B·C·P bytes of b each) and writes B·K·P sums and B·C lengths; backward reads the maps
again and writes their gradient (2·b·B·C·P); 4·B·C·P operations forwards, 6 backwards. Nothing of the size of the maps
is kept. Eager torch keeps z, and passes some nine times over tensors of that size forwards and seven backwards. What
lies between the two, on B·K·P sums (an eighth of the maps at eight channels a group), is torch's.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from mulib.kernels.similarity import value_and_slope

POSITIONS, TILE = 4096, 4096  # a map lies in registers whole, and some channels' maps at a time


@triton.jit
def _normalised(maps, mean, c, p, inside, at_c, at_p, P, WIDE: tl.constexpr):
    """The maps of some channels of one image less their mean maps, (CHANNELS, BLOCK), and their lengths."""
    x = tl.load(maps + c[:, None] * at_c + p[None, :] * at_p, inside, other=0.0).to(WIDE)
    x -= tl.load(mean + c[:, None] * P + p[None, :], inside, other=0.0).to(WIDE)
    length = tl.sqrt(tl.sum(x * x, 1))
    return x, tl.where(length > 0, 1 / tl.where(length > 0, length, 1.0), 0.0)


@triton.jit
def _forward(
    maps, mean, order, first, sums, at_b, at_c, at_p, P, K,
    CHANNELS: tl.constexpr, BLOCK: tl.constexpr, WIDE: tl.constexpr,
):  # fmt: skip
    b, k, p = tl.program_id(0).to(tl.int64), tl.program_id(1), tl.arange(0, BLOCK)
    start, end = tl.load(first + k), tl.load(first + k + 1)
    total = tl.zeros([BLOCK], WIDE)
    for at in range(start, end, CHANNELS):
        i = at + tl.arange(0, CHANNELS)
        c = tl.load(order + i, i < end, other=0)
        inside = (i < end)[:, None] & (p < P)[None, :]
        x, scale = _normalised(maps + b * at_b, mean, c, p, inside, at_c, at_p, P, WIDE)
        total += tl.sum(x * scale[:, None], 0)
    tl.store(sums + (b * K + k) * P + p, total, p < P)


@triton.jit
def _backward(
    maps, mean, order, first, slope, arrived, gradient, at_b, at_c, at_p, to_b, to_c, to_p, P, K,
    CHANNELS: tl.constexpr, BLOCK: tl.constexpr, WIDE: tl.constexpr,
):  # fmt: skip
    b, k, p = tl.program_id(0).to(tl.int64), tl.program_id(1), tl.arange(0, BLOCK)
    start, end = tl.load(first + k), tl.load(first + k + 1)
    slope_k = tl.load(slope + (b * K + k) * P + p, p < P, other=0.0)[None, :]
    factor = tl.load(arrived).to(WIDE)
    for at in range(start, end, CHANNELS):
        i = at + tl.arange(0, CHANNELS)
        c = tl.load(order + i, i < end, other=0)
        inside = (i < end)[:, None] & (p < P)[None, :]
        x, scale = _normalised(maps + b * at_b, mean, c, p, inside, at_c, at_p, P, WIDE)
        z = x * scale[:, None]
        along = tl.sum(z * slope_k, 1)
        found = (slope_k - z * along[:, None]) * (factor * scale)[:, None]
        where = gradient + b * to_b + c[:, None] * to_c + p[None, :] * to_p
        tl.store(where, found.to(gradient.dtype.element_ty), inside)


class _GroupLoss(torch.autograd.Function):
    @staticmethod
    def forward(ctx, maps: Tensor, groups: Tensor, mean: Tensor) -> Tensor:
        batch, channels, positions = maps.shape
        members = F.one_hot(groups)
        size = members.sum(0)
        order, first = groups.argsort(stable=True), F.pad(size.cumsum(0), (1, 0))
        double = maps.dtype == torch.float64
        wide, block = (tl.float64 if double else tl.float32), triton.next_power_of_2(positions)
        sizes = {"CHANNELS": max(1, min(16, TILE // block)), "BLOCK": block, "WIDE": wide}
        sums = maps.new_empty(batch, len(size), positions, dtype=torch.float64 if double else torch.float32)
        grid, shape = (batch, len(size)), (positions, len(size))
        _forward[grid](maps, mean, order, first, sums, *maps.stride(), *shape, **sizes)
        value, slope = value_and_slope(sums, size, channels)
        ctx.save_for_backward(maps, mean, order, first, slope)
        ctx.sizes = sizes
        return value.to(maps.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx, arrived: Tensor):
        maps, mean, order, first, slope = ctx.saved_tensors
        gradient = torch.empty_like(maps)
        batch, groups, positions = slope.shape
        strides, shape = (*maps.stride(), *gradient.stride()), (positions, groups)
        _backward[batch, groups](maps, mean, order, first, slope, arrived, gradient, *strides, *shape, **ctx.sizes)
        return gradient, None, None


def group_loss_refused(maps: Tensor, groups: Tensor, mean: Tensor) -> str:
    """Why the kernel does not apply, or nothing."""
    positions = maps[0, 0].numel()
    return f"maps of {positions} positions are larger than {POSITIONS}" if positions > POSITIONS else ""


def group_loss(maps: Tensor, groups: Tensor, mean: Tensor) -> Tensor:
    """As `mulib.kernels.similarity.group_loss`; sums are float32 at least, whatever the maps are."""
    return _GroupLoss.apply(maps.flatten(2), groups, mean.flatten(1).contiguous())
