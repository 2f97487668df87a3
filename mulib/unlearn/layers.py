"""Methods that train the last blocks of a network and freeze the rest."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from mulib.data.sets import ImageSet, Request
from mulib.errors import InputError
from mulib.models import reinitialise
from mulib.recipe import Recipe
from mulib.train import fit
from mulib.unlearn.phases import begin
from mulib.unlearn.recipes import MUFAC
from mulib.unlearn.registry import method

Blocks = int | Sequence[str]


@method("cf_k", title="CF-k", paper="goel2022towards", family="layers")
def cf_k(
    model: nn.Module,
    request: Request,
    recipe: Recipe = MUFAC,
    *,
    k: Blocks = 3,
    seed: int = 0,
    on_step=None,
    progress: bool = True,
) -> nn.Module:
    """Catastrophic forgetting of the last k blocks: train them on the retain set, keep all other weights.

    Args:
        k: how many of the last blocks, or their names. A block is a child of the model that has parameters: 3 are
            ``("layer3", "layer4", "fc")`` of a ResNet.

    Raises:
        InputError: more blocks than there are, or a name that is none.

    Source: Goel et al., *Towards Adversarial Evaluations for Inexact Machine Unlearning*, 2022, CF-k; epochs, rate and
    k are GLI's. Fidelity: as in GLI's code the running statistics of frozen batch norms still follow the retain set.
    """
    unlearned, names = begin(model, request), block_names(model, k)
    options = {"seed": seed, "on_step": on_step, "progress": progress}
    return _train_blocks(model, unlearned, request.retain, names, recipe, **options)


@method("eu_k", title="EU-k", paper="goel2022towards", family="layers")
def eu_k(
    model: nn.Module,
    request: Request,
    recipe: Recipe = MUFAC.but(lr=0.01),
    *,
    k: Blocks = 3,
    reset: bool = True,
    seed: int = 0,
    on_step=None,
    progress: bool = True,
) -> nn.Module:
    """Exact unlearning of the last k blocks: reset them to new weights from `seed`, then train them on the retain set.

    Args:
        k: as for `cf_k`.
        reset: False keeps the original weights, which is fine-tuning of some blocks.

    Raises:
        InputError: as `cf_k`.

    Source: Goel et al., 2022, EU-k; epochs and rate are GLI's. Fidelity: GLI's released code copies the *original*
    weights back instead of resetting, and trains ``layer3`` alone: ``eu_k(model, request, k=("layer3",),
    reset=False)``. Blocks that are reset need more than its two epochs.
    """
    unlearned, names = begin(model, request), block_names(model, k)
    if reset:
        fresh = reinitialise(model, seed, names)
        for name in names:
            unlearned.get_submodule(name).load_state_dict(fresh.get_submodule(name).state_dict())
    options = {"seed": seed, "on_step": on_step, "progress": progress}
    return _train_blocks(model, unlearned, request.retain, names, recipe, **options)


def block_names(model: nn.Module, k: Blocks) -> tuple[str, ...]:
    """The names of the last k children of `model` that have parameters, or the given names, checked.

    >>> block_names(resnet18(10), 3)
    ('layer3', 'layer4', 'fc')
    """
    blocks = tuple(name for name, child in model.named_children() if next(child.parameters(), None) is not None)
    if isinstance(k, int):
        if not 1 <= k <= len(blocks):
            raise InputError(f"k is {k}: expected 1 … {len(blocks)}, the blocks of this model: {', '.join(blocks)}.")
        return blocks[-k:]
    names = (k,) if isinstance(k, str) else tuple(k)
    if not names or (unknown := set(names) - set(blocks)):
        wrong = f"no block is called {', '.join(sorted(unknown))}" if names else "k names no block"
        raise InputError(f"{wrong}: expected some of {', '.join(blocks)}.")
    return names


def _train_blocks(
    model: nn.Module, unlearned: nn.Module, data: ImageSet, names: tuple[str, ...], recipe: Recipe, **options
) -> nn.Module:
    """Train the named blocks of `unlearned` in place, but for what is frozen in `model`, and leave frozen what was."""
    chosen = {id(parameter) for name in names for parameter in unlearned.get_submodule(name).parameters()}
    for parameter in unlearned.parameters():
        parameter.requires_grad_(parameter.requires_grad and id(parameter) in chosen)
    fit(unlearned, data, recipe, **options)
    for parameter, original in zip(unlearned.parameters(), model.parameters(), strict=True):
        parameter.requires_grad_(original.requires_grad)
    return unlearned
