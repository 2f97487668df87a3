"""Figures and arrays as the bytes of small pictures: SVG for what is drawn, PNG of twice the page's pixels otherwise.

A role keeps its colour: a picture's palette holds its commonest colours as they are.
"""

import io
import re

import numpy as np

from mulib.errors import InputError

CHART_COLOURS = 4096  # distinct colours up to which a picture is a chart: lines and text have hundreds
_DECIMALS = re.compile(r"-?\d+\.\d{2,}")


def drawn(figure):
    """Return (mime type, bytes, width in pixels of the page) of a matplotlib figure, which is closed.

    A figure of lines and text becomes SVG, with text as text; one that holds images a PNG of twice as many pixels.
    """
    from matplotlib import pyplot
    from PIL import Image

    from mulib.show.style import DPI

    buffer, width = io.BytesIO(), round(DPI * figure.get_figwidth())
    if any(axis.images for axis in figure.axes):
        figure.savefig(buffer, format="png", dpi=2 * DPI)
        found = "image/png", packed(Image.open(buffer)), width
    else:
        with pyplot.rc_context({"svg.hashsalt": "mulib", "svg.fonttype": "none"}):
            figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None, "Type": None, "Format": None})
        found = "image/svg+xml", _lean(buffer.getvalue().decode()).encode(), width
    pyplot.close(figure)  # or Jupyter shows it once more below the cell
    return found


def _lean(text):
    """A third off matplotlib's SVG: what nothing refers to, and digits that no screen shows."""

    def rounded(number):
        value = float(number[0])
        return f"{value:.1f}".removesuffix(".0") if abs(value) >= 1 else f"{value:.2f}"

    text = re.sub(r"<!--.*?-->|<metadata>.*?</metadata>|<\?xml.*?\?>|<!DOCTYPE.*?>", "", text, flags=re.S)
    used = {*re.findall(r"#([\w-]+)", text)}
    text = re.sub(r' id="([^"]*)"', lambda name: name[0] if name[1] in used else "", text)
    text = re.sub(r' (?:d|style|transform)="[^"]*"', lambda each: re.sub(r"\s+", " ", each[0]), text)
    text = re.sub(r' style="[^"]*"', lambda style: style[0][:7] + re.sub(r"([;:]) ", r"\1", style[0][7:]), text)
    text = re.sub(r"<[^>]*>", lambda tag: _DECIMALS.sub(rounded, tag[0]), text)  # words keep their digits
    return re.sub(r">\s+<", "><", text).strip()


def packed(image, colours=256):
    """Return the bytes of a palette PNG of a PIL image, transparency kept: its commonest colours are as they were."""
    from PIL import Image

    pixels = np.ascontiguousarray(image.convert("RGBA"))
    values, place, counts = np.unique(pixels.view(np.uint32).ravel(), return_inverse=True, return_counts=True)
    if len(values) > CHART_COLOURS:  # a photograph
        packed = image.convert("RGBA").quantize(colours, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
        alpha = None
    else:
        every = values.view(np.uint8).reshape(-1, 4)
        kept = every[np.sort(counts.argsort(kind="stable")[::-1][:colours])].astype(np.int32)
        nearest = np.stack([np.square(kept - one).sum(1).argmin() for one in every.astype(np.int32)])
        packed = Image.fromarray(nearest[place].reshape(pixels.shape[:2]).astype(np.uint8), "P")
        packed.putpalette(kept[:, :3].astype(np.uint8).tobytes())
        alpha = kept[:, 3].astype(np.uint8).tobytes()
    buffer = io.BytesIO()
    packed.save(buffer, "png", optimize=True, **({} if alpha is None else {"transparency": alpha}))
    return buffer.getvalue()


def encode(picture):
    """Return the bytes of a small PNG of an array.

    picture: uint8 (H, W) or (H, W, 3); floats of the same shapes, scaled from their minimum and maximum to black and
    white; or the bytes of a PNG file, returned as they are.
    """
    from PIL import Image

    if isinstance(picture, bytes):
        return picture
    image, buffer = Image.fromarray(_as_uint8(np.asarray(picture))), io.BytesIO()
    image = image.quantize(256) if image.mode == "RGB" else image
    image.save(buffer, "png", optimize=True)
    return buffer.getvalue()


def _as_uint8(array):
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] != 3):
        raise InputError(f"a picture must have shape (H, W) or (H, W, 3), got {array.shape}")
    if array.dtype == np.uint8:
        return array
    known = array[np.isfinite(array)]  # what is not finite is black, and does not make the rest so
    low, high = (float(known.min()), float(known.max())) if known.size else (0.0, 0.0)
    scaled = np.nan_to_num((array - low) / ((high - low) or 1), nan=0, posinf=0, neginf=0)
    return np.round(255 * scaled).astype(np.uint8)
