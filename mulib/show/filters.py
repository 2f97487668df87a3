"""The filter picker: all filters of a layer on one sheet, the chosen one large, live in Jupyter and in a page alone."""

from __future__ import annotations

import base64
import hashlib
import html
import io
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from mulib import explain
from mulib.data.sets import ImageSet
from mulib.errors import InputError
from mulib.files import LIBRARY
from mulib.kernels.similarity import channel_similarity
from mulib.kernels.spectral import spectral_groups
from mulib.predict import feature_maps

THRESHOLDS = tuple(k / 20 for k in range(1, 20))
LARGEST = 32  # positions of a map per side; larger ones are shown as averages, or a page would be heavy
IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # mean and deviation that torchvision's networks expect
PICTURES = (".jpg", ".jpeg", ".png", ".webp")
ROWS = {
    "asis": "The picture",
    "marked": "What the filter marks",
    "bare": "Its map",
    "mean": "Mean map of its group",
}


class FilterPicker:
    """A picker as `filter_picker` makes it. In Jupyter, `filter` and `threshold` follow what a reader chooses.

    Attributes:
        filter: the choice; None until there is one.
        threshold: above which a map marks.
        groups: (C,) int64, the group of each filter; those that never change are in the last one.
        fragment: the HTML, which needs neither a kernel nor a network.
    """

    def __init__(self, data: dict, groups: Tensor, choice: int | None = None):
        self.filter, self.threshold, self.groups = choice, data["threshold"], groups
        content = json.dumps(data)
        self.name = "fp" + hashlib.sha256(content.encode()).hexdigest()[:10]
        self.fragment = _fragment(self.name, data, content)

    def page(self, title: str) -> str:
        """A whole page of HTML around the picker, for a file of its own."""
        head = '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
        style = ":root { color-scheme: light dark; } body { font: 16px/1.5 system-ui, sans-serif; margin: 1rem auto; "
        style += "max-width: 60rem; padding: 0 1rem; }"
        title = html.escape(title)
        head += f"<title>{title}</title><style>{style}</style>"
        body = f"<main><h1>{title}</h1>{self.fragment}</main>"
        return f'<!doctype html><html lang="en"><head>{head}</head><body>{body}</body></html>'

    def _ipython_display_(self):
        from IPython.display import HTML, display
        from ipywidgets import Layout, Text

        wire = Text("", layout=Layout(display="none")).add_class(f"mulib-wire-{self.name}")
        wire.add_class("mulib-wire")
        wire.observe(self._chosen, "value")
        display(wire)
        display(HTML(self.fragment))

    def _chosen(self, change) -> None:
        number, threshold = change["new"].split()
        self.filter, self.threshold = int(number), float(threshold)


def filter_picker(
    model: nn.Module,
    layer: str,
    images: ImageSet,
    *,
    k: int = 8,
    filter: int | None = None,
    threshold: float = 0.2,
    shown: int = 6,
    region: Tensor | np.ndarray | None = None,
    what: str = "region",
    seed: int = 0,
) -> FilterPicker:
    """A contact sheet of all filters of a layer, to choose one by click, arrow keys or number, and that one large.

    Of the chosen filter: the pictures under its map, enlarged in two bilinear steps, with a line around what exceeds a
    threshold that a slider moves; the bare maps; the mean maps of its group; and in words what it marks. Maps are
    scaled to [0, 1] per filter over all `images`. In Jupyter the result's `filter` and `threshold` follow the choice.

    Args:
        layer: as in `model.named_modules()`, one whose output has height and width.
        images: what maps are scaled over, and grouped by; the first `shown` are shown.
        k: groups that filters are ordered by, by how alike their maps are; no more than there are filters.
        filter: what is chosen already; None shows filter 0 and waits for a choice.
        threshold: at the start, a multiple of 0.05.
        region: (N, H, W) bool, where the truth is known: then a reader may unfold how the choice ranks.
        what: what the region shows, in words: "mouth".
        seed: of the grouping.

    Raises:
        InputError: no images, no such layer or filter, a layer without maps, a threshold that the slider does not have.

    >>> filter_picker(identifier, "layer3", task.test, filter=3, k=2, shown=2).filter
    3
    """
    if round(threshold, 2) not in THRESHOLDS:
        raise InputError(f"the threshold is {threshold}: expected a multiple of 0.05 from 0.05 to 0.95.")
    maps = feature_maps(model, images, layer)
    if maps.ndim != 4:
        raise InputError(f"the layer {layer!r} gives no maps: expected one with height and width, such as a stage.")
    count = maps.shape[1]
    if filter is not None and not 0 <= filter < count:
        raise InputError(f"there is no channel {filter} in {layer!r}: expected 0 … {count - 1}.")
    groups = _grouped(maps, k, seed)
    small = maps[:shown]
    if max(small.shape[2:]) > LARGEST:
        height, width = (min(side, LARGEST) for side in small.shape[2:])
        small = nn.functional.adaptive_avg_pool2d(small, (height, width))
    few = images.images[:shown].cpu()
    data = {
        "filter": filter or 0,
        "threshold": round(threshold, 2),
        "filters": count,
        "shown": len(few),
        "height": few.shape[2],
        "width": few.shape[3],
        "rows": small.shape[2],
        "columns": small.shape[3],
        "groups": groups.tolist(),
        "names": _names(groups, maps),
        "maps": _text((255 * small).round().byte().transpose(0, 1).contiguous().numpy().tobytes()),
        "images": [f"data:image/webp;base64,{_text(_webp(picture))}" for picture in few],
        "colours": _colours(),
        "thresholds": THRESHOLDS,
        "truth": None if region is None else _truth(maps, region, what),
    }
    return FilterPicker(data, groups, filter)


