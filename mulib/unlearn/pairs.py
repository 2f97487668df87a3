"""A retain batch beside a forget batch of the same size, whatever the sizes of the two sets."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor, nn

from mulib.data.sets import ImageSet, Request
from mulib.errors import InputError
from mulib.unlearn.phases import generator_for

Over = Literal["retain", "forget"]


class Companion:
    """Batches of any size from a set that is passed through again and again, shuffled anew and augmented each time."""

    def __init__(self, data: ImageSet, seed: int):
        self.data, self._generator = data, generator_for(seed, "companion")
        self._order = torch.empty(0, dtype=torch.int64)

    def take(self, n: int) -> tuple[Tensor, Tensor]:
        """The next n images and labels; a set of fewer than n shows some of its images again in the same batch."""
        while len(self._order) < n:
            again = torch.randperm(len(self.data), generator=self._generator)
            self._order = torch.cat([self._order, again])
        index, self._order = self._order[:n], self._order[n:]
        return next(self.data.subset(index).batches(n, self._generator))


class Pairs:
    """Train on `data`, batch by batch; for each batch the pair answers with its retain and its forget half.

    Args:
        over: the set that an epoch passes through once. The other runs along in circles: over "retain", a small forget
            set is seen several times; over "forget", an epoch visits only as many retain batches as there are forget
            batches.

    Raises:
        InputError: an unknown `over`.

    >>> pairs = Pairs(request, model, over="retain", seed=0)
    >>> for batch in pairs.data.batches(64, generator):
    ...     (x, y), (x_forget, y_forget) = pairs(*batch)
    """

    def __init__(self, request: Request, model: nn.Module, *, over: Over, seed: int):
        if over not in ("retain", "forget"):
            raise InputError(f"over is {over!r}: expected 'retain' or 'forget', the set that an epoch passes through.")
        self._over, sets = over, [request.retain, request.forget]
        self.data, other = sets if over == "retain" else reversed(sets)
        self._companion = Companion(other.to(model), seed)

    def __call__(self, x: Tensor, y: Tensor) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
        other = self._companion.take(len(x))
        return ((x, y), other) if self._over == "retain" else (other, (x, y))


def black_and_white(data: ImageSet, model: nn.Module) -> tuple[Tensor, Tensor]:
    """What the pixel values 0 and 1 are after the set's normalisation, (C, 1, 1) each: their difference is one pixel.

    Made by the set itself, so that a black pixel of a batch is equal to this black to the last bit.
    """
    images = torch.tensor([0, 255], dtype=torch.uint8).view(2, 1, 1, 1)
    images = images.expand(2, data.images.shape[1], 1, 1)
    both = replace(data, images=images, labels=data.labels[:1].repeat(2, *[1] * (data.labels.ndim - 1)), **_UNKNOWN)
    black, white = both.to(model).pixels(slice(None))
    return black, white


_UNKNOWN = {"identities": None, "names": None, "digests": None}
