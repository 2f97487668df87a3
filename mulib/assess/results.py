"""What an experiment gave: logits in the published layout, and all that is measured on them, per original."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from torch import Tensor

from mulib import audit
from mulib.assess.measures import AGAIN, Results, written
from mulib.assess.plan import GIVEN, Job, Plan
from mulib.audit import example_losses
from mulib.data.logits import COLUMNS, NULL, Logits, write_logits
from mulib.errors import InputError, refusing
from mulib.predict import right

KEPT = ("forget", "unseen", "test")  # the sets whose logits are kept
OWN = "own"  # in place of the number of an original: each model has its own


@dataclass(frozen=True)
class Row:
    """One approach of an experiment with two models or more: a value per original model in each field.

    Attributes:
        approach: "original", "null" (retrained against retrained) or a row of the plan.
        title: what tables call it.
        retain, forget, test: mean over the models of the accuracy, or of the absolute error of values.
        epsilon: the audit against the retrained models; empty for the originals themselves.
        own: the same where every unlearned model has an original of its own; None where the plan has none.
        cost: seconds of a model of this kind over those of a retrained one, medians; of one core, on the CPU.
    """

    approach: str
    title: str
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
        audits = {"ε̂": "median", "lower bound": "lower_median", "worst decile": "worst_decile"}
        row = {"approach": self.title} | {name: written(getattr(self, name), format_spec) for name in COLUMNS}
        row |= {name: written([getattr(each, of) for each in self.epsilon]) for name, of in audits.items()}
        row["ε̂, own originals"] = written([] if self.own is None else [self.own.median])
        return row | {"cost": f"{self.cost:.0%}"}


@dataclass(frozen=True)
class Assessment(Results):
    """An experiment in `folder`, finished or in part, in the published layout: a folder ``original-O`` per original,
    and ``own-originals`` where every unlearned model has its own."""

    folder: Path
    plan: Plan

    @classmethod
    def open(cls, folder: Path | str) -> Assessment:
        """The experiment that was begun in `folder`, with what it holds so far.

        Raises:
            InputError: there is none, or it is damaged.
        """
        note = Path(folder) / "plan.json"
        if not note.exists():
            raise InputError(f"{folder} holds no experiment: expected a folder that `mulib assess` wrote.")
        with refusing(str(note), "expected what `mulib assess` wrote; the same command writes it anew"):
            return cls(Path(folder), Plan.of(json.loads(note.read_text())["plan"]))

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
        """The null row, then the rows in the order of the plan."""
        return AGAIN, *self.plan.methods

    def published(self, original: int | str = 0, variant: str = GIVEN) -> Logits:
        """The logits of all models on the forget set, as `mulib epsilon` and `audit.epsilon` read them."""
        return Logits(self._layout(original, variant))

    def _layout(self, original: int | str, variant: str) -> Path:
        where = "" if variant == GIVEN else variant.replace(" ", "-") + "."
        return self.folder / (where + ("own-originals" if original == OWN else f"original-{original}"))

    def logits(
        self, kind: str, name: str = "forget", original: int | str | None = None, variant: str = GIVEN
    ) -> Tensor:
        """(examples, models, classes) on the forget, unseen or test set, of the models of a kind: "original",
        "retrained" (the reference), "null" (the other retrained ones), or a row with its `original` (`OWN`: one
        model from each of the further originals)."""
        return self._logits(self._jobs(kind, original, variant), name)

    def scores(self, kind: str, original: int | str | None = None, variant: str = GIVEN) -> dict[str, Tensor]:
        """{"retain", "forget", "test", "unseen"}: (models,) float64 accuracy, or absolute error of values."""
        return self._scores(self._jobs(kind, original, variant))

    def labels(self, name: str, variant: str = GIVEN) -> Tensor:
        """Of the forget, unseen or test set."""
        return _tensor(labels_file(self.folder, variant), name)

    def losses(self, kind: str, name: str, original: int | None = None, variant: str = GIVEN) -> np.ndarray:
        """(models, examples) in nats, as the attacks read them; kinds as for `logits`."""
        z, labels = self.logits(kind, name, original, variant), self.labels(name, variant)
        return np.stack([example_losses(z[:, i], labels) for i in range(z.shape[1])])

    def weights(self, original: int, variant: str = GIVEN) -> dict[str, Tensor]:
        """The state of an original model, for `load_state_dict`."""
        with _whole(self._file(Job("original", None, original, variant))) as file:
            names = [name for name in file.keys() if name.startswith("weights.")]  # noqa: SIM118  not a mapping
            return {name.removeprefix("weights."): file.get_tensor(name) for name in names}

    def cost(self, kind: str, variant: str = GIVEN) -> float:
        """Median seconds of a model of this kind over those of a retrained one."""
        starts = self.starts if kind in self.plan.methods else [None]
        jobs = [job for original in starts for job in self._jobs(kind, original, variant)]
        return self._median_seconds(jobs) / self._median_seconds(self._jobs("retrained", None, variant))

    @cached_property
    def rows(self) -> tuple[Row, ...]:
        """The originals, the null row and the plan's rows, on the data as given."""
        return tuple(self._row(approach) for approach in ("original", *self.approaches))

    @cached_property
    def trials(self) -> dict[str, dict[float, dict[str, float]]]:
        """As `Results.trials`; empty where nothing is chosen."""
        found: dict[str, dict[float, dict[str, float]]] = {}
        for job in self.plan.jobs()[1]:
            if job.factor is not None and self._file(job).exists():
                found.setdefault(job.kind, {})[job.factor] = _scores_of(self._file(job))
        return found

    @cached_property
    def chosen(self) -> dict[str, float]:
        """As `Results.chosen`: by validation, the first of equal ones."""
        return {row: chosen(self.plan, self.trials, row) for row in self.plan.methods}

    def measures(self, row: str, variant: str = GIVEN) -> list[dict[str, float]]:
        """As `Results.measures`."""
        if (row, variant) not in self._measured:
            sides = {o: [*self._own(row, o, variant), *self._beside(row, o, variant)] for o in self.originals}
            whole = (o for o, jobs in sides.items() if all(self._file(job).exists() for job in jobs))
            self._measured[row, variant] = [self._measure(row, o, variant) for o in whole]
        return self._measured[row, variant]

    def publish(self) -> None:
        """Write the published layout, one folder per original, where there is a distribution of models."""
        if self.plan.models == 1:
            return
        for variant in self.plan.variants:
            labels = self.labels("forget", variant)
            for original in self.starts:
                folder = self._layout(original, variant)
                rows = [row for row in self.plan.methods if variant in self.plan.variants_of(row)]
                sides = {NULL: ("retrained", None), **{a: (a, original) for a in (AGAIN, *rows)}}
                for name, (kind, start) in sides.items():
                    logits, scores = self.logits(kind, "forget", start, variant), self.scores(kind, start, variant)
                    write_logits(folder, name, logits, labels, scores)

    @cached_property
    def _measured(self) -> dict[tuple[str, str], list[dict[str, float]]]:
        return {}

    def _measure(self, row: str, start: int, variant: str) -> dict[str, float]:
        own, beside, oracle = self._own(row, start, variant), self._beside(row, start, variant), row == "retrained"
        y = {name: self.labels(name, variant) for name in KEPT}
        z = {name: self._logits(own, name).unbind(1) for name in KEPT}
        forget, unseen = (
            np.stack([example_losses(each, y[name]) for each in z[name]]) for name in ("forget", "unseen")
        )
        if row == AGAIN and self.plan.models == 1:  # nothing to find: the losses of one half of the unseen set
            halves = np.random.default_rng(start).permutation(unseen.shape[1])[: unseen.shape[1] // 2 * 2]
            forget, unseen = np.split(unseen[:, halves], 2, axis=1)
        found = {name: float(values.mean()) for name, values in self._scores(own).items()}
        attacks = audit.memberships(forget, unseen, balanced=self.plan.balanced)
        pairs = list(zip(forget, unseen, strict=True))
        found |= {
            "attack": statistics.fmean(a.point for a in attacks),
            "forgetting score": statistics.fmean(a.forgetting_score for a in attacks),
            "TPR": statistics.fmean(audit.tpr_at_fpr(-f, -u).point for f, u in pairs),
            "JS distance": statistics.fmean(audit.js_distance(f, u) for f, u in pairs),
            "cost": self._cost(row, start, variant),
        }
        values, several = y["test"].is_floating_point() and y["test"].ndim == 1, y["test"].ndim > 1
        if not values:
            right = zip(self._scores(own)["test"].tolist(), attacks, strict=True)
            found["final score"] = statistics.fmean(audit.final_score(a, each.forgetting_score) for a, each in right)
            blank, attributes = torch.zeros_like(z["forget"][0]), {"multilabel": several}
            found["ZRF"] = statistics.fmean(audit.zrf(each, blank, **attributes).point for each in z["forget"])
            if not several and blank.shape[1] > 2:
                found["top2"] = statistics.fmean(audit.accuracy(each, y["test"], top=2).point for each in z["test"])
        if beside and not (oracle and self.plan.models == 1):
            reference = self._scores(beside)
            gaps = {name: found[name] - float(reference[name].mean()) for name in ("forget", "test")}
            found |= {f"{name} gap": gap for name, gap in gaps.items()} | {"distance": max(map(abs, gaps.values()))}
        if beside and not values and not oracle:
            other = self._logits(beside, "forget").unbind(1)
            each = (
                audit.activation_distance(a, other[i % len(other)], **attributes) for i, a in enumerate(z["forget"])
            )
            found["activation"] = statistics.fmean(distance.point for distance in each)
        if row in self.plan.methods:
            found["factor"] = self.chosen[row]
        if self.plan.models > 1 and row in self.approaches:
            found |= _of_epsilon(self._epsilon(row, start, variant))
        return found

    def _cost(self, row: str, start: int, variant: str) -> float:
        """Of one original; where there are many models, of all: seconds hardly differ by it."""
        if row in (AGAIN, "retrained"):
            return 1.0
        if self.plan.models == 1:
            sides = self._own(row, start, variant), self._reference(start, variant)
            return self._median_seconds(sides[0]) / self._median_seconds(sides[1])
        return self.cost(row, variant)

    def _own(self, row: str, start: int, variant: str) -> list[Job]:
        """The models that are measured for an original; of the retrained ones, as many of them as there are originals
        take turns."""
        if row == "original":
            return [Job(row, None, start, variant)]
        if row in self.plan.methods:
            return self._jobs(row, start, variant)
        many = self.plan.models > 1
        return self._jobs(row, None, variant)[start :: self.plan.originals] if many else self._reference(start, variant)

    def _beside(self, row: str, start: int, variant: str) -> list[Job]:
        """The models that it is held against."""
        if row == AGAIN and self.plan.models == 1:  # another oracle, where there is one
            return self._reference((start + 1) % self.plan.originals, variant) if self.plan.originals > 1 else []
        return self._reference(start, variant)

    def _reference(self, start: int, variant: str) -> list[Job]:
        """The retrained models, or the one of an original."""
        each = self._jobs("retrained", None, variant)
        return each if self.plan.models > 1 else each[start : start + 1]

    def _row(self, approach: str) -> Row:
        title, cost = self.plan.title(approach), 1.0 if approach == AGAIN else self.cost(approach)
        if approach == "original":
            scores = self.scores("original")
            means = {name: tuple(scores[name].tolist()) for name in COLUMNS}
            return Row(approach, title, **means, epsilon=(), own=None, cost=cost)
        scores = [self.scores(approach, original) for original in self.originals]
        means = {name: tuple(float(each[name].mean()) for each in scores) for name in COLUMNS}
        audits = tuple(self._epsilon(approach, original) for original in self.originals)
        own = self._epsilon(approach, OWN) if self.plan.own else None
        return Row(approach, title, **means, epsilon=audits, own=own, cost=cost)

    def _epsilon(self, approach: str, original: int | str, variant: str = GIVEN) -> audit.Epsilon:
        """For the null row there is nothing to start from: each original has its own split of the retrained models."""
        if (approach, original, variant) not in self._epsilons:
            sides = (
                self.logits(approach, "forget", original, variant),
                self.logits("retrained", "forget", None, variant),
            )
            if approach == AGAIN:
                split = original if isinstance(original, int) else None
                sides = audit.split_null(torch.cat([sides[1], sides[0]], 1), seed=split)
            labels = self.labels("forget", variant)
            statistic = "residual" if labels.is_floating_point() else "hinge"
            self._epsilons[approach, original, variant] = audit.epsilon(*sides, labels, statistic=statistic)
        return self._epsilons[approach, original, variant]

    @cached_property
    def _epsilons(self) -> dict[tuple, audit.Epsilon]:
        return {}

    def _jobs(self, kind: str, original: int | str | None = None, variant: str = GIVEN) -> list[Job]:
        n, last = self.plan.models, self.plan.retrained
        if kind == "original":
            return [Job(kind, None, o, variant) for o in self.originals]
        if kind in ("retrained", AGAIN):
            first = range(n if n > 1 else last)
            return [Job("retrained", None, i, variant) for i in (first if kind == "retrained" else range(n, last))]
        if isinstance(original, str):  # `OWN`
            return [Job(kind, self.plan.originals + i, 0, variant) for i in range(n)]
        return [Job(kind, original, i, variant) for i in range(n)]

    def _logits(self, jobs: Iterable[Job], name: str) -> Tensor:
        return torch.stack([_tensor(self._file(job), f"logits.{name}") for job in jobs], 1)

    def _scores(self, jobs: Iterable[Job]) -> dict[str, Tensor]:
        each = [_scores_of(self._file(job)) for job in jobs]
        return {name: torch.tensor([one[name] for one in each], dtype=torch.float64) for name in each[0]}

    def _median_seconds(self, jobs: Iterable[Job]) -> float:
        """Of those that are there."""
        return statistics.median(seconds_of(self._file(job)) for job in jobs if self._file(job).exists())

    def _file(self, job: Job) -> Path:
        return model_file(self.folder, job)


def chosen(plan: Plan, trials: dict, row: str) -> float:
    """The multiple of a row's rates with the best validation score, the first of equal ones."""
    if len(plan.factors) == 1:
        return plan.factors[0]
    tried = trials[plan.leader(row)]
    return max(plan.factors, key=lambda factor: tried[factor]["validation"])


def _of_epsilon(found: audit.Epsilon) -> dict[str, float]:
    return {
        "ε̂": found.median,
        "lower bound": found.lower_median,
        "upper bound": float(np.quantile(found.upper, 0.5, method="lower")),
        "worst decile": found.worst_decile,
        "told apart": float((found.lower > 0).mean()),
    }


def score(outputs: Tensor, labels: Tensor) -> float:
    """How good outputs are: the share of right answers (over attributes, too), or the mean absolute error of values.

    NaN without examples.
    """
    values = labels.is_floating_point() and labels.ndim == 1
    each = (outputs[:, 0] - labels).abs() if values else right(outputs, labels)
    return each.double().mean().item()


def seconds_of(file: Path) -> float:
    """How long a model took to train, by its file."""
    with _whole(file) as opened:
        return float(opened.metadata()["seconds"])


def model_file(folder: Path, job: Job) -> Path:
    """Where a model's logits, scores and weights are."""
    return folder / "models" / f"{job.name}.safetensors"


def labels_file(folder: Path, variant: str) -> Path:
    """Where the labels of the kept sets are."""
    return folder / f"labels-{variant.replace(' ', '-')}.safetensors"


@contextmanager
def _whole(file: Path) -> Iterator[Any]:
    """A file of the experiment, opened; one sentence where it is damaged."""
    with refusing(str(file), "the same `mulib assess` makes it anew"), safe_open(file, "pt") as opened:
        yield opened


def _scores_of(file: Path) -> dict[str, float]:
    with _whole(file) as opened:
        return json.loads(opened.metadata()["scores"])


def _tensor(file: Path, name: str) -> Tensor:
    with _whole(file) as opened:
        return opened.get_tensor(name)