def pictures_in(folder: Path | str, size: int = 224, mean=IMAGENET[0], std=IMAGENET[1]) -> ImageSet:
    """The pictures of a folder, at any depth, in the order of their names, as squares of `size` pixels.

    Raises:
        InputError: no folder, no pictures in it, or one that cannot be read.
    """
    from PIL import Image, UnidentifiedImageError

    paths = sorted(path for path in Path(folder).rglob("*") if path.suffix.lower() in PICTURES)
    if not paths:
        raise InputError(f"there is no picture in {folder}: expected a folder with files {', '.join(PICTURES)}.")
    images = np.empty((len(paths), 3, size, size), np.uint8)
    for image, path in zip(images, paths, strict=True):
        try:
            small = Image.open(path).convert("RGB").resize((size, size), Image.Resampling.BILINEAR)
        except (OSError, UnidentifiedImageError) as error:
            raise InputError(f"{path} is no picture that can be read ({error}): remove it, or save it anew.") from error
        image[:] = np.asarray(small).transpose(2, 0, 1)
    names = np.array([path.name for path in paths])
    return ImageSet(torch.from_numpy(images), torch.zeros(len(paths)).long(), mean=mean, std=std, names=names)


def network_of(name: str, weights: Path | str | None = None) -> nn.Module:
    """A network of torchvision to look into, in evaluation mode.

    Args:
        weights: a safetensors file of its state, with any number of outputs; None takes torchvision's default weights,
            which are downloaded once.

    Raises:
        InputError: an unknown name, or weights that are not of this network.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file
    from torchvision.models import get_model

    try:
        if weights is None:
            network = get_model(name, weights="DEFAULT")
        else:
            state = load_file(weights)
            outputs = [value for value in state.values() if value.ndim == 2][-1:]
            network = get_model(name, weights=None, num_classes=len(outputs[0]) if outputs else 1000)
            network.load_state_dict(state)
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{name} with the weights {weights or 'of torchvision'} cannot be had: {reason}.") from error
    return network.eval()


def _grouped(maps: Tensor, k: int, seed: int) -> Tensor:
    """Groups of filters that fire together; those whose map never changes come last, in one of their own."""
    similarity = channel_similarity(maps.split(256))
    moves = similarity.diagonal() > 1
    groups = torch.full((len(moves),), -1)
    if moves.any():
        groups[moves] = spectral_groups(similarity[moves][:, moves], min(k, int(moves.sum())), seed)[0].cpu()
    groups[~moves] = groups.max() + 1
    return groups


def _names(groups: Tensor, maps: Tensor) -> list[dict]:
    """What each group is called, and its filters."""
    constant = (maps.amax((0, 2, 3)) == 0)[groups.argsort(stable=True)[-1]]
    names = []
    for group in range(int(groups.max()) + 1):
        silent = bool(constant) and group == int(groups.max())
        names.append(
            {
                "name": "Silent filters" if silent else f"Group {group + 1}",
                "members": (groups == group).nonzero()[:, 0].tolist(),
            }
        )
    return names


def _truth(maps: Tensor, region, what: str) -> dict:
    """The overlap of every filter with the region at every threshold of the slider."""
    ious = [[round(value, 3) for value in row] for row in explain.overlaps(maps, region, THRESHOLDS).tolist()]
    constant = round(explain.rank_filters(maps[:, :1], region).baseline, 3)
    return {"name": what, "pictures": len(maps), "iou": ious, "constant": constant}


def _text(content: bytes) -> str:
    return base64.b64encode(content).decode()


def _webp(picture: Tensor) -> bytes:
    """A picture (3 or 1, H, W) uint8 in full colour, small."""
    from PIL import Image

    buffer = io.BytesIO()
    array = picture.permute(1, 2, 0).numpy()
    Image.fromarray(array.repeat(3, 2) if array.shape[2] == 1 else array).save(buffer, "webp", quality=85)
    return buffer.getvalue()


def _colours() -> str:
    """32 stops of viridis, six hexadecimal digits each."""
    from matplotlib import colormaps

    stops = colormaps["viridis"](np.linspace(0, 1, 32), bytes=True)[:, :3]
    return "".join(f"{r:02x}{g:02x}{b:02x}" for r, g, b in stops)


def _fragment(name: str, data: dict, content: str) -> str:
    """Controls, the marked pictures, which stay in sight above the sheet, and the other rows, with what draws them."""
    place = LIBRARY / "show"
    style, script = ((place / f"filter_picker.{kind}").read_text(encoding="utf-8") for kind in ("css", "js"))
    count, shown = data["filters"], range(data["shown"])
    options = "".join(f'<option value="{n}">{n + 1}</option>' for n in shown)
    marked, others = _rows(("marked",), shown), _rows(("asis", "bare", "mean"), shown)
    sheet = "".join(_group(group) for group in data["names"])
    truth = '<details><summary>How good is this choice?</summary><p class="truth"></p></details>'
    body = f"""<div class="chosen"><div class="bar">
