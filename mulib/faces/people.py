"""What pictures show: people, their attributes and ages, and the counterfactual that toggles one attribute."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from mulib.errors import InputError

ATTRIBUTES = (
    "Bald",
    "Bangs",
    "Eyeglasses",
    "Male",
    "Mouth_Slightly_Open",
    "Mustache",
    "No_Beard",
    "Pointy_Nose",
    "Smiling",
    "Wearing_Hat",
    "Young",
)
REGION_OF = {  # where a picture changes when the attribute is toggled: one of the regions of `masks`
    "Bald": "hair",
    "Bangs": "hair",
    "Eyeglasses": "glasses",
    "Male": "figure",
    "Mouth_Slightly_Open": "mouth",
    "Mustache": "beard",
    "No_Beard": "beard",
    "Pointy_Nose": "nose",
    "Smiling": "mouth",
    "Wearing_Hat": "hat",
    "Young": "figure",
}
AGE_GROUPS = ((0, 6), (7, 12), (13, 19), (20, 30), (31, 45), (46, 55), (56, 66), (67, 80))  # MUFAC's, in years
YOUNG_UNTIL = 46  # years: Young means younger than this
ADULT = 18
BEARDED_FROM = 17
OLDEST = 80  # completed years


@dataclass(frozen=True)
class Faces:
    """What N pictures show; `render` draws them.

    Attributes:
        seed: the world: the same identity looks different in another one.
        identity: (N,) int64, who.
        picture: (N,) int64, which picture of that person: pose, light, background, occlusion, noise.
        attributes: (N, 11) bool, in the order of `ATTRIBUTES`.
        age: (N,) float64 years, 0 … 80. The attribute Young says age < 46.
        posed: whether heads stand anywhere in the frame, nearer or further, and leaning; else they are aligned.
    """

    seed: int
    identity: np.ndarray
    picture: np.ndarray
    attributes: np.ndarray
    age: np.ndarray
    posed: bool = False

    def __post_init__(self):
        n = len(self.identity)
        shapes = {name: np.shape(getattr(self, name)) for name in ("picture", "attributes", "age")}
        if shapes != {"picture": (n,), "attributes": (n, len(ATTRIBUTES)), "age": (n,)}:
            raise InputError(f"{n} identities go with {shapes}: expected ({n},), ({n}, {len(ATTRIBUTES)}) and ({n},).")
        if n and not 0 <= self.age.min() <= self.age.max() < OLDEST + 1:
            raise InputError(f"ages lie in {self.age.min()} … {self.age.max()}: expected 0 … {OLDEST} years.")

    def __len__(self) -> int:
        return len(self.identity)

    def __getitem__(self, index) -> Faces:
        """The pictures at `index` (a slice, positions or a bool mask)."""
        if isinstance(index, int | np.integer):
            index = [index]
        columns = {name: getattr(self, name)[index] for name in ("identity", "picture", "attributes", "age")}
        return replace(self, **columns)

    def has(self, attribute: str) -> np.ndarray:
        """(N,) bool: who has the attribute."""
        return self.attributes[:, column(attribute)]

    @property
    def age_group(self) -> np.ndarray:
        """(N,) int64, 0 … 7: the position of each age in `AGE_GROUPS`, by completed years."""
        return np.searchsorted([low for low, _ in AGE_GROUPS[1:]], np.floor(self.age), side="right")


def column(attribute: str) -> int:
    """The position of an attribute in `ATTRIBUTES`; an unknown name is an InputError."""
    if attribute not in ATTRIBUTES:
        raise InputError(f"unknown attribute {attribute!r}: expected one of {', '.join(ATTRIBUTES)}.")
    return ATTRIBUTES.index(attribute)


def counterfactual(faces: Faces, attribute: str, value: bool | None = None) -> Faces:
    """The same people in the same pictures with one attribute toggled, or set to `value`; no other one changes.

    Toggling Young moves the age: 18 … 45 to 46 … 80 and back; a child grows to 46. Pixels outside the attribute's
    region (`REGION_OF`, in the masks of the one picture or the other) stay as they are, to the last bit.

    Raises:
        InputError: an unknown attribute.
    """
    k = column(attribute)
    old = faces.attributes[:, k]
    new = ~old if value is None else np.full_like(old, bool(value))
    attributes = faces.attributes.copy()
    attributes[:, k] = new
    age = faces.age
    if attribute == "Young":
        span = (OLDEST + 1 - YOUNG_UNTIL) / (YOUNG_UNTIL - ADULT)
        older = YOUNG_UNTIL + (np.maximum(age, ADULT) - ADULT) * span
        age = np.where(new == old, age, np.where(new, ADULT + (age - YOUNG_UNTIL) / span, older))
    return replace(faces, attributes=attributes, age=age)


def at_age(faces: Faces, years: float) -> Faces:
    """The same people in the same pictures, all `years` (0 … 80) old.

    Young follows; who is under 17 then has no beard, no moustache and no bald head.

    Raises:
        InputError: an age out of range.
    """
    if not 0 <= years <= OLDEST:
        raise InputError(f"an age of {years} years cannot be drawn: expected 0 … {OLDEST}.")
    attributes = faces.attributes.copy()
    attributes[:, column("Young")] = years < YOUNG_UNTIL
    if years < BEARDED_FROM:
        for attribute in ("Bald", "Mustache", "No_Beard"):
            attributes[:, column(attribute)] = attribute == "No_Beard"
    return replace(faces, attributes=attributes, age=np.full(len(faces), float(years)))
