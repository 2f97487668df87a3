"""Every data set the library knows, by name: what `python -m mulib data` lists and checks."""

from __future__ import annotations

import inspect
from dataclasses import dataclass

from mulib.data import faces
from mulib.data.digits import digits
from mulib.data.download import SOURCES
from mulib.data.readers.ages import AGEDB, UTKFACE, agedb, utkface
from mulib.data.readers.celeba import CELEBA, KAGGLE, MUCAC, celeba, mucac
from mulib.data.readers.cifar import LAYOUTS, cifar10
from mulib.data.readers.imagenet import IMAGENET
from mulib.data.readers.mufac import MUFAC, mufac
from mulib.data.readers.table import table
from mulib.data.sets import Task
from mulib.errors import InputError

BUILT_IN = {
    "digits": digits,
    "faces-age": faces.age,
    "faces-attributes": faces.attributes,
    "faces-features": faces.features,
    "faces-targets": faces.targets,
}
READERS = {
    "cifar10": (cifar10, LAYOUTS),
    "celeba": (celeba, (CELEBA, KAGGLE)),
    "mufac": (mufac, (MUFAC,)),
    "mucac": (mucac, (MUCAC,)),
    "agedb": (agedb, (AGEDB,)),
    "utkface": (utkface, (UTKFACE,)),
}


@dataclass(frozen=True)
class Entry:
    """A data set: whether it can be used here, and where it lies or how to get it."""

    name: str
    available: bool
    where: str


def listing() -> list[Entry]:
    """What there is, built-in sets first. Nothing is read, unpacked or downloaded."""
    entries = [Entry(name, True, "built in") for name in BUILT_IN]
    published = {name: layouts for name, (_, layouts) in READERS.items()} | {"imagenet": (IMAGENET,)}
    for name, layouts in (published | {name: (source,) for name, source in SOURCES.items()}).items():
        place = next((place for layout in layouts if (place := layout.find()) is not None), None)
        entries.append(Entry(name, place is not None, layouts[0].how if place is None else str(place)))
    return entries


def load(name: str, **options) -> Task:
    """The task of that name, with the arguments of its function.

    "table" is one's own data: `load("table", path="folder")`.

    Raises:
        InputError: an unknown name or argument, or data that is not on this machine.
    """
    functions = BUILT_IN | {reader: function for reader, (function, _) in READERS.items()} | {"table": table}
    if function := functions.get(name):
        known = inspect.signature(function).parameters
        if unknown := set(options) - set(known):
            raise InputError(f"{name} has no option {', '.join(sorted(unknown))}: expected {', '.join(known)}.")
        if missing := [option for option, p in known.items() if p.default is p.empty and option not in options]:
            raise InputError(f"{name} needs the option {missing[0]}: give it, as in load({name!r}, {missing[0]}=…).")
        return function(**options)
    raise InputError(f"unknown data set {name!r}: expected one of {', '.join(functions)}.")
