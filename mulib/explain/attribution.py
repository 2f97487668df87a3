"""Where in an image a decision comes from."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mulib.data.sets import ImageSet
from mulib.errors import InputError
from mulib.models.hooks import layer as find
from mulib.models.hooks import outputs
from mulib.models.modes import evaluating


def grad_cam(
    model: nn.Module, data: ImageSet, layer: str = "layer4", *, output: int = 0, batch_size: int = 256
) -> Tensor:
    """Grad-CAM of one output: M = max(0, Σ_c α_c A_c), α_c the mean over positions of ∂z/∂A_c, A the layer's maps.

    Args:
        layer: as in `model.named_modules()`; the last one with height and width is usual.
        output: which logit z.

    Returns:
        (N, h, w) ≥ 0, float32 on the CPU; `audit.mass_inside` says how much of it lies in a region.

    Raises:
        InputError: no images, no such layer or output.

    Source: Selvaraju et al., *Grad-CAM: Visual Explanations from Deep Networks via Gradient-based Localization*, 2017.

    >>> grad_cam(model, task.test).shape
    torch.Size([40, 2, 2])
    """
    find(model, layer)
    if not len(data):
        raise InputError("there are no images to look at: the image set is empty.")
    result = []
    with evaluating(model), outputs(model, [layer]) as seen:
        for x, _ in data.to(model).batches(batch_size):
            with torch.enable_grad():
                logits = model(x.requires_grad_())  # so that there is a gradient in a frozen model too
            if not 0 <= output < logits.shape[1]:
                raise InputError(f"there is no output {output}: expected 0 … {logits.shape[1] - 1}.")
            maps = seen[layer]
            (slope,) = torch.autograd.grad(logits[:, output].sum(), maps)
            result.append((slope.mean((2, 3), keepdim=True) * maps).sum(1).relu().detach().float().cpu())
    return torch.cat(result)
