"""What channel importance is worth: does pruning by it hurt the target first, would other images choose the same?"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import TYPE_CHECKING

import torch
from torch import Tensor, fx, nn

from mulib.audit.targets import target_scores
from mulib.data.sets import ImageSet
from mulib.errors import InputError
from mulib.kernels.channels import top_channels
from mulib.models import copied
from mulib.models.modes import evaluating
from mulib.models.wiring import Wiring, switch_off
from mulib.predict import right

if TYPE_CHECKING:
    from mulib.explain import EssentialGraph, Importance

SHARES = (0.0, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5)
ORDERS = ("most", "least", "random")


@dataclass(frozen=True)
class PruningCurve:
    """Accuracies against how many channels are pruned, all layers together.

    Attributes:
        pruned: (S,) how many.
        target, rest: (S,) balanced accuracy of the target, and the mean over the others; for classes the share of the
            class's images, and of all other images, that are told right.
    """

    pruned: tuple[int, ...]
    target: tuple[float, ...]
    rest: tuple[float, ...]


@dataclass(frozen=True)
class Stability:
    """How alike the important channels are that two disjoint sets of images choose.

    Attributes:
        images: (S,) the size of each of the two sets.
        mean, deviation: (S,) of the Jaccard index |A∩B| / |A∪B| over the draws, 0 … 1, all layers together.
        chance: what two random choices of as many channels have.
        draws: how many pairs of sets were drawn.
    """

    images: tuple[int, ...]
    mean: tuple[float, ...]
    deviation: tuple[float, ...]
    chance: float
    draws: int


def pruning_curves(
    model: nn.Module,
    data: ImageSet,
    graph: EssentialGraph,
    target: str,
    *,
    shares: Sequence[float] = SHARES,
    orders: Sequence[str] = ORDERS,
    seed: int = 0,
    batch_size: int = 512,
) -> dict[str, PruningCurve]:
    """Prune ever more channels of the graph's layers: the "most" important first, the "least", and at "random".

    If importance means something, "most" loses the target long before the rest, and "least" neither.

    Args:
        data: what the accuracies are measured on.
        target: a target of the graph; balance plays no part here.
        shares: of each layer's channels, ascending, 0 … 1.
        orders: some of "most", "least" and "random"; `seed` draws the last.

    Raises:
        InputError: an unknown target or order, shares that are not ascending in [0, 1], a graph of another model.

    Source: Xu et al., *Essential Graph*, 2024, the released code's importance curves (bibliography key xu2024target);
    the random order is ours.

    >>> list(pruning_curves(model, task.val, graph, "Eyeglasses"))
    ['most', 'least', 'random']
    """
    if target not in graph.targets:
        raise InputError(f"there is no target {target!r} in the graph: expected one of {', '.join(graph.targets)}.")
    if not shares or list(shares) != sorted(shares) or not 0 <= shares[0] <= shares[-1] <= 1:
        raise InputError(f"the shares are {list(shares)}: expected an ascending list from 0 to 1.")
    if unknown := [order for order in orders if order not in ORDERS]:
        raise InputError(f"there is no order {unknown[0]!r}: expected some of {', '.join(ORDERS)}.")
    values = {layer: v[graph.targets.index(target)] for layer, v in graph.values.items()}
    generator = torch.Generator().manual_seed(seed)
    channels = {
        "most": {layer: v.sort(descending=True, stable=True).indices for layer, v in values.items()},
        "least": {layer: v.sort(stable=True).indices for layer, v in values.items()},
        "random": {layer: torch.randperm(len(v), generator=generator) for layer, v in values.items()},
    }
    output, tail = graph.outputs[graph.targets.index(target)], _Tail(copied(model), values, data, batch_size)
    return {name: _curve(model, tail, data.labels.cpu(), channels[name], output, shares) for name in orders}


class _Tail:
    """A model from the first of `layers` on: what comes before runs once, whatever is switched off behind it.

    Memory: what the layers behind take from those before, for all images.
    """

    def __init__(self, model: nn.Module, layers: Collection[str], data: ImageSet, batch_size: int):
        self.model, self.wiring = model, Wiring(model)
        cut = next(node for name, node in self.wiring.nodes.items() if name in layers)
        before = set(takewhile(lambda node: node is not cut, self.wiring.traced.graph.nodes))
        taken = {node for node in before if any(user not in before for user in node.users)}
        self.batches = []
        with evaluating(model), torch.inference_mode():
            for x, _ in data.to(model).batches(batch_size):
                runner = fx.Interpreter(self.wiring.traced, garbage_collect_values=False)
                runner.run(x)
                self.batches.append({node: runner.env[node] if node in taken else None for node in before})

    def logits(self) -> Tensor:
        """As `predict` gives them."""
        with evaluating(self.model), torch.inference_mode():
            runs = [self._run(batch) for batch in self.batches]
        return torch.cat(runs).float().cpu()

    def _run(self, batch: dict) -> Tensor:
        values = {node: value.clone() if isinstance(value, Tensor) else value for node, value in batch.items()}
        return fx.Interpreter(self.wiring.traced).run(initial_env=values)


def _curve(model, tail: _Tail, labels: Tensor, order: dict[str, Tensor], output: int, shares) -> PruningCurve:
    tail.model.load_state_dict(model.state_dict())
    steps = []
    for share in shares:
        first = {layer: channels[: round(share * len(channels))] for layer, channels in order.items()}
        switch_off(tail.model, first, tail.wiring)
        steps.append((sum(len(channels) for channels in first.values()), *_pair(tail.logits(), labels, output)))
    return PruningCurve(*zip(*steps, strict=True))


def _pair(logits: Tensor, labels: Tensor, output: int) -> tuple[float, float]:
    """The accuracy of one output, and of the rest."""
    if labels.ndim == 1:
        told, mine = right(logits, labels), labels == output
        return float(told[mine].float().mean()), float(told[~mine].float().mean())
    scores = [score.balanced.point for score in target_scores(logits, labels).values()]
    rest = [score for i, score in enumerate(scores) if i != output]
    return scores[output], sum(rest) / len(rest) if rest else float("nan")


def selection_stability(
    importance: Importance,
    *,
    proportion: float = 0.1,
    images: Sequence[int] = (1, 2, 4, 8, 16, 32, 64, 128),
    draws: int = 20,
    seed: int = 0,
) -> dict[str, Stability]:
    """How much the choice of important channels depends on the images, by target.

    Two disjoint sets of n images are drawn; each chooses the top `proportion` of every layer by its mean weights; their
    Jaccard index is averaged over `draws`. Sizes for which a target has fewer than 2n images are left out.

    Raises:
        InputError: a proportion outside (0, 1], or a target with too few images for any size.

    Source: ours; the released code of Xu et al., *Essential Graph*, 2024 (xu2024target), chooses by a single image.

    >>> importance = explain.channel_importance(model, task.train, ["Eyeglasses"], ["layer4.1.conv1"])
    >>> selection_stability(importance)["Eyeglasses"].images
    (1, 2, 4, 8)
    """
    if not 0 < proportion <= 1:
        raise InputError(f"proportion is {proportion}: expected a share above 0 and up to 1, such as 0.1.")
    generator, found = torch.Generator().manual_seed(seed), {}
    channels = [rows.shape[1] for rows in importance.rows.values()]
    kept = [max(1, round(proportion * n)) for n in channels]
    shared = sum(k * k / n for k, n in zip(kept, channels, strict=True))
    chance = shared / (2 * sum(kept) - shared)
    for number, name in enumerate(importance.targets):
        pairs = (importance.target == number).nonzero()[:, 0]
        sizes = [n for n in images if 0 < 2 * n <= len(pairs)]
        if not sizes:
            raise InputError(
                f"{name} has {len(pairs)} images: expected at least twice one of the sizes {list(images)}."
            )
        steps = [_alike(importance, pairs, n, proportion, draws, generator) for n in sizes]
        mean, deviation = (tuple(float(v) for v in values) for values in zip(*steps, strict=True))
        found[name] = Stability(tuple(sizes), mean, deviation, chance, draws)
    return found


def _alike(importance: Importance, pairs: Tensor, n: int, proportion: float, draws: int, generator):
    """Mean and deviation over draws of the Jaccard index between the choices of two sets of `n` of `pairs`."""
    picked = torch.stack([pairs[torch.randperm(len(pairs), generator=generator)[: 2 * n]] for _ in range(draws)])
    shared, either = torch.zeros(draws), torch.zeros(draws)
    for rows in importance.rows.values():
        means = rows[picked].view(draws, 2, n, -1).mean(2)
        one, other = top_channels(means, proportion).unbind(1)
        shared, either = shared + (one & other).sum(1), either + (one | other).sum(1)
    jaccard = shared / either
    return jaccard.mean(), jaccard.std(correction=0)
