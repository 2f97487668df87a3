"""Many models' predictions compared: retained images that unlearning exposes, and a null of another recipe."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from numpy.typing import NDArray
from torch import Tensor

from mulib.audit.intervals import Estimate, bootstrap_mean
from mulib.errors import InputError
from mulib.kernels.epsilon import hinge

ROUNDS = 500  # of the bootstrap over examples and models


@dataclass(frozen=True)
class Exposure:
    """How well an attacker tells, of each retained image, models that trained on it from models that did not.

    Attributes:
        before, after: (E,) area under the curve, ½ a guess, 1 certain; with the original and the unlearned models.
        change: mean of after − before, with its interval over images; above 0, unlearning exposed what it should keep.
    """

    before: NDArray
    after: NDArray
    change: Estimate

    @property
    def worse(self) -> float:
        """The share of images that are easier to tell after unlearning."""
        return float((self.after > self.before).mean())


def exposure(before: Tensor, after: Tensor, without: Tensor, labels: Tensor) -> Exposure:
    """The per-example attack on retained images, before and after unlearning: by rank of the hinge, nothing fitted.

    Take the images nearest to the forget set (`nearest`): they change most with it.

    Args:
        before, after: (E, M, C) logits of original and of unlearned models, all trained on the images.
        without: (E, W, C) logits of models that were not trained on these images.
        labels: (E,) classes.

    Raises:
        InputError: shapes that do not fit.

    Guarantee: the interval is over images and holds the models fixed. Cost: models trained without the images. Source:
    Hayes et al., *Inexact Unlearning Needs More Careful Evaluations*, 2025, for the question; the rank is ours.
    """
    for name, z in (("before", before), ("after", after), ("without", without)):
        if z.ndim != 3 or len(z) != len(labels) or not z.shape[1]:
            raise InputError(f"{name} is {tuple(z.shape)}, labels {tuple(labels.shape)}: expected (E, M, C) and (E,).")
    rest = hinge(without, labels)
    first, second = (_area(hinge(z, labels), rest) for z in (before, after))
    return Exposure(first.numpy(), second.numpy(), bootstrap_mean(second - first))


@dataclass(frozen=True)
class Closeness:
    """Is the unlearned model nearer to retraining than retraining by another honest recipe is?

    Attributes:
        unlearned, other: mean distance to the retrained models, of both.
        difference: unlearned − other, with its interval over examples and models.
    """

    unlearned: float
    other: float
    difference: Estimate

    @property
    def answer(self) -> str:
        """ "nearer", "farther" or "open"."""
        return "nearer" if self.difference.upper < 0 else "farther" if self.difference.lower > 0 else "open"


def closeness(unlearned: Tensor, retrained: Tensor, other: Tensor) -> Closeness:
    """The three-sample question, on the forget set: unlearned models, retrained ones, and some retrained otherwise.

    Two honest retrainings with other batch sizes differ; a distance to retraining below theirs is no sign of memory.
    The distance of two models on an example is the L2 norm of the difference of their probabilities.

    Args:
        unlearned, retrained, other: (E, M, C) logits on the same examples; the numbers of models may differ.

    Raises:
        InputError: shapes that do not fit.

    Guarantee: a bootstrap over examples and models at once, the retrained ones drawn for both sides alike; with few
    models it is a rough one. Cost: a few retrainings more. Source: the distance is the activation distance of Chundawat
    et al., 2023; the comparison is ours.
    """
    sides = unlearned, retrained, other
    if any(z.ndim != 3 or not z.shape[1] or z.shape[::2] != retrained.shape[::2] for z in sides) or not len(retrained):
        raise InputError(f"logits are {[tuple(z.shape) for z in sides]}: expected (E, M, C), of the same examples.")
    u, r, o = (z.double().softmax(2) for z in sides)
    pairs = [torch.cdist(a, r) for a in (u, o)]
    means = [float(x.mean()) for x in pairs]
    generator = torch.Generator().manual_seed(0)

    def drawn(n: int) -> Tensor:
        """(ROUNDS, n): how often each of n is drawn, as a share."""
        index = torch.randint(n, (ROUNDS, n), generator=generator)
        share = torch.full(index.shape, 1 / n, dtype=torch.float64)
        return torch.zeros(ROUNDS, n, dtype=torch.float64).scatter_add_(1, index, share)

    examples, retrainings = drawn(len(r)), drawn(r.shape[1])
    sides = [torch.einsum("be,emr,bm,br->b", examples, x, drawn(x.shape[1]), retrainings) for x in pairs]
    low, high = (sides[0] - sides[1]).quantile(torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
    return Closeness(means[0], means[1], Estimate(means[0] - means[1], low, high, len(r)))


def _area(inside: Tensor, outside: Tensor) -> Tensor:
    """(E,): how often a model of the first side scores higher than one of the second; ties count half."""
    a, b = inside[:, :, None], outside[:, None]
    return ((a > b).double() + (a == b).double() / 2).mean((1, 2))
