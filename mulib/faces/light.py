"""Light: the backdrop out of focus, what light does to a face, and the noise of the sensor."""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np

from mulib.faces.dice import Dice
from mulib.faces.pen import Pen
from mulib.faces.shapes import oval, path
from mulib.faces.traits import Look

GRID = 24  # cells of the light field


def backdrop(f: Look, canvas: np.ndarray, size: int) -> None:
    """Fill the canvas (N, S, S, 3), S a multiple of `size`, with a soft mixture of two hues and a few discs."""
    share = f.backdrop[:, None]
    cells = np.floor((f.hues[:, 0, :, None, None] * share + f.hues[:, 1, :, None, None] * (64 - share)) / 64)
    grid = (upsampled(cells, 16) >> 12).astype(np.uint8).transpose(0, 2, 3, 1).copy()
    for k in range(3):
        rows = np.flatnonzero(f.n_blobs > k)
        if len(rows):
            x, y, r = f.blobs[rows, k].T
            discs = np.rint(oval(x, y, 0.06 + 0.16 * r, 0.06 + 0.16 * r) * 256).astype(np.int32).transpose(1, 2, 0)
            for i, disc, ink in zip(rows, discs, f.hues[rows, 2 + k].tolist(), strict=True):
                cv2.fillPoly(grid[i], disc[None], ink, cv2.LINE_AA, 4)
    small = (upsampled(grid.transpose(0, 3, 1, 2), size) >> 12).transpose(0, 2, 3, 1)
    finer = canvas.shape[1] // size
    for dy in range(finer):
        for dx in range(finer):
            canvas[:, dy::finer, dx::finer] = small


def relief(f: Look, pen: Pen, fine: int) -> np.ndarray:
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


def light(f: Look, relief: np.ndarray) -> np.ndarray:
    """Factors for every cell of the picture, (N, 3, GRID, GRID): a gradient, a tint, and the relief."""
    g = (np.arange(GRID) + 0.5) * (2 / GRID) - 1
    slope = f.contrast[:, None, None] * (f.light_x[:, None, None] * g + f.light_y[:, None, None] * g[:, None])
    tint = 1 + f.tint[:, None] * np.array([1, 0.15, -1])
    return (1 + relief) * (f.gain[:, None, None] + slope)[:, None] * tint[:, :, None, None]


def upsampled(cells: np.ndarray, size: int) -> np.ndarray:
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
def noise() -> np.ndarray:
    """Sensor noise to cut pieces from: bell-shaped whole numbers with standard deviation 64."""
    bank = np.rint(Dice(7, np.arange(1 << 18)).bell(64)).astype(np.int32)
    bank.flags.writeable = False
    return bank
