"""Explanations: which channels a model uses for what, and the essential graph of them."""

from mulib.explain.exchange import from_json, from_networkx, to_json, to_networkx
from mulib.explain.graph import Edges, EssentialGraph, essential_graph
from mulib.explain.importance import Importance, channel_importance

__all__ = [
    "Edges",
    "EssentialGraph",
    "Importance",
    "channel_importance",
    "essential_graph",
    "from_json",
    "from_networkx",
    "to_json",
    "to_networkx",
]
