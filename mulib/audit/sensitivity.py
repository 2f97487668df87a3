"""How much a feature matters: outputs when it alone is toggled, and how much of an explanation lies on it."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from mulib.audit.intervals import Estimate, normal_mean
from mulib.errors import InputError


def sensitivity(logits: Tensor, toggled: Tensor, *, confidence: float = 0.95) -> Estimate:
    """Counterfactual sensitivity: mean |z(x) − z(x′)|, where x′ is x with one feature toggled and all else the same.

    Args:
        logits, toggled: (N,) or (N, outputs), of the same images in the same order; outputs are averaged.

    Returns:
        in the unit of the logits; `reference` is the standard deviation of `logits`, the change that would matter.

    Raises:
        InputError: shapes that do not fit, fewer than two images, or NaN.

    >>> sensitivity(torch.tensor([1.0, 2.0]), torch.tensor([1.5, 2.5])).point
    0.5
    """
    if logits.shape != toggled.shape or len(logits) < 2 or bool((logits - toggled).isnan().any()):
        shapes = f"{tuple(logits.shape)} and {tuple(toggled.shape)}"
        raise InputError(f"outputs {shapes} cannot be compared: expected the same shape, two images or more, no NaN.")
    change = (logits - toggled).abs().reshape(len(logits), -1).mean(1).double()
    return normal_mean(change, confidence=confidence, reference=float(logits.double().std(0).mean()))


def mass_inside(maps: Tensor, region: Tensor | np.ndarray, *, confidence: float = 0.95) -> Estimate:
    """The share of an attribution map's mass inside a region, averaged over images where there is any of both.

    Args:
        maps: (N, h, w) ≥ 0, as of `explain.grad_cam`; enlarged bilinearly to the region's size.
        region: (N, H, W) bool.

    Returns:
        0 to 1; `reference` is the region's share of the area, which a map that knows nothing would give.

    Raises:
        InputError: shapes that do not fit, negative maps, or fewer than two images with mass and region.

    >>> mass_inside(torch.ones(2, 4, 4), torch.ones(2, 8, 8, dtype=torch.bool)).point
    1.0
    """
    region = torch.as_tensor(region).bool()
    if maps.ndim != 3 or region.ndim != 3 or len(maps) != len(region) or not bool((maps >= 0).all()):
        shapes = f"maps {tuple(maps.shape)} and region {tuple(region.shape)}"
        raise InputError(f"{shapes} do not fit: expected (N, h, w), at least 0, and (N, H, W).")
    large = F.interpolate(maps[:, None].double(), region.shape[1:], mode="bilinear", align_corners=False)[:, 0]
    total, area = large.sum((1, 2)), region.double().mean((1, 2))
    usable = (total > 0) & (area > 0)
    if int(usable.sum()) < 2:
        raise InputError(f"{int(usable.sum())} of {len(maps)} images have mass and region: expected two or more.")
    share = ((large * region).sum((1, 2)) / total)[usable]
    return normal_mean(share, confidence=confidence, reference=float(area[usable].mean()))
