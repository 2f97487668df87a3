"""What a filter marks on an image, and how well that fits a region that is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from mulib.errors import InputError
from mulib.kernels.masking import enlarge


@dataclass(frozen=True)
class Ranking:
    """Filters by how well they mark a region.

    Attributes:
        iou: (C,), of each filter: pixels in both over pixels in either, over all images; 0 to 1.
        order: (C,) int64, the filters from best to worst.
        baseline: the IoU of `mean_mask`, which a filter that looks at the image should exceed.
        mean_mask: (H, W) bool, the mask that is the same for all images and fits best: wherever the region lies often.
    """

    iou: Tensor
    order: Tensor
    baseline: float
    mean_mask: Tensor

    @property
    def best(self) -> int:
        """The filter with the largest IoU."""
        return int(self.order[0])


def rank_filters(maps: Tensor, region: Tensor | np.ndarray, *, threshold: float = 0.2) -> Ranking:
    """Filters ranked by the IoU of what they mark, maps enlarged in two steps and above a threshold, with a region.

    Args:
        maps: (N, C, h, w) in [0, 1], as of `feature_maps`, or `group_maps` to rank groups.
        region: (N, H, W) bool, where the feature is in each image, as of `faces.masks`.

    Raises:
        InputError: shapes that do not fit, or a region that is empty in all images.

    >>> maps = torch.tensor([0.0, 1.0, 0.5]).view(1, 3, 1, 1).expand(2, 3, 4, 4)
    >>> rank_filters(maps, torch.ones(2, 8, 8, dtype=torch.bool), threshold=0.6).best
    1
    """
    region = torch.as_tensor(region).bool()
    if maps.ndim != 4 or region.ndim != 3 or len(maps) != len(region) or not bool(region.any()):
        shapes = f"maps {tuple(maps.shape)} and region {tuple(region.shape)}"
        raise InputError(f"{shapes} do not fit: expected (N, C, h, w) and (N, H, W), marked somewhere.")
    both, marked = maps.new_zeros(2, maps.shape[1])
    size = max(1, 2**24 // (maps.shape[1] * region[0].numel()))  # images at once: 64 MiB of enlarged maps
    for heat, where in zip(maps.split(size), region.split(size), strict=True):
        above = (enlarge(heat, *region.shape[1:]) > threshold).flatten(2).to(maps.dtype)
        marked += above.sum((0, 2))
        both += (above @ where.flatten(1)[:, :, None].to(maps.dtype)).sum((0, 2))
    iou = both / (marked + region.sum() - both)
    return Ranking(iou, iou.argsort(descending=True, stable=True), *_constant_mask(region))


def overlaps(maps: Tensor, region: Tensor | np.ndarray, thresholds: Sequence[float]) -> Tensor:
    """The IoU of `rank_filters` at several thresholds, in one pass: (T, C).

    Args:
        maps, region: as for `rank_filters`.
        thresholds: ascending.

    >>> maps = torch.tensor([0.0, 1.0, 0.5]).view(1, 3, 1, 1).expand(2, 3, 4, 4)
    >>> overlaps(maps, torch.ones(2, 8, 8, dtype=torch.bool), [0.4, 0.6]).tolist()
    [[0.0, 1.0, 1.0], [0.0, 1.0, 0.0]]
    """
    region = torch.as_tensor(region).bool()
    edges, channels = torch.tensor(thresholds), maps.shape[1]
    bins = len(edges) + 1
    counts = torch.zeros(2, channels * bins, dtype=torch.int64)
    for heat, where in zip(maps.split(32), region.split(32), strict=True):
        level = torch.bucketize(enlarge(heat, *region.shape[1:]), edges, out_int32=True)  # how many it exceeds
        level += bins * torch.arange(channels, dtype=torch.int32)[:, None, None]
        counts[0] += torch.bincount(level.flatten(), minlength=channels * bins)
        counts[1] += torch.bincount(level.transpose(0, 1)[:, where].flatten(), minlength=channels * bins)
    above = counts.view(2, channels, bins).flip(2).cumsum(2).flip(2)[:, :, 1:].permute(0, 2, 1).double()
    return (above[1] / (above[0] + region.sum() - above[1])).float()


def _constant_mask(region: Tensor) -> tuple[float, Tensor]:
    """The best IoU of one mask for all images, and the mask: it takes pixels from the most frequent on."""
    count, order = region.sum(0).flatten().sort(descending=True, stable=True)
    both, marked = count.cumsum(0), torch.arange(1, len(count) + 1, device=region.device) * len(region)
    iou = both / (marked + count.sum() - both)
    best = int(iou.argmax())
    mask = torch.zeros_like(count, dtype=torch.bool)
    mask[order[: best + 1]] = True
    return float(iou[best]), mask.view(region.shape[1:])


def outline(
    images: Tensor, maps: Tensor, *, threshold: float = 0.2, colour: tuple[int, int, int] = (213, 94, 0)
) -> Tensor:
    """The images with a line around what a filter marks: what `blank` would blank lies inside it, line included.

    Args:
        images: (N, 3, H, W) uint8, as an `ImageSet` holds them.
        maps: (N, h, w) in [0, 1], one filter; or (N, H, W) bool, a region.
        colour: red, green, blue, 0 to 255; the vermilion of Okabe and Ito's palette by default.

    Returns:
        (N, H, W, 3) uint8, as `imshow` takes them.

    Raises:
        InputError: shapes that do not fit.

    >>> outline(task.test.images[:1], torch.eye(4)[None]).shape
    torch.Size([1, 32, 32, 3])
    """
    if images.ndim != 4 or images.shape[1] != 3 or maps.ndim != 3 or len(maps) != len(images):
        shapes = f"images {tuple(images.shape)} and maps {tuple(maps.shape)}"
        raise InputError(f"{shapes} do not fit: expected (N, 3, H, W) and (N, h, w).")
    marked = maps if maps.dtype == torch.bool else enlarge(maps, *images.shape[-2:]) > threshold
    outside = F.pad((~marked).float()[:, None], (1, 1, 1, 1), value=1.0)
    line = marked & (F.max_pool2d(outside, 3, stride=1)[:, 0] > 0)
    paint = torch.tensor(colour, dtype=torch.uint8, device=images.device)
    return torch.where(line[..., None].to(images.device), paint, images.permute(0, 2, 3, 1))
