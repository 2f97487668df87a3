"""A method that finds the convolution kernels that answer to the forget set, and draws those anew."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor, nn

from mulib.data.sets import ImageSet, Request
from mulib.errors import InputError
from mulib.kernels.reset import mostly_higher
from mulib.models.hooks import watched
from mulib.predict import predict
from mulib.recipe import Precision, Recipe
from mulib.unlearn.phases import Phases, begin, generator_for, last_weight, reset_weights, weight_of
from mulib.unlearn.recipes import FORGET_WITH_PRECISION
from mulib.unlearn.registry import method


@method("activation_reset", title="activation reset", paper="krahenmann2023forget", family="activation")
def activation_reset(
    model: nn.Module,
    request: Request,
    recipe: Recipe = FORGET_WITH_PRECISION,
    *,
    share: float = 0.8,
    divisor: Literal["sample", "retain set"] = "sample",
    reset_last: bool = True,
    seed: int = 0,
    on_step=None,
    progress: bool = True,
) -> nn.Module:
    """Draw anew the kernels that are more active on the forget set, and the last layer; finetune on the retain set.

    A kernel is one output channel of a convolution. With ā_S and ā_R its mean activation maps over S and over as many
    random examples of D∖S, it is reset where ā_S > ā_R at `share` of the positions or more (see `active_kernels`).
    Reset are the kernel's weights and, unless `reset_last` is False, the last linear layer's; biases and batch
    normalisation stay.

    Source: Krähenmann et al., *Forget with Precision*, 2023, method 8. Fidelity: the released code divides the retain
    sums by the size of the whole retain set (``divisor="retain set"``), leaves the network in whatever mode it is in
    (here evaluation), asks for more than 80 % of the positions (here at least), passes over convolutions without
    "conv" in their name (the 1×1 shortcuts; here all take part), finetunes unshuffled and without augmentation, and
    ends in a name that it never imports.
    """
    unlearned = begin(model, request)
    options = {"batch_size": recipe.batch_size, "precision": recipe.precision}
    kernels = active_kernels(unlearned, request, share=share, divisor=divisor, seed=seed, **options)
    masks = {name: chosen.view(-1, 1, 1, 1) for name, chosen in kernels.items()}
    if reset_last:
        name = last_weight(unlearned, request.retain)
        masks[name] = torch.ones_like(unlearned.get_parameter(name), dtype=torch.bool)
    reset_weights(unlearned, masks, seed)
    return Phases(on_step, progress).train(unlearned, request.retain, recipe, seed=seed)


def active_kernels(
    model: nn.Module,
    request: Request,
    *,
    share: float = 0.8,
    divisor: Literal["sample", "retain set"] = "sample",
    batch_size: int = 512,
    precision: Precision = "float32",
    seed: int = 0,
) -> dict[str, Tensor]:
    """Per convolution weight, by parameter name, which kernels are more active on the forget set: bool (outputs,).

    The sample of the retain set is as large as the forget set (or all of it, if that is fewer), drawn from `seed`.

    Args:
        share: 0 … 1, of the positions of a kernel's map, at which its mean activation must be higher on the forget set.
        divisor: what the retain sums are divided by: the size of the sample, or as released that of the retain set.

    Raises:
        InputError: an impossible option, or a network without a convolution.
    """
    if not 0 <= share <= 1:
        raise InputError(f"share is {share}: expected 0 … 1; the paper has 0.8.")
    if divisor not in ("sample", "retain set"):
        raise InputError(f"unknown divisor {divisor!r}: expected 'sample' or 'retain set'.")
    order = torch.randperm(len(request.retain), generator=generator_for(seed, "retain sample"))
    sample = request.retain.subset(order[: len(request.forget)])
    forget, retain = (mean_maps(model, part, batch_size, precision) for part in (request.forget, sample))
    scale = 1.0 if divisor == "sample" else len(sample) / len(request.retain)
    return {name: mostly_higher(forget[name], retain[name] * scale, share) for name in forget}


def mean_maps(
    model: nn.Module, data: ImageSet, batch_size: int = 512, precision: Precision = "float32"
) -> Mapping[str, Tensor]:
    """The output of every convolution, averaged over images in evaluation mode, by its weight's name.

    Returns:
        Per convolution (outputs, height, width) float64, on the model's device, one position per pixel of its output.
    """
    layers = {weight_of(model, name): m for name, m in model.named_modules() if isinstance(m, nn.Conv2d)}
    if not layers:
        raise InputError("the model has no convolution: expected one or more; choose a method that needs none.")
    sums: dict[str, Tensor] = {}

    def add(name: str, output: Tensor) -> None:
        total = output.sum(0, dtype=torch.float64)
        sums[name] = sums[name] + total if name in sums else total

    with watched(layers, add):
        predict(model, data, batch_size, precision)
    return {name: total / len(data) for name, total in sums.items()}
