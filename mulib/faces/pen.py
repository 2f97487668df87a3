"""The pen: draws shapes on many canvases in the pose of each face, and notes what is seen of every region."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

from mulib.faces.shapes import Value, join, mixed

REGIONS = ("mouth", "nose", "eyes", "glasses", "hair", "beard", "hat", "figure")
SUBPIXELS = 16  # points are rounded to 1/16 pixel: OpenCV's 4 fractional bits
_NEAR = np.ones((3, 3), np.uint8)


@dataclass
class Pen:
    """Draws shapes on N canvases, in order.

    Attributes:
        canvas: (N, S, S, 3) uint8, drawn on in place.
        marks: (N, S, S) uint8 or None: bit k says that a part of `REGIONS[k]` is seen in the pixel.
        rows: (N,) the canvas of each row of the shapes: a pen for some of the faces has fewer rows.
        cos, sin, unit, x, y: (N,) the pose: rotation, pixels per face unit, position in pixels.
        yaw, pitch: (N,) how far the head is turned: what is nearer to the viewer moves further.
    """

    canvas: np.ndarray
    marks: np.ndarray | None
    rows: np.ndarray
    cos: np.ndarray
    sin: np.ndarray
    unit: np.ndarray
    x: np.ndarray
    y: np.ndarray
    yaw: np.ndarray
    pitch: np.ndarray

    def take(self, index: np.ndarray) -> Pen:
        """A pen for some of the faces."""
        names = ("rows", "cos", "sin", "unit", "x", "y", "yaw", "pitch")
        return replace(self, **{name: getattr(self, name)[index] for name in names})

    def place(self, shape: np.ndarray, lift: float | None = 0.0) -> np.ndarray:
        """Face coordinates to pixels. The head is turned; `lift` > 0 stands out from it, None is not turned at all."""
        col = (slice(None),) + (None,) * (shape.ndim - 2)
        x, y = shape
        if lift is not None:
            near = np.maximum(1.0 - 1.9 * x * x - 1.1 * y * y, 0.0) + lift
            x, y = x + self.yaw[col] * near, y + self.pitch[col] * near
        c, s = (self.cos * self.unit)[col], (self.sin * self.unit)[col]
        return np.stack([x * c - y * s + self.x[col], x * s + y * c + self.y[col]])

    def fill(
        self,
        shape: np.ndarray,
        colour: np.ndarray | Sequence[float],
        region: str | None = None,
        *,
        alpha: float = 1.0,
        lift: float | None = 0.0,
    ) -> None:
        """Fill a shape; `region` is the one of `REGIONS` that it belongs to; None: to no figure at all."""
        self._fill(self.place(shape, lift), colour, region, alpha)

    def line(
        self,
        shape: np.ndarray,
        colour: np.ndarray | Sequence[float],
        width: Value,
        region: str | None,
        *,
        over: np.ndarray | None = None,
        lift: float | None = 0.0,
    ) -> None:
        """A tapered line, `width` in face units. One thinner than a pixel is drawn a pixel wide in the colour that
        lies between its own and that of what is below, `over`.
        """
        points = self.place(shape, lift)
        tangent = np.empty_like(points)
        tangent[..., 1:-1] = points[..., 2:] - points[..., :-2]
        tangent[..., 0], tangent[..., -1] = points[..., 1] - points[..., 0], points[..., -1] - points[..., -2]
        pixels = self.unit * width
        col = (slice(None),) + (None,) * (points.ndim - 2)
        t = np.linspace(0.0, 1.0, points.shape[-1])
        half = np.maximum(pixels, 1.0)[col] * (0.25 + 1.0 * t * (1 - t))
        length = np.sqrt(tangent[0] * tangent[0] + tangent[1] * tangent[1]) + 1e-9
        normal = np.stack([-tangent[1], tangent[0]]) * (half / length)
        if over is not None:
            colour = mixed(over, np.asarray(colour, float), np.minimum(pixels, 1.0))
        self._fill(join(points + normal, (points - normal)[..., ::-1]), colour, region, 1.0)

    def mark(self, shape: np.ndarray, region: str) -> None:
        """Count a shape to a region without drawing it."""
        if self.marks is not None:
            for r, polygons in zip(self.rows.tolist(), _fixed(self.place(shape)), strict=True):
                _mark(self.marks[r], polygons, _bits(region), hides=False)

    def _fill(self, points: np.ndarray, colour, region: str | None, alpha: float) -> None:
        polygons = _fixed(points)
        colours = np.broadcast_to(np.rint(np.clip(colour, 0, 255)), (len(self.rows), 3)).tolist()
        canvas, marks = self.canvas, self.marks
        for r, p, ink in zip(self.rows.tolist(), polygons, colours, strict=True):
            if alpha == 1.0:
                cv2.fillPoly(canvas[r], p, ink, cv2.LINE_AA, 4)
            else:
                _blend(canvas[r], p, ink, alpha)
            if marks is not None:
                _mark(marks[r], p, _bits(region), hides=alpha == 1.0)


def _fixed(points: np.ndarray) -> np.ndarray:
    """(2, N, [P,] K) pixels to (N, P, K, 2) int32 in sixteenths; pixel centres lie at whole numbers."""
    fixed = np.rint(np.moveaxis(points, 0, -1) * SUBPIXELS).astype(np.int32)
    return fixed if fixed.ndim == 4 else fixed[:, None]


def _bits(region: str | None) -> int:
    """The bits of a region: itself, and that it is part of a figure."""
    return 0 if region is None else 1 << REGIONS.index(region) | 1 << REGIONS.index("figure")


def _around(image: np.ndarray, polygons: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The window of an image that the polygons touch (smooth edges reach out by 3 pixels), and the polygons in it."""
    height, width = image.shape[:2]
    low, high = polygons.min((0, 1)) // SUBPIXELS - 5, polygons.max((0, 1)) // SUBPIXELS + 6
    (x0, y0), (x1, y1) = np.clip(low, 0, (width, height)), np.clip(high, 0, (width, height))
    return image[y0:y1, x0:x1], polygons - np.array([x0, y0], np.int32) * SUBPIXELS


def _blend(image: np.ndarray, polygons: np.ndarray, ink: Sequence[float], alpha: float) -> None:
    """Fill with a see-through colour, in integers."""
    window, polygons = _around(image, polygons)
    if window.size:
        top = window.copy()
        cv2.fillPoly(top, list(polygons), ink, cv2.LINE_AA, 4)
        low = window.astype(np.int32)
        window[:] = low + ((top - low) * round(alpha * 256) + 128 >> 8)


def _mark(plane: np.ndarray, polygons: np.ndarray, bits: int, hides: bool) -> None:
    """Note where a shape is seen, be it in part, and that what it covers wholly is seen no longer."""
    window, polygons = _around(plane, polygons)
    if window.size:
        share = np.zeros(window.shape, np.uint8)
        cv2.fillPoly(share, list(polygons), (255,), cv2.LINE_AA, 4)
        if hides:  # eroded: a pixel at the rim keeps a trace of what lies below
            window[cv2.erode(share, _NEAR) == 255] &= _bits("figure")
        window[share > 0] |= bits
