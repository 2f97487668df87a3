"""What a task's data looks like: image sets that live where the model lives, and what a method may see of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import pairwise
from typing import Self

import numpy as np
import torch
from torch import Tensor, nn

from mulib.data.augment import drawn
from mulib.errors import InputError
from mulib.kernels.augment import Draws, augmented, normalised

DECADES = range(10, 100, 10)  # of age: ten classes, as many as Forget with Precision's released code has for AgeDB


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Images kept as bytes, with what is known of each of them.

    Attributes:
        images: (N, channels, height, width) uint8, in memory or memory-mapped, on any device.
        labels: (N,) int64 classes; (N, A) float 0/1 attributes; or (N,) float values such as ages.
        classes: the class or attribute names, in label order.
        identities: (N,) int64, which person each image shows, where that is known.
        mean, std: per channel, what `batches` normalises pixels in [0, 1] with.
        names: (N,) str, the file each image came from.
        digests: (N, 32) uint8, the SHA-256 of that file.
        dtype, order: what `pixels` and `batches` give, and how it lies in memory: as the model wants it that the set
            was moved to. Ours run a third faster with the channels last; others may reshape what they get.
        augment: what shuffled batches pass through, uint8 to uint8 (see `mulib.data.augment`); evaluation, in order,
            never does. `dataclasses.replace(data, augment=None)` trains without.
    """

    images: Tensor
    labels: Tensor
    classes: tuple[str, ...] = ()
    identities: Tensor | None = None
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    names: np.ndarray | None = None
    digests: Tensor | None = None
    augment: Callable[[Tensor, torch.Generator], Tensor] | None = None
    dtype: torch.dtype = torch.float32
    order: torch.memory_format = torch.contiguous_format

    def __post_init__(self):
        if self.images.dtype != torch.uint8 or self.images.ndim != 4:
            found = f"{self.images.dtype} of shape {tuple(self.images.shape)}"
            raise InputError(f"images are {found}: expected uint8 of shape (N, channels, height, width).")
        for name in ("labels", "identities", "names", "digests"):
            values = getattr(self, name)
            if values is not None and len(values) != len(self.images):
                raise InputError(f"there are {len(self.images)} images but {len(values)} {name}: expected one each.")
        if not self.labels.is_floating_point() and self.labels.dtype != torch.int64:
            object.__setattr__(self, "labels", self.labels.float() if self.labels.ndim == 2 else self.labels.long())
        if self.labels.ndim != 1 and (self.labels.ndim != 2 or not self.labels.is_floating_point()):
            found = f"{self.labels.dtype} of shape {tuple(self.labels.shape)}"
            raise InputError(f"labels are {found}: expected int64 (N,), or float (N,) or (N, attributes).")
        if self.classes and not self.labels.is_floating_point() and len(self.labels):
            low, high = int(self.labels.min()), int(self.labels.max())
            if low < 0 or high >= len(self.classes):
                where = f"labels lie in {low} … {high}"
                raise InputError(
                    f"{where}, outside the {len(self.classes)} classes: expected 0 … {len(self.classes) - 1}."
                )

    def __len__(self) -> int:
        return len(self.images)

    @property
    def outputs(self) -> int:
        """How many outputs a model of these labels has: one per class or attribute, one for a value."""
        if self.labels.is_floating_point():
            return self.labels.shape[1] if self.labels.ndim == 2 else 1
        if not self.classes and not len(self):
            raise InputError(
                "an empty set without classes does not say how many outputs a model needs: name its classes."
            )
        return len(self.classes) or int(self.labels.max()) + 1

    def subset(self, index: Tensor) -> ImageSet:
        """The images at `index` (int64 positions or a bool mask), in that order, as a set of their own.

        A run of neighbours shares the memory of this set's images: nothing is read or copied.
        """
        if index.dtype == torch.bool:
            index = index.nonzero()[:, 0]
        run = len(index) > 0 and bool((index.diff() == 1).all())
        rows = index.to(self.images.device)
        images = self.images[int(index[0]) : int(index[-1]) + 1] if run else self.images.index_select(0, rows)
        known = {k: v for k in ("labels", "identities", "digests") if (v := getattr(self, k)) is not None}
        names = None if self.names is None else self.names[index.cpu().numpy()]
        return replace(self, images=images, names=names, **{k: v[index] for k, v in known.items()})

    def joined(self, other: ImageSet) -> ImageSet:
        """This set followed by `other`, on this set's device; what only one of them knows of its images is dropped.

        The images of both are copied into memory, memory-mapped ones too: the sum of their bytes.

        Raises:
            InputError: images of another shape, other kinds of labels, other classes, normalisation or augmentation.
        """
        for what, of in _SAME.items():
            mine, theirs = of(self), of(other)
            if mine != theirs:
                raise InputError(f"the sets differ in {what}: {mine} and {theirs}; expected the same to join them.")
        known = {name: (getattr(self, name), getattr(other, name)) for name in ("identities", "digests", "names")}
        known = {name: None if a is None or b is None else _stacked(a, b) for name, (a, b) in known.items()}
        images, labels = _stacked(self.images, other.images), _stacked(self.labels, other.labels)
        return replace(self, images=images, labels=labels, **known)

    def to(self, place: torch.device | str | nn.Module) -> ImageSet:
        """The same set with its bytes on a device, once and not batch by batch; or where a model lives, for its dtype.

        Raises:
            InputError: a model without parameters of floating point.
        """
        if not isinstance(place, nn.Module):
            return replace(self, images=self.images.to(place), labels=self.labels.to(place))
        first = next((p for p in place.parameters() if p.is_floating_point()), None)
        if first is None:
            raise InputError(f"this {type(place).__name__} has no parameters: expected a network that can learn.")
        order = torch.channels_last if getattr(place, "channels_last", False) else torch.contiguous_format
        return replace(self.to(first.device), dtype=first.dtype, order=order)

    def pixels(self, index: Tensor | slice) -> Tensor:
        """Images as normalised `dtype`, (n, channels, height, width), on the device of the set, laid out as `order`."""
        return normalised(self.images[index], self.mean, self.std, self.order).to(self.dtype)

    def steps(self, batch_size: int) -> int:
        """How many shuffled batches there are."""
        full, rest = divmod(len(self), batch_size)
        return full + (rest > (1 if full and batch_size > 1 else 0))

    def batches(self, batch_size: int, generator: torch.Generator | None = None) -> Iterator[tuple[Tensor, Tensor]]:
        """(images, labels) batches: shuffled by a CPU `generator` and augmented, or in order; the last may be small.

        Shuffled batches are for training, where batch normalisation cannot do with a single image: one that would be
        left over joins the batch before.
        """
        if generator is None:
            for start in range(0, len(self), batch_size):
                part = slice(start, start + batch_size)
                yield self.pixels(part), self.labels[part]
            return
        order = torch.randperm(len(self), generator=generator).to(self.images.device)
        for index in order.tensor_split(list(range(0, len(self), batch_size))[1 : self.steps(batch_size)]):
            draws = drawn(self.augment, torch.Size([len(index), *self.images.shape[1:]]), generator)
            if draws is None and self.augment is not None:
                images = self.augment(self.images.index_select(0, index), generator)
                images = normalised(images, self.mean, self.std, self.order)
            else:
                images = augmented(self.images, index, draws or Draws(), self.mean, self.std)
                if self.order is torch.contiguous_format:  # of one channel, the strides alone tell the layouts apart
                    images = images.clone(memory_format=self.order)
            yield images.to(self.dtype), self.labels[index]


