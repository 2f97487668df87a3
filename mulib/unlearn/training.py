"""Methods that are training alone: from scratch, or a little more, on the retain set."""

from __future__ import annotations

import copy

from torch import nn

from mulib.data.sets import Request
from mulib.models import reinitialise
from mulib.predict import Precision
from mulib.train import Schedule
from mulib.unlearn.phases import Phases
from mulib.unlearn.registry import method


@method("retrain", paper="krahenmann2023forget", family="retraining")
def retrain(
    model: nn.Module,
    request: Request,
    *,
    epochs: int = 100,
    lr: float = 0.1,
    batch_size: int = 128,
    momentum: float = 0.9,
    weight_decay: float = 5e-4,
    schedule: Schedule = (35, 70, 90),
    nesterov: bool = False,
    precision: Precision = "float32",
    seed: int = 0,
    on_step=None,
    progress: bool = True,
) -> nn.Module:
    """Exact unlearning: the same architecture, new weights from `seed`, trained on the retain set only.

    The oracle that every other method is measured against. Defaults: the paper's CIFAR-10 recipe.

    Source: Krähenmann et al., *Forget with Precision*, 2023, experimental set-up.
    """
    phases = Phases(batch_size, momentum, weight_decay, nesterov, precision, on_step, progress)
    fresh = reinitialise(model, seed)
    return phases.train(fresh, request.retain, epochs=epochs, lr=lr, seed=seed, schedule=schedule)


@method("finetune", paper="krahenmann2023forget", family="finetuning")
def finetune(
    model: nn.Module,
    request: Request,
    *,
    epochs: int = 5,
    lr: float = 1e-3,
    batch_size: int = 128,
    momentum: float = 0.9,
    weight_decay: float = 5e-4,
    nesterov: bool = False,
    precision: Precision = "float32",
    seed: int = 0,
    on_step=None,
    progress: bool = True,
) -> nn.Module:
    """Train a copy on the retain set a little longer and hope that the forget set fades.

    Source: Krähenmann et al., *Forget with Precision*, 2023, method 1 (5 epochs at 1e-3). Fidelity: the
    released code trains with ``nesterov=True`` in every method, and without augmentation while it unlearns.
    """
    phases = Phases(batch_size, momentum, weight_decay, nesterov, precision, on_step, progress)
    return phases.train(copy.deepcopy(model), request.retain, epochs=epochs, lr=lr, seed=seed)
