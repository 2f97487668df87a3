"""How a network is trained, as one frozen value: it travels from notebook to plan, method, training and record."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any, Literal, get_args

from mulib.errors import InputError

Optimiser = Literal["sgd", "adam"]
Precision = Literal["float32", "bf16"]


@dataclass(frozen=True)
class Steps:
    """A learning rate that is multiplied by `factor` when so many epochs are done: `at` these, or `every` so many.

    >>> fifth = Steps(0.2, at=(10, 20))  # a fifth of it at epoch 10, and again at 20
    >>> slowly = Steps(0.6, every=125)
    """

    factor: float
    at: tuple[int, ...] = ()
    every: int | None = None

    def __post_init__(self):
        object.__setattr__(self, "at", tuple(self.at))
        if not self.factor > 0 or (self.every is not None and (self.at or self.every < 1)):
            raise InputError(
                f"{self}: expected a factor above 0, and either epochs `at` which or a number ≥ 1 `every`."
            )


Schedule = Literal["constant", "cosine", "onecycle"] | tuple[int, ...] | Steps


@dataclass(frozen=True)
class Recipe:
    """A recipe for training.

    Attributes:
        epochs: passes over the data; 0 trains nothing.
        lr: learning rate, the peak one for "onecycle".
        momentum, nesterov: of "sgd".
        weight_decay: added to the gradient, by both optimisers.
        schedule: "constant", "cosine" (to 0), "onecycle", the epochs at which the rate is divided by ten, or `Steps`.
        precision: "bf16" computes the objective under autocast; weights and their updates stay float32.

    Raises:
        InputError: a number out of range, or an unknown word.

    >>> quick = Recipe(epochs=100, lr=0.1, schedule=(35, 70, 90)).faster(5).but(nesterov=True)
    >>> quick.epochs, quick.schedule
    (20, (7, 14, 18))
    """

    epochs: int
    lr: float
    batch_size: int = 128
    momentum: float = 0.9
    weight_decay: float = 5e-4
    nesterov: bool = False
    schedule: Schedule = "constant"
    optimiser: Optimiser = "sgd"
    precision: Precision = "float32"

    def __post_init__(self):
        if self.epochs < 0 or not self.lr > 0 or self.batch_size < 1:
            numbers = f"epochs {self.epochs}, lr {self.lr}, batch_size {self.batch_size}"
            raise InputError(f"{numbers}: expected ≥ 0, > 0 and ≥ 1.")
        if not 0 <= self.momentum < 1 or self.weight_decay < 0 or (self.nesterov and not self.momentum):
            numbers = f"momentum {self.momentum}, weight_decay {self.weight_decay}, nesterov {self.nesterov}"
            raise InputError(f"{numbers}: expected in [0, 1), ≥ 0, and Nesterov's form only of a momentum above 0.")
        for name, words in (("optimiser", get_args(Optimiser)), ("precision", get_args(Precision))):
            if getattr(self, name) not in words:
                raise InputError(f"unknown {name} {getattr(self, name)!r}: expected {words[0]!r} or {words[1]!r}.")
        if isinstance(self.schedule, list | dict):  # as JSON and YAML have it
            plain: Any = self.schedule
            object.__setattr__(self, "schedule", Steps(**plain) if isinstance(plain, dict) else tuple(plain))
        if not isinstance(self.schedule, tuple | Steps) and self.schedule not in ("constant", "cosine", "onecycle"):
            known = "'constant', 'cosine', 'onecycle', a tuple of epochs or Steps"
            raise InputError(f"unknown schedule {self.schedule!r}: expected {known}.")

    def but(self, **changes) -> Recipe:
        """The recipe with other values.

        Raises:
            InputError: a name that it does not have, or a bad value.
        """
        known = [field.name for field in fields(self)]
        if unknown := [name for name in changes if name not in known]:
            raise InputError(f"a recipe has no {', '.join(unknown)}: expected some of {', '.join(known)}.")
        return replace(self, **changes)

    def faster(self, n: int, rate: float | None = None) -> Recipe:
        """An n-th of the epochs, at least one, at n times the learning rate, or `rate` times.

        The epochs of a schedule are divided too.

        >>> Recipe(epochs=11, lr=0.01).faster(5)
        Recipe(epochs=2, lr=0.05, ...)
        """
        steps, epochs = self.schedule, self.epochs and max(1, self.epochs // n)
        if isinstance(steps, Steps):
            every = steps.every and max(1, steps.every // n)
            steps = replace(steps, at=tuple(epoch // n for epoch in steps.at), every=every)
        elif isinstance(steps, tuple):
            steps = tuple(epoch // n for epoch in steps)
        return replace(self, epochs=epochs, lr=self.lr * (n if rate is None else rate), schedule=steps)
