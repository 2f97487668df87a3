"""Hair: behind the head, on it, bangs, beard and moustache."""

from __future__ import annotations

import numpy as np

from mulib.faces.head import JAW, some
from mulib.faces.pen import Pen
from mulib.faces.shapes import both, curve, join, mixed, oval, parts, path, tone
from mulib.faces.traits import Look

LONG, BOB, BUN, CURLS, MEDIUM = range(5)  # a woman's styles
BUZZ, SHORT, QUIFF, MESSY, NEAT = range(5)  # a man's
_ANGLE = np.linspace(1.07, -0.07, 15) * np.pi
CROWN_X, CROWN_Y = np.round(np.cos(_ANGLE), 9), np.round(np.sin(_ANGLE), 9)  # rounded: the same with every libm


def behind(pen: Pen, f: Look) -> None:
    """Hair behind the head and shoulders: long, bob, medium, or a bun."""
    woman = ~f.male & ~f.shows("Bald")
    for q, g in some(pen, f, woman & np.isin(f.style, (LONG, BOB, MEDIUM))):
        low, x, wave = np.array([0.95, 0.52, 0, 0, 0.8])[g.style] - 0.12 * g.child, g.w + g.volume + 0.05, g.wave.T
        shape = [
            (-0.3, g.top),
            (-x, -0.3),
            (-x - 0.05 + 0.02 * wave[0], 0.2),
            (-x + 0.02 + 0.05 * wave[1], low),
            (0, low + 0.05),
        ]
        shape += [(x - 0.02 + 0.05 * wave[2], low), (x + 0.05 + 0.02 * wave[3], 0.2), (x, -0.3), (0.3, g.top)]
        q.fill(curve(shape, closed=True), tone(g.hair, 0.70), "hair")
    for q, g in some(pen, f, woman & (f.style == BUN)):
        y = g.top - g.volume
        q.fill(oval(0.1 * g.wave[:, 0], y, 0.20, 0.15), tone(g.hair, 0.70), "hair")
        q.line(curve([(-0.12, y - 0.05), (0, y - 0.11), (0.13, y - 0.04)]), g.hair, 0.03, "hair", over=g.hair)


def beard(pen: Pen, f: Look) -> None:
    """Trimmed, full, or a goatee."""
    bearded = ~f.shows("No_Beard")
    for q, g in some(pen, f, bearded & (f.beard == 2)):
        w, m = g.mouth_w, g.mouth
        half = [
            (0, g.chin + 0.05),
            (w * 0.8, g.chin),
            (w * 1.15, m + 0.1),
            (w * 0.95, m - 0.02),
            (w * 0.6, m + 0.07),
            (0, m + 0.085),
        ]
        q.fill(curve(half + [(-x, y) for x, y in half[-2:0:-1]], closed=True), g.whisker, "beard")
    for q, g in some(pen, f, bearded & (f.beard < 2)):
        w, m = g.mouth_w, g.mouth
        x, y = g.head[:, :, JAW][..., ::-1]
        jaw = np.stack([x * 1.015, y + 0.02 + 0.05 * g.beard[:, None]])
        inner = [(g.w * 0.93, 0.22), (g.w * 0.66, m - 0.10), (w * 1.15, m - 0.075), (w * 0.9, m + 0.03), (0, m + 0.075)]
        inner += [(-x, y) for x, y in inner[-2::-1]]
        colour = mixed(g.whisker, g.skin, np.where(g.beard == 0, 0.14, 0.03))
        q.fill(join(jaw, curve(inner)), colour, "beard")
    for q, g in some(pen, f, bearded):
        wide, colour = np.where(g.beard < 2, 1.0, 0.6), g.whisker
        for odd, ink in ((1, tone(colour, 0.72)), (0, tone(colour, 1.14))):
            hairs = [(-0.2 + 0.1 * i) * wide for i in range(5) if i % 2 == odd]
            strands = [
                curve([(x, g.mouth + 0.13), (x * 1.05 + 0.01 * g.wave[:, i], g.chin - 0.07), (x, g.chin - 0.02)])
                for i, x in enumerate(hairs)
            ]
            q.line(parts(*strands), ink, 0.016, "beard", over=colour)


def moustache(pen: Pen, f: Look) -> None:
    """Broad, thin, or drooping."""
    for q, g in some(pen, f, f.shows("Mustache")):
        thick, drop = np.array([0.105, 0.085, 0.11])[g.whiskers], np.array([0.035, 0.01, 0.125])[g.whiskers]
        w, y = g.mouth_w, g.nose_y + 0.055
        half = [
            (0, y + 0.004),
            (0.06, y - 0.012),
            (w * 0.8, y + 0.018),
            (w * 1.3, y + drop + 0.02),
            (w * 1.08, y + drop + 0.03),
        ]
        half += [(w * 0.55, y + thick * 0.8), (0.02, y + thick * 0.66)]
        q.fill(curve(half + [(-a, b) for a, b in half[:0:-1]], closed=True), g.whisker * 0.85, "beard", lift=0.12)
        comb = curve([(0.03, y + 0.015), (w * 0.6, y + 0.03), (w * 1.05, y + drop * 0.8 + 0.02)])
        q.line(both(comb), tone(g.whisker, 1.1), 0.014, "beard", over=g.whisker * 0.85, lift=0.12)


