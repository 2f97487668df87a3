"""Errors that a user can act on: on the command line they are one sentence and exit code 2."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager


class InputError(ValueError):
    """Bad input. The message says what is wrong, what was expected and what to do, in one sentence."""


class DivergedError(InputError):
    """A loss that is not finite. Whoever trained has put the model back to where it was after the last good epoch.

    Attributes:
        step, epoch: where, counted from 1.
        model: the model as it was put back, where the error was raised.
    """

    def __init__(self, message: str, step: int, epoch: int):
        super().__init__(message, step, epoch)  # all of them, so that it can be pickled
        self.step, self.epoch, self.model = step, epoch, None

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
