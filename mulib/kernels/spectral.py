"""Spectral grouping of channels: a symmetric eigensolver, the eigengap, and scikit-learn's k-means.

Cost: O(C³) for the eigenvectors of C channels and O(C·K²) per iteration of k-means; memory O(C² + C·K).

Source: Xu et al., *Don't Forget Too Much*, 2024 (xu2024feature), the setting without annotation; von Luxburg, *A
Tutorial on Spectral Clustering*, Statistics and Computing 2007 (normalised Laplacian and eigengap).
"""

from __future__ import annotations

import torch
from sklearn.cluster import KMeans
from torch import Tensor

from mulib.errors import InputError


def laplacian(similarity: Tensor) -> Tensor:
    """L = I − D^−½ · W · D^−½, W the similarities (C, C) with zeros on the diagonal, D their row sums, in float64."""
    w = similarity.double().clone().fill_diagonal_(0)
    scale = w.sum(1).clamp_min(torch.finfo(w.dtype).tiny).rsqrt()
    return torch.eye(len(w), dtype=w.dtype, device=w.device) - w * scale * scale[:, None]


def eigengaps(values: Tensor, least: int = 2, most: int | None = None) -> Tensor:
    """The numbers of groups K in `least` … `most` by their gaps values[K] − values[K − 1], the largest gap first.

    Sort the eigenvalues of the Laplacian first, or take a solver that does (`torch.linalg.eigvalsh`): in another order,
    such as a general solver's, the gaps say nothing. (C,) → (most − least + 1,) int64; `most` is C − 1 where it is not
    given.

    Raises:
        InputError: `least` or `most` out of range.

    >>> eigengaps(torch.tensor([0.0, 0.01, 0.02, 0.9, 0.95])).tolist()
    [3, 4, 2]
    """
    most = len(values) - 1 if most is None else most
    if not 1 <= least <= most < len(values):
        raise InputError(f"the gap is sought at {least} … {most} groups of {len(values)} channels: expected 1 … C − 1.")
    return values.diff()[least - 1 : most].sort(descending=True, stable=True).indices + least


def eigengap(values: Tensor, least: int = 2, most: int | None = None) -> int:
    """The first of `eigengaps`: the number of groups with the largest gap.

    >>> eigengap(torch.tensor([0.0, 0.01, 0.02, 0.9, 0.95]))
    3
    """
    return int(eigengaps(values, least, most)[0])


def spectral_groups(similarity: Tensor, k: int | None = None, seed: int = 0) -> tuple[Tensor, Tensor]:
    """K groups of channels that are alike, by normalised spectral clustering; the same seed gives the same groups.

    The rows of the K eigenvectors of L with the smallest eigenvalues, times D^−½, go through k-means.

    Args:
        similarity: (C, C), symmetric and ≥ 0, as of `channel_similarity`.
        k: how many groups, 1 … C; by default what `eigengap` gives.
        seed: of the ten starts of k-means, which runs on the CPU, so that devices agree.

    Returns:
        groups (C,) int64, numbered by first appearance, and the eigenvalues of L (C,), float64, ascending.

    Raises:
        InputError: `k` out of range, or similarities that are no such matrix.

    >>> spectral_groups(torch.block_diag(torch.ones(2, 2), torch.ones(3, 3)), k=2)[0].tolist()
    [0, 0, 1, 1, 1]
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
    points = (vectors[:, :k] * scale[:, None]).cpu().numpy()
    clusters = KMeans(k, n_init=10, tol=0.0, random_state=seed)  # pyright: ignore[reportArgumentType] - says "auto"
    found = clusters.fit_predict(points)
    return _by_appearance(torch.from_numpy(found).long().to(values.device)), values


def _by_appearance(labels: Tensor) -> Tensor:
    """The same groups, numbered in the order in which they first occur."""
    used, labels = labels.unique(return_inverse=True)
    places = torch.arange(len(labels), device=labels.device).expand(len(used), -1)
    first = torch.where(labels == torch.arange(len(used), device=labels.device)[:, None], places, len(labels)).amin(1)
    return first.argsort().argsort()[labels]
