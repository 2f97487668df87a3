"""Unlearning a feature without annotation: blank what a chosen filter marks, and finetune.

These need an identification network beside the model, so they stand outside the registry.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import nn

from mulib.data.sets import ImageSet, Request
from mulib.data.targets import only
from mulib.errors import InputError
from mulib.kernels.masking import mask_where_active
from mulib.models import copied
from mulib.predict import feature_maps
from mulib.recipe import Recipe
from mulib.train import fit
from mulib.unlearn.recipes import BLANKED


def blank(
    data: ImageSet, identifier: nn.Module, *, filter: int, layer: str = "layer3", threshold: float = 0.2
) -> ImageSet:
    """The same images, black where the filter's map, normalised to [0, 1] over them all, exceeds the threshold.

    The map is resized to half the image's size and then to its size, bilinearly.

    Args:
        identifier: on the device that the images go through.
        filter: a channel of `layer`, from 0; the published choice is 47.

    Raises:
        InputError: no such filter or layer, no images, or a threshold outside 0 … 1.

    Source: Xu et al., *Don't Forget Too Much*, 2024 (xu2024feature), the setting without annotation.

    >>> blanked = blank(task.train, identifier, filter=47)
    >>> as_released = dataclasses.replace(blanked, mean=(0.0,) * 3, std=(1 / 255,) * 3)  # pixels in 0 … 255
    """
    if not 0 <= threshold <= 1:
        raise InputError(f"the threshold is {threshold}: expected 0 … 1, as the maps are normalised.")
    maps = feature_maps(identifier, data, layer, channels=[filter])[:, 0].to(data.images.device)
    if maps.ndim != 3:
        raise InputError(f"the layer {layer!r} gives no maps: expected one with height and width, such as a stage.")
    parts = zip(data.images.split(256), maps.split(256), strict=True)
    return replace(data, images=torch.cat([mask_where_active(images, heat, threshold) for images, heat in parts]))


def blank_filter(
    model: nn.Module,
    identifier: nn.Module,
    request: Request,
    recipe: Recipe = BLANKED,
    *,
    filter: int,
    task: str | None = None,
    layer: str = "layer3",
    threshold: float = 0.2,
    seed: int = 0,
    on_step=None,
    progress: bool = True,
) -> nn.Module:
    """Unlearn what one filter of an identification network marks: finetune a copy on images with that blanked.

    All of retain and forget set is blanked: without annotation nobody knows which images have the feature. The copy is
    to be tested on images as they are.

    Args:
        model: f; with one output for `task`, or for all labels where `task` is None.
        identifier, filter, layer, threshold: as for `blank`.
        seed, on_step: as for `fit`.

    Raises:
        InputError: as `blank` and `fit`.

    Source: Xu et al., *Don't Forget Too Much*, 2024 (xu2024feature), the setting without annotation.

    >>> unlearned = blank_filter(model, identifier, task.request, filter=47, task="Bald")
    """
    data = request.retain.joined(request.forget)
    data = data if task is None else only(data, task)
    blanked = blank(data, identifier, filter=filter, layer=layer, threshold=threshold)
    unlearned = copied(model)
    fit(unlearned, blanked, recipe, seed=seed, on_step=on_step, progress=progress)
    return unlearned
