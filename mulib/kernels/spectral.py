"""Spectral grouping of channels: a symmetric eigensolver, the eigengap, and k-means with restarts side by side.

Cost: O(C³) for the eigenvectors of C channels and O(restarts·C·K²) per iteration of k-means; memory
O(C² + restarts·C·K).

Source: Xu et al., *Don't Forget Too Much*, 2024 (xu2024feature), the setting without annotation; von Luxburg, *A
Tutorial on Spectral Clustering*, Statistics and Computing 2007 (normalised Laplacian and eigengap).
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from mulib.errors import InputError

RESTARTS = 10  # as scikit-learn's
ITERATIONS = 300


def laplacian(similarity: Tensor) -> Tensor:
    """L = I − D^−½ · W · D^−½, W the similarities (C, C) with zeros on the diagonal, D their row sums, in float64."""
    w = similarity.double().clone().fill_diagonal_(0)
    scale = w.sum(1).clamp_min(torch.finfo(w.dtype).tiny).rsqrt()
    return torch.eye(len(w), dtype=w.dtype, device=w.device) - w * scale * scale[:, None]


def eigengap(values: Tensor, least: int = 2, most: int | None = None) -> int:
    """The number of groups K in `least` … `most` with the largest gap values[K] − values[K − 1], taken in that order.

    Sort the eigenvalues of the Laplacian first, or take a solver that does (`torch.linalg.eigvalsh`): in another order,
    such as a general solver's, the gaps say nothing. (C,) → int; `most` is C − 1 where it is not given.

    >>> eigengap(torch.tensor([0.0, 0.01, 0.02, 0.9, 0.95]))
    3
    """
    most = len(values) - 1 if most is None else most
    if not 1 <= least <= most < len(values):
        raise InputError(f"the gap is sought at {least} … {most} groups of {len(values)} channels: expected 1 … C − 1.")
    return int(values.diff()[least - 1 : most].argmax()) + least


def spectral_groups(similarity: Tensor, k: int | None = None, seed: int = 0) -> tuple[Tensor, Tensor]:
    """K groups of channels that are alike, by normalised spectral clustering; the same seed gives the same groups.

    The rows of the K eigenvectors of L with the smallest eigenvalues, times D^−½, go through k-means.

    Args:
        similarity: (C, C), symmetric and ≥ 0, as of `channel_similarity`.
        k: how many groups, 1 … C; by default what `eigengap` gives.
        seed: of the k-means restarts; draws are made on the CPU, so that devices agree.

    Returns:
        groups (C,) int64, numbered by first appearance, and the eigenvalues of L (C,), float64, ascending.

    Raises:
        InputError: `k` out of range, or similarities that are no such matrix.

    >>> groups, values = spectral_groups(channel_similarity(maps.split(32)), k=6)
    """
    channels = len(similarity)
    if similarity.ndim != 2 or similarity.shape[1] != channels or not bool((similarity >= 0).all()):
        raise InputError(f"similarity has shape {tuple(similarity.shape)}: expected (C, C), finite and at least 0.")
    if k is not None and not 1 <= k <= channels:
        raise InputError(f"{k} groups of {channels} channels: expected 1 … {channels}.")
    values, vectors = torch.linalg.eigh(laplacian(similarity))
    k = (eigengap(values) if channels > 2 else 1) if k is None else k
    degree = similarity.double().sum(1) - similarity.diagonal().double()
    scale = degree.clamp_min(torch.finfo(values.dtype).tiny).rsqrt()
    return _by_appearance(kmeans(vectors[:, :k] * scale[:, None], k, seed)), values


def kmeans(points: Tensor, k: int, seed: int = 0) -> Tensor:
    """Lloyd's algorithm from `RESTARTS` k-means++ starts at once; the groups of the best: (C, D) → (C,) int64."""
    points = (points - points.mean(0)) / points.std(correction=0).clamp_min(torch.finfo(points.dtype).tiny)
    centres, labels = _plus_plus(points, k, seed), None
    for _ in range(ITERATIONS):
        distance = torch.cdist(points.expand(len(centres), -1, -1), centres).square()
        nearest, new = distance.min(2)
        if labels is not None and torch.equal(new, labels):
            break
        labels = new
        members = F.one_hot(labels, k).to(points.dtype)  # (restarts, C, K)
        size = members.sum(1)[:, :, None]
        centres = torch.where(size > 0, members.mT @ points / size.clamp_min(1), centres)
    return labels[nearest.sum(1).argmin()]


def _plus_plus(points: Tensor, k: int, seed: int) -> Tensor:
    """Starts (restarts, K, D): each further centre is a point drawn by its squared distance to the nearest so far."""
    draws = torch.rand(k, RESTARTS, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(points)
    chosen = points[(draws[0] * len(points)).long()][:, None]
    nearest = torch.full((RESTARTS, len(points)), torch.inf, dtype=points.dtype, device=points.device)
    for draw in draws[1:]:
        nearest = torch.minimum(nearest, (points - chosen[:, -1:]).square().sum(2))
        mass = nearest.cumsum(1)
        index = torch.searchsorted(mass, draw[:, None] * mass[:, -1:], right=True).clamp_max(len(points) - 1)
        chosen = torch.cat([chosen, points[index]], 1)
    return chosen


def _by_appearance(labels: Tensor) -> Tensor:
    """The same groups, numbered in the order in which they first occur."""
    used, labels = labels.unique(return_inverse=True)
    places = torch.arange(len(labels), device=labels.device).expand(len(used), -1)
    first = torch.where(labels == torch.arange(len(used), device=labels.device)[:, None], places, len(labels)).amin(1)
    return first.argsort().argsort()[labels]
