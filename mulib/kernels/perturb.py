"""The perturbation of guided loss-increasing: signed gradient ascent on images.

Shapes: N images of C channels, H × W. Floor per step: one pass forwards and one backwards to the images; parameters get
no gradient, so the third pass of a training step is not made. Memory: the activations of one pass, and two copies of
the images.

Source: Choi et al., *Guided Loss-Increasing*, CVPR 2024 workshops, section on the method, and its released code.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from mulib.kernels.dispatch import fused


def ascend(
    objective: Callable[[Tensor], Tensor], x: Tensor, *, steps: int, size: Tensor | float, low: Tensor, high: Tensor
) -> Tensor:
    """clamp(x + η) after `steps` steps η ← η + size·sign(∂L(clamp(x + η))/∂η) from η = 0; `x` is left as it is.

    A pixel that has left the range [low, high] gets no gradient and stays at the bound; one that lies on the bound
    still moves, as black and white pixels must.

    Args:
        objective: images (N, C, H, W) → the scalar L to be raised. Its parameters get no gradient.
        x: (N, C, H, W), within the bounds.
        size: how far a step goes, in the units of `x`; a number, or one per channel, (C, 1, 1).
        low, high: the values of black and of white, (C, 1, 1) or any shape that broadcasts.

    >>> black, white = torch.zeros(1), torch.ones(1)
    >>> ascend(lambda v: v.sum(), torch.tensor([0.5, 0.99]), steps=2, size=0.01, low=black, high=white)
    tensor([0.5200, 1.0000])
    """
    moved = x.detach().clone()
    size = torch.as_tensor(size, dtype=x.dtype, device=x.device)
    shown = moved.clamp(low, high)
    for _ in range(steps):
        shown.requires_grad_()
        with torch.enable_grad():
            (gradient,) = torch.autograd.grad(objective(shown), shown)
        shown = step(moved, gradient, size, low, high)
    return shown.detach()


@fused
def step(moved: Tensor, gradient: Tensor, size: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """One step of `ascend`: moves `moved` in place, and returns it clamped, as a new tensor.

    A gradient of 0 moves nothing, nor does one that is NaN in the Triton kernel (in torch it gives NaN).
    """
    inside = (moved >= low) & (moved <= high)
    moved.add_(gradient.sign().mul_(size).mul_(inside))
    return moved.clamp(low, high)
