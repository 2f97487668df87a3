"""What an experiment trains, unlearns and measures: plain data, so that it can be written down and compared."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, NamedTuple

from mulib import files, unlearn
from mulib.data import catalogue, leaks
from mulib.data.sets import Task
from mulib.errors import InputError
from mulib.recipe import Recipe

GIVEN, CLEAN = "as given", "without copies"  # what `variants` may hold
SPARE = 999  # the original that rates are tried on, which is in no table
SELECT = ("validation", "reported")  # how a row like GLI may choose among its own batches
GROWS = ("originals", "models", "own", "methods", "variants")  # in what plans may differ that share a folder


class Job(NamedTuple):
    """One model: its kind ("original", "retrained" or a row), the original it starts from, its number, the variant of
    the data, and of a trial the multiple of the row's rates."""

    kind: str
    original: int | None
    index: int
    variant: str = GIVEN
    factor: float | None = None

    @property
    def name(self) -> str:
        """What its file is called."""
        where = "" if self.variant == GIVEN else self.variant.replace(" ", "-") + "."
        start = "" if self.original is None else f"-{self.original}"
        return f"{where}{self.kind}{start}-{self.index:03d}" + ("" if self.factor is None else f"-x{self.factor:g}")


@dataclass(frozen=True)
class Plan:
    """Original, retrained and unlearned models on each variant of the data.

    Of each row there are `models` unlearned models from each of `originals` originals. With two or more, ε is estimated
    as in its paper: there are 2·`models` retrained ones, half as reference, half as the null row. With one model, as in
    most papers, there is one retrained model per original, and the next one is the null row.

    With `own` there are `models` more, each from an original of its own: then both sides of the comparison draw
    everything anew, as the definition of (ε, δ)-unlearning has it.

    Attributes:
        name: what it is called in tables and folders.
        task: a data set that `mulib data` lists, and `task_options` its arguments.
        network: arguments of `models.resnet18` beside the number of outputs, which the labels decide.
        training: of the original and the retrained models.
        methods: {row: its options}, in the order of the table. A row is a method of that name, or a form of the one
            that its option "method" names; "title" is what tables call it, and "variants" are its own, where it has
            not all. The other options are the method's arguments, recipes among them; what is not said is its default.
            `select` is a word: "validation" takes the batch with the best `unlearn.validation_score`, "reported" the
            one with the best final score on the very data that is reported.
        variants: of the data, `GIVEN` and `CLEAN` (`leaks.deduplicated`).
        factors: multiples of each row's rates. Of several, each row gets the one with the best validation score: each
            is tried once, on an original that is in no table. A form takes that of its method, where this is a row too.
        nonmembers: what the score's attack holds against the forget set: "val", or "mislabelled", the same with wrong
            labels, where wrong labels are to be forgotten.
        balanced: whether a larger unseen set is cut to the size of the forget set, as for `audit.membership`.
        audits: whether each model is also asked what it still knows, while its weights are there: the highest forget
            accuracy while it relearns on retained images, and the two probes of its features.
        originals, models: how many.
        own: whether there are `models` further originals, each with one unlearned model per row.
        seed: of the first model of each kind; no two models of one kind and variant share one.
    """

    name: str
    task: str
    training: Recipe
    methods: Mapping[str, Mapping[str, Any]]
    network: Mapping[str, Any]
    task_options: Mapping[str, Any]
    variants: tuple[str, ...] = (GIVEN,)
    factors: tuple[float, ...] = (1,)
    nonmembers: str = "val"
    balanced: bool = True
    audits: bool = False
    originals: int = 3
    models: int = 16
    own: bool = True
    seed: int = 0

    def __post_init__(self):
        if not 1 <= self.originals < SPARE or self.models < 1:
            raise InputError(f"originals is {self.originals} and models {self.models}: expected ≥ 1 of each.")
        if not self.variants or (set(self.variants) - {GIVEN, CLEAN}):
            raise InputError(f"variants is {self.variants!r}: expected some of {GIVEN!r} and {CLEAN!r}.")
        if not self.factors or min(self.factors) <= 0:
            raise InputError(f"factors is {self.factors!r}: expected one number above 0 or more.")
        if self.nonmembers not in ("val", "mislabelled"):
            raise InputError(f"nonmembers is {self.nonmembers!r}: expected 'val' or 'mislabelled'.")
        for row in self.methods:
            known = list(inspect.signature(self.method(row).run).parameters)[2:]
            if unknown := set(options := self.options(row)) - set(known):
                raise InputError(
                    f"{row} has no option {', '.join(sorted(unknown))}: expected one of {', '.join(known)}."
                )
            if options.get("select") not in (None, *SELECT):
                raise InputError(f"{row} has select {options['select']!r}: expected 'validation' or 'reported'.")

    @classmethod
    def of(cls, plain: Mapping) -> Plan:
        """The plan that `as_dict` wrote."""
        whole: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else _recipe(v) for k, v in plain.items()}
        whole["methods"] = {row: {k: _recipe(v) for k, v in each.items()} for row, each in plain["methods"].items()}
        return cls(**whole)

    def load(self, variant: str = GIVEN) -> Task:
        """The task, or a variant of it.

        Raises:
            InputError: the data is not on this machine, or an option does not exist.
        """
        task = catalogue.load(self.task, **self.task_options)
        return task if variant == GIVEN else leaks.deduplicated(task)

    def method(self, row: str) -> unlearn.Method:
        """The method of a row."""
        return unlearn.get(self.methods[row].get("method", row))

    def title(self, row: str) -> str:
        """What tables call a row, or another approach."""
        return self.methods[row].get("title", self.method(row).title) if row in self.methods else row

    def options(self, row: str, factor: float = 1) -> dict[str, Any]:
        """The arguments of a row's method, at a multiple of all its rates; `select` is a word."""
        given = {
            name: value for name, value in self.methods[row].items() if name not in ("method", "title", "variants")
        }
        if factor == 1:
            return given
        method, scaled = self.method(row), {}
        for name, parameter in inspect.signature(method.run).parameters.items():
            value = given.get(name, parameter.default)
            if isinstance(value, Recipe):
                scaled[name] = value.but(lr=value.lr * factor)
            elif name.endswith("_lr"):  # of what is no training of the model, such as noise
                scaled[name] = value * factor
        return given | scaled

    def leader(self, row: str) -> str:
        """The row whose trials decide on this row's rates: that of its method, where there is one."""
        return self.method(row).name if self.method(row).name in self.methods else row

    @property
    def retrained(self) -> int:
        """How many models are retrained."""
        return self.originals if self.models == 1 else 2 * self.models

    def jobs(self) -> tuple[list[Job], list[Job], list[Job]]:
        """The models that start from nothing, the trials of rates, and the models that start from an original."""
        own = range(self.originals, self.originals + self.models * self.own)
        tried = [row for row in self.methods if self.leader(row) == row] if len(self.factors) > 1 else []
        scratch = [Job("original", None, SPARE)] if tried else []
        for variant in self.variants:
            scratch += [Job("original", None, o, variant) for o in (*range(self.originals), *own)]
            scratch += [Job("retrained", None, i, variant) for i in range(self.retrained)]
        trials = [Job(row, SPARE, 0, GIVEN, factor) for row in tried for factor in self.factors]
        starts = [(o, i) for o in range(self.originals) for i in range(self.models)] + [(o, 0) for o in own]
        rows = [(row, v) for v in self.variants for row in self.methods if v in self.variants_of(row)]
        return scratch, trials, [Job(row, *at, variant) for row, variant in rows for at in starts]

    def variants_of(self, row: str) -> tuple[str, ...]:
        """The variants of the data that a row is made on."""
        return tuple(self.methods[row].get("variants", self.variants))

    def seed_of(self, job: Job) -> int:
        """Every model has a seed of its own among its kind; trials share one, and so do the variants of the data."""
        if job.factor is not None:
            return 1_000_000 * self.seed
        first = {"original": 0, "retrained": 100_000}.get(job.kind, 200_000)
        return 1_000_000 * self.seed + first + 1000 * (job.original or 0) + job.index

    def as_dict(self) -> dict:
        """The plan as JSON holds it."""
        return json.loads(json.dumps(asdict(self)))

    def key(self, device: str = "cpu") -> str:
        """A short hash of the plan and of what else its results depend on, a reader's own methods included. More or
        fewer originals have the same one, unless there are `own`."""
        runs = (self.method(row).run for row in self.methods)
        sources = [inspect.getsource(run) for run in runs if not run.__module__.startswith("mulib.")]
        whole = self.as_dict()
        return files.key(whole if self.own else whole | {"originals": None}, sources, device=device)

    def scratch_key(self, device: str = "cpu") -> str:
        """A short hash of what the models that start from nothing depend on: plans that share it share these models."""
        whole = self.as_dict()
        parts = [whole[name] for name in ("task", "task_options", "network", "training", "seed")]
        return files.key(parts, device=device)

    def scaled(self, **changes) -> Plan:
        """The plan with other numbers, such as `models`, `originals` or `seed`; None leaves one as it is."""
        return replace(self, **{name: value for name, value in changes.items() if value is not None})

    def only(self, rows: Iterable[str]) -> Plan:
        """The plan with some of its rows."""
        if unknown := set(rows) - set(self.methods):
            raise InputError(f"{self.name} has no {', '.join(sorted(unknown))}: expected {', '.join(self.methods)}.")
        return replace(self, methods={name: self.methods[name] for name in self.methods if name in rows})


def _recipe(value):
    """The recipe that JSON holds; anything else as it is."""
    return Recipe(**value) if isinstance(value, dict) and {"epochs", "lr"} <= set(value) else value


def recipes(names: Iterable[str], change: Callable[[Recipe], Recipe]) -> dict[str, dict[str, Any]]:
    """{method: {option: recipe}} for a `Plan`: all recipes of these methods, changed in the same way.

    >>> recipes(["finetune"], lambda recipe: recipe.faster(5).but(batch_size=50))
    {'finetune': {'recipe': Recipe(epochs=1, lr=0.005, batch_size=50, ...)}}
    """
    return {name: {option: change(r) for option, r in unlearn.get(name).recipes.items()} for name in names}