<label>Filter <input class="number" type="number" min="0" max="{count - 1}" step="1"> of 0 … {count - 1}</label>
<label>Threshold <input class="threshold" type="range" min="0.05" max="0.95" step="0.05">
<span class="reading"></span></label>
</div>
{marked}
<p class="said" role="status"></p></div>
<div class="bar"><label>All filters, by group, on picture <select class="picture">{options}</select></label></div>
<div class="sheet" role="radiogroup" aria-label="All filters, by group">{sheet}</div>
{truth if data["truth"] else ""}
{others}"""
    content = content.replace("<", "\\u003c")
    return f"""<div class="mulib-fp" id="{name}"><style>{style}</style>
<p class="waiting">The filter picker is drawn by a script: in Jupyter, trust the notebook and run this cell.</p>
<div class="body" hidden>{body}</div></div>
<script>{script}
(function start(left) {{
  const root = document.getElementById("{name}");
  if (root) mulibFilterPicker(root, {content});
  else if (left) setTimeout(start, 50, left - 1);
}})(200);</script>"""


def _rows(names: Sequence[str], shown: Sequence[int]) -> str:
    """A label and a canvas per picture for each row of `ROWS` that is named."""
    cells = []
    for row in names:
        cells.append(f"<span>{ROWS[row]}</span>")
        kind = ' class="coarse"' * (row in ("bare", "mean"))
        for n in shown:
            picture = f'<canvas{kind} role="img" aria-label="{ROWS[row]}, picture {n + 1}"></canvas>'
            cells.append(f'<div class="{row}">{picture}</div>')
    return f'<div class="rows" style="--n: {len(shown)}">{"".join(cells)}</div>'


def _group(group: dict) -> str:
    """One line of the contact sheet."""
    inside = '<canvas aria-hidden="true"></canvas><small aria-hidden="true">'
    buttons = "".join(
        f'<button type="button" role="radio" aria-checked="false" value="{f}" '
        f'aria-label="Filter {f}, {group["name"].lower()}">{inside}{f}</small></button>'
        for f in group["members"]
    )
    return f'<span>{group["name"]}</span><div class="group">{buttons}</div>' if buttons else ""
