"""Logits as *Forget with Precision* published them: a folder, or an archive that is read in place.

Layout: ``logits_retain.npy`` and ``APPROACH/logits_unlearn.npy``, float arrays of shape (examples, 1 + models,
classes) whose entry 0 along axis 1 is the one-hot label; ``metrics.csv`` and ``APPROACH/metrics.csv`` with the
columns seed, retain_accuracy, forget_accuracy, test_accuracy (shares between 0 and 1).

Models that predict a value, such as an age, have one output: entry 0 is then the true value itself, and the columns
are retain_error, forget_error, test_error (mean absolute errors).
"""

from __future__ import annotations

import csv
import io
import math
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mulib.data.archive import Archive, LayoutError
from mulib.errors import InputError, refusing

COLUMNS = ("retain", "forget", "test")
SCORES = ("accuracy", "error")  # of classes, of values
NULL = "baseline"  # the published name of the retrained-against-retrained row; its own logits are never used


@dataclass(frozen=True)
class Logits:
    """An open logits folder. `path` is a folder, .zip or .tar with the published layout at its top."""

    path: Path

    def __post_init__(self):
        object.__setattr__(self, "path", Path(self.path))
        if self.archive.prefix:  # one of several, perhaps
            raise LayoutError(f"{self.path} holds no logits_retain.npy at its top: name {self.archive.prefix} in it.")

    @cached_property
    def archive(self) -> Archive:
        """The files of the layout."""
        return Archive(self.path, "logits_retain.npy")

    @property
    def approaches(self) -> tuple[str, ...]:
        """The approaches that have logits, in alphabetical order, without the null row."""
        found = (n.rpartition("/")[0] for n in self.archive.files() if n.endswith("/logits_unlearn.npy"))
        return tuple(sorted(set(found) - {NULL}))

    @property
    def statistic(self) -> str:
        """What the attack looks at: "hinge" for classes, "residual" for values."""
        return "residual" if self.labels.is_floating_point() else "hinge"

    @cached_property
    def retrained(self) -> Tensor:
        """Logits of the retrained models, (examples, models, classes)."""
        return self._load("logits_retain.npy")[0]

    @cached_property
    def labels(self) -> Tensor:
        """(examples,) int64 classes, or float values."""
        return self._load("logits_retain.npy")[1]

    def unlearned(self, approach: str) -> Tensor:
        """Logits of one approach's unlearned models, (examples, models, classes)."""
        if approach not in self.approaches:
            known = ", ".join(self.approaches) or "none"
            raise InputError(f"there is no approach {approach!r} in {self.path}: it holds {known}.")
        logits, labels = self._load(f"{approach}/logits_unlearn.npy")
        if labels.shape != self.labels.shape or not torch.equal(labels, self.labels):
            counts = f"{len(labels)} against {len(self.labels)} examples"
            raise InputError(f"{approach} and logits_retain.npy are not the same forget set ({counts}, by labels).")
        return logits

    def accuracy(self, approach: str = NULL) -> dict[str, Tensor]:
        """{"retain": …, "forget": …, "test": …}: (models,) float64, of an approach or of the retrained models:
        shares of right answers, or mean absolute errors of values."""
        name = "metrics.csv" if approach == NULL else f"{approach}/metrics.csv"
        if name not in self.archive:
            raise InputError(f"{self.path} holds no {name}: expected the accuracies of {approach} beside its logits.")
        columns = {column: f"{column}_{SCORES[self.labels.is_floating_point()]}" for column in COLUMNS}
        rows, where = self.archive.rows(name, [*columns.values()]), f"{name} in {self.path}"
        with refusing(where, "expected numbers, correct the file"):
            shares = {column: [float(row[head]) for row in rows] for column, head in columns.items()}
        most = math.inf if self.labels.is_floating_point() else 1
        for row, values in zip(rows, zip(*shares.values(), strict=True), strict=True):
            if not all(0 <= value <= most and math.isfinite(value) for value in values):
                raise InputError(f"{row['line']} has {values}: expected shares in 0 … 1, or errors above 0.")
        models = self.retrained.shape[1] if approach == NULL else self.unlearned(approach).shape[1]
        if len(rows) != models:
            raise InputError(f"{where} has {len(rows)} rows for {models} models: expected one each.")
        return {name: torch.tensor(values, dtype=torch.float64) for name, values in shares.items()}

    def _load(self, name: str) -> tuple[Tensor, Tensor]:
        """Logits (examples, models, classes) and labels (examples,) of one file."""
        content = self.archive.read(name)
        with refusing(f"{name} in {self.path}", "it may be truncated, fetch it again"):
            array = np.load(io.BytesIO(content), allow_pickle=False)
            array = array.astype(array.dtype.newbyteorder("="), copy=False)
        if (
            array.ndim != 3
            or array.dtype not in (np.float16, np.float32, np.float64)
            or array.shape[1] < 2
            or 0 in array.shape
        ):
            found = f"{array.dtype} of shape {array.shape}"
            raise InputError(f"{name} in {self.path} is {found}: expected floats (examples, 1 + models, classes).")
        one_hot = array[:, 0]
        if array.shape[2] == 1:
            return torch.from_numpy(array[:, 1:]), torch.from_numpy(one_hot[:, 0])
        if not (np.isin(one_hot, (0, 1)).all() and (one_hot.sum(1) == 1).all()):
            raise InputError(f"{name} in {self.path} has no one-hot labels at entry 0 along axis 1, as published.")
        return torch.from_numpy(array[:, 1:]), torch.from_numpy(one_hot.argmax(1))


def write_logits(folder: Path, approach: str, logits: Tensor, labels: Tensor, accuracy: dict[str, Tensor]) -> None:
    """Write one approach in the published layout; the approach "baseline" is the retrained models themselves.

    Args:
        logits: (examples, models, classes). labels: (examples,) int64, written as the one-hot entry 0; or float
            values and logits of one output.
        accuracy: {"retain": …, "forget": …, "test": …}, each (models,) shares, or mean absolute errors of values.
    """
    retrained = approach == NULL
    target = Path(folder) if retrained else Path(folder) / approach
    target.mkdir(parents=True, exist_ok=True)
    values = labels.is_floating_point()
    truth = labels[:, None] if values else torch.nn.functional.one_hot(labels, logits.shape[2])
    array = torch.cat([truth[:, None].to(logits.dtype), logits], 1).numpy()
    np.save(target / ("logits_retain.npy" if retrained else "logits_unlearn.npy"), array)
    with open(target / "metrics.csv", "w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["seed", *(f"{name}_{SCORES[values]}" for name in COLUMNS)])
        table.writerows(zip(range(logits.shape[1]), *(accuracy[name].tolist() for name in COLUMNS), strict=True))
