"""Impair with noise, repair with the retain set."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mulib.data.sets import Request
from mulib.errors import InputError
from mulib.recipe import Recipe
from mulib.train import loss_of
from mulib.unlearn.pairs import Over, Pairs, black_and_white
from mulib.unlearn.phases import Phases, begin, generator_for, seed_for
from mulib.unlearn.recipes import MUFAC
from mulib.unlearn.registry import method


@method("unsir", title="UNSIR", paper="tarun2023fast", family="noise")
def unsir(
    model: nn.Module,
    request: Request,
    recipe: Recipe = MUFAC,
    *,
    noise_steps: int = 5,
    noise_lr: float = 0.01,
    over: Over = "forget",
    repair: Recipe = MUFAC.but(epochs=1),
    seed: int = 0,
    on_step=None,
    progress: bool = True,
) -> nn.Module:
    """Impair: train on noise that is far from the forget set, beside the retain set. Repair: the retain set alone.

    Impairing, for each pair of a retain batch (x, y) and a forget batch x': noise n ~ N(0, 1) of the shape of x, in
    pixels; `noise_steps` steps of Adam that raise MSE(f(n), f(x')) on the logits; then one step of the model on
    CE(f(clamp(n, 0, 1)), y) + CE(f(x), y).

    Args:
        noise_steps, noise_lr: of Adam, on the noise of each batch.
        over: the set that an epoch of impairing passes through, the other is cycled (see `Pairs`).
        recipe, repair: of the two phases.

    Raises:
        InputError: a bad number or an unknown `over`.

    Source: Tarun et al., *Fast Yet Effective Machine Unlearning*, TNNLS 2023, as the released MUFAC benchmark (Choi
    and Na, 2023) changed it for instances; defaults from there. Fidelity: noise that was trained against the forget
    logits carries the labels of the retain batch beside it. The released loop skips pairs of unequal size, here they
    have one size; it also leaves the model in evaluation mode, here batch norm trains.
    """
    if noise_steps < 0 or noise_lr <= 0:
        raise InputError(f"noise_steps is {noise_steps}, noise_lr {noise_lr}: expected ≥ 0 and > 0.")
    phases = Phases(on_step, progress)
    pairs = Pairs(request, model, over=over, seed=seed)
    generator, (black, white) = generator_for(seed, "noise"), black_and_white(request.retain, model)

    def normalised(pixels: Tensor) -> Tensor:
        return black + (white - black) * pixels

    def objective(net, x, y):
        (x, y), (x_forget, _) = pairs(x, y)
        noise = torch.randn(x.shape, generator=generator).to(x)
        with torch.no_grad():
            target = net(x_forget)
        far = _far_from(lambda pixels: F.mse_loss(net(normalised(pixels)), target), noise, noise_steps, noise_lr)
        return loss_of(net(normalised(far.clamp(0, 1))), y) + loss_of(net(x), y)

    unlearned = begin(model, request)
    phases.train(unlearned, pairs.data, recipe, seed=seed_for(seed, "impair"), objective=objective)
    return phases.train(unlearned, request.retain, repair, seed=seed)


def _far_from(distance: Callable[[Tensor], Tensor], noise: Tensor, steps: int, lr: float) -> Tensor:
    """Noise after some steps of Adam that raise its distance; no gradient reaches anything else."""
    moved = noise.clone().requires_grad_()
    adam = torch.optim.Adam([moved], lr=lr, maximize=True)
    for _ in range(steps):
        (moved.grad,) = torch.autograd.grad(distance(moved), moved)
        adam.step()
    return moved.detach()
