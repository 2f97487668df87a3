"""Methods that climb the loss of the forget set."""

from __future__ import annotations

from torch import nn

from mulib.data.sets import Request
from mulib.recipe import Recipe
from mulib.train import loss_of
from mulib.unlearn.pairs import Over, Pairs
from mulib.unlearn.phases import Phases, begin
from mulib.unlearn.recipes import MUFAC
from mulib.unlearn.registry import method


@method("negative_gradient", title="NegGrad", paper="golatkar2020eternal", family="gradient")
def negative_gradient(
    model: nn.Module,
    request: Request,
    recipe: Recipe = MUFAC.but(epochs=11),
    *,
    seed: int = 0,
    on_step=None,
    progress: bool = True,
) -> nn.Module:
    """Ascend: train a copy on the forget set with the sign of the loss turned, L = −CE(f(x'), y').

    Nothing holds the loss down, so the model forgets more than the forget set; stop it early.

    Raises:
        DivergedError: the loss is no longer finite.

    Source: Golatkar et al., *Eternal Sunshine of the Spotless Net*, CVPR 2020, as a baseline. Defaults: the released
    benchmark on MUFAC, two times 134 batches of 64, which are eleven passes over its forget set.
    """

    def objective(net, x, y):
        return -loss_of(net(x), y)

    unlearned = begin(model, request)
    return Phases(on_step, progress).train(unlearned, request.forget, recipe, seed=seed, objective=objective)


@method("advanced_negative_gradient", title="advanced NegGrad", paper="choi2023benchmarks", family="gradient")
def advanced_negative_gradient(
    model: nn.Module,
    request: Request,
    recipe: Recipe = MUFAC,
    *,
    over: Over = "retain",
    seed: int = 0,
    on_step=None,
    progress: bool = True,
) -> nn.Module:
    """Descend on the retain set and ascend on the forget set in the same step, L = CE(f(x), y) − CE(f(x'), y').

    Args:
        over: the set that an epoch passes through, the other is cycled (see `Pairs`).

    Raises:
        InputError: an unknown `over`.
        DivergedError: the loss is no longer finite.

    Source: Choi and Na, *Towards Machine Unlearning Benchmarks*, 2023, Advanced NegGrad; defaults from its released
    notebook. Fidelity: that one skips pairs of unequal size, here every retain batch has a forget batch of its size.
    """
    pairs = Pairs(request, model, over=over, seed=seed)

    def objective(net, x, y):
        (x, y), (x_forget, y_forget) = pairs(x, y)
        return loss_of(net(x), y) - loss_of(net(x_forget), y_forget)

    return Phases(on_step, progress).train(begin(model, request), pairs.data, recipe, seed=seed, objective=objective)
