"""The essential graph: the channels that matter for each target, and which matter for the forgotten one alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor, nn

from mulib.data.sets import ImageSet
from mulib.data.targets import Target, listed, names, position
from mulib.errors import InputError
from mulib.explain.flow import Flow
from mulib.explain.importance import channel_importance
from mulib.kernels.channels import balance, top_channels
from mulib.models.wiring import Wiring


class Edges(NamedTuple):
    """Edges from one layer to a layer that it feeds, one row per edge and target, by target, source and sink.

    Attributes:
        target, source, sink: (E,) int64: for which target, from which channel, into which channel.
        weight: (E,) float32: what the source adds to the mean of the sink's output over the target's images.
    """

    target: Tensor
    source: Tensor
    sink: Tensor
    weight: Tensor


@dataclass(frozen=True, eq=False)
class EssentialGraph:
    """Layers of channels with a value per target, and the edges between those that are important together.

    Attributes:
        layers: convolutions, in the order they run.
        targets, outputs: the targets' names, and their positions among the model's outputs.
        forget: the forgotten targets' names.
        proportion: the share of a layer's channels that counts as important.
        balanced: whether channels that other targets need are spared.
        per_target: whether what several forgotten targets need counts several times, as in the released code.
        counts: how many images each target's values are the mean of.
        values: by layer, (T, C) float32, the channel weights.
        edges: by (layer, layer it feeds).
    """

    layers: tuple[str, ...]
    targets: tuple[str, ...]
    outputs: tuple[int, ...]
    forget: tuple[str, ...]
    proportion: float
    balanced: bool
    counts: tuple[int, ...]
    values: dict[str, Tensor]
    edges: dict[tuple[str, str], Edges]
    per_target: bool = False

    @property
    def important(self) -> dict[str, Tensor]:
        """By layer, (T, C) bool: the channels with the largest values of each target."""
        return {layer: top_channels(values, self.proportion) for layer, values in self.values.items()}

    @property
    def balance(self) -> dict[str, Tensor]:
        """By layer, (C,) int64: T if important for a forgotten target, less one per other target that needs it."""
        options = {"per_target": self.per_target}
        return {layer: balance(important, self._forgotten, **options) for layer, important in self.important.items()}

    @property
    def pruned(self) -> dict[str, Tensor]:
        """By layer, (k,) int64: the channels that forgetting takes; with balance those above T − 1."""
        least = len(self.targets) - 1 if self.balanced else 0
        return {layer: (value > least).nonzero()[:, 0] for layer, value in self.balance.items()}

    def at(
        self,
        *,
        proportion: float | None = None,
        forget: Sequence[str] | str | None = None,
        balanced: bool | None = None,
        per_target: bool | None = None,
    ) -> EssentialGraph:
        """The same measurements read with another setting; nothing runs again.

        Raises:
            InputError: a proportion outside (0, the one it was built with], or a target that is not in the graph.
        """
        proportion = self.proportion if proportion is None else proportion
        if not 0 < proportion <= self.proportion:
            built = f"the graph was built with {self.proportion}"
            raise InputError(f"proportion is {proportion}: {built}, expected above 0 and not more; or build it anew.")
        forget = self.forget if forget is None else listed(forget)
        _check_forget(forget, self.targets)
        other = replace(
            self,
            proportion=proportion,
            forget=forget,
            balanced=self.balanced if balanced is None else balanced,
            per_target=self.per_target if per_target is None else per_target,
        )
        important = other.important
        kept = {pair: _both_important(edges, important, *pair) for pair, edges in self.edges.items()}
        return replace(other, edges=kept)

    @property
    def _forgotten(self) -> Tensor:
        return torch.tensor([target in self.forget for target in self.targets])


def essential_graph(
    model: nn.Module,
    images: ImageSet,
    forget: Target | Sequence[Target],
    *,
    targets: Sequence[Target] | None = None,
    absent: Target | Sequence[Target] = (),
    layers: int | str | Sequence[str] = 5,
    proportion: float = 0.1,
    balanced: bool = True,
    batch_size: int = 64,
) -> EssentialGraph:
    """Build the essential graph of a model in one pass over `images`.

    Values are Grad-CAM's channel weights, averaged over each target's images; the largest ⌊proportion·C⌉ of a layer
    are important. A channel that is important for a forgotten target has the balance T − (other targets that need it);
    above T − 1 it is essential for that target alone, and is pruned. The edge from channel i to channel j of a layer
    that i's layer feeds has the weight w_ij = Σ_u K_ji,u · m_i,u: the kernel K between them times the mean activation
    m_i that each of its entries sees. All w_ij into j and its bias add up to j's mean output. At a residual connection
    the activation is shared among what is added there, by mean absolute value.

    Args:
        forget: the targets to be forgotten, by name or position.
        targets: all targets to be told apart; by default every class or attribute of `images`.
        absent: targets that are the absence of something; see `channel_importance`.
        layers: convolutions by name, or how many of the last ones.
        proportion: in (0, 1].
        balanced: False prunes what is important for a forgotten target, whoever else needs it.

    Raises:
        InputError: an unknown target, a target without images, a model without convolutions or that cannot be traced,
            a proportion outside (0, 1], layers that are not adjacent.

    Source: Xu et al., *Towards Efficient Target-Level Machine Unlearning Based on Essential Graph*, 2024, method
    (bibliography key xu2024target). The edges are ours: the released code keeps node values only.

    >>> graph = essential_graph(model, task.train, "Eyeglasses", layers=2, proportion=0.1)
    >>> graph.layers
    ('layer4.1.conv1', 'layer4.1.conv2')
    """
    if not 0 < proportion <= 1:
        raise InputError(f"proportion is {proportion}: expected a share above 0 and up to 1, such as 0.1.")
    wiring = Wiring(model)
    chosen = _chosen(wiring, layers)
    targets = range(images.outputs) if targets is None else listed(targets)
    forget = names(images, [position(images, target) for target in listed(forget)])
    _check_forget(forget, names(images, [position(images, target) for target in targets]))
    flow = Flow(wiring, chosen)
    options = {"absent": absent, "batch_size": batch_size, "forward": flow.forward}
    found = channel_importance(model, images, targets, chosen, **options)
    values = found.values
    important = {layer: top_channels(value, proportion) for layer, value in values.items()}
    edges = {pair: Edges(*flow.edges(*pair, important)) for pair in flow.branches}
    about = (chosen, found.targets, found.outputs, forget, proportion, balanced, found.counts)
    return EssentialGraph(*about, values, edges)


def _chosen(wiring: Wiring, layers: int | str | Sequence[str]) -> tuple[str, ...]:
    """Adjacent convolutions, in the order they run."""
    if isinstance(layers, int):
        if not 0 < layers <= len(wiring.layers):
            raise InputError(f"layers is {layers}: expected 1 … {len(wiring.layers)}, the model's convolutions.")
        layers = wiring.layers[-layers:]
    layers = listed(layers)
    wiring.check_adjacent(layers)
    return tuple(layer for layer in wiring.layers if layer in layers)


def _check_forget(forget: Sequence[str], targets: Sequence[str]) -> None:
    if not forget or (unknown := [target for target in forget if target not in targets]):
        wrong = f"there is no target {unknown[0]!r} in the graph" if forget else "no target is to be forgotten"
        raise InputError(f"{wrong}: expected some of {', '.join(targets[:20])}.")


def _both_important(edges: Edges, important: dict[str, Tensor], source: str, sink: str) -> Edges:
    kept = important[source][edges.target, edges.source] & important[sink][edges.target, edges.sink]
    return Edges(*(values[kept] for values in edges))
