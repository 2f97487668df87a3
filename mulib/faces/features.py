"""Nose, mouth and eyes."""

from __future__ import annotations

import numpy as np

from mulib.faces.head import some
from mulib.faces.pen import Pen
from mulib.faces.shapes import both, curve, join, mixed, oval, parts, path, tone
from mulib.faces.traits import Look


def nose(pen: Pen, f: Look) -> None:
    """Pointed, or round with nostrils; the region holds the bridge too."""
    width = 0.075 * f.nose_width * (1 + 0.24 * f.m * f.adult + 0.1 * f.old - 0.15 * f.child)
    bridge = [
        (-0.03, f.eye_y + 0.06),
        (0.03, f.eye_y + 0.06),
        (width * 1.2, f.nose_y + 0.05),
        (-width * 1.2, f.nose_y + 0.05),
    ]
    pen.mark(path(bridge), "nose")
    pointy = f.shows("Pointy_Nose")
    side = np.where(f.lx < 0, 1.0, -1.0)  # the side in the shadow
    for q, g in some(pen, f, pointy):
        w, s, y = width[pointy], side[pointy], g.nose_y
        out = w * 1.8 + 0.02
        shadow = [
            (s * 0.015, g.eye_y + 0.05),
            (s * out, y + 0.04),
            (s * w * 0.5, y + 0.085),
            (0, y + 0.145),
            (-s * 0.02, y + 0.05),
        ]
        q.fill(path(shadow), mixed(g.shade, g.deep, 0.3), "nose", lift=0.25)
        q.fill(
            path([(0, g.eye_y + 0.05), (-s * 0.06, y + 0.04), (0, y + 0.14), (s * 0.03, y + 0.02)]),
            tone(g.skin, 1.5),
            "nose",
            lift=0.25,
        )
        tip = [(-w * 1.4, y + 0.025), (-w * 0.6, y + 0.065), (0, y + 0.145), (w * 0.6, y + 0.065), (w * 1.4, y + 0.025)]
        q.line(path(tip), mixed(g.shade, g.deep, 0.8), 0.032, "nose", over=g.skin, lift=0.25)
    for q, g in some(pen, f, ~pointy):
        w, s, y = width[~pointy], side[~pointy], g.nose_y
        above = y - (y - g.eye_y) * 0.65
        shadow = [
            (s * 0.02, above),
            (s * 0.035, y - 0.05),
            (s * w * 1.05, y - 0.01),
            (s * w * 0.9, y + 0.03),
            (0, y + 0.045),
            (0, y - 0.05),
        ]
        q.fill(curve(shadow, closed=True), mixed(g.skin, g.shade, 0.75), "nose", lift=0.2)
        q.fill(oval(0, y - 0.005, w * 0.74, 0.056), tone(g.skin, 1.10), "nose", lift=0.3)
        q.fill(oval(-s * 0.015, y - 0.022, w * 0.26, 0.02), tone(g.skin, 1.42), "nose", lift=0.35)
        q.fill(both(oval(w * 0.55, y + 0.036, 0.026, 0.016)), g.deep, "nose", lift=0.25)
        wing = curve([(w * 0.95, y - 0.03), (w * 1.15, y + 0.01), (w * 0.85, y + 0.038)])
        q.line(both(wing), mixed(g.skin, g.deep, 0.7), 0.018, "nose", over=g.skin, lift=0.2)


def _smile(f: Look) -> tuple[np.ndarray, ...]:
    """The mouth in numbers: half width, height of the corners and of the bow, gap between the lips, their thickness."""
    smile, parted = f.shows("Smiling"), f.shows("Mouth_Slightly_Open")
    room = np.minimum(1, (f.chin - f.mouth) / 0.27)  # small chins, small mouths
    thick = 0.038 * room * f.lips * (1 - 0.16 * f.m * f.adult) * (1 - 0.3 * f.old)
    x = f.mouth_w * np.where(smile, 1.25, np.where(parted, 0.86, 1.0))
    corner = f.mouth + np.where(smile, -0.078 * room, np.where(parted, 0.012, f.rest - 0.004))
    gap = np.where(parted, np.where(smile, 0.15, 0.125) * room, 0.0)
    return x, corner, f.mouth - np.where(parted & ~smile, 0.015, 0.0), gap, thick


def below_lip(pen: Pen, f: Look) -> None:
    """The shadow under the lower lip, which a beard covers."""
    x, _, bow, gap, thick = _smile(f)
    pen.fill(oval(0, bow + gap + thick * 2.2 + 0.015, x * 0.45, 0.018), mixed(f.skin, f.shade, 0.6), "mouth", lift=0.1)


