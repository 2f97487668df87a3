"""How alike the channels of a layer are, and the loss that makes groups of them alike.

Shapes: B images, C channels, P positions (height × width), K groups. Floor of `channel_similarity`: the maps are read
once (4·N·C·P bytes) and N·C²·P multiply-adds; memory is O(C² + C·P) beside one batch, whatever the number N of images.
Floor of `group_loss`: 4·B·C·P bytes and B·K·C·P multiply-adds each way; no tensor is larger than the maps.

Source: Xu et al., *Don't Forget Too Much*, 2024 (xu2024feature), the setting without annotation, which takes both from
Shen et al., *Interpretable Compositional Convolutional Neural Networks*, IJCAI 2021.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from mulib.errors import InputError
from mulib.kernels.dispatch import fused

EPSILON = 1e-5  # the published guard of the group loss's denominator
# Rounding leaves about (1e-7)² of its mean square to a map that never changes.
CONSTANT = 1e-12


def channel_similarity(batches: Iterable[Tensor]) -> Tensor:
    """Similarity of channels over a data set that is seen once: s_ij = cov_ij / √(cov_ii · cov_jj) + 1, in [0, 2].

    cov_ij = 1/N Σ_n Σ_p (x_nip − m_ip)(x_njp − m_jp), where m is the mean map of all N images. A channel whose maps are
    the same in every image correlates with nothing, itself included: its row, its column and its diagonal are 1.

    Args:
        batches: maps (n, C, height, width) or (n, C, P), of the same shape up to n, on one device.

    Returns:
        (C, C), in the dtype of the maps and on their device; symmetric.

    Raises:
        InputError: no images.

    >>> channel_similarity(torch.rand(512, 256, 14, 14).split(32)).shape
    torch.Size([256, 256])
    """
    images, shift, total, products = 0, *torch.empty(3, 0)
    for maps in batches:
        maps = maps.flatten(2)
        if not images:  # about the first batch's mean the sums stay small, and nothing cancels
            shift = maps.mean(0)
            total = torch.zeros_like(shift, dtype=torch.float64)
            products = total.new_zeros(len(shift), len(shift))
        maps = (maps - shift).transpose(0, 1)
        total += maps.sum(1)
        products += _products(maps.flatten(1))
        images += maps.shape[1]
    if not images:
        raise InputError("there are no feature maps to compare: pass at least one batch of images.")
    mean = total / images
    covariance = products / images - mean @ mean.T
    variance = covariance.diagonal()
    moves = variance > CONSTANT * ((shift.double() + mean).square().sum(1) + variance)
    scale = torch.where(moves, variance, torch.inf).rsqrt()
    return (covariance * scale * scale[:, None]).add_(1).to(shift.dtype)


def _products(rows: Tensor, block: int = 64) -> Tensor:
    """rows @ rows.T, of which only the blocks on and above the diagonal are multiplied: (C, n) → (C, C)."""
    result = rows.new_empty(len(rows), len(rows))
    for start in range(0, len(rows), block):
        end = min(start + block, len(rows))
        torch.mm(rows[start:end], rows[start:].T, out=result[start:end, start:])
    return result.triu_() + result.triu(1).T


@fused
def group_loss(maps: Tensor, groups: Tensor, mean: Tensor) -> Tensor:
    """−Σ_k (Σ_{i,j∈A_k} s_ij) / (Σ_{i∈A_k} Σ_j s_ij + ε): how alike channels are within their groups, against all.

    s_ij is the batch mean of ⟨z_bi, z_bj⟩ + 1, and z_bi the map of channel i on image b less its mean map, at length 1.
    Summing the z of a group first gives both sums without any C×C matrix: with S_bk = Σ_{i∈A_k} z_bi and
    T_b = Σ_k S_bk they are the batch means of ‖S_bk‖² + |A_k|² and ⟨S_bk, T_b⟩ + |A_k|·C. A map equal to its mean has
    z = 0 and no gradient, where the published division gives NaN.

    Args:
        maps: (B, C, height, width) or (B, C, P).
        groups: (C,) int64, the group 0 … K − 1 of each channel.
        mean: (C, height, width) or (C, P), the mean maps, as constants.

    Returns:
        a scalar between −K and 0, differentiable once, in `maps`.

    >>> group_loss(torch.rand(4, 6, 3, 3), torch.tensor([0, 0, 1, 1, 2, 2]), torch.zeros(6, 3, 3)).shape
    torch.Size([])
    """
    return _GroupLoss.apply(maps.flatten(2), groups, mean.flatten(1))


def value_and_slope(sums: Tensor, size: Tensor, channels: int) -> tuple[Tensor, Tensor]:
    """The loss, and its slope at each sum: S_bk (B, K, P), |A_k| (K,), C → scalar, (B, K, P).

    With r_k = N_k/D_k, −∂/∂S_bk = (2 S_bk/D_k − r_k/D_k T_b − Σ_l r_l/D_l S_bl) / B.
    """
    size, whole = size.to(sums.dtype), sums.sum(1, keepdim=True)
    inside = sums.square().sum(2).mean(0) + size.square()
    rows = (sums * whole).sum(2).mean(0) + size * channels + EPSILON
    share = (inside / rows / rows)[:, None]
    slope = (share * whole + (share * sums).sum(1, keepdim=True) - 2 * sums / rows[:, None]) / len(sums)
    return -(inside / rows).sum(), slope


class _GroupLoss(torch.autograd.Function):
    @staticmethod
    def forward(ctx, maps: Tensor, groups: Tensor, mean: Tensor) -> Tensor:
        z = maps - mean
        length = z.norm(dim=2, keepdim=True)
        length.masked_fill_(length == 0, torch.inf)  # so that z and its gradient are 0
        z.div_(length)
        members = F.one_hot(groups).to(z.dtype)
        loss, slope = value_and_slope(members.T @ z, members.sum(0), len(groups))
        ctx.save_for_backward(z, length, slope, groups)
        return loss

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient: Tensor):
        z, length, slope, groups = ctx.saved_tensors
        slope = slope.index_select(1, groups)
        along = torch.linalg.vecdot(z, slope)[:, :, None]
        return slope.addcmul_(z, along, value=-1).mul_(gradient / length), None, None
