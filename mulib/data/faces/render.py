"""From faces to pictures and masks, in integers and in + − × ÷ √ alone: every machine gives the same bytes."""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np
import torch
from torch import Tensor

from mulib.data.faces import extras, features, hair, head
from mulib.data.faces.dice import Dice
from mulib.data.faces.pen import REGIONS, Pen
from mulib.data.faces.people import Faces
from mulib.data.faces.shapes import oval, path
from mulib.data.faces.traits import Look, look
from mulib.errors import InputError

VERSION = 1  # raise it when any pixel changes
SIZES = (32, 224)
FINER = 2  # drawn at twice the size, then averaged
GRID = 24  # cells of the light field
PARTS = (  # from back to front
    hair.behind,
    head.body,
    head.skin,
    head.wrinkles,
    features.below_lip,
    hair.beard,
    features.nose,
    features.mouth,
    features.eyes,
    hair.moustache,
    hair.on_head,
    extras.glasses,
    extras.hat,
    extras.occluder,
)


def render(faces: Faces, size: int = 64) -> Tensor:
    """The pictures: (N, 3, size, size) uint8 RGB. Whatever they are drawn together with, each comes out the same.

    Args:
        size: pixels, 32 … 224.

    Raises:
        InputError: a size out of range, or no faces.
    """
    check(faces, size)
    out = np.empty((len(faces), 3, size, size), np.uint8)
    for part in chunks(len(faces), size):
        draw(faces[part], size, out[part])
    return torch.from_numpy(out)


def masks(faces: Faces, size: int = 64) -> dict[str, Tensor]:
    """Where each region is seen in `render`'s pictures: {region: (N, size, size) bool}, for all of `REGIONS`.

    A mask holds every pixel that the region has any part in, blur included, and none where something else covers it:
    outside it, the picture is the same without the region. "figure" is the whole person, also behind an occluder.
    """
    check(faces, size)
    out = {region: np.empty((len(faces), size, size), bool) for region in REGIONS}
    for part in chunks(len(faces), size):
        seen = draw(faces[part], size, None)
        for k, region in enumerate(REGIONS):
            out[region][part] = seen[..., k]
    return {region: torch.from_numpy(mask) for region, mask in out.items()}


