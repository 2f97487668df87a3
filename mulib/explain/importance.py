"""How important each channel is for each target: Grad-CAM's weights, for all layers and targets in one pass."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from mulib.data.sets import ImageSet
from mulib.data.targets import Target, listed, names, position, presence
from mulib.errors import InputError
from mulib.models import device_of
from mulib.models.modes import evaluating


@dataclass(frozen=True)
class Importance:
    """Channel weights of every image for every target that it has: one row per such pair, by image, then target.

    Attributes:
        targets: their names, in the order asked for.
        outputs: their positions among the model's outputs.
        rows: by layer, (pairs, channels) float32.
        image, target: (pairs,) int64, which image, and which of `targets`.
    """

    targets: tuple[str, ...]
    outputs: tuple[int, ...]
    rows: dict[str, Tensor]
    image: Tensor
    target: Tensor

    @property
    def counts(self) -> tuple[int, ...]:
        """How many images each target has."""
        return tuple(torch.bincount(self.target, minlength=len(self.targets)).tolist())

    @property
    def values(self) -> dict[str, Tensor]:
        """The mean over each target's images: by layer, (targets, channels) float32."""
        return {layer: self._mean(rows) for layer, rows in self.rows.items()}

    def of(self, pairs: Tensor) -> Importance:
        """The same with some pairs only: int64 positions or a bool mask."""
        rows = {layer: rows[pairs] for layer, rows in self.rows.items()}
        return replace(self, rows=rows, image=self.image[pairs], target=self.target[pairs])

    def _mean(self, rows: Tensor) -> Tensor:
        total = torch.zeros(len(self.targets), rows.shape[1], dtype=torch.float64)
        return (total.index_add_(0, self.target, rows.double()) / torch.tensor(self.counts)[:, None]).float()


@torch.inference_mode(False)  # a caller may be in it: its tensors know no gradients
def channel_importance(
    model: nn.Module,
    images: ImageSet,
    targets: Target | Sequence[Target],
    layers: str | Sequence[str],
    *,
    absent: Target | Sequence[Target] = (),
    batch_size: int = 64,
    forward: Callable[[Tensor, Tensor], Tensor] | None = None,
) -> Importance:
    """Grad-CAM's channel weights, in batches: one forward pass, and one backward pass per target of an image.

    α_k = (1/Z) Σ_ij ∂y_t/∂A_k,ij: how the score y_t (a logit) of target t would rise, per position, if channel k of
    the layer's output A did. A zero that is added to each channel has this gradient, summed over positions, so no
    gradient of the size of an image is kept. The model is evaluated, never trained: it is left as it came.

    Args:
        images: labelled with classes (N,) or attributes (N, A); a target's images are those that have it.
        targets: names or positions of outputs.
        layers: names of modules with outputs (N, C, h, w), such as `mulib.models.wiring.convolutions` lists.
        absent: those of `targets` that are the absence of something ("No_Beard"), which lives in the channels of what
            is absent: their images are those without them, and their score is the negative logit.
        forward: what runs instead of the model, called with a batch and its (n, T) mask of targets.

    Raises:
        InputError: an unknown target or layer, a target without images, a layer that gives no maps or plays no part.

    Source: Selvaraju et al., *Grad-CAM*, 2017, equation 1; Xu et al., *Essential Graph*, 2024, important parameters.

    >>> channel_importance(model, task.val, ["Eyeglasses"], ["layer4.1.conv1"]).values["layer4.1.conv1"].shape
    torch.Size([1, 16])
    """
    targets, layers = listed(targets), listed(layers)
    outputs = tuple(position(images, target) for target in targets)
    has, signs = presence(images, targets, absent)
    device, used = device_of(model), has.any(1).nonzero()[:, 0]
    chosen, has, signs = images.subset(used).to(model), has[used], signs.to(device)
    found: list[tuple[Tensor, Tensor, list[Tensor]]] = []
    with probed(model, layers) as probes:
        for start in range(0, len(used), batch_size):
            part = has[start : start + batch_size]
            probes.clear()
            x = chosen.pixels(slice(start, start + batch_size))
            logits = model(x) if forward is None else forward(x, part.to(device))
            scores = _scores(logits, outputs, signs)
            for rows, which in _rounds(part):
                gradients = _gradients(scores[rows, which].sum(), probes, layers)
                found.append((used[start + rows], which, [gradient[rows.to(device)].cpu() for gradient in gradients]))
    image, target = torch.cat([pair[0] for pair in found]), torch.cat([pair[1] for pair in found])
    order = (image * len(outputs) + target).argsort()
    rows = {layer: torch.cat([pair[2][i] for pair in found])[order] for i, layer in enumerate(layers)}
    return Importance(names(images, outputs), outputs, rows, image[order], target[order])


