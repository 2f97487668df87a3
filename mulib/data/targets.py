"""Classes and attributes that a model recognises: some of them alone, by name or position, and who shows them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar, cast

import torch
from torch import Tensor

from mulib.data.sets import ImageSet
from mulib.errors import InputError

Target = str | int
Named = TypeVar("Named", bound=Target)


def only(data: ImageSet, *names: str) -> ImageSet:
    """The same images with these attributes alone: labels (N, A) float in the order of `names`.

    A model of one task is trained on ``only(task.train, "Bald")``, and its adversary on another column.

    Raises:
        InputError: labels that are no attributes, no name, or an unknown one.

    >>> only(task.train, "Bald").labels.shape
    torch.Size([60, 1])
    """
    if data.labels.ndim != 2 or len(data.classes) != data.labels.shape[1]:
        found = f"labels of shape {tuple(data.labels.shape)} with {len(data.classes)} names"
        raise InputError(f"{found} are no named attributes: expected (N, A) and a name for each.")
    if not names or set(names) - set(data.classes):
        raise InputError(f"the attributes asked for are {names}: expected some of {', '.join(data.classes)}.")
    columns = [data.classes.index(name) for name in names]
    return replace(data, labels=data.labels[:, columns], classes=tuple(names))


def listed(given: Named | Sequence[Named]) -> tuple[Named, ...]:
    """One name or several, as several.

    >>> listed("Eyeglasses")
    ('Eyeglasses',)
    """
    return (cast(Named, given),) if isinstance(given, str | int) else tuple(given)


def position(images: ImageSet, target: Target) -> int:
    """Where a target, by name or position, stands among the outputs.

    Raises:
        InputError: there is none.
    """
    if target in images.classes:
        return images.classes.index(target)
    if isinstance(target, int) and 0 <= target < images.outputs:
        return target
    known = ", ".join(images.classes[:20]) or f"0 … {images.outputs - 1}"
    raise InputError(f"there is no target {target!r}: expected one of {known}.")


def names(images: ImageSet, outputs: Sequence[int]) -> tuple[str, ...]:
    """What the outputs are called: their names, or their positions as text."""
    return tuple(images.classes[i] if images.classes else str(i) for i in outputs)


def presence(
    images: ImageSet, targets: Sequence[Target], absent: Target | Sequence[Target] = ()
) -> tuple[Tensor, Tensor]:
    """Which images have which target, (N, T) bool, and the sign of each target's score, (T,) 1.0 or −1.0.

    Raises:
        InputError: no target, an unknown one, one without images, or the absence of a class.
    """
    labels, outputs = images.labels.cpu(), [position(images, target) for target in targets]
    gone = {position(images, target) for target in listed(absent)}
    several = labels.is_floating_point() and labels.ndim == 2
    if not outputs or len(set(outputs)) < len(outputs) or (labels.is_floating_point() and not several):
        raise InputError(f"the targets are {list(targets)}: expected different classes or attributes, at least one.")
    if gone and (not several or not gone <= set(outputs)):
        raise InputError(f"absent is {absent!r}: expected some of the targets, attributes (N, A) not classes.")
    has = labels[:, outputs] > 0.5 if several else labels[:, None] == torch.tensor(outputs)
    flipped = torch.tensor([output in gone for output in outputs])
    has = has ^ flipped
    if empty := (~has.any(0)).nonzero()[:, 0].tolist():
        name = names(images, [outputs[empty[0]]])[0]
        raise InputError(f"none of the {len(images)} images has the target {name!r}: pass images that show it.")
    return has, 1.0 - 2.0 * flipped
