"""Some of an image set's attributes."""

from __future__ import annotations

from dataclasses import replace

from mulib.data.sets import ImageSet
from mulib.errors import InputError


def only(data: ImageSet, *names: str) -> ImageSet:
    """The same images with these attributes alone: labels (N, A) float in the order of `names`.

    A model of one task is trained on ``only(task.train, "Bald")``, and its adversary on another column.

    Raises:
        InputError: labels that are no attributes, no name, or an unknown one.

    >>> only(task.train, "Bald").labels.shape
    torch.Size([1200, 1])
    """
    if data.labels.ndim != 2 or len(data.classes) != data.labels.shape[1]:
        found = f"labels of shape {tuple(data.labels.shape)} with {len(data.classes)} names"
        raise InputError(f"{found} are no named attributes: expected (N, A) and a name for each.")
    if not names or set(names) - set(data.classes):
        raise InputError(f"the attributes asked for are {names}: expected some of {', '.join(data.classes)}.")
    columns = [data.classes.index(name) for name in names]
    return replace(data, labels=data.labels[:, columns], classes=tuple(names))