def on_head(pen: Pen, f: Look) -> None:
    """Hair on the head with its strands and shine; the bald get the shine, and some a tuft at the ears."""
    bald = f.shows("Bald")
    for q, g in some(pen, f, ~bald):
        _cap(q, g)
    for q, g in some(pen, f, bald):
        q.fill(oval(g.lx * 0.16, g.top + 0.15, 0.15, 0.06), tone(g.skin, 1.45), "hair")
        for r, h in some(q, g, g.tuft & (g.form > 20)):
            w = h.w
            tuft = [(w * 0.99, -0.26), (w * 1.10, -0.08), (w * 1.07, 0.12), (w * 0.96, 0.05), (w * 0.93, -0.12)]
            r.fill(both(curve(tuft, closed=True)), h.hair, "hair")
    for q, g in some(pen, f, f.shows("Bangs") & ~bald):
        _bangs(q, g)


def _cap(pen: Pen, f: Look) -> None:
    w, top = f.w, f.top
    fluff = np.array([0, 0.02, 0.05, 0.085, 0.03])[f.style] * (1 - 0.5 * f.child)
    teeth = np.where(f.style == CURLS, 0.9, 0.3)[:, None] * (np.arange(15) % 2)
    bump = 1 + fluff[:, None] * (f.wave[:, :15] * 0.6 + teeth)
    crown = np.stack(
        [CROWN_X * (w + f.volume)[:, None] * bump, -CROWN_Y * (f.volume - top - 0.06)[:, None] * bump - 0.06]
    )
    crown[1, :, 5:10] -= 0.10 * (f.male & (f.style == QUIFF))[:, None]
    low = -0.02 + np.where(f.male, 0.08, np.where(f.style == BUN, 0.0, 0.22))
    temple, line, part = 0.12 * f.recede, f.line_y, f.parting * 0.5
    inner = [(w, low), (w * 0.91, -0.05), (w * 0.84, line + 0.16 - temple), (w * 0.55, line + 0.01 - temple)]
    left = [(-x, y) for x, y in inner[::-1]]
    inner += [(part + 0.02, line - 0.035 - 0.04 * f.recede), *left]
    cropped = (f.male & (f.style == BUZZ)) | (f.form < 2.5)
    pen.fill(join(curve(crown), curve(inner)), mixed(f.hair, f.skin, np.where(cropped, 0.2, 0.0)), "hair")
    for q, g in some(pen, f, ~cropped):
        w, top, part = g.w, g.top, g.parting * 0.5
        for near, ink in ((0.55, tone(g.hair, 0.70)), (0.80, tone(g.hair, 0.84))):
            strands = []
            for s in (1, -1):
                ends = [(part, top + 0.04), (part + s * w * 0.5 * near, top + 0.20 - 0.10 * near)]
                ends += [(s * w * (near + 0.08), -0.30 + 0.02 * g.wave[:, s]), (s * w * (near * 0.3 + 0.70), -0.16)]
                strands.append(curve(ends)[..., :11])
            q.line(parts(*strands), ink, 0.026, "hair", over=g.hair)
        shine = curve([(-w * 0.66, -0.47), (-w * 0.36 + 0.1 * g.lx, top + 0.045), (w * 0.05 + 0.1 * g.lx, top - 0.005)])
        q.line(shine, tone(g.hair, 1.13), 0.05, "hair", over=g.hair)


def _bangs(pen: Pen, f: Look) -> None:
    """Straight, swept to one side, or in points."""
    w, high, low = f.w, f.top + 0.06, f.brow - 0.015
    straight, swept, pointed = (f.fringe == k for k in range(3))
    s = np.where(f.parting > 0, 1, -1)
    x = (0.93, 0.72, 0.5, 0.3, 0.06, -0.16, -0.42, -0.66, -0.93)
    even = (0.06, 0.0, -0.01, -0.02, -0.02, -0.02, -0.01, 0.0, 0.06)
    comb = (0.06, -0.07, 0.02, -0.08, 0.02, -0.08, 0.02, -0.07, 0.06)
    edge = [
        (w * a, low + np.select([straight, swept, pointed], [e, 0.035 + s * 0.07 * a - 0.06 * (a * a < 0.8), c]))
        for a, e, c in zip(x, even, comb, strict=True)
    ]
    up = [
        (-w * 0.97, -0.22),
        (-w * 0.84, -0.42),
        (-w * 0.4, high - 0.01),
        (0, high - 0.04),
        (w * 0.4, high - 0.01),
        (w * 0.84, -0.42),
        (w * 0.97, -0.22),
    ]
    colour = tone(f.hair, 1.05)
    pen.fill(join(curve(up), curve(edge)), colour, "hair")
    for odd, ink in ((0, tone(f.hair, 1.16)), (1, tone(f.hair, 0.70))):
        strands = []
        for i in range(odd, 6, 2):
            a = w * (-0.72 + 0.29 * i)
            strands.append(
                path([(a * 0.55, high + 0.08), (a * 0.85, (high + low) / 2), (a + 0.01 * f.wave[:, i], low - 0.05)])
            )
        pen.line(parts(*strands), mixed(ink, colour, 0.25), 0.022, "hair", over=colour)
