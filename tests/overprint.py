"""Which labels of a figure cover each other, by the boxes of their texts."""

from itertools import combinations

from matplotlib.text import Text


def overprinted(figure, pixels=2):
    """Return the pairs of texts whose boxes share more than `pixels` in both directions, slanted ones left out."""
    figure.draw_without_rendering()
    texts = [text for text in figure.findobj(Text) if text.get_visible() and _shown(text)]
    boxes = [(text.get_text(), text.get_window_extent()) for text in texts if text.get_rotation() % 90 == 0]
    return [(a, b) for (a, one), (b, other) in combinations(boxes, 2) if _shared(one, other) > pixels]


def _shown(text):
    """A label of a tick outside of its axis' limits is not drawn."""
    return bool(text.get_text().strip()) and text.get_window_extent().width > 0 and _parent_shows(text)


def _parent_shows(text):
    axis = text.axes
    if axis is None:
        return True
    ticks = [*axis.xaxis.get_major_ticks(), *axis.xaxis.get_minor_ticks()]
    ticks += [*axis.yaxis.get_major_ticks(), *axis.yaxis.get_minor_ticks()]
    owned = [tick for tick in ticks if text in (tick.label1, tick.label2)]
    drawn = [*axis.xaxis._update_ticks(), *axis.yaxis._update_ticks()]
    return axis.axison and (not owned or owned[0] in drawn)


def _shared(one, other):
    wide = min(one.x1, other.x1) - max(one.x0, other.x0)
    return min(wide, min(one.y1, other.y1) - max(one.y0, other.y0))
