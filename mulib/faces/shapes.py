"""Drawing many faces at once: shapes are arrays over faces, one call per shape works out all of them.

A shape is a float64 array (2, N, K): x and y of K points for each of N faces; (2, N, P, K) where it has P parts. Face
coordinates: the head is about centred at (0, 0), x to the right, y down, a head is about 1.1 wide and 1.4 high.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

Value = float | np.ndarray


def path(points: Sequence[tuple[Value, Value]]) -> np.ndarray:
    """The shape through points whose x and y are numbers or (N,) arrays: (2, N, K)."""
    n = max(np.size(v) for point in points for v in point)
    shape = np.empty((2, n, len(points)))
    for k, (x, y) in enumerate(points):
        shape[0, :, k], shape[1, :, k] = x, y
    return shape


def curve(points: Sequence[tuple[Value, Value]] | np.ndarray, closed: bool = False, steps: int = 5) -> np.ndarray:
    """A Catmull-Rom spline through the points, with `steps` points per segment."""
    shape = points if isinstance(points, np.ndarray) else path(points)
    if closed:
        around = np.concatenate([shape[..., -1:], shape, shape[..., :2]], -1)
    else:
        around = np.concatenate([shape[..., :1], shape, shape[..., -1:]], -1)
    t = np.arange(steps) / steps
    weights = (
        -t + 2 * t * t - t * t * t,
        2 - 5 * t * t + 3 * t * t * t,
        t + 4 * t * t - 3 * t * t * t,
        t * t * t - t * t,
    )
    count = around.shape[-1] - 3
    parts = [around[..., j : j + count, None] * (w / 2) for j, w in enumerate(weights)]
    smooth = (parts[0] + parts[1] + parts[2] + parts[3]).reshape(*shape.shape[:-1], count * steps)
    return smooth if closed else np.concatenate([smooth, shape[..., -1:]], -1)


def join(*shapes: np.ndarray) -> np.ndarray:
    """One outline: the points of the shapes one after another."""
    return np.concatenate(shapes, -1)


def both(shape: np.ndarray) -> np.ndarray:
    """A shape and its mirror image (x → -x): (2, N, K) to (2, N, 2, K)."""
    return np.stack([shape, np.stack([-shape[0], shape[1]])], 2)


def parts(*shapes: np.ndarray) -> np.ndarray:
    """Shapes with as many points each, to be drawn together in one colour: (2, N, P, K)."""
    return np.stack(shapes, 2)


def shifted(shape: np.ndarray, x: Value, y: Value, sx: Value = 1.0, sy: Value = 1.0) -> np.ndarray:
    """The shape scaled about (0, 0), then moved."""
    column = [np.atleast_1d(v)[:, None] for v in (x, y, sx, sy)]
    moved = shape[0] * column[2] + column[0], shape[1] * column[3] + column[1]
    return np.stack(np.broadcast_arrays(*moved))


def oval(x: Value, y: Value, rx: Value, ry: Value) -> np.ndarray:
    """An ellipse, as a polygon."""
    return shifted(_CIRCLE, x, y, rx, ry)


def _circle(n: int) -> np.ndarray:
    """A unit circle of 4n points by the rational parametrisation: no library's sine is asked."""
    t = np.arange(n) / n  # the tangent of half the angle on the first quarter
    c, s = (1 - t * t) / (1 + t * t), 2 * t / (1 + t * t)
    return np.stack([np.concatenate([c, -s, -c, s]), np.concatenate([s, c, -s, -c])])[:, None]


_CIRCLE = _circle(6)


def tone(colour: np.ndarray, factor: float) -> np.ndarray:
    """Darker (factor < 1) or lighter (1 … 2, towards white)."""
    return colour * factor if factor <= 1 else colour + (255 - colour) * (factor - 1)


def mixed(a: np.ndarray, b: np.ndarray, share: Value) -> np.ndarray:
    """Colour a with `share` (0 … 1) of colour b."""
    return a + (b - a) * (share[:, None] if isinstance(share, np.ndarray) else share)
