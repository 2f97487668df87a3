"""scikit-learn's handwritten digits as an unlearning task: real images, built in, nothing to fetch."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor

from mulib.data.sets import ImageSet, Task
from mulib.errors import InputError

MEAN, STD = (0.305,), (0.376,)
SPLITS = {"train": 1000, "val": 200, "test": 397, "unseen": 200}


FORGOTTEN = 3  # the digit, where it is a class or a subclass that is forgotten


def digits(
    seed: int = 0,
    *,
    images: int = 1000,
    forget: int = 100,
    mislabelled: float = 1.0,
    kind: Literal["images", "class", "subclass"] = "images",
) -> Task:
    """1,797 digits of 16×16 pixels in ten classes: 1,000 train, 200 val, 397 test, 200 unseen.

    The forget set is `forget` random training images. Of these and of the unseen images the share `mislabelled`
    carries a label drawn uniformly from the nine wrong classes: to fit them, a model has to memorise them, which
    gives it something to forget. A model that never trained on them answers with the true digit.

    Or it is all training images of the digit `FORGOTTEN`, with unseen images of it beside them: a class of the ten, or,
    where the labels are even and odd, a subclass of one of two. No label is then wrong.

    Args:
        seed: draws the splits, the forget set and the wrong labels.
        images: 2 … 1,000, of those that train; the rest is left out.
        forget: 1 … images − 1.
        mislabelled: 0 … 1; the images that it names come first.
        kind: of what is forgotten; `forget` and `mislabelled` count for "images" alone.

    Raises:
        InputError: `forget` or `mislabelled` out of range, or an unknown kind.

    Source: Alpaydin and Kaynak, 1998, through scikit-learn's `load_digits` (8×8, each pixel doubled here).
    """
    if kind not in ("images", "class", "subclass"):
        raise InputError(f"kind is {kind!r}: expected 'images', 'class' or 'subclass'.")
    if not 2 <= images <= SPLITS["train"] or not 1 <= forget < images:
        most = f"images at most {SPLITS['train']}, and 1 … {images - 1} of them to forget"
        raise InputError(f"images is {images} and forget {forget}: expected {most}.")
    if not 0 <= mislabelled <= 1:
        raise InputError(f"mislabelled is {mislabelled}: expected a share, 0 … 1, of the forget set.")
    from sklearn.datasets import load_digits  # here: scikit-learn takes seconds to import

    values, numbers = load_digits(return_X_y=True)
    generator = torch.Generator().manual_seed(seed)
    pixels = (torch.from_numpy(values).view(-1, 1, 8, 8) * (255 / 16)).round().to(torch.uint8)
    pixels = pixels.repeat_interleave(2, 2).repeat_interleave(2, 3)
    labels = torch.from_numpy(numbers).long()
    order = torch.randperm(len(labels), generator=generator).split(list(SPLITS.values()))
    parts = dict(zip(SPLITS, order, strict=True))
    parts["train"] = parts["train"][:images]
    forget_index = torch.randperm(images, generator=generator)[:forget]
    if kind != "images":
        return _of_a_digit(pixels, labels, parts, kind)
    for where in (parts["train"][forget_index], parts["unseen"]):
        wrong = _wrong(labels[where], 10, generator)
        chosen = torch.arange(len(where)) < round(mislabelled * len(where))
        labels[where] = torch.where(chosen, wrong, labels[where])
    whole = ImageSet(pixels, labels, tuple("0123456789"), mean=MEAN, std=STD)
    sets = {name: whole.subset(index) for name, index in parts.items()}
    return Task("digits", forget_index=forget_index, **sets)


def _of_a_digit(pixels: Tensor, labels: Tensor, parts: dict[str, Tensor], kind: str) -> Task:
    """The task of forgetting a digit; the other unseen images go to the test set."""
    names = tuple("0123456789") if kind == "class" else ("even", "odd")
    whole = ImageSet(pixels, labels if kind == "class" else labels % 2, names, mean=MEAN, std=STD)
    is_it = labels == FORGOTTEN
    unseen, others = (parts["unseen"][is_it[parts["unseen"]] == kept] for kept in (True, False))
    parts = parts | {"unseen": unseen, "test": torch.cat([parts["test"], others])}
    forget_index = is_it[parts["train"]].nonzero()[:, 0]
    return Task(f"digits-{kind}", forget_index=forget_index, **{n: whole.subset(i) for n, i in parts.items()})


def mislabelled(data: ImageSet, seed: int = 0) -> ImageSet:
    """The same images, each with a label drawn uniformly from the wrong classes.

    With digits whose forget set is mislabelled, `mislabelled(task.val)` is what that set would look like, had no model
    trained on it: the non-members to choose a method's settings by (`unlearn.validation_score`).

    Raises:
        InputError: labels that are not classes (N,) int64, or fewer than two of them.
    """
    if data.labels.is_floating_point() or data.outputs < 2:
        raise InputError(f"the labels are {data.labels.dtype} of {data.outputs} classes: expected int64 of at least 2.")
    return replace(data, labels=_wrong(data.labels, data.outputs, torch.Generator().manual_seed(seed)))


def _wrong(labels: Tensor, classes: int, generator: torch.Generator) -> Tensor:
    return (labels + torch.randint(1, classes, (len(labels),), generator=generator).to(labels.device)) % classes
