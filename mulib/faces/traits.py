"""What identity, age and picture mean for a drawing: traits of the person, accidents of the picture, the geometry."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np

from mulib.faces.dice import Dice
from mulib.faces.people import Faces, column
from mulib.faces.shapes import curve, mixed

SKIN = [
    (255, 226, 203),
    (248, 208, 178),
    (236, 188, 150),
    (214, 160, 118),
    (184, 128, 88),
    (146, 98, 66),
    (110, 72, 50),
]
HAIR = [
    (34, 30, 34),
    (62, 44, 36),
    (98, 66, 44),
    (140, 92, 54),
    (206, 162, 92),
    (232, 200, 132),
    (168, 78, 38),
    (120, 48, 36),
]
EYES = [(74, 48, 32), (104, 70, 38), (96, 116, 70), (84, 124, 164), (110, 128, 138)]
CLOTHES = [
    (64, 96, 150),
    (170, 70, 70),
    (70, 130, 110),
    (220, 200, 160),
    (90, 84, 110),
    (220, 150, 70),
    (240, 240, 236),
    (52, 56, 66),
    (150, 110, 160),
]
HATS = [(176, 58, 56), (52, 84, 140), (58, 110, 84), (200, 154, 70), (60, 60, 68), (120, 74, 120), (226, 218, 200)]
FRAMES = [(30, 28, 34), (96, 56, 34), (150, 40, 48), (44, 62, 110)]
LIGHT_HAIR = (0.12, 0.2, 0.2, 0.15, 0.12, 0.09, 0.07, 0.05)  # of people with light skin, in the order of HAIR
DARK_HAIR = (0.4, 0.35, 0.2, 0.05, 0, 0, 0, 0)
LIGHT_EYES = (0.25, 0.22, 0.18, 0.22, 0.13)
DARK_EYES = (0.6, 0.3, 0.06, 0.04, 0)
LEAN = 0.15  # tangent of half the angle: a head leans by up to 17°
REACH = 0.72  # from the middle of a head to its chin, in face units: a posed face stays within the frame


class Look(SimpleNamespace):
    """Named columns over N faces, (N,) or (N, …): all that the parts of a face are drawn from."""

    def shows(self, attribute: str) -> np.ndarray:
        """(N,) bool: which faces have the attribute."""
        return self.has[:, column(attribute)]

    def take(self, index: np.ndarray) -> Look:
        """The same columns for some of the faces."""
        return Look(**{name: v[:, index] if name == "head" else v[index] for name, v in vars(self).items()})


def person(faces: Faces) -> Look:
    """Traits that an identity keeps in every picture and at every age."""
    d, p = Dice(faces.seed, 11, faces.identity), Look()
    s = d.flat(0, len(SKIN) - 1.01)
    low, part = s.astype(int), s % 1
    skin = np.array(SKIN, float)
    p.skin = mixed(skin[low], skin[low + 1], part)
    warm = d.bell(6)
    p.skin[:, 0] += warm
    p.skin[:, 2] -= warm
    dark = (s > 3.2)[:, None]
    p.hair = np.array(HAIR, float)[d.pick(np.where(dark, DARK_HAIR, LIGHT_HAIR))] * d.flat(0.85, 1.1)[:, None]
    p.iris = np.array(EYES, float)[d.pick(np.where(dark, DARK_EYES, LIGHT_EYES))]
    p.width, p.height, p.jaw_width = d.bell(0.03), d.bell(0.03), d.bell(0.05)
    p.chin_length, p.cheek, p.ear = d.bell(0.03), d.bell(0.02), 1 + d.bell(0.14)
    p.ear_y, p.eye_x, p.eye_size = d.bell(0.02), d.bell(0.017), 1 + d.bell(0.11)
    p.eye_tilt, p.eye_y, p.lid = d.bell(0.12), d.bell(0.018), d.flat()
    p.brow_thick, p.brow_arch, p.brow_y = 1 + d.bell(0.22), np.maximum(d.bell(0.02), -0.012), d.bell(0.015)
    p.nose_length, p.nose_width, p.mouth_width = d.bell(0.035), 1 + d.bell(0.15), 1 + d.bell(0.11)
    p.mouth_y, p.lips, p.lip_red, p.rest = d.bell(0.015), 1 + d.bell(0.2), d.flat(0.25, 0.7), d.bell(0.012)
    p.freckled = d.flat() < 0.25
    p.man_style, p.woman_style = d.pick(5), d.pick(5)
    p.volume, p.hairline, p.parting = d.flat(0.05, 0.12), d.bell(0.03), d.flat(-0.5, 0.5)
    p.wave = np.stack([d.flat(-1, 1) for _ in range(16)], 1)
    p.spot = np.stack([d.bell() for _ in range(20)], 1)
    p.fringe, p.tuft, p.beard, p.whiskers = d.pick(3), d.flat() < 0.5, d.pick(3), d.pick(3)
    p.frame, p.frame_colour = d.pick(3), np.array(FRAMES, float)[d.pick(len(FRAMES))]
    p.hat, p.hat_colour = d.pick(3), np.array(HATS, float)[d.pick(len(HATS))]
    p.cloth, p.neckline = np.array(CLOTHES, float)[d.pick(len(CLOTHES))], d.pick(3)
    p.age_bias, p.grey_bias, p.skin_bias, p.form_bias = d.bell(1.2), d.bell(2.5), d.bell(2), d.bell(0.6)
    p.recedes_at, p.acne = d.flat(40, 110), d.flat() < 0.6
    return p


def accidents(faces: Faces) -> Look:
    """Everything about a picture that is neither person nor attribute nor age."""
    d, z = Dice(faces.seed, 23, faces.identity, faces.picture), Look()
    half = np.clip(d.bell(0.05), -LEAN, LEAN)
    z.yaw, z.pitch = np.clip(d.bell(0.075), -0.16, 0.16), np.clip(d.bell(0.04), -0.09, 0.09)
    z.x, z.y, z.scale = d.bell(0.075), 0.03 + d.bell(0.05), d.flat(0.80, 1.06)
    if faces.posed:
        p = Dice(faces.seed, 29, faces.identity, faces.picture)  # of its own: all else about the picture stays
        half, z.scale = p.flat(-LEAN, LEAN), p.flat(0.78, 1.08)
        room = 1 - REACH * z.scale
        z.x, z.y = p.flat(-1, 1) * room, p.flat(-1, 1) * room
    z.cos, z.sin = (1 - half * half) / (1 + half * half), 2 * half / (1 + half * half)
    x, y = d.flat(-1, 1), np.where(d.flat() < 0.85, -1, 1) * d.flat(0.15, 1)  # light mostly from above
    norm = np.sqrt(x * x + y * y)
    z.light_x, z.light_y, z.contrast = x / norm, y / norm, d.flat(0.06, 0.24)
    z.gain, z.tint = d.flat(0.86, 1.06), d.bell(0.03)
    hues = np.stack([d.flat(40, 240) for _ in range(15)], 1).reshape(-1, 5, 3)
    grey = (hues[..., :1] + hues[..., 1:2] + hues[..., 2:]) / 3
    z.hues = np.rint(mixed(hues, grey, 0.5))  # muted: the face is what catches the eye
    z.backdrop = np.stack([np.floor(d.flat(0, 65)) for _ in range(25)], 1).reshape(-1, 5, 5)  # 1/64 shares of two hues
    z.blobs = np.stack([d.flat() for _ in range(9)], 1).reshape(-1, 3, 3)
    z.n_blobs, z.blur, z.noise = d.pick(4), d.pick((0.6, 0.25, 0.15)), np.floor(d.flat(16, 64))
    z.noise_from = np.floor(d.flat(0, 1 << 16)).astype(np.int64)
    z.occluder = np.where(d.flat() < 0.09, 1 + d.pick(2), 0)
    z.occlude = np.stack([d.flat(-1, 1) for _ in range(4)], 1)
    z.gaze_x, z.gaze_y, z.age = d.bell(0.016), d.bell(0.008), d.bell()
    return z


def look(faces: Faces) -> Look:
    """Colours and geometry of N faces: the person, at an age, in a picture."""
    p, z = person(faces), accidents(faces)
    f = Look(**vars(p), **{name: v for name, v in vars(z).items() if name != "age"})
    f.has = faces.attributes
    f.male = faces.has("Male")
    _age(f, faces.age, z.age)
    child, old, m = f.child, f.old, np.where(f.male, 0.5, -0.5)
    adult, f.m = 1 - child, m
    f.adult = adult
    f.complexion = f.skin
    f.skin = np.clip(mixed(f.skin, f.skin.mean(1, keepdims=True), 0.12 * old), 0, 255)
    f.shade, f.deep = f.skin * [0.83, 0.74, 0.70], f.skin * [0.60, 0.48, 0.45]
    hair = np.clip(f.hair * (1 - 0.1 * child[:, None]) + 25 * child[:, None] * (f.hair > 60), 0, 255)
    f.hair = mixed(hair, np.array([206.0, 204.0, 202.0]), 0.92 * f.grey)
    f.whisker = _apart(f.hair * 0.9, f.skin)
    # Geometry: a child has a short lower face, large eyes set low, a small nose, round cheeks and a thin neck.
    w = f.w = 0.53 + f.width + 0.02 * child
    f.top = -0.70 - 0.6 * f.height
    f.chin = 0.70 + f.height + adult * (0.03 * m + f.chin_length) - 0.19 * child
    f.jaw = w * (0.74 + adult * (0.09 * m + f.jaw_width) + 0.10 * child + 0.03 * old)
    half = [
        (0.0, f.top),
        (w * 0.52, f.top + 0.06),
        (w * 0.90, f.top + 0.29),
        (w, -0.12 + 0.05 * child),
        (w * (0.97 + f.cheek + 0.04 * child), 0.16 + 0.08 * child),
        (f.jaw, f.chin - 0.27),
        (f.jaw * 0.56, f.chin - 0.055),
        (0.0, f.chin),
    ]
    f.head = curve(half + [(-x, y) for x, y in half[-2:0:-1]], closed=True, steps=4)
    f.eye_y = -0.01 + f.eye_y + 0.21 * child
    f.eye_x = 0.235 + f.eye_x + 0.01 * child
    f.eye = 0.105 * f.eye_size * (1 + 0.45 * child - 0.1 * old)
    f.nose_y = f.eye_y + 0.235 + f.nose_length * adult + 0.03 * old - 0.095 * child
    f.mouth = f.nose_y + (f.chin - f.nose_y) * (0.43 + f.mouth_y) + 0.01
    f.mouth_w = 0.20 * f.mouth_width * (1 + 0.05 * m - 0.24 * child)
    f.brow = f.eye_y - 0.155 - f.brow_y - 0.03 * child + 0.01 * old
    f.style = np.where(f.male, f.man_style, f.woman_style)
    f.volume = f.volume * (1 - 0.4 * child) * (1 - 0.4 * old * f.male) + 0.01
    f.line_y = -0.44 + f.hairline - f.recede * 0.22 + 0.03 * child
    c, s = z.cos, z.sin
    f.lx, f.ly = f.light_x * c + f.light_y * s, f.light_y * c - f.light_x * s  # the light, seen from the leaning head
    return f


def _age(f: Look, years: np.ndarray, mood: np.ndarray) -> None:
    """What an age does to form, skin and hair, each with noise of its own: the groups overlap, as with real people."""
    seen = years + (f.age_bias + 1.0 * mood) * np.minimum(1, 0.25 + years / 40)
    f.form = np.maximum(seen + f.form_bias * np.minimum(1, 0.3 + years / 20), 0)
    f.child = np.clip(1 - f.form / 19, 0, 1)
    f.teen = np.clip(1 - np.abs(f.form - 15.5) / 4.5, 0, 1)
    f.kid = np.clip(1 - np.abs(f.form - 9) / 4, 0, 1)
    f.old = np.clip((seen + f.skin_bias - 28) / 48, 0, 1.1)
    t = np.clip((seen + f.grey_bias - 40) / 28, 0, 1)
    f.grey = t * t * (3 - 2 * t)
    f.recede = np.clip((seen - np.where(f.male, f.recedes_at, 85)) / 40, 0, 0.9)


def brightness(colour: np.ndarray) -> np.ndarray:
    """Perceived brightness of (N, 3) colours, 0 … 255."""
    return 0.3 * colour[:, 0] + 0.59 * colour[:, 1] + 0.11 * colour[:, 2]


def _apart(hair: np.ndarray, skin: np.ndarray) -> np.ndarray:
    """Hair that is seen on the skin: a blond moustache is not, at 64 pixels, unless it is drawn darker."""
    on, under = brightness(hair), brightness(skin)
    wanted = np.where((on > under) & (under < 150), under + 75, under - 75)  # grey hair is lighter than dark skin
    factor = np.clip(wanted / np.maximum(on, 1), 0, 1.5)
    return np.where((np.abs(under - on) < 70)[:, None], np.minimum(hair * factor[:, None], 255), hair)
