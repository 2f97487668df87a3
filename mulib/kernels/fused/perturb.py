"""A step of the signed ascent in one kernel, and the images that the next pass of the network sees.

Floor: the images and the gradient are read, the images and what is shown of them written: 16 bytes a pixel. Eager
torch takes six passes, 42 bytes a pixel.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

BLOCK = 1024


@triton.jit
def _step(moved, gradient, size, low, high, shown, pixels, CHANNELS, count, BLOCK: tl.constexpr):
    at = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside, c = at < count, (at // pixels) % CHANNELS
    x, g = tl.load(moved + at, inside, other=0.0), tl.load(gradient + at, inside, other=0.0)
    black, white = tl.load(low + c, inside, other=0.0), tl.load(high + c, inside, other=0.0)
    far = tl.load(size + c, inside, other=0.0)
    signed = tl.where(g > 0, far, tl.where(g < 0, -far, 0.0))
    x = tl.where((x >= black) & (x <= white), x + signed, x)
    tl.store(moved + at, x, inside)
    tl.store(shown + at, tl.minimum(tl.maximum(x, black), white), inside)


def step_refused(moved: Tensor, gradient: Tensor, size: Tensor, low: Tensor, high: Tensor) -> str:
    """Why the kernel does not apply, or nothing."""
    channels = moved.shape[1] if moved.ndim == 4 else 0
    if any(bound.numel() != 1 and bound.shape[-3:] != (channels, 1, 1) for bound in (size, low, high)):
        return "a bound is neither one number nor one per channel, (C, 1, 1)"
    same = moved.is_contiguous() and moved.dtype == gradient.dtype == torch.float32
    return "" if same else f"the images are {moved.dtype} and the gradient {gradient.dtype}, not contiguous float32"


def step(moved: Tensor, gradient: Tensor, size: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """As `mulib.kernels.perturb.step`."""
    channels, shown = moved.shape[1], torch.empty_like(moved)
    bounds = (bound.to(moved).flatten().expand(channels).contiguous() for bound in (size, low, high))
    sizes = moved[0, 0].numel(), channels, moved.numel()
    _step[triton.cdiv(moved.numel(), BLOCK),](moved, gradient.contiguous(), *bounds, shown, *sizes, BLOCK=BLOCK)
    return shown