# What two sets must agree in before they can be joined.
_SAME: dict[str, Callable[[ImageSet], object]] = {
    "image shape": lambda data: tuple(data.images.shape[1:]),
    "kind of labels": lambda data: (data.labels.dtype, *data.labels.shape[1:]),
    "classes": lambda data: data.classes,
    "normalisation": lambda data: (data.mean, data.std),
    "augmentation": lambda data: data.augment,
}


def _stacked(first, second):
    """Rows of two tensors, on the device of the first, or of two arrays."""
    if isinstance(first, np.ndarray):
        return np.concatenate([first, second])
    return torch.cat([first, second.to(first.device)])


@dataclass(frozen=True, eq=False)
class Request:
    """What an unlearning method may see. It holds no test set, so nothing can be selected on one by accident.

    Neither the retain nor the forget set is empty, so no method has to ask.
    """

    retain: ImageSet
    forget: ImageSet
    val: ImageSet

    def __post_init__(self):
        for name in ("retain", "forget"):
            if not len(getattr(self, name)):
                raise InputError(f"the {name} set of the request is empty: expected one example or more in it.")


@dataclass(frozen=True, eq=False)
class Task:
    """One experiment's data.

    Attributes:
        train: what the original model is trained on.
        forget_index: (F,) int64, the positions in `train` of the forget set; the rest is the retain set.
        val: held out, for choosing hyper-parameters.
        test: held out, for utility.
        unseen: held out and drawn as the forget set was: the attack's non-members.

    The forget set may hold all examples of a class (class unlearning): the models keep an output for it.
    """

    name: str
    train: ImageSet
    forget_index: Tensor
    val: ImageSet
    test: ImageSet
    unseen: ImageSet
    _mask: Tensor = field(init=False, repr=False)

    def __post_init__(self):
        n, f = len(self.train), len(self.forget_index)
        if f == 0:
            raise InputError(f"the forget set of task {self.name!r} is empty: name at least one training example.")
        if self.forget_index.dtype != torch.int64 or self.forget_index.ndim != 1:
            found = f"{self.forget_index.dtype} of shape {tuple(self.forget_index.shape)}"
            raise InputError(f"the forget set of task {self.name!r} is {found}: expected int64 positions, (F,).")
        mask = torch.zeros(n, dtype=torch.bool)
        if int(self.forget_index.min()) < 0 or int(self.forget_index.max()) >= n:
            raise InputError(f"the forget set of task {self.name!r} lies outside its {n} training examples.")
        mask[self.forget_index] = True
        if int(mask.sum()) < f:
            raise InputError(f"the forget set of task {self.name!r} names an example twice: expected each once.")
        if bool(mask.all()):
            raise InputError(f"the forget set of task {self.name!r} is all of train: nothing is left to retain.")
        object.__setattr__(self, "_mask", mask)

    @cached_property
    def forget(self) -> ImageSet:
        """What must be removed, in the order of `forget_index`."""
        return self.train.subset(self.forget_index)

    @cached_property
    def retain(self) -> ImageSet:
        """What must be kept: train without the forget set."""
        return self.train.subset(~self._mask)

    @property
    def request(self) -> Request:
        """The part of the task that an unlearning method receives."""
        return Request(self.retain, self.forget, self.val)

    @property
    def sets(self) -> dict[str, ImageSet]:
        """The four sets that models are judged on, by name."""
        return {"retain": self.retain, "forget": self.forget, "test": self.test, "unseen": self.unseen}

    def binned(self, edges: Sequence[float]) -> Self:
        """The same task with its float values, such as ages, as classes: class k holds edges[k−1] ≤ value < edges[k].

        Args:
            edges: ascending; values below the first are class 0, those from the last on are class len(edges).
        """
        bounds = torch.tensor(list(edges), dtype=torch.float64)
        ends = [f"{edge:g}" for edge in edges]
        classes = (f"< {ends[0]}", *(f"{a}-{b}" for a, b in pairwise(ends)), f"≥ {ends[-1]}")

        def classed(data: ImageSet) -> ImageSet:
            labels = torch.bucketize(data.labels.double(), bounds.to(data.labels.device), right=True)
            return replace(data, labels=labels, classes=classes)

        return replace(self, **{name: classed(getattr(self, name)) for name in ("train", "val", "test", "unseen")})

    def to(self, device: torch.device | str) -> Self:
        """The same task with its sets on `device`."""
        return replace(self, **{name: getattr(self, name).to(device) for name in ("train", "val", "test", "unseen")})
