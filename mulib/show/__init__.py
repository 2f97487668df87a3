"""What notebooks and book show: glued values, controls, figures and tables in one style."""

from mulib.show.glue import glue
from mulib.show.graph import essential_graph, essential_graph_alt
from mulib.show.style import COLOURS, HEIGHT, WIDTH, histogram_pair, label, spread, table, use
from mulib.show.widgets import picker, pickers, slider

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
