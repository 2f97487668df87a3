"""What an experiment trains, unlearns and measures: plain data, so that it can be written down and compared."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import NamedTuple

from mulib import files, unlearn
from mulib.data import catalogue
from mulib.data.sets import Task
from mulib.errors import InputError
from mulib.recipe import Recipe


class Job(NamedTuple):
    """One model: its kind ("original", "retrained" or a method), the original it starts from, and its number."""

    kind: str
    original: int | None
    index: int

    @property
    def name(self) -> str:
        """What its file is called."""
        start = "" if self.original is None else f"-{self.original}"
        return f"{self.kind}{start}-{self.index:03d}"


@dataclass(frozen=True)
class Plan:
    """Original models; 2·`models` retrained ones, half as reference, half as the null row; and unlearned ones.

    Of each method there are `models` unlearned models from each of `originals` originals, as in the paper. With `own`
    there are `models` more, each from an original of its own: then both sides of the comparison draw everything anew,
    as the definition of (ε, δ)-unlearning has it.

    Attributes:
        name: what it is called in tables and folders.
        task: a data set that `mulib data` lists, and `task_options` its arguments.
        network: arguments of `models.resnet18` beside the number of outputs, which the labels decide.
        training: of the original and the retrained models.
        methods: {method: its arguments, recipes among them}, in the order of the table; what is not said is the
            method's default.
        originals, models: how many; `models` ≥ 2.
        own: whether there are `models` further originals, each with one unlearned model per method.
        seed: of the first model of each kind; no two models of one kind share one.
    """

    name: str
    task: str
    training: Recipe
    methods: Mapping[str, Mapping[str, object]]
    network: Mapping[str, object]
    task_options: Mapping[str, object]
    originals: int = 3
    models: int = 16
    own: bool = True
    seed: int = 0

    def __post_init__(self):
        if self.originals < 1 or self.models < 2:
            raise InputError(f"originals is {self.originals} and models {self.models}: expected ≥ 1 and ≥ 2.")
        for name, options in self.methods.items():
            known = inspect.signature(unlearn.get(name).run).parameters
            if unknown := set(options) - set(known):
                raise InputError(f"{name} has no option {', '.join(sorted(unknown))}: expected one of {_list(known)}.")

    def load(self) -> Task:
        """The task.

        Raises:
            InputError: the data is not on this machine, or an option does not exist.
        """
        return catalogue.load(self.task, **self.task_options)

    def jobs(self) -> tuple[list[Job], list[Job]]:
        """The models that start from nothing, and those that start from an original."""
        own = range(self.originals, self.originals + self.models * self.own)
        scratch = [Job("original", None, o) for o in (*range(self.originals), *own)]
        scratch += [Job("retrained", None, i) for i in range(2 * self.models)]
        starts = [(o, i) for o in range(self.originals) for i in range(self.models)] + [(o, 0) for o in own]
        return scratch, [Job(method, o, i) for method in self.methods for o, i in starts]

    def seed_of(self, job: Job) -> int:
        """Every model has a seed of its own among its kind."""
        first = {"original": 0, "retrained": 100_000}.get(job.kind, 200_000)
        return 1_000_000 * self.seed + first + 1000 * (job.original or 0) + job.index

    def as_dict(self) -> dict:
        """The plan as JSON holds it."""
        return json.loads(json.dumps(asdict(self)))

    def key(self, device: str = "cpu") -> str:
        """A short hash of the plan and of what else its results depend on, a reader's own methods included."""
        runs = (unlearn.get(name).run for name in self.methods)
        own = [inspect.getsource(run) for run in runs if not run.__module__.startswith("mulib.")]
        return files.key(self.as_dict(), own, device=device)

    def scratch_key(self, device: str = "cpu") -> str:
        """A short hash of what the models that start from nothing depend on: plans that share it share these models."""
        whole = self.as_dict()
        parts = [whole[name] for name in ("task", "task_options", "network", "training", "seed")]
        return files.key(parts, device=device)

    def scaled(self, **changes) -> Plan:
        """The plan with other numbers, such as `models`, `originals` or `seed`; None leaves one as it is."""
        return replace(self, **{name: value for name, value in changes.items() if value is not None})

    def only(self, methods) -> Plan:
        """The plan with some of its methods."""
        if unknown := set(methods) - set(self.methods):
            raise InputError(f"{self.name} has no {', '.join(sorted(unknown))}: expected {_list(self.methods)}.")
        return replace(self, methods={name: self.methods[name] for name in self.methods if name in methods})


def _list(names) -> str:
    return ", ".join(name for name in names if name not in ("model", "request"))


EIGHT = ("finetune", "poison", "poison_full", "hybrid")
EIGHT += ("selective_pruning", "pruning_last", "pruning_complex", "activation_reset")


