"""Augmentation by the batch, on the device of the images: uint8 (n, channels, height, width) in and out.

Every image has its own draw. All draws come from the CPU generator that is passed in, so a seed gives the same batches
on every device. What training passes through is a field of its data (`ImageSet.augment`), part of the set's repr.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor
from torch.nn import functional as F

from mulib.errors import InputError


@dataclass(frozen=True)
class CropFlip:
    """Shift by up to `padding` pixels each way, borders reflected, and mirror every second image: one gather.

    Same as torchvision's `RandomCrop(size, padding, padding_mode="reflect")` and `RandomHorizontalFlip()`.
    """

    padding: int = 0

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        n, channels, height, width = images.shape
        if self.padding >= min(height, width):
            raise InputError(f"padding is {self.padding}: expected less than the image's {height}×{width} pixels.")
        top, left = (torch.randint(2 * self.padding + 1, (n, 1), generator=generator) - self.padding for _ in "yx")
        columns = torch.arange(width).expand(n, width)
        columns = torch.where(_uniform(n, generator)[:, None] < 0.5, columns.flip(1), columns)
        rows, columns = _reflect(torch.arange(height) + top, height), _reflect(columns + left, width)
        index = (rows[:, :, None] * width + columns[:, None, :]).view(n, 1, -1).to(images.device)
        return images.flatten(2).gather(2, index.expand(n, channels, -1)).view_as(images)


@dataclass(frozen=True)
class Affine:
    """Shear by up to ±`shear` degrees along x and scale by a factor in `scale`, about the centre, black outside.

    Same as torchvision's `RandomAffine(0, shear=shear, scale=scale)` (nearest pixel).
    """

    shear: float
    scale: tuple[float, float]

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        n, _, height, width = images.shape
        tangent = torch.tan((2 * _uniform(n, generator) - 1) * math.radians(self.shear))
        low, high = self.scale
        scale = low + (high - low) * _uniform(n, generator)
        # Output pixel (x, y) shows input pixel ((x + y·tan)/scale, y/scale), in coordinates of −1 … 1.
        matrix = torch.zeros(n, 2, 3)
        matrix[:, 0, 0], matrix[:, 0, 1], matrix[:, 1, 1] = 1 / scale, tangent / scale * height / width, 1 / scale
        grid = F.affine_grid(matrix.to(images.device), list(images.shape), align_corners=False)
        return F.grid_sample(images.float(), grid, mode="nearest", align_corners=False).to(torch.uint8)


@dataclass(frozen=True)
class ColourJitter:
    """Brightness, contrast and saturation, each times a factor in 1 ± `strength`, in an order drawn per batch.

    Same as torchvision's `ColorJitter(strength, strength, strength)`, which draws the order per image.
    """

    strength: float

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        if images.shape[1] != 3:
            raise InputError(f"colour jitter on {images.shape[1]} channels: expected 3 (red, green, blue).")
        x, parts = images.float(), (_black, _mean_grey, _grey)
        for part in torch.randperm(len(parts), generator=generator).tolist():
            factor = 1 + self.strength * (2 * _uniform(len(x), generator) - 1)
            x = torch.lerp(parts[part](x), x, factor.view(-1, 1, 1, 1).to(x.device)).clamp_(0, 255)
        return x.round_().to(torch.uint8)


@dataclass(frozen=True)
class AutoAugment:
    """torchvision's AutoAugment, its CIFAR-10 policy, a sub-policy per image (Cubuk et al., 2019).

    Images that drew the same operation pass through torchvision's own function together.
    """

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        policy = _cifar10_policy()
        n, images = len(images), images.clone()
        which = torch.randint(len(policy._policies), (n,), generator=generator).tolist()
        chance, sign = (torch.rand(n, 2, generator=generator).tolist() for _ in range(2))
        for stage in range(2):
            groups = defaultdict(list)
            for i in range(n):
                operation, probability, level = policy._policies[which[i]][stage]
                if chance[i][stage] <= probability:
                    groups[operation, level, sign[i][stage] <= 0.5].append(i)
            for (operation, level, negative), members in groups.items():
                index = torch.tensor(members, device=images.device)
                strength = _magnitude(operation, level, negative, *images.shape[-2:])
                arguments = policy.interpolation, policy._fill
                changed = policy._apply_image_or_video_transform(images[index], operation, strength, *arguments)
                images[index] = changed
        return images


@dataclass(frozen=True)
class Chain:
    """One augmentation after the other."""

    steps: tuple[Callable[[Tensor, torch.Generator], Tensor], ...]

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        for step in self.steps:
            images = step(images, generator)
        return images


FACES = Chain((CropFlip(), Affine(shear=10, scale=(0.8, 1.2)), ColourJitter(0.2)))  # GLI's, on MUFAC and MUCAC


def _uniform(n: int, generator: torch.Generator) -> Tensor:
    return torch.rand(n, generator=generator)


def _reflect(index: Tensor, size: int) -> Tensor:
    """Positions outside 0 … size − 1 mirrored at the border pixel."""
    return (size - 1) - ((size - 1) - index.abs()).abs()


def _black(x: Tensor) -> Tensor:
    return torch.zeros_like(x)


def _grey(x: Tensor) -> Tensor:
    return (x * x.new_tensor([0.299, 0.587, 0.114]).view(3, 1, 1)).sum(1, keepdim=True).expand_as(x)


def _mean_grey(x: Tensor) -> Tensor:
    return _grey(x).mean((1, 2, 3), keepdim=True).expand_as(x)


@cache
def _cifar10_policy():
    from torchvision.transforms import AutoAugmentPolicy, v2  # here: torchvision takes seconds to import

    return v2.AutoAugment(AutoAugmentPolicy.CIFAR10)


@cache
def _magnitude(operation: str, level: int | None, negative: bool, height: int, width: int) -> float:
    """The strength of one of torchvision's operations at a level of 0 … 9 (0 where the operation has none)."""
    magnitudes, signed = _cifar10_policy()._AUGMENTATION_SPACE[operation]
    bins = magnitudes(10, height, width)
    if bins is None:
        return 0.0
    return float(bins[level]) * (-1 if signed and negative else 1)
