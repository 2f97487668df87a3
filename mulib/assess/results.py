"""What an experiment gave: logits in the published layout, and one row per approach with its spread over originals."""

from __future__ import annotations

import json
import math
import statistics
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor

from mulib import audit, unlearn
from mulib.assess.plan import Job, Plan
from mulib.data.logits import COLUMNS, NULL, Logits, write_logits
from mulib.predict import right
from mulib.show.style import spread

KEPT = ("forget", "unseen", "test")  # the sets whose logits are kept
OWN = "own"  # in place of the number of an original: each model has its own
AGAIN = "null"  # the other retrained models, as an approach of the layout


@dataclass(frozen=True)
class Row:
    """One approach: a value per original model in each field.

    Attributes:
        approach: "original", "null" (retrained against retrained) or a method.
        retain, forget, test: mean over the models of the accuracy, or of the absolute error of values.
        epsilon: the audit against the retrained models; empty for the originals themselves.
        own: the same where every unlearned model has an original of its own; None where the plan has none.
        cost: seconds of a model of this kind over those of a retrained one, medians; of one core, on the CPU.
    """

    approach: str
    retain: tuple[float, ...]
    forget: tuple[float, ...]
    test: tuple[float, ...]
    epsilon: tuple[audit.Epsilon, ...]
    own: audit.Epsilon | None
    cost: float

    def summary(self) -> dict:
        """The row as JSON holds it."""
        audits = [each.summary() for each in self.epsilon]
        own = None if self.own is None else self.own.summary()
        row = {name: getattr(self, name) for name in ("approach", *COLUMNS)}
        return row | {"epsilon": audits, "own": own, "cost": self.cost}

    def cells(self, format_spec: str = ".3f") -> dict[str, str]:
        """The row as a table shows it: mean ± standard deviation over the originals; of ε̂, where one is infinite,
        the median."""
        audits = {
            "ε̂": [each.median for each in self.epsilon],
            "lower bound": [each.lower_median for each in self.epsilon],
            "worst decile": [each.worst_decile for each in self.epsilon],
        }
        row = {"approach": unlearn.title(self.approach)}
        row |= {name: spread(getattr(self, name), format_spec) for name in COLUMNS}
        row |= {name: _over_originals(values) for name, values in audits.items()}
        row["ε̂, own originals"] = _over_originals([] if self.own is None else [self.own.median])
        return row | {"cost": f"{self.cost:.0%}"}


