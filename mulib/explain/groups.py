"""Groups of filters that fire together, and the training that separates them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mulib.data.sets import ImageSet
from mulib.errors import InputError
from mulib.kernels.similarity import channel_similarity, group_loss
from mulib.kernels.spectral import spectral_groups
from mulib.models import copied
from mulib.models.hooks import layer as find
from mulib.models.hooks import outputs
from mulib.predict import stream
from mulib.recipe import Recipe, Steps
from mulib.train import fit, loss_of

# Xu et al., *Don't Forget Too Much*, 2024, the second stage.
IDENTIFICATION = Recipe(2500, 1e-5, batch_size=16, weight_decay=0.0, schedule=Steps(0.6, every=125), optimiser="adam")


@dataclass(frozen=True)
class Groups:
    """Which filters of a layer belong together.

    Attributes:
        labels: (C,) int64, the group 0 … K − 1 of each filter.
        eigenvalues: (C,) float64, ascending, of the normalised Laplacian; `eigengap` reads K from them.
        similarity: (C, C), in [0, 2].
    """

    labels: Tensor
    eigenvalues: Tensor
    similarity: Tensor

    @property
    def k(self) -> int:
        """How many groups there are."""
        return int(self.labels.max()) + 1

    def members(self, group: int) -> list[int]:
        """The filters of one group."""
        return (self.labels == group).nonzero()[:, 0].tolist()


def groups(
    model: nn.Module,
    data: ImageSet,
    layer: str = "layer3",
    *,
    k: int | None = None,
    seed: int = 0,
    batch_size: int = 256,
) -> Groups:
    """Filters of a layer grouped by how alike their maps are over a set of images, whatever its size.

    Args:
        layer: as in `model.named_modules()`.
        k: how many groups, 1 … C; by default what the eigengap says (33 and 59 in the released settings).
        seed: of the clustering.

    Raises:
        InputError: no images, no such layer, more groups than filters, or filters that give the same map on all images.

    Source: Xu et al., *Don't Forget Too Much*, 2024 (xu2024feature), the setting without annotation.

    >>> groups(identifier, task.train, "layer2", k=2).k
    2
    """
    found = _groups(model, data, layer, k, seed, batch_size)
    if constant := (found.similarity.diagonal() == 1).nonzero()[:, 0].tolist():
        which = f"{len(constant)} filters of {layer!r} ({', '.join(map(str, constant[:5]))} …) have a constant map"
        raise InputError(f"{which}, so nothing correlates with them: train the model longer or choose another layer.")
    return found


def _groups(model: nn.Module, data: ImageSet, layer: str, k: int | None, seed: int, batch_size: int) -> Groups:
    similarity = channel_similarity(stream(model, data, layer, batch_size))
    labels, values = spectral_groups(similarity, k, seed)
    return Groups(labels.cpu(), values.cpu(), similarity.cpu())


def group_maps(maps: Tensor, labels: Tensor) -> Tensor:
    """The mean map of each group's filters: (N, C, h, w) and (C,) → (N, K, h, w)."""
    members = nn.functional.one_hot(labels).to(maps)
    return torch.einsum("nchw,ck->nkhw", maps, members / members.sum(0))


def identify(
    model: nn.Module,
    data: ImageSet,
    recipe: Recipe = IDENTIFICATION,
    *,
    layer: str = "layer3",
    k: int | None = None,
    weight: float = 1.0,
    decay: float = 0.95,
    every: int = 2,
    until: int = 200,
    seed: int = 0,
    on_step=None,
    progress: bool = True,
) -> tuple[nn.Module, Groups]:
    """The second stage of an identification network: its filters are drawn into groups that mark the same region.

    Trains a copy of a network from the plain first stage (`models.identifier` and `fit`) on task loss + λ·group loss.
    The groups are found anew every T epochs until epoch `until`; mean maps are a moving average over batches. Filters
    whose map is constant stay in the group they fall into. As released, an epoch that clusters does not train; here it
    does both.

    Args:
        k: how many groups; by default what the eigengap says before the first epoch, and kept.
        weight: λ.
        decay: of the moving mean maps; the first batch's mean is the first.
        every, until: T, and when the groups are fixed, in epochs.
        seed, on_step: as for `fit`.

    Returns:
        the new model, and its groups after training (with the last labels that were trained on).

    Raises:
        InputError: no such layer, more groups than filters, a number out of range.

    Source: Xu et al., *Don't Forget Too Much*, 2024 (xu2024feature), the setting without annotation, after Shen et al.,
    *Interpretable Compositional Convolutional Neural Networks*, IJCAI 2021.

    >>> identified, found = identify(identifier, task.train, IDENTIFICATION.but(epochs=1), k=3)
    >>> found.k
    3
    """
    if weight < 0 or not 0 <= decay < 1 or every < 1:
        raise InputError(f"weight {weight}, decay {decay}, every {every}: expected ≥ 0, in [0, 1) and ≥ 1.")
    find(model, layer)
    identified = copied(model)
    data = data.to(model)  # once, not at every clustering
    per_epoch = data.steps(recipe.batch_size)
    objective = _Grouping(data, layer, k, weight, decay, every * per_epoch, until * per_epoch, seed)
    fit(identified, data, recipe, seed=seed, objective=objective, on_step=on_step, progress=progress)
    after = _groups(identified, data, layer, objective.k, seed, 256)
    labels = after.labels if objective.labels is None else objective.labels.cpu()
    return identified, Groups(labels, after.eigenvalues, after.similarity)


class _Grouping:
    """The objective of `identify`: it clusters when it is time, and keeps the moving mean maps."""

    def __init__(self, data, layer, k, weight, decay, every, until, seed):
        self.data, self.layer, self.k, self.seed = data, layer, k, seed
        self.weight, self.decay, self.every, self.until = weight, decay, every, until
        self.step, self.labels, self.mean = 0, None, None

    def __call__(self, model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        labels = self.labels
        if labels is None or (self.step % self.every == 0 and self.step < self.until):
            found = _groups(model, self.data, self.layer, self.k, self.seed, 256)
            labels, self.k = found.labels.to(x.device), found.k
            self.labels = labels
        self.step += 1
        with outputs(model, [self.layer]) as seen:
            loss = loss_of(model(x), y)
        maps = seen[self.layer].float()
        mean = maps.detach().mean(0)
        self.mean = mean if self.mean is None else torch.lerp(mean, self.mean, self.decay)
        return loss + self.weight * group_loss(maps, labels, self.mean)
