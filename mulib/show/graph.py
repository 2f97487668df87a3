"""The essential graph as a picture, and in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from mulib.errors import InputError
from mulib.show.style import COLOURS, GREY, HEIGHT, WIDTH, label

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from mulib.explain import EssentialGraph

GOES, STAYS = "unlearned", "original"  # whose colours: what is pruned, and what the original model keeps
BEND = 0.5 - 0.5 * np.cos(np.linspace(0, np.pi, 24))  # from 0 to 1, level at both ends


def essential_graph(graph: EssentialGraph, axis: Axes | None = None, *, edges: int = 40) -> Axes:
    """Draw the channels that are important for the forgotten targets, a column per layer, the signal left to right.

    Above the line, filled: pruned. Below it, open: important for the target but spared. Each side is ordered by
    value, the largest next to the line. Lines are the strongest edges, as wide as their weight within their pair of
    layers; those that touch a pruned channel have its colour.

    Args:
        axis: where; by default a figure of its own, of the page's width.
        edges: how many to draw between two layers.

    Returns:
        the axis; ``axis.figure`` is the figure.

    Raises:
        InputError: a negative number of edges.

    >>> axis = essential_graph(graph.at(proportion=0.05))
    """
    from matplotlib import pyplot
    from matplotlib.collections import LineCollection

    if edges < 0:
        raise InputError(f"edges is {edges}: expected how many to draw between two layers, 0 or more.")
    if axis is None:
        axis = pyplot.subplots(figsize=(WIDTH, 1.2 * HEIGHT))[1]
    sides, gone = _sides(graph), graph.pruned
    heights = {layer: _heights(graph.values[layer].shape[1], *both) for layer, both in sides.items()}
    for (before, after), (source, sink, weight) in strongest(graph, edges).items():
        x = np.linspace(graph.layers.index(before), graph.layers.index(after), len(BEND))
        start, end = heights[before][source, None].numpy(), heights[after][sink, None].numpy()
        curves = np.stack(np.broadcast_arrays(x, start + (end - start) * BEND), -1)
        goes = (torch.isin(source, gone[before]) | torch.isin(sink, gone[after])).tolist()
        colours = [COLOURS[GOES if lost else STAYS] for lost in goes]
        widths = 0.2 + 2.2 * weight.numpy() / max(float(weight.max()), 1e-30) if len(weight) else []
        axis.add_collection(LineCollection(list(curves), linewidths=widths, colors=colours, alpha=0.3, zorder=1))
    rows = max(len(side) for both in sides.values() for side in both)
    size = min(20.0, max(4.0, (100 / rows) ** 2))  # square points: dots of neighbouring channels stay apart
    hollow = {"s": 0.7 * size, "c": "none", "edgecolors": COLOURS[STAYS], "zorder": 2}
    for column, (layer, (pruned, spared)) in enumerate(sides.items()):
        axis.scatter([column] * len(pruned), heights[layer][pruned], size, COLOURS[GOES], zorder=3)
        axis.scatter([column] * len(spared), heights[layer][spared], **hollow)
    _letter(axis, graph, sides, heights)
    return axis


def essential_graph_alt(graph: EssentialGraph) -> str:
    """Alternative text for the picture: what is forgotten, what each layer loses, and the strongest connection.

    >>> essential_graph_alt(graph)
    'The essential graph of Eyeglasses: 2 columns, one per layer. ...'
    """
    counts = {layer: tuple(map(len, both)) for layer, both in _sides(graph).items()}
    each = "; ".join(f"{layer} {pruned} of {pruned + spared}" for layer, (pruned, spared) in counts.items())
    pruned, important = (sum(values) for values in zip(*((p, p + s) for p, s in counts.values()), strict=True))
    columns = f"{len(counts)} columns, one per layer" if len(counts) > 1 else "one column, for one layer"
    others = [target for target in graph.targets if target not in graph.forget]
    if not graph.balanced:
        why = "Nothing is spared for other targets."
    elif others:
        why = f"The other {important - pruned} are spared, because {_list(others, 'or')} needs them too."
    else:
        why = "There is no other target to spare any for."
    parts = [
        f"The essential graph of {_list(graph.forget, 'and')}: {columns}.",
        f"Marked as pruned are {pruned} of the {important} channels that are important for it: {each}.",
        why,
    ]
    top = {pair: found for pair, found in strongest(graph, 1).items() if len(found[2])}
    if top:
        (before, after), (source, sink, _) = max(top.items(), key=lambda item: float(item[1][2][0]))
        lost = int(source) in graph.pruned[before].tolist() or int(sink) in graph.pruned[after].tolist()
        ends = f"channel {int(source)} of {before} to channel {int(sink)} of {after}"
        parts.append(f"The strongest connection runs from {ends} and {'is cut' if lost else 'stays'}.")
    return " ".join(parts)


def strongest(graph: EssentialGraph, edges: int) -> dict[tuple[str, str], tuple[Tensor, Tensor, Tensor]]:
    """By pair of layers, the forgotten targets' `edges` of largest weight: from, to and |weight|, largest first."""
    forgotten = torch.tensor([target in graph.forget for target in graph.targets])
    found = {}
    for pair, (target, source, sink, weight) in graph.edges.items():
        ours = forgotten[target]
        size = weight[ours].abs()
        chosen = size.sort(descending=True, stable=True).indices[:edges]
        found[pair] = source[ours][chosen], sink[ours][chosen], size[chosen]
    return found


