"""Augmentation by the batch, on the device of the images: uint8 (n, channels, height, width) in and out.

Every image has its own draw. All draws come from the CPU generator that is passed in, so a seed gives the same batches
on every device. What training passes through is a field of its data (`ImageSet.augment`), part of the set's repr.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from mulib.errors import InputError
from mulib.kernels.augment import Draws, augmented_by


@dataclass(frozen=True)
class CropFlip:
    """Shift by up to `padding` pixels each way, borders reflected, and mirror every second image: one gather.

    Same as torchvision's `RandomCrop(size, padding, padding_mode="reflect")` and `RandomHorizontalFlip()`.
    """

    padding: int = 0

    def draw(self, shape: torch.Size, generator: torch.Generator) -> Draws:
        n, _, height, width = shape
        if self.padding >= min(height, width):
            raise InputError(f"padding is {self.padding}: expected less than the image's {height}×{width} pixels.")
        top, left = (torch.randint(2 * self.padding + 1, (n,), generator=generator) - self.padding for _ in "yx")
        return Draws(shift=torch.stack([top, left, (_uniform(n, generator) < 0.5).long()], 1))

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        return augmented_by(images, self.draw(images.shape, generator))


@dataclass(frozen=True)
class Affine:
    """Shear by up to ±`shear` degrees along x and scale by a factor in `scale`, about the centre, black outside.

    Same as torchvision's `RandomAffine(0, shear=shear, scale=scale)` (nearest pixel).
    """

    shear: float
    scale: tuple[float, float]

    def draw(self, shape: torch.Size, generator: torch.Generator) -> Draws:
        tangent = torch.tan((2 * _uniform(shape[0], generator) - 1) * math.radians(self.shear))
        low, high = self.scale
        return Draws(affine=torch.stack([tangent, low + (high - low) * _uniform(shape[0], generator)], 1))

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        return augmented_by(images, self.draw(images.shape, generator))


@dataclass(frozen=True)
class ColourJitter:
    """Brightness, contrast and saturation, each times a factor in 1 ± `strength`, in an order drawn per batch.

    Same as torchvision's `ColorJitter(strength, strength, strength)`, which draws the order per image.
    """

    strength: float

    def draw(self, shape: torch.Size, generator: torch.Generator) -> Draws:
        if shape[1] != 3:
            raise InputError(f"colour jitter on {shape[1]} channels: expected 3 (red, green, blue).")
        order, factors = torch.randperm(3, generator=generator).tolist(), torch.empty(shape[0], 3)
        for part in order:
            factors[:, part] = 1 + self.strength * (2 * _uniform(shape[0], generator) - 1)
        return Draws(colour=factors, order=tuple(order))

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        return augmented_by(images, self.draw(images.shape, generator))


@dataclass(frozen=True)
class AutoAugment:
    """AutoAugment with its CIFAR-10 policy, a sub-policy per image (Cubuk et al., 2019), in torchvision's operations.

    Same as torchvision's `AutoAugment`; images that drew the same operation pass through its function together.
    """

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        chances, operations = _policy()
        n, images = len(images), images.clone()
        which = torch.randint(len(chances), (n,), generator=generator)
        applies = torch.rand(n, 2, generator=generator) <= chances[which]
        signed = 2 * operations[which] + (torch.rand(n, 2, generator=generator) <= 0.5)
        for stage in range(2):
            drawn = torch.where(applies[:, stage], signed[:, stage], -1)
            for code in drawn.unique().tolist():
                if code >= 0:
                    index = (drawn == code).nonzero()[:, 0].to(images.device)
                    images[index] = _operated(images[index], *_OPERATIONS[code // 2], mirrored=code % 2)
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


def drawn(augment: Callable | None, shape: torch.Size, generator: torch.Generator) -> Draws | None:
    """What `augment` draws for images of `shape`, where it is crop and flip, affine and colour, each once at the most
    and in this order, so that one kernel does it; None for all else, which draws when it is called."""
    steps = augment.steps if isinstance(augment, Chain) else () if augment is None else (augment,)
    places = [_FUSED.index(type(step)) if type(step) in _FUSED else -1 for step in steps]
    if -1 in places or places != sorted(set(places)):
        return None
    found = Draws()
    for step in steps:
        found = found._replace(**{k: v for k, v in step.draw(shape, generator)._asdict().items() if v is not None})
    return found


_FUSED = (CropFlip, Affine, ColourJitter)


def _uniform(n: int, generator: torch.Generator) -> Tensor:
    return torch.rand(n, generator=generator)


# Cubuk et al., 2019, table 7: two operations each, with their chance and their level, 0 … 9 (0 where it has none).
CIFAR10 = """
Invert 0.1 0, Contrast 0.2 6; Rotate 0.7 2, TranslateX 0.3 9; Sharpness 0.8 1, Sharpness 0.9 3
ShearY 0.5 8, TranslateY 0.7 9; AutoContrast 0.5 0, Equalize 0.9 0; ShearY 0.2 7, Posterize 0.3 7
Color 0.4 3, Brightness 0.6 7; Sharpness 0.3 9, Brightness 0.7 9; Equalize 0.6 0, Equalize 0.5 0
Contrast 0.6 7, Sharpness 0.6 5; Color 0.7 7, TranslateX 0.5 8; Equalize 0.3 0, AutoContrast 0.4 0
TranslateY 0.4 3, Sharpness 0.2 6; Brightness 0.9 6, Color 0.2 8; Solarize 0.5 2, Invert 0.0 0
Equalize 0.2 0, AutoContrast 0.6 0; Equalize 0.2 0, Equalize 0.6 0; Color 0.9 9, Equalize 0.6 0
AutoContrast 0.8 0, Solarize 0.2 8; Brightness 0.1 3, Color 0.7 0; Solarize 0.4 5, AutoContrast 0.9 0
TranslateY 0.9 9, TranslateY 0.7 9; AutoContrast 0.9 0, Solarize 0.8 3; Equalize 0.8 0, Invert 0.1 0
TranslateY 0.7 9, AutoContrast 0.9 0
"""
_POLICIES = [
    [(name, float(chance), int(level)) for name, chance, level in (each.split() for each in pair.split(","))]
    for pair in CIFAR10.strip().replace("\n", ";").split(";")
]
_OPERATIONS = sorted({(name, level) for pair in _POLICIES for name, _, level in pair})


@cache
def _policy() -> tuple[Tensor, Tensor]:
    """Per sub-policy and stage, (25, 2): the chance that it is applied, and its place in `_OPERATIONS`."""
    chances = torch.tensor([[chance for _, chance, _ in pair] for pair in _POLICIES])
    return chances, torch.tensor([[_OPERATIONS.index((name, level)) for name, _, level in pair] for pair in _POLICIES])


def _operated(images: Tensor, name: str, level: int, mirrored: bool) -> Tensor:
    """One operation at a level of 0 … 9 on all images, (n, channels, height, width), black outside.

    Mirrored are shifts, shears and rotations to the other side, and colours, contrast, brightness, sharpness below 1.
    """
    from torchvision.transforms.v2 import functional  # here: torchvision takes seconds to import

    def strength(most: float) -> float:
        return float(torch.linspace(0.0, most, 10)[level]) * (-1 if mirrored else 1)

    def affine(shift: tuple[int, int] = (0, 0), shear: float = 0.0, centre=None) -> Tensor:
        return functional.affine(images, 0.0, list(shift), 1.0, [0.0, shear], center=centre)

    height, width = images.shape[-2:]
    if name == "ShearY":
        return affine(shear=math.degrees(math.atan(strength(0.3))), centre=[0, 0])
    if name == "TranslateX":
        return affine((int(strength(150 / 331 * width)), 0))
    if name == "TranslateY":
        return affine((0, int(strength(150 / 331 * height))))
    if name == "Rotate":
        return functional.rotate(images, strength(30.0))
    if name == "Posterize":
        return functional.posterize(images, 8 - round(level / (9 / 4)))
    if name == "Solarize":
        return functional.solarize(images, 255 * float(torch.linspace(1.0, 0.0, 10)[level]))
    if name in ("AutoContrast", "Equalize", "Invert"):
        return getattr(functional, name.lower())(images)
    adjust = {"Color": "saturation"}.get(name, name.lower())
    return getattr(functional, f"adjust_{adjust}")(images, 1 + strength(0.9))
