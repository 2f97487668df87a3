"""The registry of unlearning methods: plain functions, listed by name, never wrapped."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import metadata

from mulib.errors import InputError
from mulib.recipe import Recipe


@dataclass(frozen=True)
class Method:
    """An unlearning method: ``run(model, request, recipe=…, *, …, seed=0, on_step=None, progress=True)`` → an unlearned
    copy."""

    name: str
    run: Callable
    title: str
    paper: str
    family: str

    @property
    def recipes(self) -> dict[str, Recipe]:
        """{option: its default} for each training of the method: "recipe", and what its other phases are called."""
        parameters = inspect.signature(self.run).parameters.values()
        return {p.name: p.default for p in parameters if isinstance(p.default, Recipe)}


_METHODS: dict[str, Method] = {}


def method(name: str, *, title: str, paper: str, family: str) -> Callable[[Callable], Callable]:
    """Register an unlearning method under `name`; the function itself is returned unchanged.

    Args:
        name: what it is called in code and on the command line; unique.
        title: what it is called in tables and on figures.
        paper: the bibliography key of its source.
        family: what it acts on, such as "retraining", "finetuning", "gradient", "pruning".

    >>> from mulib.unlearn import MUFAC
    >>> @method("nothing", title="nothing at all", paper="none", family="null")
    ... def nothing(model, request, recipe=MUFAC, *, seed=0, on_step=None, progress=True): ...
    """

    def register(run: Callable) -> Callable:
        if name in _METHODS and _METHODS[name].run.__qualname__ != run.__qualname__:
            raise InputError(f"there is a method {name!r} already: choose another name.")
        _METHODS[name] = Method(name, run, title, paper, family)  # re-running a notebook's cell replaces its own entry
        return run

    return register


@cache
def plug_ins() -> tuple[str, ...]:
    """Import what installed packages name under the entry point ``mulib.methods``, once: they register their methods.

    One that fails is left out, with a warning. Returns the names of those that did not.
    """
    imported = []
    for point in metadata.entry_points(group="mulib.methods"):
        try:
            point.load()
            imported.append(point.name)
        except Exception as error:  # another package may fail in any way
            why = f"{type(error).__name__}: {error}"
            warnings.warn(
                f"the methods of {point.value} are left out, because it cannot be imported ({why}).", stacklevel=3
            )
    return tuple(imported)


def methods(family: str | None = None) -> dict[str, Method]:
    """The registered methods by name, in order of registration: all, or those of one family. Plug-ins come last."""
    plug_ins()
    return {name: each for name, each in _METHODS.items() if family in (None, each.family)}


def get(name: str) -> Method:
    """The method of that name.

    Raises:
        InputError: there is none; the message lists those that exist.
    """
    if name not in _METHODS:
        plug_ins()
    if name not in _METHODS:
        raise InputError(f"there is no method {name!r}: expected one of {', '.join(_METHODS)}.")
    return _METHODS[name]


def title(approach: str) -> str:
    """What a table calls an approach: a method's title; the others, such as "retrained" and "null", as they are."""
    return _METHODS[approach].title if approach in _METHODS else approach
