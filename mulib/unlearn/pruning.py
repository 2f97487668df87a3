"""Methods that find the weights that carry the forget set, and draw those anew."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from mulib.data.sets import Request
from mulib.errors import InputError
from mulib.kernels.reset import most_similar
from mulib.models import copied
from mulib.recipe import Recipe
from mulib.unlearn.phases import Phases, generator_for, last_weight, reset_weights, seed_for
from mulib.unlearn.recipes import FORGET_WITH_PRECISION, OVERFITTING
from mulib.unlearn.registry import method


@method("selective_pruning", title="selective pruning", paper="krahenmann2023forget", family="pruning")
def selective_pruning(
    model: nn.Module,
    request: Request,
    recipe: Recipe = FORGET_WITH_PRECISION,
    *,
    quantile: float = 0.3,
    overfitting: Recipe = OVERFITTING,
    seed: int = 0,
    on_step=None,
    progress: bool = True,
) -> nn.Module:
    """Draw anew the weights that overfitting on the forget set leaves alone, then finetune on the retain set.

    With w the model's weights and w_S those of a copy trained on S, each weight tensor of two dimensions or more
    resets where |w − w_S| lies strictly below that tensor's `quantile`: these weights suit S as they are.

    Source: Krähenmann et al., *Forget with Precision*, 2023, method 5. Fidelity: the released code has a script for
    the reset alone, with a quantile of 0.2; its other pruning methods finetune without shuffling and augment nothing.
    """
    phases = Phases(on_step, progress)
    unlearned = copied(model)
    fitted = phases.train(copied(model), request.forget, overfitting, seed=seed_for(seed, "overfit"))
    reset_most_similar(unlearned, [fitted], quantile=quantile, seed=seed)
    return phases.train(unlearned, request.retain, recipe, seed=seed)


@method("pruning_last", title="pruning last", paper="krahenmann2023forget", family="pruning")
def pruning_last(
    model: nn.Module,
    request: Request,
    recipe: Recipe = FORGET_WITH_PRECISION,
    *,
    quantile: float = 0.3,
    overfitting: Recipe = OVERFITTING,
    seed: int = 0,
    on_step=None,
    progress: bool = True,
) -> nn.Module:
    """Selective pruning of the last linear layer's weight only; every other weight is as it was before finetuning.

    Source: Krähenmann et al., *Forget with Precision*, 2023, method 6. Fidelity: the released code finetunes on the
    retain set in its stored order, and augments nothing; here the order is shuffled and the sets' augmentation runs.
    """
    phases = Phases(on_step, progress)
    unlearned = copied(model)
    fitted = phases.train(copied(model), request.forget, overfitting, seed=seed_for(seed, "overfit"))
    reset_most_similar(unlearned, [fitted], quantile=quantile, seed=seed, layers=[last_weight(model, request.retain)])
    return phases.train(unlearned, request.retain, recipe, seed=seed)


@method("pruning_complex", title="pruning complex", paper="krahenmann2023forget", family="pruning")
def pruning_complex(
    model: nn.Module,
    request: Request,
    recipe: Recipe = FORGET_WITH_PRECISION,
    *,
    quantile: float = 0.3,
    retain_share: float = 0.02,
    overfitting: Recipe = OVERFITTING,
    retain_overfitting: Recipe = OVERFITTING.but(lr=1e-2 / 3),
    seed: int = 0,
    on_step=None,
    progress: bool = True,
) -> nn.Module:
    """Selective pruning of the weights that overfitting leaves alone twice: on S, and on a random part of D∖S.

    A weight resets where |w − w_S| and |w − w_R| both lie strictly below their tensor's `quantile`, with w_R from a
    copy trained on `retain_share` of the retain set (two examples at least: batch normalisation needs them).

    Source: Krähenmann et al., *Forget with Precision*, 2023, method 7. Fidelity: the released code gives the second
    copy the rate ``0.01 // 3``, which is 0.0, so that no weight resets and `finetune` remains (without shuffling and
    augmentation): that is a `retain_overfitting` of 0 epochs. The default has the third that it seems to mean.
    """
    if not 0 < retain_share <= 1:
        raise InputError(f"retain_share is {retain_share}: expected above 0 and at most 1; the paper has 0.02.")
    phases = Phases(on_step, progress)
    unlearned = copied(model)
    order = torch.randperm(len(request.retain), generator=generator_for(seed, "retain sample"))
    sample = request.retain.subset(order[: max(2, int(retain_share * len(order)))])
    few = (request.forget, overfitting, "overfit"), (sample, retain_overfitting, "overfit retain")
    fitted = [phases.train(copied(model), data, how, seed=seed_for(seed, why)) for data, how, why in few]
    reset_most_similar(unlearned, fitted, quantile=quantile, seed=seed)
    return phases.train(unlearned, request.retain, recipe, seed=seed)


def reset_most_similar(
    model: nn.Module,
    copies: Iterable[nn.Module],
    *,
    quantile: float = 0.3,
    seed: int = 0,
    layers: Sequence[str] | None = None,
) -> dict[str, Tensor]:
    """Draw anew, in place, the weights of `model` that are among the most similar in every one of `copies`.

    Args:
        copies: models of the same architecture that were trained further, one or more.
        quantile: 0 … 1; per tensor and copy, only weights whose change lies strictly below this quantile count.
        layers: the parameters to look at, by name; by default all of two dimensions or more.

    Returns:
        Per parameter which weights were reset, bool of its shape.

    Raises:
        InputError: a quantile outside 0 … 1.

    >>> masks = reset_most_similar(unlearned, [overfitted], quantile=0.3, layers=["fc.weight"])
    >>> float(masks["fc.weight"].float().mean())
    0.3
    """
    if not 0 <= quantile <= 1:
        raise InputError(f"quantile is {quantile}: expected 0 … 1; the paper has 0.3.")
    if layers is None:
        layers = [name for name, weight in model.named_parameters() if weight.ndim >= 2]
    changed, masks = [dict(other.named_parameters()) for other in copies], {}
    for name in layers:
        weight = model.get_parameter(name)
        similar = [most_similar(weight, parameters[name], quantile) for parameters in changed]
        masks[name] = torch.stack(similar).all(0)
    reset_weights(model, masks, seed)
    return masks