PACE = 5  # quick tiers unlearn for a fifth of the paper's epochs at five times its rates: no setting was searched for


def recipes(names: Iterable[str], change: Callable[[Recipe], Recipe]) -> dict[str, dict[str, object]]:
    """{method: {option: recipe}} for a `Plan`: all recipes of these methods, changed in the same way.

    >>> recipes(["finetune"], lambda recipe: recipe.faster(5).but(batch_size=50))
    {'finetune': {'recipe': Recipe(epochs=1, lr=0.005, batch_size=50, …)}}
    """
    return {name: {option: change(r) for option, r in unlearn.get(name).recipes.items()} for name in names}


def _digits(tier: str) -> Plan:
    """Digits with wrong labels: about three minutes on two cores in the quick tier"""
    small = tier == "smoke"
    batch = 250 if small else 50
    return Plan(
        name="digits",
        task="digits",
        task_options={},
        network={"width": 2 if small else 8, "in_channels": 1, "stem": "face"},
        training=Recipe(epochs=1 if small else 24, lr=0.1, batch_size=batch, schedule="onecycle"),
        methods=recipes(EIGHT, lambda recipe: recipe.faster(PACE).but(batch_size=batch)),
        originals=2 if small else 3,
        models={"smoke": 4, "quick": 16, "paper": 80}[tier],
    )


def _ages(tier: str, labels: str) -> Plan:
    """Ages of faces, in years or decades, with the four rows of the paper's Table 2; people are to be forgotten."""
    small, values = tier == "smoke", labels == "years"
    people = {"people": 12, "pictures": 2, "forget": 3, "val": 2, "test": 3, "unseen": 3}
    people = people if small else {"people": 80, "pictures": 6, "forget": 10, "val": 20, "test": 50, "unseen": 10}
    # An error in years has large gradients: the paper's own rates.
    rate = 1 if values else PACE
    methods = recipes(("finetune", "poison", "hybrid"), lambda r: r.faster(PACE, rate).but(batch_size=50))
    for name, option in (("poison", "recipe"), ("hybrid", "poisoning")):  # on ages, the paper poisons for two epochs
        methods[name][option] = methods[name][option].but(epochs=2)
    # An absolute error in years has gradients of another size than a cross-entropy: Adam does not mind.
    training = Recipe(epochs=1 if small else 16, lr=0.1, batch_size=50, schedule="onecycle")
    return Plan(
        name=f"ages-{labels}",
        task="faces-age",
        task_options={"size": 32, "labels": labels, **people},
        network={"width": 2 if small else 8, "stem": "face"},
        training=training.but(optimiser="adam", lr=0.003) if values else training,
        methods=methods,
        originals=1 if small else 3,
        models={"smoke": 2, "quick": 8, "paper": 80}[tier],
        own=False,
    )


def _cifar10(tier: str, fast: bool) -> Plan:
    """CIFAR-10 as the paper trains it, or in a sixth of the epochs; smoke and quick: a part, a narrow net."""
    paper = tier == "paper"
    epochs = {"smoke": 1, "quick": 16, "paper": 16 if fast else 100}[tier]
    training = Recipe(epochs, lr=0.2, batch_size=256, nesterov=True, schedule="onecycle", precision="bf16")
    if not fast:
        steps = tuple(epochs * percent // 100 for percent in (35, 70, 90))
        training = Recipe(epochs, lr=0.1, schedule=steps, precision="bf16")
    part = {"smoke": {"images": 500, "unseen": 20}, "quick": {"images": 5000, "unseen": 200}, "paper": {}}[tier]
    return Plan(
        name="cifar10-fast" if fast else "cifar10",
        task="cifar10",
        task_options={"augment": "crop" if fast else "paper", **part},
        network={"width": {"smoke": 2, "quick": 8, "paper": 64}[tier], "stem": "cifar" if paper else "face"},
        training=training,
        methods=recipes(EIGHT, lambda r: r.but(precision="bf16") if paper else r.faster(PACE).but(batch_size=128)),
        originals=1,
        models={"smoke": 2, "quick": 16, "paper": 16 if fast else 80}[tier],
        own=False,
    )


PLANS = {
    "digits": _digits,
    "ages-years": partial(_ages, labels="years"),
    "ages-decades": partial(_ages, labels="decades"),
    "cifar10": partial(_cifar10, fast=False),
    "cifar10-fast": partial(_cifar10, fast=True),
}


def get(name: str, tier: str = "quick") -> Plan:
    """A plan by its name, in the sizes of a tier: "smoke", "quick" or "paper".

    Raises:
        InputError: there is no such plan or tier.
    """
    if name not in PLANS or tier not in ("smoke", "quick", "paper"):
        raise InputError(f"there is no plan {name!r} in tier {tier!r}: expected one of {', '.join(PLANS)}.")
    return PLANS[name](tier)
