"""Which weights and kernels to reset, and to what.

Floors, for N weights of b bytes each: `most_similar` reads two tensors and writes a mask (2·b·N + N bytes) besides one
selection in linear time; `redraw` draws N normal numbers, which is most of its time, reads the weights and the mask
and writes the weights (2·b·N + N bytes); `mostly_higher` reads two stacks of maps once (2·b·C·H·W bytes). One call
serves a layer.

Source: Krähenmann et al., *Forget with Precision*, 2023, methods 5 to 8.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn


def most_similar(a: Tensor, b: Tensor, quantile: float) -> Tensor:
    """Where |a − b| lies strictly below its own `quantile`: floats of any one shape → bool of that shape.

    Half precision is compared in float32. Where most entries agree exactly, the quantile is 0 and nothing lies below
    it: two equal tensors give an empty mask.
    """
    wide = torch.promote_types(a.dtype, torch.float32)
    difference = (a.detach().to(wide) - b.detach().to(wide)).abs_()
    return difference < quantile_of(difference.flatten(), quantile)


def quantile_of(x: Tensor, q: float) -> Tensor:
    """The `q` quantile of (N,) float32 or float64, N ≥ 1, linear between neighbours: the value of `torch.quantile`.

    `torch.quantile` sorts all values (and refuses more than 16 million before torch 2.15); this selects two.
    """
    rank = float(torch.tensor(q, dtype=x.dtype)) * (len(x) - 1)  # q in the precision of x, as torch.quantile has it
    lower = min(int(rank), len(x) - 1)
    if x.device.type == "cpu":  # NumPy's selection takes an eighth of the time of torch's kthvalue
        ordered = np.partition(x.numpy(), lower)
        below, rest = ordered[lower], ordered[lower + 1 :]
        ends = torch.from_numpy(np.array([below, rest.min() if len(rest) else below]))
    else:
        ends = torch.stack([x.kthvalue(min(k, len(x))).values for k in (lower + 1, lower + 2)])
    return torch.lerp(ends[0], ends[1], rank - lower)


def redraw(weight: Tensor, mask: Tensor, generator: torch.Generator) -> Tensor:
    """`weight` with the entries in `mask` drawn anew: Kaiming normal, standard deviation √(2 / fan-in).

    Every entry has its own draw from the CPU `generator`, used or not. So a seed gives the same weights on every
    device, and an entry's new value does not depend on which others are reset.

    Args:
        weight: (outputs, inputs, …) floats, two dimensions or more; left as it is.
        mask: bool, of the same shape or broadcast to it, such as (outputs, 1, 1, 1) for whole kernels.
    """
    fresh = nn.init.kaiming_normal_(torch.empty(weight.shape), nonlinearity="relu", generator=generator)
    # At a weight of 0 or 1 lerp gives either end exactly, in half of the time of torch.where on the CPU.
    return weight.detach().lerp(fresh.to(weight), mask.to(weight))


def mostly_higher(a: Tensor, b: Tensor, share: float) -> Tensor:
    """Which maps of `a` lie strictly above those of `b` at `share` of the positions or more: (C, …) → (C,) bool."""
    return (a > b).flatten(1).double().mean(1) >= share
