"""Controls that work twice: live in Jupyter, and in the published page without a kernel or a network.

A slider or a menu is linked in the front end to a stack of pictures, so no Python runs when it moves.
"""

import base64
import html
from urllib.parse import quote

from mulib.errors import InputError
from mulib.show.pictures import drawn, encode

_LABEL = {"description_width": "initial"}  # as wide as the label's text


def slider(pictures, label, alts, values=None, start=0, width=None):
    """Return a slider that shows one of `pictures`; arrow keys move it, in Jupyter and in the built page.

    pictures: matplotlib figures, arrays (H, W) or (H, W, 3), or the bytes of PNG files; at least two.
    label: what the slider changes ("δ"). alts: one alt text per picture, which says what the picture shows.
    values: what the slider reads at each picture (default 0, 1, 2 …). start: index of the first picture shown.
    width: CSS width of the picture ("384px" enlarges a small map); default its own size, at most the page's.
    Raises InputError when the numbers of pictures, alts and values differ, or an alt is empty.
    """
    from ipywidgets import Layout, SelectionSlider

    options = _options(pictures, alts, values, start)
    control = SelectionSlider(
        options=options, index=start, description=label, style=_LABEL, layout=Layout(width="100%")
    )
    return _linked(control, pictures, alts, start, width)


def picker(pictures, label, alts, values, start=0, width=None):
    """Return a drop-down menu that shows one of `pictures`; its arguments are those of `slider`."""
    from ipywidgets import Dropdown

    options = _options(pictures, alts, values, start)
    control = Dropdown(options=options, index=start, description=label, style=_LABEL)
    return _linked(control, pictures, alts, start, width)


def pickers(pictures, labels, alts, values):
    """Return two drop-down menus, one above the other, that together choose a picture: pictures[i][j].

    pictures, alts: rows of equal length, of what `picker` takes. labels: what the first menu (the row) and the second
    (the place in it) choose. values: what each of them reads, a list per menu.
    Raises InputError as `picker` does, or when the rows differ in length.
    """
    from ipywidgets import Dropdown, Stack, VBox, jslink

    if len({len(row) for row in pictures}) != 1 or len(pictures) != len(alts):
        raise InputError("two menus need a full table: as many pictures in each row, and a row of alt texts for each.")
    rows = _options([row[0] for row in pictures], [row[0] for row in alts], values[0], 0)
    columns = [_options(row, said, values[1], 0) for row, said in zip(pictures, alts, strict=True)][-1]
    first, second = (
        Dropdown(options=options, index=0, description=label, style=_LABEL)
        for options, label in zip((rows, columns), labels, strict=True)
    )
    stacks = [_stack(*row, 0, None) for row in zip(pictures, alts, strict=True)]
    links = [jslink((second, "index"), (stack, "selected_index")) for stack in stacks]
    second.links = links  # pyright: ignore[reportAttributeAccessIssue] - kept as long as the control
    outer = Stack(stacks, selected_index=0)
    first.link = jslink((first, "index"), (outer, "selected_index"))  # pyright: ignore
    return VBox([first, second, outer]).add_class("mulib-control")


def _options(pictures, alts, values, start):
    """Check the arguments; return the control's options as (text, index) pairs."""
    values = range(len(pictures)) if values is None else values
    if not len(pictures) == len(alts) == len(values):
        raise InputError(
            "a control needs one alt text and one value per picture, "
            f"got {len(pictures)} pictures, {len(alts)} alt texts and {len(values)} values"
        )
    if len(pictures) < 2:
        raise InputError(f"a control needs two pictures or more, got {len(pictures)}")
    if not all(isinstance(alt, str) and alt.strip() for alt in alts):
        raise InputError("every picture needs an alt text that says what it shows, got an empty one")
    if not 0 <= start < len(pictures):
        raise InputError(f"start must be the index of a picture, 0 to {len(pictures) - 1}, got {start}")
    return [(str(value), index) for index, value in enumerate(values)]


def _linked(control, pictures, alts, start, width):
    """Return control and pictures as one box, joined by a front-end link (which is what survives the kernel)."""
    from ipywidgets import VBox, jslink

    stack = _stack(pictures, alts, start, width)
    control.link = jslink((control, "index"), (stack, "selected_index"))
    return VBox([control, stack]).add_class("mulib-control")


def _stack(pictures, alts, start, width):
    from ipywidgets import HTML, Layout, Stack

    shared = {"layout": Layout(), "style": HTML().style}  # one of each, not one per picture: the page stays small
    shown = [HTML(_img(*pair, width), **shared) for pair in zip(pictures, alts, strict=True)]
    return Stack(shown, selected_index=start)


def _img(picture, alt, width):
    """Return the HTML of a picture; an Image widget has no alt text."""
    mime, data, pixels = drawn(picture) if hasattr(picture, "savefig") else ("image/png", encode(picture), None)
    size = f"width: {width}; image-rendering: pixelated" if width else f"width: {pixels}px" if pixels else ""
    text = quote(data, safe=" /:=;,()'!*+@$-_.~") if mime.endswith("svg+xml") else base64.b64encode(data).decode()
    source = f"data:{mime}{'' if mime.endswith('svg+xml') else ';base64'},{text}"
    return f'<img alt="{html.escape(alt)}" style="max-width: 100%; {size}" src="{source}">'