@dataclass(frozen=True)
class Assessment:
    """A finished experiment in `folder`, in the published layout: a folder ``original-O`` per original, and
    ``own-originals`` where every unlearned model has its own."""

    folder: Path
    plan: Plan

    @property
    def originals(self) -> range:
        """The numbers of the originals that many models start from."""
        return range(self.plan.originals)

    @property
    def starts(self) -> tuple[int | str, ...]:
        """What unlearned models start from: each of the originals, and `OWN` where the plan has it."""
        return (*self.originals, OWN) if self.plan.own else tuple(self.originals)

    @property
    def approaches(self) -> tuple[str, ...]:
        """The null row, then the methods in the order of the plan."""
        return AGAIN, *self.plan.methods

    def published(self, original: int | str = 0) -> Logits:
        """The logits of all models on the forget set, as `mulib epsilon` and `audit.epsilon` read them."""
        return Logits(self._layout(original))

    def _layout(self, original: int | str) -> Path:
        return self.folder / ("own-originals" if original == OWN else f"original-{original}")

    def logits(self, kind: str, name: str = "forget", original: int | str | None = None) -> Tensor:
        """(examples, models, classes) on the forget, unseen or test set, of the models of a kind: "original",
        "retrained" (the reference), "null" (the other retrained ones), or a method with its `original` (`OWN`: one
        model from each of the further originals)."""
        return torch.stack([_tensor(self._file(job), f"logits.{name}") for job in self._jobs(kind, original)], 1)

    def scores(self, kind: str, original: int | str | None = None) -> dict[str, Tensor]:
        """{"retain", "forget", "test", "unseen"}: (models,) float64 accuracy, or absolute error of values."""
        each = [json.loads(_note(self._file(job))["scores"]) for job in self._jobs(kind, original)]
        return {name: torch.tensor([one[name] for one in each], dtype=torch.float64) for name in each[0]}

    def weights(self, original: int) -> dict[str, Tensor]:
        """The state of an original model, for `load_state_dict`."""
        tensors = load_file(self._file(Job("original", None, original)))
        return {k.removeprefix("weights."): v for k, v in tensors.items() if k.startswith("weights.")}

    def cost(self, kind: str) -> float:
        """Median seconds of a model of this kind over those of a retrained one."""
        each = [statistics.median(self._seconds(k)) for k in (kind, "retrained")]
        return each[0] / each[1]

    @cached_property
    def rows(self) -> tuple[Row, ...]:
        """The originals, the null row and the methods."""
        return tuple(self._row(approach) for approach in ("original", *self.approaches))

    def publish(self) -> None:
        """Write the published layout, one folder per original."""
        labels = self.plan.load().forget.labels
        for original in self.starts:
            folder = self._layout(original)
            write_logits(folder, NULL, self.logits("retrained"), labels, self.scores("retrained"))
            for approach in self.approaches:
                logits, scores = self.logits(approach, original=original), self.scores(approach, original)
                write_logits(folder, approach, logits, labels, scores)

    def _row(self, approach: str) -> Row:
        if approach == "original":
            scores = self.scores("original")
            return Row(approach, *(tuple(scores[name].tolist()) for name in COLUMNS), (), None, self.cost("original"))
        scores = [self.scores(approach, original) for original in self.originals]
        means = (tuple(float(each[name].mean()) for each in scores) for name in COLUMNS)
        cost = 1.0 if approach == AGAIN else self.cost(approach)
        own = self._epsilon(approach, OWN) if self.plan.own else None
        return Row(approach, *means, tuple(self._epsilon(approach, o) for o in self.originals), own, cost)

    def _epsilon(self, approach: str, original: int | str) -> audit.Epsilon:
        """For the null row there is nothing to start from: each original has its own split of the retrained models."""
        published = self.published(original)
        sides = published.unlearned(approach), published.retrained
        if approach == AGAIN:
            split = None if original == OWN else original
            sides = audit.split_null(torch.cat([sides[1], sides[0]], 1), seed=split)
        return audit.epsilon(*sides, published.labels, statistic=published.statistic)

    def _jobs(self, kind: str, original: int | str | None) -> list[Job]:
        n = self.plan.models
        if kind == "original":
            return [Job(kind, None, o) for o in self.originals]
        if kind in ("retrained", AGAIN):
            return [Job("retrained", None, i) for i in (range(n) if kind == "retrained" else range(n, 2 * n))]
        if original == OWN:
            return [Job(kind, self.plan.originals + i, 0) for i in range(n)]
        return [Job(kind, original, i) for i in range(n)]

    def _seconds(self, kind: str) -> list[float]:
        starts = self.starts if kind in self.plan.methods else [None]
        return [seconds_of(self._file(job)) for original in starts for job in self._jobs(kind, original)]

    def _file(self, job: Job) -> Path:
        return self.folder / "models" / f"{job.name}.safetensors"


def _over_originals(values: list[float]) -> str:
    if not values:
        return "–"
    if all(map(math.isfinite, values)):
        return spread(values)
    middle = statistics.median(values)
    return f"{middle:.2f}" if math.isfinite(middle) else "∞" if middle > 0 else "–"


def score(outputs: Tensor, labels: Tensor) -> float:
    """How good outputs are: the share of right answers (over attributes, too), or the mean absolute error of values.

    NaN without examples.
    """
    values = labels.is_floating_point() and labels.ndim == 1
    each = (outputs[:, 0] - labels).abs() if values else right(outputs, labels)
    return each.double().mean().item()


def seconds_of(file: Path) -> float:
    """How long a model took to train, by its file."""
    return float(_note(file)["seconds"])


def _note(file: Path) -> dict[str, str]:
    with safe_open(file, "pt") as opened:
        return opened.metadata()


def _tensor(file: Path, name: str) -> Tensor:
    with safe_open(file, "pt") as opened:
        return opened.get_tensor(name)
