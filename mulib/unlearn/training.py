"""Methods that are training alone: from scratch, or a little more, on the retain set."""

from __future__ import annotations

import math

import torch
from torch import nn

from mulib.data.sets import Request
from mulib.errors import InputError
from mulib.models import copied, reinitialise
from mulib.recipe import Recipe
from mulib.train import loss_of
from mulib.unlearn.phases import Phases, begin
from mulib.unlearn.recipes import FORGET_WITH_PRECISION, SPARSE, TRAINING
from mulib.unlearn.registry import method


@method("retrain", title="retrain", paper="krahenmann2023forget", family="retraining")
def retrain(
    model: nn.Module,
    request: Request,
    recipe: Recipe = TRAINING,
    *,
    seed: int = 0,
    on_step=None,
    progress: bool = True,
) -> nn.Module:
    """Exact unlearning: the same architecture, new weights from `seed`, trained on the retain set only.

    The oracle that every other method is measured against. By default with the paper's recipe for CIFAR-10.

    Raises:
        InputError: parameters that are frozen, or that nothing draws anew (see `models.reinitialise`).

    Source: Krähenmann et al., *Forget with Precision*, 2023, experimental set-up.
    """
    if frozen := [name for name, parameter in model.named_parameters() if not parameter.requires_grad]:
        raise InputError(f"{frozen[0]} is frozen, so drawn anew it could not learn: unfreeze it (requires_grad_()).")
    return Phases(on_step, progress).train(reinitialise(model, seed), request.retain, recipe, seed=seed)


@method("finetune", title="finetune", paper="krahenmann2023forget", family="finetuning")
def finetune(
    model: nn.Module,
    request: Request,
    recipe: Recipe = FORGET_WITH_PRECISION,
    *,
    seed: int = 0,
    on_step=None,
    progress: bool = True,
) -> nn.Module:
    """Train a copy on the retain set a little longer and hope that the forget set fades.

    Source: Krähenmann et al., *Forget with Precision*, 2023, method 1 (5 epochs at 1e-3). Fidelity: the
    released code trains with ``nesterov=True`` in every method, and without augmentation while it unlearns.
    """
    return Phases(on_step, progress).train(copied(model), request.retain, recipe, seed=seed)


@method("l1_sparse", title="ℓ1-sparse", paper="jia2023model", family="finetuning")
def l1_sparse(
    model: nn.Module,
    request: Request,
    recipe: Recipe = SPARSE,
    *,
    gamma: float = 1e-4,
    seed: int = 0,
    on_step=None,
    progress: bool = True,
) -> nn.Module:
    """Finetune on the retain set under an ℓ1 penalty that fades: L = CE(f(x), y) + γ·(1 − e/E)·‖θ‖₁ in epoch e of E.

    Weights that only the forget set needs have nothing to hold them against the penalty.

    Args:
        gamma: γ, at least 0; 0 is `finetune`.

    Raises:
        InputError: γ below 0 or no number.

    Source: Jia et al., *Model Sparsity Can Simplify Machine Unlearning*, NeurIPS 2023, sparsity-aware unlearning;
    epochs and rate as released. Fidelity: γ is ours. The released parser and example have 0.2, shared with other
    methods, at which a step takes 0.002 from every weight: of a network nothing is left.
    """
    if not 0 <= gamma < math.inf:
        raise InputError(f"gamma is {gamma}: expected 0 or more, such as 1e-4.")
    steps, done = request.retain.steps(recipe.batch_size), 0

    def objective(net, x, y):
        nonlocal done
        strength, done = gamma * (1 - done // steps / recipe.epochs), done + 1
        return loss_of(net(x), y) + strength * sum(torch.linalg.vector_norm(w, 1) for w in net.parameters())

    unlearned = begin(model, request)
    return Phases(on_step, progress).train(unlearned, request.retain, recipe, seed=seed, objective=objective)
