"""What notebooks and book show: glued values, controls, figures and tables in one style."""

from typing import TYPE_CHECKING

from mulib.show.glue import glue
from mulib.show.style import COLOURS, HEIGHT, WIDTH, histogram_pair, label, spread, table, use
from mulib.show.widgets import picker, pickers, slider

if TYPE_CHECKING:
    from mulib.show.graph import essential_graph, essential_graph_alt

__all__ = [
    "COLOURS",
    "HEIGHT",
    "WIDTH",
    "essential_graph",
    "essential_graph_alt",
    "glue",
    "histogram_pair",
    "label",
    "picker",
    "pickers",
    "slider",
    "spread",
    "table",
    "use",
]


def __getattr__(name):
    """The essential graph, when it is first asked for: it alone needs PyTorch, which takes seconds to import."""
    if name in ("essential_graph", "essential_graph_alt"):
        from mulib.show import graph

        return getattr(graph, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