@contextmanager
def probed(model: nn.Module, layers: Sequence[str]) -> Iterator[dict[str, tuple[Tensor, int]]]:
    """Add a zero to every channel of some layers, in evaluation mode, without gradients of parameters.

    Yields a dict that a forward pass fills, by layer, with the zeros (N, C, 1, 1) and how many positions each was
    added to; it is cleared before the next pass. On leaving, hooks, modes and `requires_grad` are as they were,
    whatever happened.

    Raises:
        InputError: an unknown layer, one without maps, or one that runs several times.
    """
    modules, probes, handles = dict(model.named_modules()), {}, []
    if not layers or (unknown := [layer for layer in layers if layer not in modules]):
        wrong = f"there is no layer {unknown[0]!r}" if layers else "no layer is named"
        raise InputError(f"{wrong}: expected names of modules; `mulib.models.wiring.convolutions(model)` lists some.")

    def probe(layer: str):
        def hook(module: nn.Module, inputs: tuple, output: Tensor) -> Tensor:
            if not isinstance(output, Tensor) or output.ndim != 4:
                raise InputError(f"{layer} gives no maps (N, channels, height, width): choose a convolution.")
            if layer in probes:
                raise InputError(f"{layer} runs more than once in a forward pass: choose a layer that runs once.")
            zero = output.new_zeros(*output.shape[:2], 1, 1).requires_grad_()
            probes[layer] = zero, output.shape[2] * output.shape[3]
            return output + zero  # a new tensor, so that an activation in place does not overwrite what is probed

        return hook

    wanted = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
    try:
        handles += [modules[layer].register_forward_hook(probe(layer)) for layer in layers]
        model.requires_grad_(False)
        with evaluating(model), torch.enable_grad():
            yield probes
    finally:
        for handle in handles:
            handle.remove()
        for parameter, requires_grad in wanted:
            parameter.requires_grad_(requires_grad)


def _scores(logits: Tensor, outputs: Sequence[int], signs: Tensor) -> Tensor:
    if logits.ndim != 2 or logits.shape[1] <= max(outputs):
        found = tuple(logits.shape)
        raise InputError(f"the model gives outputs {found}: expected (images, at least {max(outputs) + 1}).")
    return logits[:, list(outputs)] * signs


def _rounds(has: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Pair every image with each of its targets, one per round: rows and targets, until no image has one left.

    The images of a batch share a backward pass even where their targets differ: classes need one round.
    """
    nth = has.cumsum(1) * has
    for turn in range(1, int(nth.max()) + 1):
        rows, which = (nth == turn).nonzero(as_tuple=True)
        yield rows, which


def _gradients(score: Tensor, probes: dict[str, tuple[Tensor, int]], layers: Sequence[str]) -> list[Tensor]:
    """The gradient of `score`, averaged over positions, by layer: (N, C) each."""
    unused = [layer for layer in layers if layer not in probes or not score.requires_grad]
    if not unused:
        zeros = [probes[layer][0] for layer in layers]
        gradients = torch.autograd.grad(score, zeros, retain_graph=True, allow_unused=True)
        unused = [layer for layer, gradient in zip(layers, gradients, strict=True) if gradient is None]
    if unused:
        raise InputError(f"{unused[0]} plays no part in the outputs: choose another layer.")
    return [gradient[:, :, 0, 0] / probes[layer][1] for layer, gradient in zip(layers, gradients, strict=True)]
