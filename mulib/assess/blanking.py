"""What follows from a choice of a filter: models finetuned with something blanked, asked whether they use a feature."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor, nn

from mulib import audit, explain
from mulib.data import faces, only
from mulib.data.faces import FaceTask
from mulib.data.sets import ImageSet
from mulib.predict import predict
from mulib.recipe import Recipe
from mulib.train import fit
from mulib.unlearn.filters import blank


@dataclass(frozen=True)
class Trial:
    """A task on drawn faces, and a feature that a model of it should not use.

    Attributes:
        task: with the attribute that is asked for as its first label.
        feature: the attribute that is toggled, such as "Mouth_Slightly_Open".
        recipe: of the finetuning.
    """

    task: FaceTask
    feature: str
    recipe: Recipe

    @property
    def asked(self) -> str:
        """The attribute that models tell."""
        return self.task.train.classes[0]

    @cached_property
    def toggled(self) -> ImageSet:
        """The test faces with the feature toggled and nothing else changed."""
        return replace(self.task.test, images=self._other("test"))

    def region(self, part: str = "test", either: bool = False) -> Tensor:
        """Where the feature is, (N, H, W) bool; with `either`, also where it would be if it were toggled."""
        name, cast, size = faces.REGION_OF[self.feature], self._cast(part), self.task.test.images.shape[-1]
        where = faces.masks(cast, size)[name]
        return where | faces.masks(faces.counterfactual(cast, self.feature), size)[name] if either else where

    def _cast(self, part: str):
        return self.task.faces(getattr(self.task, part))

    def _other(self, part: str) -> Tensor:
        other = faces.counterfactual(self._cast(part), self.feature)
        return faces.render(other, self.task.test.images.shape[-1])

    def measures(self, model: nn.Module) -> dict[str, float]:
        """How far toggling moves the output, in spreads of the output before; how well the task is told; how much of
        Grad-CAM lies on the region, as a multiple of the region's share of the picture (NaN where it is 0 nearly
        everywhere)."""
        data = only(self.task.test, self.asked)
        before = predict(model, data)
        moved = audit.sensitivity(before, predict(model, self.toggled))
        cam = explain.grad_cam(model, data, "layer3")
        seen = int((cam.flatten(1).sum(1) > 0).sum()) > 1
        mass = audit.mass_inside(cam, self.region()) if seen else None
        told = audit.detection(before, data.labels).balanced.point
        return {
            "moved": moved.point / (moved.reference or math.nan),
            "accuracy": told,
            "Grad-CAM": mass.point / (mass.reference or math.nan) if mass else math.nan,
        }

    def finetuned(self, model: nn.Module, images: Tensor, seed: int = 0) -> nn.Module:
        """A copy of the model after finetuning on other pictures of the training faces."""
        tuned = copy.deepcopy(model)
        fit(tuned, self._with(images), self.recipe, seed=seed, progress=False)
        return tuned.eval()

    def without(self) -> ImageSet:
        """What a model that never sees the feature is trained on: black wherever it is, or would be if toggled."""
        hidden = self.region("train", either=True)
        return self._with(self.task.train.images * ~hidden[:, None])

    def by_coin(self, seed: int = 0) -> Tensor:
        """The training pictures with the feature drawn anew by coin: seen, and together with nothing."""
        keep = torch.rand(len(self.task.train), generator=torch.Generator().manual_seed(seed)) < 0.5
        return torch.where(keep[:, None, None, None], self.task.train.images, self._other("train"))

    def blanked(self, identifier: nn.Module, filter: int, threshold: float, layer: str = "layer3") -> Tensor:
        """The training pictures, black where a filter marks them."""
        return blank(self.task.train, identifier, filter=filter, threshold=threshold, layer=layer).images

    def rows(
        self, model: nn.Module, identifier: nn.Module, filters: Mapping[str, int], threshold: float, seed: int = 0
    ) -> dict[str, dict[str, float]]:
        """The measures of the model as it is, after finetuning alone, with each filter of `filters` blanked, with the
        true region blanked, whether the feature is there or not (its outline must not tell), and on
        faces whose feature is drawn by coin, where nothing is blanked: not to see it is not to unlearn it."""
        train = self.task.train.images
        hidden = self.region("train", either=True)
        pictures = {"finetuned only": train}
        pictures |= {name: self.blanked(identifier, number, threshold) for name, number in filters.items()}
        pictures["true region"] = self.without().images
        found = {"original": self.measures(model)}
        for name, images in pictures.items():
            covered = ((images == 0).all(1) & hidden).sum() / hidden.sum()
            blacked = (images != train).any(1).float().mean()
            row = self.measures(self.finetuned(model, images, seed))
            found[name] = row | {"covered": float(covered), "blacked": float(blacked)}
        return found | {"by coin": self.measures(self.finetuned(model, self.by_coin(seed), seed))}

    def _with(self, images: Tensor) -> ImageSet:
        return replace(only(self.task.train, self.asked), images=images)
