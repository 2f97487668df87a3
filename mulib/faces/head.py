"""The head and what is below it: body, ears, skin, wrinkles, freckles. Each part draws on all faces that have it."""

from __future__ import annotations

import numpy as np

from mulib.faces.pen import Pen
from mulib.faces.shapes import both, curve, mixed, oval, parts, path, tone
from mulib.faces.traits import Look

JAW = slice(17, 40)  # the points of `Look.head` from the right cheek round the chin to the left one


def some(pen: Pen, f: Look, which: np.ndarray) -> list[tuple[Pen, Look]]:
    """[(pen, look)] of the faces that have a part, to loop over; [] if none has."""
    index = np.flatnonzero(which)
    return [(pen.take(index), f.take(index))] if len(index) else []


def body(pen: Pen, f: Look) -> None:
    """Neck, clothes, the shadow of the chin, ears."""
    neck = f.w * (0.50 + 0.1 * f.m * f.adult - 0.22 * f.child)
    slope = f.w * (0.50 + 0.1 * f.m * f.adult - 0.22 * f.child) * 1.25
    pen.fill(
        path([(-neck, 0.35), (neck, 0.35), (neck * 1.05, 1.3), (-neck * 1.05, 1.3)]),
        tone(f.skin, 0.93),
        "figure",
        lift=None,
    )
    shoulder, y = 0.86 + 0.08 * f.m * f.adult - 0.26 * f.child, f.chin + 0.20 - 0.06 * f.child
    collar = y + np.array([0.13, 0.05, 0.22])[f.neckline]
    cloth = [(-shoulder - 0.3, 2.2), (-shoulder, y + 0.17), (-slope, y - 0.02), (0, collar)]
    cloth += [(slope, y - 0.02), (shoulder, y + 0.17), (shoulder + 0.3, 2.2)]
    pen.fill(curve(cloth), f.cloth, "figure", lift=None)
    pen.line(
        curve([(-slope, y - 0.01), (0, collar + 0.01), (slope, y - 0.01)]),
        tone(f.cloth, 0.8),
        0.045,
        "figure",
        lift=None,
    )
    x, below = f.head[:, :, JAW] * np.array([0.80, 1.0])[:, None, None]
    shadow = np.stack([x, np.minimum(below + 0.10, y[:, None] + 0.12)])
    pen.fill(shadow, mixed(tone(f.skin, 0.93), f.shade, 0.75), "figure")
    size, ear_y = 0.10 * f.ear * (1 + 0.12 * f.old), f.eye_y + 0.07 + f.ear_y
    pen.fill(both(oval(f.w + 0.01, ear_y, size * 0.72, size * 1.25)), tone(f.skin, 0.95), "figure", lift=-0.2)
    pen.fill(both(oval(f.w + 0.025, ear_y, size * 0.36, size * 0.75)), f.shade, "figure", lift=-0.2)


def skin(pen: Pen, f: Look) -> None:
    """The face itself, freckles, and a teenager's spots."""
    pen.fill(f.head, f.skin, "figure")
    for q, g in some(pen, f, f.freckled & (f.old < 0.6)):
        at = [
            oval((-1) ** i * 0.27 + 0.07 * g.spot[:, i], g.nose_y - 0.05 + 0.03 * g.spot[:, i + 8], 0.013, 0.013)
            for i in range(8)
        ]
        q.fill(parts(*at), mixed(g.skin, g.shade * 0.9, 0.8), "figure")
    for q, g in some(pen, f, f.acne & (f.teen > 0.05)):
        x = (0.30, -0.33, 0.24, -0.2, 0.1)
        y = (0.02, 0.08, 0.16, -0.53, -0.49)
        at = [
            oval(x[i] + 0.05 * g.spot[:, i], g.nose_y * (y[i] > 0) + y[i] + 0.03 * g.spot[:, i + 5], 0.021, 0.021)
            for i in range(5)
        ]
        q.fill(parts(*at), mixed(g.skin, g.skin * [0.95, 0.58, 0.55], 0.3 + 0.5 * g.teen), "figure")


def wrinkles(pen: Pen, f: Look) -> None:
    """Forehead lines, crow's feet, bags under the eyes, folds to the mouth, jowls, age spots."""
    fold = np.clip(1.3 * f.old - 0.12, 0, 1)
    for q, g in some(pen, f, fold > 0.03):
        strong = np.clip(1.3 * g.old - 0.12, 0, 1)

        def crease(shape, width, share, q=q, g=g, strong=strong):
            q.line(shape, mixed(g.skin, g.deep, np.clip(strong * share, 0, 0.75)), width, "figure", over=g.skin)

        brow = []
        for i, y in enumerate((-0.07, -0.14, -0.21)):
            left, right = ((g.brow + y + 0.015 * g.wave[:, i + k]) for k in (0, 3))
            brow.append(curve([(-0.26 + 0.05 * i, left), (0, g.brow + y - 0.02), (0.26 - 0.05 * i, right)]))
        crease(parts(*brow), 0.026, 0.75)
        x, eye = g.eye_x, g.eye
        feet = [
            both(
                path(
                    [
                        (x + eye * 1.15, g.eye_y + t * 0.5),
                        (x + eye * 1.5, g.eye_y + t),
                        (x + eye * 1.8, g.eye_y + t * 1.7),
                    ]
                )
            )
            for t in (-0.05, 0.0, 0.05)
        ]
        crease(np.concatenate(feet, 2), 0.018, 0.6)
        crease(both(curve([(x - eye, g.eye_y + 0.095), (x, g.eye_y + 0.135), (x + eye, g.eye_y + 0.10)])), 0.025, 0.65)
        to_mouth = [(0.12, g.nose_y - 0.02), (0.20, g.nose_y + 0.06), (0.265, g.mouth + 0.01), (0.255, g.mouth + 0.07)]
        crease(both(curve(to_mouth)), 0.028, 0.8)
        jowl = [(g.jaw * 0.80, g.chin - 0.26), (g.jaw * 0.72, g.chin - 0.16), (g.jaw * 0.60, g.chin - 0.10)]
        crease(both(curve(jowl)), 0.02, np.maximum(strong - 0.45, 0))
    for q, g in some(pen, f, f.old > 0.7):
        at = []
        for i in range(5):
            side = np.where(g.spot[:, i] < 0, -1, 1)
            at.append(
                oval(0.33 * side + 0.05 * g.spot[:, i + 8], (-0.42, 0.22)[i % 2] + 0.06 * g.spot[:, i], 0.022, 0.018)
            )
        q.fill(parts(*at), mixed(g.skin, g.shade * 0.92, 0.6), "figure")
