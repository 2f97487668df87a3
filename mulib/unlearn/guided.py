"""Guided loss-increasing: train on retain images that were pushed away from the forget set's logits."""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

from mulib.data.sets import Request
from mulib.errors import InputError
from mulib.kernels.perturb import ascend
from mulib.models.modes import evaluating
from mulib.recipe import Recipe
from mulib.train import fit, loss_of
from mulib.unlearn.pairs import Pairs, black_and_white
from mulib.unlearn.phases import begin
from mulib.unlearn.recipes import MUFAC
from mulib.unlearn.registry import method

Select = Callable[[nn.Module, Request], float]


@method("gli", title="GLI", paper="choi2024towards", family="guided")
def gli(
    model: nn.Module,
    request: Request,
    recipe: Recipe = MUFAC.but(epochs=1),
    *,
    steps: int = 2,
    size: float = 0.01,
    weight: tuple[float, float] = (200.0, 1000.0),
    frozen_after: int | None = None,
    select: Select | None = None,
    every: int = 1,
    patience: int = 3,
    seed: int = 0,
    on_step=None,
    progress: bool = True,
) -> nn.Module:
    """One epoch over the retain set, each batch pushed away from a forget batch first, its class kept.

    For a retain batch (x, y) beside a forget batch x', start with the perturbation η = 0 and ascend, `steps` times,

        L_p = −w·CE(f(x + η), y) + MSE(f(x + η), f(x')) on the logits,    η ← η + size·sign(∂L_p/∂η),

    then take one step of SGD on CE(f(clamp(x + η, 0, 1)), y). w grows linearly with the batch, and keeps the class.
    η and the clamp count in pixels, 0 … 1, whatever the normalisation of the images.

    Args:
        steps: k, of the perturbation: 2 on MUFAC, 5 on MUCAC.
        size: of one step, in pixels.
        weight: w at the first batch, and what it would be one batch after the last, of all epochs: 200 to 1,000; on
            MUCAC with one attribute 800 to 12,000.
        frozen_after: after so many batches the model is put into evaluation mode, and batch norm keeps its statistics;
            None never does. The released code is in evaluation mode from its second batch on, for a loop that
            evaluates and never goes back: ``frozen_after=1``.
        select: (model, request) → score, high is good, asked every `every` batches and after the last. The best
            model is returned, and training ends after `patience` scores without a better one. None, the default,
            takes the last batch. `validation_score` is one; whoever wants the released selection on test data has to
            pass a function that holds the test data.

    Raises:
        InputError: a bad number, a score that is not finite, or what `select` raises.
        DivergedError: the loss is no longer finite.

    Source: Choi et al., *Guided Loss-Increasing*, CVPR 2024 workshops; defaults from the released MUFAC notebook.
    Fidelity: f(x') is computed once per batch, the released code computes the same values k times; the running
    statistics of batch norm move as if it had been k times. Pairs of unequal size are skipped there, and have one
    size here. Attributes are summed in CE, as everywhere in mulib.

    >>> unlearned = gli(model, task.request, select=validation_score)
    """
    _check(steps, size, every, patience, frozen_after)
    pairs = Pairs(request, model, over="retain", seed=seed)
    batches, counter = recipe.epochs * request.retain.steps(recipe.batch_size), itertools.count()
    black, white = black_and_white(request.retain, model)
    unlearned = begin(model, request)

    def objective(net, x, y):
        batch, (_, (x_forget, _)) = next(counter), pairs(x, y)
        if frozen_after is not None and batch >= frozen_after:
            net.eval()
        w = weight[0] + (weight[1] - weight[0]) * batch / batches
        target, pass_again = _reference(net, x_forget)

        def push(images: Tensor) -> Tensor:
            logits = net(images)
            pass_again()
            return F.mse_loss(logits, target) - w * loss_of(logits, y)

        moved = ascend(push, x, steps=steps, size=size * (white - black), low=black, high=white)
        return loss_of(net(moved), y)

    best = None if select is None else _Best(unlearned, request, select, patience)

    def watch(step: int, loss: float) -> bool:
        stop = on_step is not None and bool(on_step(step, loss))
        due = step % every == 0 or step == batches
        return (due and best is not None and best.ask()) or stop

    report = None if on_step is None and best is None else watch
    fit(unlearned, pairs.data, recipe, seed=seed, objective=objective, on_step=report, progress=progress)
    if best is not None and best.state is not None:
        unlearned.load_state_dict(best.state)
    return unlearned


class _Best:
    """The best state of a model so far, by a score; it has had enough after `patience` scores without a better one."""

    def __init__(self, model: nn.Module, request: Request, select: Select, patience: int):
        self._model, self._request, self._select, self._patience = model, request, select, patience
        self._score, self._worse, self.state = -math.inf, 0, None

    def ask(self) -> bool:
        """Score the model as it is; True when it is time to stop."""
        with evaluating(self._model):  # whatever the score does to it
            score = float(self._select(self._model, self._request))
        if not math.isfinite(score):
            raise InputError(f"the score of `select` is {score}: expected a finite number, high is good.")
        if score > self._score:
            self._score, self._worse, self.state = score, 0, copy.deepcopy(self._model.state_dict())
        else:
            self._worse += 1
        return self._worse >= self._patience


@torch.no_grad()
def _reference(model: nn.Module, x: Tensor) -> tuple[Tensor, Callable[[], None]]:
    """Logits of x, and what moves the running statistics as another pass of x through the model would.

    The logits of a batch in training mode depend on the batch alone, so one pass gives them for all steps. The pass
    itself leaves the running statistics as they were.
    """
    norms = [m for m in model.modules() if isinstance(m, _BatchNorm) and m.training and m.running_mean is not None]
    running = [dict(norm.named_buffers()) for norm in norms]
    kept = [(norm.momentum, copy.deepcopy(values)) for norm, values in zip(norms, running, strict=True)]
    for norm in norms:
        norm.momentum = 1.0  # the running statistics are then those of this batch
    logits = model(x)
    found = copy.deepcopy(running)
    for norm, values, (momentum, before) in zip(norms, running, kept, strict=True):
        norm.momentum = momentum
        for name, value in before.items():
            values[name].copy_(value)

    @torch.no_grad()
    def pass_again() -> None:
        for norm, values, batch in zip(norms, running, found, strict=True):
            values["num_batches_tracked"].add_(1)
            share = 1 / int(values["num_batches_tracked"]) if norm.momentum is None else norm.momentum
            for name in ("running_mean", "running_var"):
                values[name].data.lerp_(batch[name], share)  # .data, as batch norm does: no graph is outdated by it

    return logits, pass_again


def _check(steps: int, size: float, every: int, patience: int, frozen_after: int | None) -> None:
    if steps < 0 or size <= 0 or every < 1 or patience < 1:
        raise InputError(
            f"steps {steps}, size {size}, every {every}, patience {patience}: expected ≥ 0, > 0, ≥ 1 and ≥ 1."
        )
    if frozen_after is not None and frozen_after < 0:
        raise InputError(f"frozen_after is {frozen_after}: expected a number of batches ≥ 0, or None for never.")
