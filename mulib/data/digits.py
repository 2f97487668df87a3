"""scikit-learn's handwritten digits as an unlearning task: real images, built in, nothing to fetch."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from mulib.data.sets import ImageSet, Task
from mulib.errors import InputError

SPLITS = {"train": 1000, "val": 200, "test": 397, "unseen": 200}


def digits(seed: int = 0, *, forget: int = 100, mislabelled: float = 1.0) -> Task:
    """1,797 digits of 16×16 pixels in ten classes: 1,000 train, 200 val, 397 test, 200 unseen.

    The forget set is `forget` random training images. Of these and of the unseen images the share `mislabelled`
    carries a label drawn uniformly from the nine wrong classes: to fit them, a model has to memorise them, which
    gives it something to forget. A model that never trained on them answers with the true digit.

    Args:
        seed: draws the splits, the forget set and the wrong labels.
        forget: 1 … 999 images.
        mislabelled: 0 … 1; the images that it names come first.

    Raises:
        InputError: `forget` or `mislabelled` out of range.

    Source: Alpaydin and Kaynak, 1998, through scikit-learn's `load_digits` (8×8, each pixel doubled here).
    """
    if not 1 <= forget < SPLITS["train"]:
        raise InputError(f"forget is {forget}: expected 1 … {SPLITS['train'] - 1} of the training images.")
    if not 0 <= mislabelled <= 1:
        raise InputError(f"mislabelled is {mislabelled}: expected a share, 0 … 1, of the forget set.")
    from sklearn.datasets import load_digits  # here: scikit-learn takes seconds to import

    pixels, numbers = load_digits(return_X_y=True)
    generator = torch.Generator().manual_seed(seed)
    images = (torch.from_numpy(pixels).view(-1, 1, 8, 8) * (255 / 16)).round().to(torch.uint8)
    images = images.repeat_interleave(2, 2).repeat_interleave(2, 3)
    labels = torch.from_numpy(numbers).long()
    order = torch.randperm(len(labels), generator=generator).split(list(SPLITS.values()))
    parts = dict(zip(SPLITS, order, strict=True))
    forget_index = torch.randperm(SPLITS["train"], generator=generator)[:forget]
    for where in (parts["train"][forget_index], parts["unseen"]):
        wrong = _wrong(labels[where], 10, generator)
        chosen = torch.arange(len(where)) < round(mislabelled * len(where))
        labels[where] = torch.where(chosen, wrong, labels[where])
    whole = ImageSet(images, labels, tuple("0123456789"), mean=(0.305,), std=(0.376,))
    sets = {name: whole.subset(index) for name, index in parts.items()}
    return Task("digits", forget_index=forget_index, **sets)


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
