"""Errors that a user can act on: on the command line they are one sentence and exit code 2."""

from __future__ import annotations

from typing import TYPE_CHECKING

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
