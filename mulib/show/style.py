"""The book's look: one colour per model role, figures and tables that a phone, a dark page and a printer can show."""

import html
import itertools
import math
import statistics
import sys
from collections.abc import Mapping, Sequence

from mulib.errors import InputError, check_values
from mulib.text import aligned

# Okabe and Ito's palette, which any colour vision can tell apart; a role has its colour on every page. Figures have no
# ground of their own: every ink here is at least 3:1 against a white page and against a dark one.
COLOURS = {"original": "#0072B2", "retrained": "#009E73", "unlearned": "#D55E00", "null": "#7F7F7F"}
INK = {"original": "#1F7FC0", "retrained": "#008F68", "unlearned": "#D55E00", "null": "#767676"}  # the same, for text
GREY = "#767676"  # axes, their text, and what has no role
SHADES = ("#9065B0", "#A97800", "#C2528B", "#4E8494", "#8F6F55")  # things that are told apart and have no role

OPEN_ROWS = 12  # a longer table is folded: a figure says the same
SWATCH = "display: inline-block; width: 0.7em; height: 0.7em; border-radius: 2px; margin-right: 0.4em"

WIDTH = 5.2  # inches: 572 pixels at DPI fit the page; on a 390-pixel phone its text is about 10 pixels high
HEIGHT = 3.1
DPI = 110  # on the page; drawn with twice as many pixels, for screens that have them


def use():
    """Make matplotlib draw in the book's style from here on, and check the notebook's parameters as they are declared.

    Figures are transparent, and their ink is readable on white, on a dark page and in print.

    Raises:
        InputError: a parameter, as papermill or a reader set it, that is none of its declared values.
    """
    from IPython import get_ipython
    from matplotlib import pyplot
    from matplotlib.rcsetup import cycler

    notebook = vars(sys.modules["__main__"])
    check_values(notebook.get("__annotations__", {}), notebook, "this notebook")

    pyplot.rcParams.update(
        {
            "figure.figsize": (WIDTH, HEIGHT),
            "figure.dpi": DPI,
            "savefig.dpi": DPI,
            "figure.facecolor": "none",
            "savefig.facecolor": "none",
            "axes.facecolor": "none",
            "figure.constrained_layout.use": True,
            "font.size": 11,
            "axes.titlesize": 11,
            "axes.titlelocation": "left",
            "axes.labelsize": 11,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.edgecolor": GREY,
            "axes.labelcolor": GREY,
            "axes.titlecolor": GREY,
            "text.color": GREY,
            "axes.prop_cycle": cycler(color=list(COLOURS.values())),
            "xtick.color": GREY,
            "ytick.color": GREY,
            "svg.fonttype": "none",
            "font.sans-serif": ["DejaVu Sans", "Verdana", "sans-serif"],
            "lines.linewidth": 2,
            "legend.frameon": False,
            "image.cmap": "gray",
        }
    )
    if get_ipython() is not None:
        from matplotlib_inline.backend_inline import set_matplotlib_formats

        set_matplotlib_formats("retina")


def label(axis, x, y, text, role=None, **options):
    """Write `text` at (x, y) of `axis`, in the ink of `role`: the direct label that stands for a legend's entry."""
    looks = {"color": INK.get(role or "", GREY), "fontweight": "bold", "parse_math": False}  # names may hold a $
    return axis.text(x, y, text, **looks | options)


def names(axis, points, fontsize=9):
    """Write a name beside each point, where it covers no other name and no point; a thin line leads to one far off.

    points: name -> (role or None, (x, y)), in data coordinates of `axis`, whose limits and scales stay as they are now.
    """
    import numpy as np

    axis.figure.draw_without_rendering()
    axis.set(xlim=axis.get_xlim(), ylim=axis.get_ylim())
    spots = {name: axis.transData.transform(point) for name, (_, point) in points.items()}
    inside, pixels = axis.get_window_extent(), axis.figure.dpi / 72
    taken = [(x - 4 * pixels, y - 4 * pixels, x + 4 * pixels, y + 4 * pixels) for x, y in spots.values()]
    turns = np.pi * np.array([0, 1, 0.5, 1.5, 0.25, 0.75, 1.25, 1.75])
    for name, (role, point) in points.items():
        text = label(axis, point[0], point[1], name, role, fontsize=fontsize, ha="center", va="center")
        box, (x, y) = text.get_window_extent(), spots[name]
        wide, high = box.width / 2 + pixels, box.height / 2
        tried: list[tuple] = []
        for far, turn in itertools.product((5, 11, 18, 27, 38), turns):
            cx = x + np.cos(turn) * (wide + far * pixels)
            cy = y + np.sin(turn) * (high + far * pixels)
            mine = cx - wide, cy - high, cx + wide, cy + high
            out = max(inside.x0 - mine[0], mine[2] - inside.x1, inside.y0 - mine[1], mine[3] - inside.y1, 0)
            cost = sum(_shared(mine, other) for other in taken) + 100 * out
            tried.append((cost, len(tried), (cx, cy), mine, far))
            if cost == 0:
                break
        _, _, centre, mine, far = min(tried)
        taken.append(mine)
        text.set_position(axis.transData.inverted().transform(centre))
        if far > 11:
            ends = np.array([point, text.get_position()]).T
            axis.plot(*ends, color=GREY, lw=0.5, zorder=0)


def _shared(a, b):
    """The area that two boxes (left, low, right, high) share."""
    return max(0, min(a[2], b[2]) - max(a[0], b[0])) * max(0, min(a[3], b[3]) - max(a[1], b[1]))


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
        table = f'<div style="overflow-x: auto"><table class="table mulib-table">{inside}</table></div>'
        if len(self.rows) <= OPEN_ROWS:
            return table
        title = html.escape(self.caption) or "Table"
        return f"<details><summary>{title}: {len(self.rows)} rows</summary>{table}</details>"

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
