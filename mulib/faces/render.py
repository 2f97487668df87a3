"""From faces to pictures and masks, in integers and in + − × ÷ √ alone: every machine gives the same bytes."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from torch import Tensor

from mulib.errors import InputError
from mulib.faces import extras, features, hair, head
from mulib.faces.light import backdrop, light, noise, relief, upsampled
from mulib.faces.pen import REGIONS, Pen
from mulib.faces.people import Faces
from mulib.faces.traits import Look, look

VERSION = 1  # raise it when any pixel changes
SIZES = (32, 224)
FINER = 2  # drawn at twice the size, then averaged
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
        seen = _seen(faces[part], size)
        for k, region in enumerate(REGIONS):
            out[region][part] = seen[..., k]
    return {region: torch.from_numpy(mask) for region, mask in out.items()}


def chunks(n: int, size: int) -> list[slice]:
    """Parts of n faces that fit the processor's cache."""
    step = max(8, 128 * 64 * 64 // (size * size))
    return [slice(start, min(start + step, n)) for start in range(0, n, step)]


def draw(faces: Faces, size: int, out: np.ndarray) -> None:
    """Draw one chunk into `out`, (N, 3, size, size) uint8."""
    f, n, fine = look(faces), len(faces), size * FINER
    canvas = np.empty((n, fine, fine, 3), np.uint8)
    backdrop(f, canvas, size)
    pen = _paint(f, canvas, None)
    small = cv2.resize(canvas.reshape(n * fine, fine, 3), (size, n * size), interpolation=cv2.INTER_AREA)
    small = small.reshape(n, size, size, 3)
    for i in np.flatnonzero(f.blur):
        sigma = (0.45, 0.75)[f.blur[i] - 1] * size / 64
        small[i] = cv2.GaussianBlur(small[i], (2 * _reach(size) + 1,) * 2, sigma)
    field = upsampled(np.rint(256 * light(f, relief(f, pen, fine))), size) >> 10  # in 1/1024
    value = np.multiply(small.transpose(0, 3, 1, 2), field, dtype=np.int32)
    bank, count = noise(), 3 * size * size
    for i, (start, level) in enumerate(zip(f.noise_from.tolist(), f.noise.astype(np.int32), strict=True)):
        value[i] += bank[start : start + count].reshape(3, size, size) * level
    out[:] = np.clip(value + 512 >> 10, 0, 255)


def _seen(faces: Faces, size: int) -> np.ndarray:
    """What is seen of each region in one chunk, (N, size, size, 8) bool: any part of a pixel counts, and any blur."""
    f, n, fine = look(faces), len(faces), size * FINER
    marks = np.zeros((n, fine, fine), np.uint8)
    pen = _paint(f, np.zeros((n, fine, fine, 3), np.uint8), marks)
    rows = marks[:, ::FINER] | marks[:, 1::FINER]
    bits = rows[:, :, ::FINER] | rows[:, :, 1::FINER]
    seen = np.unpackbits(bits[..., None], axis=-1, bitorder="little")
    kernel = np.ones((2 * _reach(size) + 1,) * 2, np.uint8)
    for i in np.flatnonzero(f.blur):
        for half in (slice(0, 4), slice(4, 8)):
            seen[i, ..., half] = cv2.dilate(np.ascontiguousarray(seen[i, ..., half]), kernel)
    lit = upsampled(relief(f, pen, fine) != 0, size) > 0
    seen[..., REGIONS.index("figure")] |= lit.any(1)
    return seen.view(bool)


def _paint(f: Look, canvas: np.ndarray, marks: np.ndarray | None) -> Pen:
    """All parts of all faces, from back to front, onto the canvas; the pen that did it."""
    half = canvas.shape[1] / 2
    unit = f.scale * (1 - 0.09 * f.child) * half
    x, y = (f.x + 1) * half, (f.y + 1) * half
    pen = Pen(canvas, marks, np.arange(len(canvas)), f.cos, f.sin, unit, x, y, f.yaw, f.pitch)
    for part in PARTS:
        part(pen, f)
    return pen


def _reach(size: int) -> int:
    """How many pixels the blur reaches."""
    return max(1, round(size / 64))


def check(faces: Faces, size: int) -> None:
    """Refuse a size that cannot be drawn, or nobody to draw, with an InputError."""
    if not SIZES[0] <= size <= SIZES[1]:
        raise InputError(f"size is {size}: expected {SIZES[0]} … {SIZES[1]} pixels.")
    if not len(faces):
        raise InputError("there are no faces to draw: sample at least one.")
