"""What notebooks and book show: glued values, controls, figures and tables in one style."""

from typing import TYPE_CHECKING

from mulib.show.exercises import checker, refuses
from mulib.show.glue import claim, glue
from mulib.show.style import COLOURS, GREY, HEIGHT, INK, SHADES, WIDTH, histogram_pair, label, names, spread, table, use
from mulib.show.widgets import picker, pickers, slider

if TYPE_CHECKING:
    from mulib.show.filters import filter_picker
    from mulib.show.graph import essential_graph, essential_graph_alt, strongest

__all__ = [
    "COLOURS",
    "GREY",
    "HEIGHT",
    "INK",
    "SHADES",
    "WIDTH",
    "checker",
    "claim",
    "essential_graph",
    "essential_graph_alt",
    "filter_picker",
    "glue",
    "histogram_pair",
    "label",
    "names",
    "picker",
    "pickers",
    "refuses",
    "slider",
    "spread",
    "strongest",
    "table",
    "use",
]


def __getattr__(name):
    """The essential graph and the filter picker, when they are first asked for: they need PyTorch, which takes seconds
    to import."""
    if name in ("essential_graph", "essential_graph_alt", "filter_picker", "strongest"):
        from mulib.show import filters, graph

        return filters.filter_picker if name == "filter_picker" else getattr(graph, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
