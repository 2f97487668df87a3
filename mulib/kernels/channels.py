"""Which channels are important, for whom alone, and what one channel carries to the next.

Shapes: T targets, C channels. Floor: the values are read once and sorted; the contributions cost one multiplication
per kernel entry between important channels.

Source: Xu et al., *Towards Efficient Target-Level Machine Unlearning Based on Essential Graph*, 2024, method.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def top_channels(values: Tensor, proportion: float) -> Tensor:
    """The ⌊proportion·C⌉ largest of each row, at least one, as a mask: (…, C) → (…, C) bool.

    Of equal values the first counts first, so that every row has the same number, and the sets of two proportions are
    nested.
    """
    k = max(1, round(proportion * values.shape[-1]))
    chosen = values.sort(dim=-1, descending=True, stable=True).indices[..., :k]
    return torch.zeros_like(values, dtype=torch.bool).scatter_(-1, chosen, True)


def balance(important: Tensor, forget: Tensor, *, per_target: bool = False) -> Tensor:
    """T·[important for a forgotten target] − how many other targets need it: (T, C) bool, (T,) bool → (C,) int64.

    Above T − 1 is what is essential for a forgotten target and for no other. With `per_target`, as in the released
    code, T counts once for each forgotten target that needs the channel: what two of them need is then above T − 1
    even where another target needs it as well.
    """
    ours, others = important[forget].sum(0), important[~forget].sum(0)
    return len(forget) * (ours if per_target else ours.clamp(max=1)) - others


def tap_means(maps: Tensor, conv: nn.Conv2d) -> Tensor:
    """The mean over output positions of what each entry of the kernel sees: (T, C, h, w) → (T, C, kh·kw).

    A convolution is linear, so that these means times its kernel are the mean of its output.
    """
    mode = "constant" if conv.padding_mode == "zeros" else conv.padding_mode
    padded = F.pad(maps, conv._reversed_padding_repeated_twice, mode)
    seen = F.unfold(padded, conv.kernel_size, conv.dilation, 0, conv.stride)
    return seen.mean(-1).view(*maps.shape[:2], -1)


def contributions(conv: nn.Conv2d, means: Tensor, sources: Tensor, sinks: Tensor) -> tuple[Tensor, Tensor]:
    """What each of some input channels adds to the mean of each of some output channels.

    w_ij = Σ_u K_ji,u · m_i,u over the entries u of the kernel K between them.

    Args:
        means: (C_in, kh·kw), one target's `tap_means`.
        sources, sinks: (I,) and (J,) int64 positions.

    Returns:
        (I, J) contributions, and (I, J) bool: whether a kernel connects the two at all (not across groups).
    """
    per_in, per_out = conv.in_channels // conv.groups, conv.out_channels // conv.groups
    local = sources[:, None] - (sinks // per_out * per_in)[None, :]
    connected = (local >= 0) & (local < per_in)
    kernel = conv.weight.detach()[sinks[None, :], local.clamp(0, per_in - 1)].flatten(2)
    return torch.einsum("iju,iu->ij", kernel, means[sources]) * connected, connected