def _sides(graph: EssentialGraph) -> dict[str, tuple[Tensor, Tensor]]:
    """By layer, the channels that are pruned and those that are spared, each by falling value."""
    forgotten, found = torch.tensor([target in graph.forget for target in graph.targets]), {}
    for layer, gone in graph.pruned.items():
        important = graph.important[layer][forgotten].any(0)
        pruned = torch.zeros_like(important).index_fill_(0, gone, True)
        order = graph.values[layer][forgotten].amax(0).sort(descending=True, stable=True).indices
        found[layer] = order[pruned[order]], order[(important & ~pruned)[order]]
    return found


def _heights(channels: int, pruned: Tensor, spared: Tensor) -> Tensor:
    """(C,) where each channel stands: above 0 if pruned, below if spared, NaN if not drawn."""
    height = torch.full((channels,), torch.nan)
    height[pruned] = torch.arange(1.0, len(pruned) + 1)
    height[spared] = -torch.arange(1.0, len(spared) + 1)
    return height


def _letter(axis: Axes, graph: EssentialGraph, sides: dict[str, tuple], heights: dict[str, Tensor]) -> None:
    """Names of the layers, counts, the line between the sides, and what the sides are."""
    stacked = torch.cat([height[height.isfinite()] for height in heights.values()])
    top, bottom = max(float(stacked.max()), 1.0), min(float(stacked.min()), -1.0)
    pad = 0.16 * (top - bottom)
    axis.set(xlim=(-0.5, len(graph.layers) - 0.5), ylim=(bottom - pad, top + 1.6 * pad), yticks=[])
    axis.set_xticks(range(len(graph.layers)), [_short(layer) for layer in graph.layers], fontsize=8)
    axis.tick_params(axis="x", length=0)
    axis.spines[["left", "bottom", "top", "right"]].set_visible(False)
    axis.axhline(0, color=GREY, linewidth=0.8, zorder=0)
    for column, (pruned, spared) in enumerate(sides.values()):
        above = len(pruned) + 0.3 * pad
        text = f"{len(pruned)} of {len(pruned) + len(spared)}"
        label(axis, column, above, text, GOES, ha="center", va="bottom", fontsize=9, fontweight="normal")
    corner = {"transform": axis.transAxes, "ha": "left", "fontsize": 9}
    text = f"pruned, of the channels important for {_list(graph.forget, 'and')}"
    label(axis, 0.0, 1.0, text, GOES, va="top", **corner)
    if bool((stacked < 0).any()):
        label(axis, 0.0, 0.0, "spared: other targets need them too", STAYS, va="bottom", **corner)


def _short(layer: str) -> str:
    """A layer's name on two lines: layer4.0 / conv1."""
    parts = layer.split(".")
    return ".".join(parts[:2]) + ("\n" + ".".join(parts[2:]) if parts[2:] else "")


def _list(names, word: str) -> str:
    *first, last = names
    return f"{', '.join(first)} {word} {last}" if first else last
