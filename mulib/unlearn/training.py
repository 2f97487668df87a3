"""Methods that are training alone: from scratch, or a little more, on the retain set."""

from __future__ import annotations

from torch import nn

from mulib.data.sets import Request
from mulib.errors import InputError
from mulib.models import copied, reinitialise
from mulib.recipe import Recipe
from mulib.unlearn.phases import Phases
from mulib.unlearn.recipes import FORGET_WITH_PRECISION, TRAINING
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