def mouth(pen: Pen, f: Look) -> None:
    """Lips; what lies between them where it is open; the creases of a smile."""
    smile, parted = f.shows("Smiling"), f.shows("Mouth_Slightly_Open")
    x, corner, bow, gap, thick = _smile(f)
    red = np.where(
        f.male[:, None], f.skin * 0.62 + [50.0, 25.0, 23.0], mixed(f.skin, np.array([196.0, 84.0, 88.0]), f.lip_red)
    )
    lip = mixed(red, f.skin, 0.15 * f.old)
    up_in = curve([(-x, corner), (-x * 0.5, bow + 0.004), (0, bow + 0.008), (x * 0.5, bow + 0.004), (x, corner)])
    y = bow + gap * 0.72 + 0.004
    low_in = curve([(x, corner), (x * 0.62, y), (0, bow + gap + 0.008), (-x * 0.62, y), (-x, corner)])
    y = bow + gap * 0.8 + thick * 1.35
    low_out = curve([(x, corner), (x * 0.6, y), (0, bow + gap + thick * 1.9), (-x * 0.6, y), (-x, corner)])
    y, peak = bow - thick * 0.75, bow - thick * 1.15
    up_out = [
        (-x, corner),
        (-x * 0.5, y),
        (-x * 0.16, peak),
        (0, bow - thick * 0.8),
        (x * 0.16, peak),
        (x * 0.5, y),
        (x, corner),
    ]
    pen.fill(join(up_in, low_out), tone(lip, 1.08), "mouth", lift=0.1)
    pen.fill(join(curve(up_out), up_in[..., ::-1]), tone(lip, 0.86), "mouth", lift=0.1)
    for q, g in some(pen, f, parted):
        up, low, k = up_in[:, parted], low_in[:, parted], np.where(smile, 0.46, 0.34)[parted][:, None]
        wide, high = x[parted], gap[parted]
        q.fill(join(up, low), (92, 30, 36), "mouth", lift=0.1)
        edge = (up * (1 - k) + low[..., ::-1] * k)[..., ::-1]
        teeth = join(up, edge) * np.array([0.93, 1.0])[:, None, None]
        q.fill(teeth, (250, 247, 240), "mouth", lift=0.1)
        q.fill(oval(0, bow[parted] + high * 0.86, wide * 0.42, high * 0.17), (206, 96, 100), "mouth", lift=0.1)
        for r, h in some(q, g, g.kid > 0.25):  # a missing milk tooth
            lost = g.kid > 0.25
            r.fill(
                oval(0.035 * np.where(h.parting < 0, -1, 1), bow[parted][lost] + 0.035, 0.026, 0.032),
                (92, 30, 36),
                "mouth",
                lift=0.1,
            )
    for q, g in some(pen, f, ~parted):
        q.line(up_in[:, ~parted], g.deep * [0.8, 0.6, 0.6], 0.026, "mouth", over=g.skin, lift=0.1)
    for q, g in some(pen, f, smile):
        far, y = x[smile], corner[smile]
        q.line(
            both(curve([(far + 0.012, y - 0.045), (far + 0.038, y + 0.002), (far + 0.018, y + 0.05)])),
            mixed(g.skin, g.deep, 0.85),
            0.026,
            "mouth",
            over=g.skin,
            lift=0.1,
        )


def eyes(pen: Pen, f: Look) -> None:
    """Eyes with their lids and lashes, and brows (which count to the figure, not to the eyes)."""
    size, tilt = f.eye, f.eye_tilt
    h = 0.80 - 0.12 * f.lid - 0.16 * f.old + 0.12 * f.child  # how far open: half the height over half the width

    def at(points):
        return [(f.eye_x + size * x, f.eye_y + size * y) for x, y in points]

    upper = curve(at([(-1, 0.12), (-0.55, -h * 0.72), (0.1, -h), (0.7, -h * 0.58 - tilt * 0.5), (1.08, 0.02 - tilt)]))
    lower = curve(at([(1.08, 0.02 - tilt), (0.6, h * 0.58), (0, h * 0.74), (-0.6, h * 0.52), (-1, 0.12)]))
    white = both(join(upper, lower))
    pen.fill(white, (250, 248, 245), "eyes")
    low, high = white.min(-1, keepdims=True), white.max(-1, keepdims=True)
    iris, y = size * (0.60 + 0.04 * f.child), f.eye_y - 0.06 * size + f.gaze_y

    def pair(dx, y, rx, ry):
        return np.clip(parts(*(oval(s * f.eye_x + f.gaze_x + dx, y, rx, ry) for s in (1, -1))), low, high)

    pen.fill(pair(0, y, iris, iris), tone(f.iris, 0.8), "eyes")
    pen.fill(pair(0, y + iris * 0.2, iris * 0.78, iris * 0.7), tone(f.iris, 1.14), "eyes")
    pen.fill(pair(0, y, iris * 0.52, iris * 0.52), (20, 16, 20), "eyes")
    pen.fill(pair(f.lx * 0.3 * iris, y - 0.34 * iris, iris * 0.26, iris * 0.26), (255, 255, 255), "eyes")
    lash = np.where(f.male[:, None], f.deep * 0.55, [40.0, 28.0, 28.0])
    pen.line(both(upper), lash, np.where(f.male, 0.030, 0.034), "eyes", over=f.skin)
    pen.line(both(lower), mixed(f.skin, f.deep, 0.6), 0.016, "eyes", over=f.skin)
    crease = curve(at([(-0.9, -h - 0.16), (0.1, -h - 0.42), (1.05, -h * 0.6 - 0.22)]))
    pen.line(both(crease), mixed(f.skin, f.deep, 0.3 + 0.4 * np.minimum(f.old, 1)), 0.015, "eyes", over=f.skin)
    lashes = ~f.male & (f.child < 0.6)
    wing = path(at([(0.8, -0.3), (1.12, -0.38 - tilt), (1.42, -0.62 - tilt)]))
    for q, g in some(pen, f, lashes):
        q.line(both(wing[:, lashes]), (40, 28, 28), 0.026, "eyes", over=g.skin)
    thick = (0.052 + 0.022 * f.m) * f.brow_thick * (1 - 0.65 * f.child)
    brow = [
        (f.eye_x - size * 1.15, f.brow + 0.02 - f.brow_arch),
        (f.eye_x, f.brow - 0.02),
        (f.eye_x + size * 0.8, f.brow - 0.01 + 0.01 * f.old),
    ]
    brow.append((f.eye_x + size * 1.35, f.brow + 0.035 + f.brow_arch))
    pen.line(both(curve(brow)), mixed(f.whisker * 0.85, f.skin, 0.08), thick, "figure", over=f.skin)
