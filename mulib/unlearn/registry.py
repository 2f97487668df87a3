"""The registry of unlearning methods: plain functions, listed by name, never wrapped."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from mulib.errors import InputError


@dataclass(frozen=True)
class Method:
    """An unlearning method: ``run(model, request, *, …, seed=0, on_step=None, progress=True)`` → an unlearned copy."""

    name: str
    run: Callable
    paper: str
    family: str


_METHODS: dict[str, Method] = {}


def method(name: str, *, paper: str, family: str) -> Callable[[Callable], Callable]:
    """Register an unlearning method under `name`; the function itself is returned unchanged.

    Args:
        name: what it is called in tables and on the command line; unique.
        paper: the bibliography key of its source.
        family: what it acts on, such as "retraining", "finetuning", "gradient", "pruning".

    >>> @method("nothing", paper="none", family="null")
    ... def nothing(model, request, *, seed=0, on_step=None, progress=True): ...
    """

    def register(run: Callable) -> Callable:
        if name in _METHODS and _METHODS[name].run.__qualname__ != run.__qualname__:
            raise InputError(f"there is a method {name!r} already: choose another name.")
        _METHODS[name] = Method(name, run, paper, family)  # re-running a notebook's cell replaces its own entry
        return run

    return register


def methods() -> dict[str, Method]:
    """All registered methods by name, in order of registration."""
    return dict(_METHODS)


def get(name: str) -> Method:
    """The method of that name.

    Raises:
        InputError: there is none; the message lists those that exist.
    """
    if name not in _METHODS:
        raise InputError(f"there is no method {name!r}: expected one of {', '.join(_METHODS)}.")
    return _METHODS[name]
