"""The book's look: one colour per model role, figures and tables that a phone, a dark page and a printer can show."""

import html
import math
import statistics
import sys
from collections.abc import Mapping, Sequence

from mulib.errors import InputError, check_values
from mulib.text import aligned

# Okabe and Ito's palette, which any colour vision can tell apart; a role has its colour on every page.
COLOURS = {"original": "#0072B2", "retrained": "#009E73", "unlearned": "#D55E00", "null": "#7F7F7F"}
INK = {"original": "#005A8C", "retrained": "#00704F", "unlearned": "#A84A00", "null": "#595959"}  # the same, for text

SWATCH = "display: inline-block; width: 0.7em; height: 0.7em; border-radius: 2px; margin-right: 0.4em"

WIDTH = 5.2  # inches: 572 pixels at DPI fit the page; on a 390-pixel phone its text is about 10 pixels high
HEIGHT = 3.1
DPI = 110


def use():
    """Make matplotlib draw in the book's style from here on, and check the notebook's parameters as they are declared.

    Figures are opaque: dark ink on white is readable on a dark page (where book.css gives it a margin) and in print.

    Raises:
        InputError: a parameter, as papermill or a reader set it, that is none of its declared values.
    """
    from matplotlib import pyplot
    from matplotlib.rcsetup import cycler

    notebook = vars(sys.modules["__main__"])
    check_values(notebook.get("__annotations__", {}), notebook, "this notebook")

    pyplot.rcParams.update(
        {
            "figure.figsize": (WIDTH, HEIGHT),
            "figure.dpi": DPI,
            "savefig.dpi": DPI,
            "figure.facecolor": "white",
            "savefig.facecolor": "white",
            "figure.constrained_layout.use": True,
            "font.size": 11,
            "axes.titlesize": 11,
            "axes.titlelocation": "left",
            "axes.labelsize": 11,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.edgecolor": "#595959",
            "axes.prop_cycle": cycler(color=list(COLOURS.values())),
            "xtick.color": "#404040",
            "ytick.color": "#404040",
            "lines.linewidth": 2,
            "legend.frameon": False,
            "image.cmap": "gray",
        }
    )


def label(axis, x, y, text, role=None, **options):
    """Write `text` at (x, y) of `axis`, in the ink of `role`: the direct label that stands for a legend's entry."""
    return axis.text(x, y, text, **{"color": INK.get(role or "", "#262626"), "fontweight": "bold", **options})


def histogram_pair(
    axis, first, second, roles=("unlearned", "retrained"), names=None, bins=20, gaussians=False, density=False
):
    """Draw two samples as histograms over common bins, each labelled on the side where it lies.

    first, second: (n,) finite values. roles: whose colours. names: what the labels say, the roles by default.
    density: draw areas of one instead of counts, to compare samples of different sizes; `gaussians` adds the normal
    density that is fitted to each sample.
    Returns the edges of the bins.
    """
    import numpy as np

    samples = [np.asarray(values, dtype=float) for values in (first, second)]
    if any(values.ndim != 1 or not len(values) or not np.isfinite(values).all() for values in samples):
        raise InputError("a histogram needs a flat sequence of finite values on both sides; drop the others first")
    edges = np.histogram_bin_edges(np.concatenate(samples), bins)
    density = density or gaussians
    low_first = samples[0].mean() <= samples[1].mean()
    for values, role, name, left in zip(samples, roles, names or roles, (low_first, not low_first), strict=True):
        options = {"color": COLOURS[role], "density": density}
        axis.hist(values, edges, alpha=0.45, **options)
        axis.hist(values, edges, histtype="step", linewidth=1.5, **options)
        if gaussians:
            _bell(axis, values, edges, COLOURS[role])
        side = {"x": 0.02, "ha": "left"} if left else {"x": 0.98, "ha": "right"}
        label(axis, y=1.0, text=name, role=role, va="bottom", transform=axis.transAxes, **side)
    axis.set_ylabel("density" if density else "count")
    return edges


def spread(values, format_spec=".2f"):
    """Return mean and standard deviation over models as text: "0.94 ± 0.01"; one value has no spread.

    >>> spread([0.5, 0.7], ".1f")
    '0.6 ± 0.1'
    >>> spread([0.5, 0.7], "+.1f")
    '+0.6 ± 0.1'
    """
    values = [float(value) for value in values]
    if not values:
        raise InputError("there is nothing to average: give one value per model")
    text = format(statistics.fmean(values), format_spec)
    return f"{text} ± {statistics.stdev(values):{format_spec.lstrip('+')}}" if len(values) > 1 else text


class Table:
    """Rows that Jupyter and the book show as a table, and a terminal as text. See `table`."""

    def __init__(self, rows, caption):
        self.rows, self.caption = rows, caption

    def _repr_html_(self):
        head = "".join(f'<th scope="col">{html.escape(str(name))}</th>' for name in self.rows[0])
        body = "".join(f"<tr>{_cells(row)}</tr>" for row in self.rows)
        caption = f"<caption>{html.escape(self.caption)}</caption>" if self.caption else ""
        inside = f"{caption}<thead><tr>{head}</tr></thead><tbody>{body}</tbody>"
        return f'<div style="overflow-x: auto"><table class="table mulib-table">{inside}</table></div>'

    def __repr__(self):
        return aligned([list(self.rows[0]), *([_text(value) for value in row.values()] for row in self.rows)])


def table(rows: Sequence[Mapping[str, object]], caption: str = "") -> Table:
    """Return a table of `rows`, one mapping of column name to value per row, all with the same columns.

    The first column names the row; where that is a model's role, or begins with one, a swatch shows its colour.
    Text stands as it is, so that a caller chooses the digits; numbers are shown to three significant ones.

    >>> table([{"model": "original", "test accuracy": "0.95"}])
    model     test accuracy
    original           0.95
    """
    rows = [dict(row) for row in rows]
    if not rows or not rows[0] or any(list(row) != list(rows[0]) for row in rows):
        raise InputError("a table needs at least one row and one column, and the same columns in every row")
    return Table(rows, caption)


def _cells(row):
    (_, first), *others = row.items()
    name = _text(first)
    role = next((role for role in COLOURS if name.split(" ")[0].rstrip(",:") == role), None)
    cells = "".join(_cell(_text(value)) for _, value in others)
    name = html.escape(name)
    if role:  # the swatch and the first word stay on one line
        word, _, rest = name.partition(" ")
        swatch = f'<span aria-hidden="true" style="{SWATCH}; background: {COLOURS[role]}"></span>'
        name = f'<span style="white-space: nowrap">{swatch}{word}</span> {rest}'
    return f'<th scope="row" style="font-weight: normal; text-align: left">{name}</th>{cells}'


def _cell(text):
    """A number and its spread stay on one line; a sentence wraps."""
    style = ' style="white-space: nowrap"' if len(text) < 16 else ""
    return f"<td{style}>{html.escape(text)}</td>"


def _text(value):
    if isinstance(value, float) and not math.isfinite(value):
        return "–" if math.isnan(value) else "∞" if value > 0 else "−∞"
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _bell(axis, values, edges, colour):
    import numpy as np
    from scipy.stats import norm

    reach = 0.1 * (edges[-1] - edges[0])
    x = np.linspace(edges[0] - reach, edges[-1] + reach, 400)
    axis.plot(x, norm.pdf(x, values.mean(), max(values.std(), 1e-5 * reach)), color=colour)
