"""Essential graphs as networkx graphs and as JSON, and back, without loss."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import torch

from mulib.errors import InputError
from mulib.explain.graph import Edges, EssentialGraph

if TYPE_CHECKING:
    import networkx

_ABOUT = ("layers", "targets", "outputs", "forget", "proportion", "balanced", "counts")


def to_networkx(graph: EssentialGraph) -> networkx.DiGraph:
    """A directed graph with a node "layer:channel" per channel and an edge per pair that is important together.

    Nodes have `layer`, `channel`, `value` (a number per target), `important` (the targets), `balance` and `state`
    ("pruned", "kept" for important ones that stay, "other"); edges `weight` (a number per target that has the edge).
    The settings are attributes of the graph.

    >>> to_networkx(graph).nodes["layer4.1.conv2:3"]["channel"]
    3
    """
    import networkx as nx

    result = nx.DiGraph(**{name: getattr(graph, name) for name in _ABOUT})
    result.graph["pairs"] = tuple(graph.edges)
    important, balances, pruned = graph.important, graph.balance, graph.pruned
    for layer in graph.layers:
        gone, rows = set(pruned[layer].tolist()), zip(graph.values[layer].T.tolist(), important[layer].T, strict=True)
        for channel, (values, marks) in enumerate(rows):
            result.add_node(
                f"{layer}:{channel}",
                layer=layer,
                channel=channel,
                value=dict(zip(graph.targets, values, strict=True)),
                important=[graph.targets[i] for i in marks.nonzero()[:, 0].tolist()],
                balance=int(balances[layer][channel]),
                state="pruned" if channel in gone else "kept" if bool(marks.any()) else "other",
            )
    for (before, after), edges in graph.edges.items():
        for target, source, sink, weight in zip(*(values.tolist() for values in edges), strict=True):
            ends = f"{before}:{source}", f"{after}:{sink}"
            if not result.has_edge(*ends):
                result.add_edge(*ends, weight={})
            result.edges[ends]["weight"][graph.targets[target]] = weight
    return result


def from_networkx(graph: networkx.DiGraph) -> EssentialGraph:
    """What `to_networkx` was given.

    Raises:
        InputError: a graph that it did not make.
    """
    try:
        about: dict[str, Any] = {name: graph.graph[name] for name in _ABOUT}
        about = {name: tuple(value) if isinstance(value, list) else value for name, value in about.items()}
        values: dict[str, list] = {layer: [] for layer in about["layers"]}
        for _, node in graph.nodes(data=True):
            values[node["layer"]].append([node["value"][target] for target in about["targets"]])
        rows: dict[tuple[str, str], list] = {tuple(pair): [] for pair in graph.graph["pairs"]}
        number = {target: i for i, target in enumerate(about["targets"])}
        for source, sink, weights in graph.edges(data="weight"):
            a, b = graph.nodes[source], graph.nodes[sink]
            found = [(number[target], a["channel"], b["channel"], weight) for target, weight in weights.items()]
            rows[a["layer"], b["layer"]] += found
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"no essential graph ({error!r}): expected what `to_networkx` or `to_json` gave; pass that."
        ) from error
    tensors = {layer: torch.tensor(value).T.contiguous() for layer, value in values.items()}
    return EssentialGraph(**about, values=tensors, edges={pair: _edges(found) for pair, found in rows.items()})


def to_json(graph: EssentialGraph) -> str:
    """The graph as JSON text in networkx's node-link form, which other programs read too."""
    import networkx as nx

    return json.dumps(nx.node_link_data(to_networkx(graph), edges="edges"), ensure_ascii=False, allow_nan=False)


def from_json(text: str) -> EssentialGraph:
    """What `to_json` was given, to the last bit.

    Raises:
        InputError: text that it did not write.
    """
    import networkx as nx

    try:
        graph = nx.node_link_graph(json.loads(text), edges="edges")
    except (ValueError, KeyError, TypeError, AttributeError, nx.NetworkXError) as error:
        raise InputError(f"this is no essential graph in JSON ({error!r}): pass what `to_json` gave.") from error
    return from_networkx(graph)


def _edges(rows: list[tuple[int, int, int, float]]) -> Edges:
    *ends, weight = zip(*sorted(rows), strict=True) if rows else ((), (), (), ())
    target, source, sink = (torch.tensor(end, dtype=torch.int64) for end in ends)
    return Edges(target, source, sink, torch.tensor(weight))
