"""Methods that choose weights by the gradient: dampen them, train them alone, or draw the others anew."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.func import functional_call

from mulib.data.sets import ImageSet, Request
from mulib.errors import InputError
from mulib.models.modes import evaluating
from mulib.predict import autocast
from mulib.recipe import Recipe
from mulib.train import loss_of
from mulib.unlearn.phases import Phases, begin, generator_for, reset_weights, seed_for, weight_of
from mulib.unlearn.poisoning import poisoned
from mulib.unlearn.recipes import DAMPENING, MASKED, SALIENT
from mulib.unlearn.registry import method

OnStep = Callable[[int, float], object] | None


@method("ssd", title="SSD", paper="foster2024fast", family="saliency")
def ssd(
    model: nn.Module,
    request: Request,
    recipe: Recipe = DAMPENING,
    *,
    selection: float = 10.0,
    dampening: float = 1.0,
    seed: int = 0,
    on_step: OnStep = None,
    progress: bool = True,
) -> nn.Module:
    """Selective synaptic dampening: shrink the weights that matter more to the forget set than to all of D.

    With I_S and I_D the mean over batches of the squared gradient of the loss, a weight with I_S > α·I_D becomes
    min(λ·I_D/I_S, 1)·θ. Nothing is trained: of the recipe only the batch size and the precision count. A batch of the
    two passes is a step, and there is no progress bar.

    Args:
        selection, dampening: α and λ, above 0.

    Raises:
        InputError: an option out of range.

    Source: Foster, Schoepf and Brintrup, AAAI 2024, algorithm 1; α and λ are the values that its users give as the
    paper's. Fidelity: as in the released code the gradient of a batch's mean is squared, where Fisher's information is
    of single examples: with other batch sizes other weights are chosen. D is with its forget set, as there.
    """
    if min(selection, dampening) <= 0:
        raise InputError(f"selection is {selection}, dampening {dampening}: expected both above 0, such as 10 and 1.")
    unlearned, everything = begin(model, request), request.forget.joined(request.retain)
    seen, importance = _Steps(on_step), []
    for data, purpose in ((request.forget, "forget"), (everything, "everything")):
        total = _total(unlearned, data, recipe, generator_for(seed, f"importance of {purpose}"), power=2, seen=seen)
        if seen.stopped:
            return unlearned
        importance.append({name: g / data.steps(recipe.batch_size) for name, g in total.items()})
    of_forget, of_all = importance
    with torch.no_grad():
        for name, weight in unlearned.named_parameters():
            if name in of_forget:
                ratio = (dampening * of_all[name] / of_forget[name]).nan_to_num(1.0).clamp(max=1.0)
                weight.mul_(torch.where(of_forget[name] > selection * of_all[name], ratio, 1.0))
    return unlearned


@method("salun", title="SalUn", paper="fan2024salun", family="saliency")
def salun(
    model: nn.Module,
    request: Request,
    recipe: Recipe = SALIENT,
    *,
    share: float = 0.5,
    seed: int = 0,
    on_step: OnStep = None,
    progress: bool = True,
) -> nn.Module:
    """Saliency unlearning: random labels on the forget set and all of the retain set, and only salient weights move.

    Salient is the `share` of all weights with the largest |Σ ∇L| over the batches of the forget set.

    Args:
        share: above 0, up to 1, where all weights train: that is `poison_full`.

    Raises:
        InputError: a share out of range.

    Source: Fan et al., ICLR 2024; the rate and the epochs are the defaults of the released code, whose largest masks
    hold half of the weights. Fidelity: its instructions have a rate ten times as large; it draws the random labels anew
    in every epoch, and on CIFAR-10 passes through the forget set first. Here they are drawn once, and the sets are
    shuffled together, as it does on CIFAR-100. As in its present form, weights outside the mask stay exactly as they
    were, decay included; but one stored form of its mask keeps the smallest gradients, and this keeps the largest.
    """
    if not 0 < share <= 1:
        raise InputError(f"share is {share}: expected above 0, up to 1; the released code has 0.5.")
    unlearned, start = begin(model, request), dict(model.named_parameters())
    total = _total(unlearned, request.forget, recipe, generator_for(seed, "saliency"))
    flat = torch.cat([g.abs().flatten() for g in total.values()])
    salient = torch.zeros_like(flat, dtype=torch.bool)
    salient[flat.topk(max(1, round(share * len(flat)))).indices] = True
    parts = salient.split([g.numel() for g in total.values()])
    masks = {name: part.view_as(g) for (name, g), part in zip(total.items(), parts, strict=True)}

    def fixed(net: nn.Module) -> dict[str, Tensor]:
        weights = dict(net.named_parameters())
        return {name: torch.where(mask, weights[name], start[name].detach()) for name, mask in masks.items()}

    def objective(net: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        return loss_of(functional_call(net, fixed(net), (x,)), y)

    everything = request.retain.joined(poisoned(request, seed=seed))
    Phases(on_step, progress).train(unlearned, everything, recipe, seed=seed, objective=objective)
    with torch.no_grad():
        for name, value in fixed(unlearned).items():
            unlearned.get_parameter(name).copy_(value)
    return unlearned


@method("msg", title="MSG", paper="cadet2024deep", family="saliency")
def msg(
    model: nn.Module,
    request: Request,
    recipe: Recipe = MASKED,
    *,
    share: float = 0.3,
    held: float = 0.1,
    seed: int = 0,
    on_step: OnStep = None,
    progress: bool = True,
) -> nn.Module:
    """Masked small gradients: draw anew the kernel weights on which retain and forget set agree; train mostly those.

    With g = Σ∇L(retain sample) − Σ∇L(forget set), both of the same size, the `share` of each convolution's weights with
    the smallest |g| is drawn anew. Then the retain set is finetuned on, with gradients of all other kernel weights
    times `held`.

    Args:
        share: 0 … 1 of each convolution's weights.
        held: 0 … 1.

    Raises:
        InputError: an option out of range, or a model without convolutions: there is nothing to draw anew.

    Source: an entry of the NeurIPS 2023 unlearning competition, one of the two best of eighteen in Cadet et al.,
    *Deep Unlearn*, 2024 (the other, CT, transposes kernels); values from its released code. Fidelity: there the rate
    climbs and falls in straight lines, epoch by epoch; here as "onecycle", step by step. Weights are drawn with a
    standard deviation by the inputs of a kernel, there by its outputs.
    """
    if not (0 <= share <= 1 and 0 <= held <= 1):
        raise InputError(f"share is {share}, held {held}: expected 0 … 1 each; the released code has 0.3 and 0.1.")
    unlearned = begin(model, request)
    layers = [name for name, module in unlearned.named_modules() if isinstance(module, nn.Conv2d)]
    kernels = [name for name in (weight_of(unlearned, layer) for layer in layers) if name in _learning(unlearned)]
    if not kernels:
        raise InputError(
            "MSG draws weights of convolutions anew, and this model has none that train: choose another method."
        )
    order = torch.randperm(len(request.retain), generator=generator_for(seed, "retain sample"))
    sample = request.retain.subset(order[: len(request.forget)])
    generator = generator_for(seed, "gradients")
    kept, gone = (_total(unlearned, data, recipe, generator) for data in (sample, request.forget))
    masks = {}
    for name in kernels:
        size = (kept[name] - gone[name]).abs()
        few = size.flatten().argsort(stable=True)[: round(share * size.numel())]
        masks[name] = torch.zeros_like(size, dtype=torch.bool).flatten().index_fill(0, few, True).view_as(size)
    reset_weights(unlearned, masks, seed)
    scales = {name: torch.where(mask, 1.0, held).to(unlearned.get_parameter(name)) for name, mask in masks.items()}

    def objective(net: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        weights = {name: net.get_parameter(name) for name in scales}
        # The value of w, and a gradient of its own scale.
        weights = {name: w.detach() + scales[name] * (w - w.detach()) for name, w in weights.items()}
        return loss_of(functional_call(net, weights, (x,)), y)

    return Phases(on_step, progress).train(
        unlearned, request.retain, recipe, seed=seed_for(seed, "repair"), objective=objective
    )


class _Steps:
    """Counts batches as steps, for methods that look at gradients and train nothing."""

    def __init__(self, on_step: OnStep):
        self._on_step, self._done, self.stopped = on_step, 0, False

    def __call__(self, loss: Tensor) -> bool:
        self._done += 1
        self.stopped = self._on_step is not None and bool(self._on_step(self._done, loss.item()))
        return self.stopped


def _total(
    model: nn.Module,
    data: ImageSet,
    recipe: Recipe,
    generator: torch.Generator,
    *,
    power: int = 1,
    seen: _Steps | None = None,
) -> dict[str, Tensor]:
    """The sum over shuffled batches of the gradient of their loss, or of its square, in evaluation mode."""
    weights = _learning(model)
    total = {name: torch.zeros_like(weight) for name, weight in weights.items()}
    with evaluating(model):
        for x, y in data.to(model).batches(recipe.batch_size, generator):
            with autocast(x.device, recipe.precision):
                loss = loss_of(model(x), y)
            found = torch.autograd.grad(loss, list(weights.values()), allow_unused=True)
            for name, gradient in zip(weights, found, strict=True):
                if gradient is not None:  # of a weight that the output does not depend on
                    total[name] += gradient**power
            if seen is not None and seen(loss):
                break
    return total


def _learning(model: nn.Module) -> dict[str, nn.Parameter]:
    """The parameters that require a gradient, by name."""
    return {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