def chunks(n: int, size: int) -> list[slice]:
    """Parts of n faces that fit the processor's cache."""
    step = max(8, 128 * 64 * 64 // (size * size))
    return [slice(start, min(start + step, n)) for start in range(0, n, step)]


def draw(faces: Faces, size: int, out: np.ndarray | None) -> np.ndarray | None:
    """Draw one chunk into `out` (N, 3, size, size) uint8; without it, return what is seen, (N, size, size, 8) bool."""
    f, n, fine = look(faces), len(faces), size * FINER
    canvas = np.zeros((n, fine, fine, 3), np.uint8)
    marks = np.zeros((n, fine, fine), np.uint8) if out is None else None
    if out is not None:
        _backdrop(f, canvas, size)
    pen = Pen(
        canvas,
        marks,
        np.arange(n),
        f.cos,
        f.sin,
        f.scale * (1 - 0.09 * f.child) * size,
        (f.x + 1) * size,
        (f.y + 1) * size,
        f.yaw,
        f.pitch,
    )
    for part in PARTS:
        part(pen, f)
    radius = max(1, round(size / 64))
    relief = _relief(f, pen, fine)
    if out is None:
        seen = _seen(marks, f.blur, radius)
        seen[..., REGIONS.index("figure")] |= (_upsampled(relief != 0, size) > 0).any(1)
        return seen
    small = cv2.resize(canvas.reshape(n * fine, fine, 3), (size, n * size), interpolation=cv2.INTER_AREA)
    small = small.reshape(n, size, size, 3)
    for i in np.flatnonzero(f.blur):
        small[i] = cv2.GaussianBlur(small[i], (2 * radius + 1,) * 2, (0.45, 0.75)[f.blur[i] - 1] * size / 64)
    field = _upsampled(np.rint(256 * _light(f, relief)), size) >> 10  # in 1/1024
    value = small.transpose(0, 3, 1, 2) * field
    bank, count = _noise(), 3 * size * size
    for i, (start, level) in enumerate(zip(f.noise_from.tolist(), f.noise.astype(np.int32), strict=True)):
        value[i] += bank[start : start + count].reshape(3, size, size) * level
    out[:] = np.clip(value + 512 >> 10, 0, 255)
    return None


def _backdrop(f: Look, canvas: np.ndarray, size: int) -> None:
    """A soft mixture of two hues with a few discs, out of focus."""
    share = f.backdrop[:, None]
    cells = np.floor((f.hues[:, 0, :, None, None] * share + f.hues[:, 1, :, None, None] * (64 - share)) / 64)
    grid = (_upsampled(cells, 16) >> 12).astype(np.uint8).transpose(0, 2, 3, 1).copy()
    for k in range(3):
        rows = np.flatnonzero(f.n_blobs > k)
        if len(rows):
            x, y, r = f.blobs[rows, k].T
            discs = np.rint(oval(x, y, 0.06 + 0.16 * r, 0.06 + 0.16 * r) * 256).astype(np.int32).transpose(1, 2, 0)
            for i, disc, ink in zip(rows, discs, f.hues[rows, 2 + k].tolist(), strict=True):
                cv2.fillPoly(grid[i], disc[None], ink, cv2.LINE_AA, 4)
    small = (_upsampled(grid.transpose(0, 3, 1, 2), size) >> 12).transpose(0, 2, 3, 1)
    for dy in range(FINER):
        for dx in range(FINER):
            canvas[:, dy::FINER, dx::FINER] = small


def _relief(f: Look, pen: Pen, fine: int) -> np.ndarray:
    """How much lighter or darker the shape of the face makes each cell of the picture, (N, 3, GRID, GRID)."""
    one, blush = np.ones(3), np.array([0.0, 1.0, 1.0])
    old, child, none = f.old, f.child, np.zeros(len(f.w))
    bumps = [  # centre, radii, strength, colour
        (f.lx * 0.20, f.ly * 0.15 - 0.06, 0.25, 0.36, none + 0.10, one),
        (-f.lx * 0.20, -0.06 - f.ly * 0.15, 0.25, 0.36, none - 0.14, one),
        (f.lx * 0.1, -0.34 + f.ly * 0.04, 0.26, 0.15, none + 0.06, one),
    ]
    for s in (-1, 1):
        bumps.append((s * 0.28, f.nose_y + 0.02, 0.13, 0.10, -0.10 - 0.10 * child, blush))
        bumps.append((s * f.eye_x, f.eye_y - 0.02, 0.15, 0.12, none - 0.07, one))
        bumps.append((s * 0.33, f.nose_y - 0.09, 0.11, 0.06, none + 0.05, one))
    bumps.append((none, f.chin - 0.10, 0.16, 0.07, 0.05 - 0.03 * old, one))
    cell = (np.arange(GRID) + 0.5) * (fine / GRID)
    centre = pen.place(path([(x, y) for x, y, *_ in bumps]))
    field = np.zeros((len(f.w), 3, GRID, GRID))
    for k, (_, _, rx, ry, strength, colour) in enumerate(bumps):
        dx = (cell - centre[0, :, k, None]) / (pen.unit * rx)[:, None]
        dy = (cell - centre[1, :, k, None]) / (pen.unit * ry)[:, None]
        t = np.maximum(1.0 - (dx * dx)[:, None, :] - (dy * dy)[:, :, None], 0.0)
        t = t * t * strength[:, None, None]
        for c in np.flatnonzero(colour):
            field[:, c] += t
    return np.rint(field * 256) / 256  # so that what is faint is nothing


def _light(f: Look, relief: np.ndarray) -> np.ndarray:
    """Factors for every cell of the picture, (N, 3, GRID, GRID): a gradient, a tint, and the relief."""
    g = (np.arange(GRID) + 0.5) * (2 / GRID) - 1
    slope = f.contrast[:, None, None] * (f.light_x[:, None, None] * g + f.light_y[:, None, None] * g[:, None])
    tint = 1 + f.tint[:, None] * np.array([1, 0.15, -1])
    return (1 + relief) * (f.gain[:, None, None] + slope)[:, None] * tint[:, :, None, None]


def _upsampled(cells: np.ndarray, size: int) -> np.ndarray:
    """(N, 3, k, k) whole numbers < 2¹² to (N, 3, size, size) int32, bilinear, times 64².

    float32 products of whole numbers below 2²⁴ are exact in any order: there is no rounding that could differ.
    """
    w = _weights(cells.shape[-1], size)
    return (w @ cells.astype(np.float32) @ w.T).astype(np.int32)


@cache
def _weights(k: int, size: int) -> np.ndarray:
    """Bilinear interpolation of k cells at `size` pixels: (size, k), whole numbers that sum to 64."""
    at = np.clip((np.arange(size) + 0.5) * k / size - 0.5, 0, k - 1)
    low = np.minimum(at.astype(int), k - 2)
    part = np.rint((at - low) * 64)
    w = np.zeros((size, k), np.float32)
    w[np.arange(size), low], w[np.arange(size), low + 1] = 64 - part, part
    return w


@cache
def _noise() -> np.ndarray:
    """Sensor noise to cut pieces from: bell-shaped whole numbers with standard deviation 64."""
    bank = np.rint(Dice(7, np.arange(1 << 18)).bell(64)).astype(np.int32)
    bank.flags.writeable = False
    return bank


def _seen(marks: np.ndarray, blur: np.ndarray, radius: int) -> np.ndarray:
    """Bits at twice the size to masks (n, size, size, 8): any part of a pixel counts, and so does what blur spreads."""
    rows = marks[:, ::FINER] | marks[:, 1::FINER]
    bits = rows[:, :, ::FINER] | rows[:, :, 1::FINER]
    seen = np.unpackbits(bits[..., None], axis=-1, bitorder="little")
    kernel = np.ones((2 * radius + 1,) * 2, np.uint8)
    for i in np.flatnonzero(blur):
        for half in (slice(0, 4), slice(4, 8)):
            seen[i, ..., half] = cv2.dilate(np.ascontiguousarray(seen[i, ..., half]), kernel)
    return seen.view(bool)


def check(faces: Faces, size: int) -> None:
    """Refuse a size that cannot be drawn, or nobody to draw, with an InputError."""
    if not SIZES[0] <= size <= SIZES[1]:
        raise InputError(f"size is {size}: expected {SIZES[0]} … {SIZES[1]} pixels.")
    if not len(faces):
        raise InputError("there are no faces to draw: sample at least one.")
