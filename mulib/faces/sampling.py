"""Who is drawn: people with attributes of given frequencies and correlations, and with ages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np

from mulib.errors import InputError
from mulib.faces.dice import Dice
from mulib.faces.people import ADULT, AGE_GROUPS, ATTRIBUTES, BEARDED_FROM, OLDEST, YOUNG_UNTIL, Faces, column

OF_THE_PICTURE = ("Mouth_Slightly_Open", "Smiling", "Wearing_Hat")  # the rest is the same in all pictures of a person
# As in CelebA, but what is rare there (hats, moustaches, glasses, bald heads: 2 … 7 %) is less rare in smaller sets.
FREQUENCIES = {
    "Bald": 0.10,
    "Bangs": 0.20,
    "Eyeglasses": 0.20,
    "Male": 0.45,
    "Mouth_Slightly_Open": 0.48,
    "Mustache": 0.12,
    "No_Beard": 0.80,
    "Pointy_Nose": 0.35,
    "Smiling": 0.48,
    "Wearing_Hat": 0.10,
    "Young": 0.70,
}
# Pearson's (phi) correlation of a cause and what it makes likelier; hardly a woman here has a beard or a bald head.
CORRELATIONS = {
    ("Male", "Bald"): 0.33,
    ("Male", "Bangs"): -0.20,
    ("Male", "Mustache"): 0.40,
    ("Male", "No_Beard"): -0.55,
    ("Male", "Young"): -0.20,
    ("Smiling", "Mouth_Slightly_Open"): 0.45,
    ("Young", "Eyeglasses"): -0.20,
}


def sample(
    people: int,
    pictures: int = 1,
    *,
    seed: int = 0,
    ages: Literal["adults", "all"] = "adults",
    frequencies: Mapping[str, float] | None = None,
    correlations: Mapping[tuple[str, str], float] | None = None,
    posed: bool = False,
) -> Faces:
    """Draw `people` people and `pictures` pictures of each: N = people · pictures, person after person.

    An attribute belongs to the person, except smile, open mouth and hat, which belong to the picture, and except what
    is made to depend on those. The bald have no bangs, and nobody under 17 a beard, a moustache or a bald head.

    Args:
        people: identities 0 … people-1.
        ages: "adults" (18 … 80 years, Young by its frequency) or "all" (each of the eight age groups equally likely;
            the pictures of a person lie within ± 2 years, inside one group). Young then follows from the age.
        frequencies: changes to `FREQUENCIES`: the probability of an attribute, 0 … 1.
        correlations: changes to `CORRELATIONS`: {(cause, effect): Pearson correlation, -1 … 1}. An effect has one
            cause. What is not named here keeps its default as far as the frequencies allow.
        posed: heads anywhere in the frame, by up to 0.44 of half its size, of scale 0.78 … 1.08, leaning by up to 17°
            (uniformly); otherwise aligned, as in the common data sets. Who is drawn, and how lit, is the same.

    Raises:
        InputError: an unknown attribute, a number out of range, two causes, a circle, or a correlation that no two
            attributes of these frequencies can have.
    """
    if people < 1 or pictures < 1:
        raise InputError(f"people is {people}, pictures is {pictures}: expected at least one of each.")
    if ages not in ("adults", "all"):
        raise InputError(f"unknown ages {ages!r}: expected 'adults' or 'all'.")
    frequency = FREQUENCIES | _checked(frequencies or {})
    cause = _causes(correlations or {})
    if ages == "all":
        if "Young" in (frequencies or {}) or "Young" in {effect for _, effect in correlations or {}}:
            raise InputError("Young cannot be set when ages is 'all', where it follows from the age: leave it out.")
        cause.pop("Young", None)
        frequency["Young"] = 5 / 8  # five of the eight equally likely groups
    identity = np.repeat(np.arange(people), pictures)
    picture = np.tile(np.arange(pictures), people)
    age = _ages_of_all(seed, identity, picture) if ages == "all" else None
    has = {} if age is None else {"Young": age < YOUNG_UNTIL}
    for attribute in _causes_first(cause):
        if attribute in has:
            continue
        own = attribute not in OF_THE_PICTURE and not _depends_on_picture(attribute, cause)
        u = Dice(seed, 1, column(attribute), identity, 0 if own else 1 + picture).flat()
        p = frequency[attribute]
        if attribute in cause:
            parent, phi, strict = cause[attribute]
            p = np.where(has[parent], *_conditional(parent, attribute, frequency, phi, strict))
        has[attribute] = u < p
    if age is None:
        age = _ages_of_adults(seed, identity, has["Young"])
    child = age < BEARDED_FROM
    for attribute in ("Bald", "Mustache"):
        has[attribute] = has[attribute] & ~child
    has["No_Beard"] = has["No_Beard"] | child
    has["Bangs"] = has["Bangs"] & ~has["Bald"]
    return Faces(seed, identity, picture, np.stack([has[a] for a in ATTRIBUTES], 1), age, posed)


def _ages_of_all(seed: int, identity: np.ndarray, picture: np.ndarray) -> np.ndarray:
    """Each group equally likely; a person's pictures within two years of the person's age, inside the group."""
    edges = np.array(AGE_GROUPS) + np.array([0, 0.99])
    person = Dice(seed, 2, identity)
    low, high = edges[person.pick(len(AGE_GROUPS))].T
    centre = low + (high - low) * person.flat()
    return np.clip(centre + Dice(seed, 3, identity, picture).flat(-2, 2), low, high)


def _ages_of_adults(seed: int, identity: np.ndarray, young: np.ndarray) -> np.ndarray:
    """18 … 45 if Young, else 46 … 80."""
    u = Dice(seed, 2, identity).flat(0, 0.999)
    return np.where(young, ADULT + (YOUNG_UNTIL - ADULT) * u, YOUNG_UNTIL + (OLDEST + 1 - YOUNG_UNTIL) * u)


def _checked(frequencies: Mapping[str, float]) -> dict[str, float]:
    for attribute, p in frequencies.items():
        column(attribute)
        if not 0 <= p <= 1:
            raise InputError(f"the frequency of {attribute} is {p}: expected a probability, 0 … 1.")
    return dict(frequencies)


def _causes(asked: Mapping[tuple[str, str], float]) -> dict[str, tuple[str, float, bool]]:
    """{effect: (cause, correlation, asked for)}: first what is asked for, then the defaults that still fit in."""
    cause: dict[str, tuple[str, float, bool]] = {}
    for (parent, effect), phi in asked.items():
        for name in (parent, effect):
            column(name)
        if not -1 <= phi <= 1:
            raise InputError(f"the correlation of {parent} and {effect} is {phi}: expected -1 … 1.")
        if effect in cause:
            raise InputError(f"{effect} has two causes, {cause[effect][0]} and {parent}: name one of them.")
        if effect in _line(parent, cause):
            raise InputError(f"{parent} and {effect} cause each other: turn one of the correlations round.")
        cause[effect] = (parent, float(phi), True)
    for (parent, effect), phi in CORRELATIONS.items():
        if effect not in cause and effect not in _line(parent, cause):
            cause[effect] = (parent, phi, False)
    return cause


def _line(attribute: str, cause: Mapping[str, tuple]) -> list[str]:
    """The attribute, its cause, the cause of that, and so on."""
    line = [attribute]
    while line[-1] in cause:
        line.append(cause[line[-1]][0])
    return line


def _causes_first(cause: Mapping[str, tuple]) -> list[str]:
    return sorted(ATTRIBUTES, key=lambda attribute: len(_line(attribute, cause)))


def _depends_on_picture(attribute: str, cause: Mapping[str, tuple]) -> bool:
    return any(a in OF_THE_PICTURE for a in _line(attribute, cause))


def _conditional(parent: str, effect: str, frequency: Mapping[str, float], phi: float, strict: bool):
    """P(effect | parent) and P(effect | not parent), such that both keep their frequencies and correlate by phi.

    P(both) = ab + phi · √(a(1-a)b(1-b)) must lie in max(0, a+b-1) … min(a, b) (Fréchet's bounds); a default that does
    not is moved to the nearer bound.
    """
    a, b = frequency[parent], frequency[effect]
    spread = (a * (1 - a) * b * (1 - b)) ** 0.5
    least, most = max(0.0, a + b - 1), min(a, b)
    both = a * b + phi * spread
    if strict and (not least - 1e-9 <= both <= most + 1e-9 or (phi != 0 and spread == 0)):
        low, high = ((bound - a * b) / spread if spread else 0.0 for bound in (least, most))
        raise InputError(
            f"a correlation of {phi} between {parent} (frequency {a}) and {effect} (frequency {b}) is impossible:"
            f" expected {low:.2f} … {high:.2f}, or other frequencies."
        )
    both = min(max(both, least), most)
    return (both / a if a else b), ((b - both) / (1 - a) if a < 1 else b)
