"""Errors that a user can act on: on the command line they are one sentence and exit code 2."""

from __future__ import annotations

import errno
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal, get_args, get_origin

if TYPE_CHECKING:
    from torch import nn


class InputError(ValueError):
    """Bad input. The message says what is wrong, what was expected and what to do, in one sentence."""


class DivergedError(InputError):
    """A loss that is not finite. Whoever trained has put the model back to where it was after the last good epoch.

    Attributes:
        step, epoch: where, counted from 1.
        model: the model as it was put back; only where the error was raised, no process sends it to another.
    """

    model: nn.Module

    def __init__(self, message: str, step: int, epoch: int):
        super().__init__(message, step, epoch)  # all of them, so that it can be pickled
        self.step, self.epoch = step, epoch

    def __str__(self) -> str:
        return self.args[0]


@contextmanager
def refusing(what: str, then: str = "fetch it again") -> Iterator[None]:
    """The one way to refuse what others wrote: whatever its reading raises becomes one sentence. Damaged bytes can
    raise anything; an `InputError` says more already, and a full disk is no damage.

    >>> with refusing("table.csv", "correct the file"):
    ...     float("x")
    Traceback (most recent call last):
    mulib.errors.InputError: table.csv cannot be read (could not convert string to float: 'x'): correct the file.
    """
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            then = "the disk is full: make room, or set TMPDIR to a larger one"
        why = " ".join(str(error).split())[:200] or type(error).__name__
        raise InputError(f"{what} cannot be read ({why}): {then}.") from error


def check_values(declared: Mapping[str, object], values: Mapping[str, object], where: str) -> None:
    """Refuse a value that its declaration does not have: choices, a range, or both in a tuple.

    A notebook declares its parameters where it gives them, as annotations: `dataset: Literal["faces", "celeba"]`,
    `seed: range(2**32)`, `filter_index: (None, range(512))`; text is a condition, `delta: "0 <= delta < 1"`.

    Raises:
        InputError: names the parameter, its value and what is known.
    """
    for name in declared.keys() & values.keys():
        value, known = values[name], declared[name]
        known = get_args(known) if get_origin(known) is Literal else known
        if not isinstance(known, tuple | range | str):
            continue  # an annotation that declares no values
        if isinstance(known, str):
            if name not in known:
                continue
            number = isinstance(value, int | float) and not isinstance(value, bool)
            fits = number and eval(known, {"__builtins__": {}}, {name: value})  # of the notebook's own code
            words = known
        else:
            each = known if isinstance(known, tuple) else (known,)
            fits = any(_fits(value, one) for one in each)
            words = ", ".join(f"{one.start} … {one.stop - 1}" if isinstance(one, range) else repr(one) for one in each)
        if not fits:
            raise InputError(f"{name} is {value!r} in {where}: expected {words}.")


def _fits(value: object, known: object) -> bool:
    if isinstance(known, range):
        return type(value) is int and value in known
    return type(value) is type(known) and value == known
