"""Unlearning a feature that is annotated: a remover network, an adversary that looks for the feature, and the model.

These need a second network beside the model, so they stand outside the registry.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from tqdm import tqdm

from mulib.data.sets import Request
from mulib.data.targets import only
from mulib.errors import InputError
from mulib.kernels.reversal import reverse_gradient
from mulib.models import copied, device_of
from mulib.models import remover as new_remover
from mulib.models.modes import evaluating
from mulib.predict import predict
from mulib.recipe import Recipe
from mulib.train import loss_of, optimiser_of
from mulib.unlearn.phases import Phases
from mulib.unlearn.recipes import REMOVER


@dataclass(frozen=True)
class Removal:
    """What `remove_features` made.

    Attributes:
        model: f, the unlearned model.
        remover: g, which dims what shows the features.
        adversary: a, as it is after the game; equal to the one passed in where it is frozen.
        losses: of each epoch, the mean loss of g and of f.
    """

    model: nn.Module
    remover: nn.Module
    adversary: nn.Module
    losses: tuple[tuple[float, float], ...]

    @property
    def pipeline(self) -> nn.Module:
        """f(g(x)): remover and model in one, sharing their weights."""
        joined = nn.Sequential(self.remover, self.model)
        joined.training = self.model.training
        return joined


def remove_features(
    model: nn.Module,
    adversary: nn.Module,
    request: Request,
    recipe: Recipe = REMOVER,
    *,
    task: str,
    features: Sequence[str],
    game: Literal["frozen", "alternating"] = "frozen",
    images: Literal["forget", "all"] = "forget",
    reversal: float = 5.0,
    closeness: float = 5.0,
    remover: nn.Module | None = None,
    seed: int = 0,
    on_step=None,
    progress: bool = True,
) -> Removal:
    """Unlearn annotated features: a remover g learns to hide them from an adversary a, the model f to do without.

    In each epoch (a) g alone learns on ℓ(f(g(x)), task) + ℓ(a(R(g(x))), features) + β·mean|g(x) − x|, where R reverses
    the gradient and multiplies it by λ; (b) f alone learns on ℓ(f(g(x)), task). What does not learn is in evaluation
    mode. ℓ is the binary cross-entropy, summed over features. New networks come out; both arguments are left untouched.

    Args:
        model: f, with one output, for `task`.
        adversary: a, trained beforehand, with one output for each of `features`.
        request: attributes as labels; its forget set is the images that have the features.
        recipe: of each network, with a constant rate; the paper has a rate of 1e-4 for several features.
        task, features: names of attributes.
        game: "frozen" as released: a never learns, so g learns to fool that one network. "alternating" adds (c): a
            alone learns on ℓ(a(g(x)), features) over all images.
        images: what f and g learn on: the forget set as released, so that the feature is always there, or "all".
        reversal, closeness: λ and β; for several features the paper takes 10 and 1.
        remover: g at the start; by default a new one of the paper's width.

    Raises:
        InputError: unknown attributes, an adversary with another number of outputs, images that g cannot halve.
        DivergedError: a loss that is not finite.

    Source: Xu et al., *Don't Forget Too Much*, 2024 (xu2024feature), the settings with annotation; defaults for one.

    >>> removal = remove_features(model, adversary, task.request, task="Bald", features=("Mouth_Slightly_Open",))
    >>> logits = predict(removal.model, only(task.test, "Bald"))
    """
    features = _checked(request, task, features, adversary, game, images)
    if recipe.schedule != "constant":
        raise InputError(f"the schedule is {recipe.schedule!r}: expected 'constant', for networks that learn in turns.")
    everything = request.retain.joined(request.forget).to(model)  # once, not in every turn
    data = request.forget.to(model) if images == "forget" else everything
    f, a = copied(model), copied(adversary)
    g = new_remover(seed=seed, in_channels=data.images.shape[1]) if remover is None else copied(remover)
    g = (g if g.training is f.training else g.train(f.training)).to(device_of(f))

    def hide(g: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        left = g(x)
        seen = loss_of(a(reverse_gradient(left, reversal)), y[:, 1:])
        return loss_of(f(left), y[:, :1]) + seen + closeness * (left - x).abs().mean()

    def learn(net: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        with torch.no_grad():
            left = g(x)
        return loss_of(net(left), y)

    turns = [(g, only(data, task, *features), hide), (f, only(data, task), learn)]
    if game == "alternating":
        turns.append((a, only(everything, *features), learn))
    own = [optimiser_of(net.parameters(), recipe) for net, _, _ in turns]
    phases, losses, epochs = Phases(on_step, progress=False), [], recipe.epochs
    quiet: dict[str, Any] = {} if progress else {"disable": True}
    for epoch in tqdm(range(epochs), desc="epochs", leave=False, delay=1.0, **quiet):
        for turn, (net, part, objective) in enumerate(turns):
            with _resting(*(other for other in (f, g, a) if other is not net)):
                turn_seed = (seed * epochs + epoch) * len(turns) + turn
                options = {"objective": objective, "optimiser": own[turn]}
                phases.train(net, part, recipe.but(epochs=1), seed=turn_seed, **options)
            if phases.stopped:
                return Removal(f, g, a, tuple(losses))
        of_g, of_f = (done.losses[0] for done in phases.fits[-len(turns) :][:2])
        losses.append((of_g, of_f))
    return Removal(f, g, a, tuple(losses))


def _checked(request: Request, task: str, features, adversary: nn.Module, game: str, images: str) -> tuple[str, ...]:
    """The features as a tuple; everything that can be seen before the first step, each as one sentence."""
    features = (features,) if isinstance(features, str) else tuple(features)
    only(request.forget, task, *features)
    if not features or task in features:
        raise InputError(f"the features are {features} and the task is {task!r}: expected others than the task, ≥ 1.")
    if game not in ("frozen", "alternating") or images not in ("forget", "all"):
        raise InputError(f"game {game!r}, images {images!r}: expected 'frozen' or 'alternating', 'forget' or 'all'.")
    found = predict(adversary, request.forget.subset(torch.tensor([0]))).shape[1]
    if found != len(features):
        raise InputError(f"the adversary has {found} outputs for {len(features)} features: expected one for each.")
    return features


@contextmanager
def _resting(*networks: nn.Module) -> Iterator[None]:
    """In evaluation mode and without gradients of their own; afterwards, each module as before."""
    learning = [p for network in networks for p in network.parameters() if p.requires_grad]
    try:
        for parameter in learning:
            parameter.requires_grad_(False)
        with evaluating(*networks):
            yield
    finally:
        for parameter in learning:
            parameter.requires_grad_(True)
