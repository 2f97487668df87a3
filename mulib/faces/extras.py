"""What people wear, and what gets in the way of the camera."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mulib.faces.head import some
from mulib.faces.pen import Pen
from mulib.faces.shapes import both, curve, join, oval, parts, path, shifted, tone
from mulib.faces.traits import Look

_LENSES = [  # round, rectangular, cat-eye: closed outlines of a right lens of half-width 0.165
    [
        (0.165, 0),
        (0.117, 0.115),
        (0, 0.162),
        (-0.117, 0.115),
        (-0.165, 0),
        (-0.117, -0.115),
        (0, -0.162),
        (0.117, -0.115),
    ],
    [
        (0.165, 0.06),
        (0.11, 0.125),
        (-0.11, 0.125),
        (-0.165, 0.06),
        (-0.17, -0.07),
        (-0.14, -0.13),
        (0.14, -0.13),
        (0.17, -0.07),
    ],
    [
        (0.15, 0.05),
        (0.05, 0.14),
        (-0.09, 0.12),
        (-0.16, 0.02),
        (-0.16, -0.10),
        (0, -0.125),
        (0.18, -0.15),
        (0.17, -0.04),
    ],
]
LENSES = np.stack([curve(outline, closed=True, steps=4)[:, 0] for outline in _LENSES], 1)  # (2, 3, K)


def glasses(pen: Pen, f: Look) -> None:
    """Frames, lenses with a gleam, bridge and temples."""
    for q, g in some(pen, f, f.shows("Eyeglasses")):
        x, y, r = g.eye_x + 0.005, g.eye_y + 0.02, 0.165 + 0.02 * g.child
        lens = LENSES[:, g.frame]
        outer, inner = (both(shifted(lens, x, y, k * r / 0.165, k * r / 0.165)) for k in (1.0, 0.82))
        q.fill(outer, (226, 240, 250), "glasses", alpha=0.22, lift=0.05)
        ring = join(outer, outer[..., :1], inner[..., :1], inner[..., ::-1])
        q.fill(ring, g.frame_colour, "glasses", lift=0.05)
        gleam = [
            path([(s * x + dx, y + dy) for dx, dy in ((-0.09, 0.03), (-0.06, -0.03), (-0.01, -0.085))]) for s in (-1, 1)
        ]
        q.line(parts(*gleam), (255, 255, 255), 0.02, "glasses", lift=0.05)
        q.line(
            both(path([(x + r * 0.9, y - 0.04), (g.w * 0.95, y - 0.045), (g.w + 0.02, y - 0.03)])),
            g.frame_colour,
            0.05,
            "glasses",
        )
        q.line(
            curve([(-x + r * 0.92, y - 0.01), (0, y - 0.05), (x - r * 0.92, y - 0.01)]),
            g.frame_colour,
            0.042,
            "glasses",
            lift=0.05,
        )


def hat(pen: Pen, f: Look) -> None:
    """A beanie, a cap, or a hat with a brim."""
    for q, g in some(pen, f, f.shows("Wearing_Hat")):
        colour, rim, wide, high = g.hat_colour, g.brow - 0.10, g.w + g.volume + 0.05, g.top - g.volume - 0.15
        under = join(
            curve([(-g.w, rim), (0, rim - 0.05), (g.w, rim)]),
            curve([(g.w, rim + 0.06), (0, rim + 0.04), (-g.w, rim + 0.06)]),
        )
        q.fill(under, g.deep, "hat", alpha=0.45)
        half = [(wide * 0.66, high + 0.10), (wide * 0.97, rim - 0.22), (wide, rim + 0.03)]
        dome = [(0, high), *half, (0, rim - 0.02), *[(-x, y) for x, y in half[::-1]]]
        q.fill(curve(dome, closed=True), colour, "hat")
        q.line(
            curve([(-wide * 0.6, rim - 0.25), (-wide * 0.3, high + 0.09), (0, high + 0.05)]),
            tone(colour, 1.2),
            0.07,
            "hat",
            over=colour,
        )
        for kind, draw in enumerate((_beanie, _cap, _brim)):
            for r, h in some(q, g, g.hat == kind):
                mine = g.hat == kind
                draw(r, h.hat_colour, rim[mine], wide[mine], high[mine], h)


def _band(left_low, left_high, middle_high, middle_low, x_high, x_low):
    """A band across the forehead: its upper edge, then its lower edge."""
    return join(
        curve([(-x_high, left_high), (0, middle_high), (x_high, left_high)]),
        curve([(x_low, left_low), (0, middle_low), (-x_low, left_low)]),
    )


def _beanie(pen: Pen, colour, rim, wide, high, f: Look) -> None:
    pen.fill(_band(rim + 0.04, rim - 0.13, rim - 0.20, rim - 0.01, wide + 0.02, wide + 0.03), tone(colour, 0.80), "hat")
    ribs = [
        path([(i * wide * 0.28, rim - 0.17), (i * wide * 0.285, rim - 0.09), (i * wide * 0.29, rim - 0.01)])
        for i in range(-3, 4)
    ]
    pen.line(parts(*ribs), tone(colour, 0.65), 0.02, "hat", over=tone(colour, 0.8))
    pen.fill(oval(0, high - 0.03, 0.10, 0.10), tone(colour, 1.35), "hat")


def _cap(pen: Pen, colour, rim, wide, high, f: Look) -> None:
    pen.line(curve([(0, high), (0.02, (high + rim) / 2), (0, rim - 0.06)]), tone(colour, 0.8), 0.02, "hat", over=colour)
    pen.fill(_band(rim + 0.07, rim - 0.02, rim - 0.13, rim + 0.01, wide * 0.9, wide * 0.98), tone(colour, 0.74), "hat")
    pen.fill(oval(0, (high + rim) / 2 - 0.05, 0.09, 0.07), tone(colour, 1.6), "hat")


def _brim(pen: Pen, colour, rim, wide, high, f: Look) -> None:
    pen.fill(_band(rim + 0.075, rim, rim - 0.11, rim + 0.015, wide + 0.24, wide + 0.20), tone(colour, 0.88), "hat")
    pen.fill(_band(rim - 0.04, rim - 0.14, rim - 0.21, rim - 0.10, wide * 0.98, wide), tone(colour, 0.5), "hat")


def occluder(pen: Pen, f: Look) -> None:
    """A hand at the cheek, or leaves before the lens: the same whatever the attributes, and at every age."""
    pen = replace(pen, unit=f.scale * pen.canvas.shape[1] / 2)
    for q, g in some(pen, f, f.occluder == 1):
        s, y = np.where(g.occlude[:, 0] < 0, -1.0, 1.0), 0.05 * g.occlude[:, 1]
        palm = [(s * 0.30, 1.3), (s * 0.34, 0.62), (s * 0.46, 0.48), (s * 0.75, 0.62), (s * 0.85, 1.3)]
        q.fill(curve(palm, closed=True), tone(g.complexion, 0.92), lift=None)
        for i in range(4):
            x = s * (0.32 + 0.105 * i)
            q.fill(
                oval(x, 0.48 + y - 0.03 * (i in (1, 2)), 0.056, 0.17),
                tone(g.complexion, 0.92 if i % 2 else 0.98),
                lift=None,
            )
            q.line(
                path([(x - 0.05, 0.42 + y), (x - 0.053, 0.52 + y), (x - 0.045, 0.64 + y)]),
                g.complexion * 0.6,
                0.014,
                None,
                over=g.complexion,
                lift=None,
            )
    for q, g in some(pen, f, f.occluder == 2):
        s, (_, a, b, c) = np.where(g.occlude[:, 0] < 0, -1.0, 1.0), g.occlude.T
        green = np.stack([70 + 30 * a, 118 + 30 * b, 62 + 20 * c], 1)
        for i, bright in enumerate((0.75, 1.0, 0.88)):
            x, y, tip = s * (1.15 - 0.1 * i), 0.55 + 0.2 * a - 0.38 * i, 0.42 + 0.12 * b
            leaf = [
                (x, y),
                (x - s * 0.25, y - 0.16),
                (x - s * (0.35 + tip), y - 0.1 + 0.1 * c),
                (x - s * 0.25, y + 0.1),
            ]
            q.fill(curve(leaf, closed=True), green * bright, lift=None)
            q.line(
                path([(x, y), (x - s * 0.2, y - 0.04), (x - s * 0.6, y - 0.05 + 0.06 * c)]),
                green * bright * 0.75,
                0.018,
                None,
                lift=None,
            )
