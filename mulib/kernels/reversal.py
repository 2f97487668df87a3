"""Gradient reversal: what an adversary learns from is what its opponent unlearns.

Source: Ganin and Lempitsky, *Unsupervised Domain Adaptation by Backpropagation*, ICML 2015, as used in Xu et al.,
*Don't Forget Too Much*, 2024 (xu2024feature), the settings with annotation.
"""

from __future__ import annotations

import torch
from torch import Tensor


class _Reversed(torch.autograd.Function):
    @staticmethod
    def forward(x: Tensor, weight: float) -> Tensor:
        return x.view_as(x)

    @staticmethod
    def setup_context(ctx, inputs, output) -> None:
        ctx.weight = inputs[1]

    @staticmethod
    def backward(ctx, gradient: Tensor):
        return -ctx.weight * gradient, None


def reverse_gradient(x: Tensor, weight: float = 1.0) -> Tensor:
    """x itself, whose gradient comes back as −λ times what arrived: any shape, `weight` is λ.

    >>> x = torch.ones(1, requires_grad=True)
    >>> reverse_gradient(x, 5.0).backward()
    >>> x.grad
    tensor([-5.])
    """
    return _Reversed.apply(x, weight)
