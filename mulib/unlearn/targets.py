"""Target unlearning: switch off the channels that are essential for a target, without training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, cast

import torch
from torch import Tensor, nn

from mulib.data.targets import listed
from mulib.errors import InputError
from mulib.models import copied
from mulib.models.wiring import Wiring, switch_off

if TYPE_CHECKING:
    from mulib.explain import EssentialGraph

Choice = Literal["essential", "random", "least"]


def prune_targets(
    model: nn.Module,
    graph: EssentialGraph,
    *,
    layers: Sequence[str] | str | None = None,
    choose: Choice = "essential",
    head: bool = False,
    seed: int = 0,
) -> nn.Module:
    """Return a copy of `model` in which the channels that `graph` prunes are zero; the rest is equal bit by bit.

    Zero are the channel's kernel and bias, and its batch norm's scale, shift and running mean. It takes a graph
    instead of a request, and so stands outside the registry of methods.

    Args:
        graph: of this model; `graph.at(balanced=False)` prunes without balance, `graph.at(proportion=…)` fewer.
        layers: prune in these layers only.
        choose: "essential", or as ablations the same number per layer of "random" channels (drawn with `seed`) or of
            those that are "least" important for the forgotten targets.
        head: also zero the forgotten targets' rows and biases in the last linear layer: their logit is 0 for all
            images, which for attributes means no.

    Raises:
        InputError: a graph of another model, a layer that is not in it, an unknown choice, no linear layer for `head`.

    Source: Xu et al., *Towards Efficient Target-Level Machine Unlearning Based on Essential Graph*, 2024, method
    (bibliography key xu2024target). Removing the head is ours.

    >>> graph = explain.essential_graph(model, task.train, "Eyeglasses")
    >>> unlearned = prune_targets(model, graph, head=True)
    """
    wiring = Wiring(model)
    for layer, values in graph.values.items():
        if layer not in wiring.nodes or model.get_submodule(layer).out_channels != values.shape[1]:
            raise InputError(f"the model has no {layer} of {values.shape[1]} channels: pass the model of the graph.")
    layers = graph.layers if layers is None else listed(layers)
    if unknown := [layer for layer in layers if layer not in graph.layers]:
        raise InputError(f"{unknown[0]} is not in the graph: expected some of {', '.join(graph.layers)}.")
    channels = _channels(graph, choose, seed)
    unlearned = switch_off(copied(model), {layer: channels[layer] for layer in layers}, wiring)
    if head:
        forgotten = [o for name, o in zip(graph.targets, graph.outputs, strict=True) if name in graph.forget]
        _remove_outputs(unlearned, wiring.head, forgotten)
    return unlearned


def _channels(graph: EssentialGraph, choose: Choice, seed: int) -> dict[str, Tensor]:
    """By layer, the channels to prune: as many as are essential, chosen so."""
    if choose == "essential":
        return graph.pruned
    generator = torch.Generator().manual_seed(seed)
    forgotten = [name in graph.forget for name in graph.targets]
    if choose == "random":
        orders = {layer: torch.randperm(v.shape[1], generator=generator) for layer, v in graph.values.items()}
    elif choose == "least":
        orders = {layer: v[forgotten].amax(0).argsort(stable=True) for layer, v in graph.values.items()}
    else:
        raise InputError(f"choose is {choose!r}: expected 'essential', 'random' or 'least'.")
    return {layer: orders[layer][: len(pruned)] for layer, pruned in graph.pruned.items()}


@torch.no_grad()
def _remove_outputs(model: nn.Module, head: str | None, outputs: list[int]) -> None:
    if head is None:
        raise InputError("the model has no linear layer: expected one that gives the outputs; prune with head=False.")
    linear = cast(nn.Linear, model.get_submodule(head))
    for part in (linear.weight, linear.bias):
        if part is not None:
            part[outputs] = 0
