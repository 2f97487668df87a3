"""The experiments by name, in the sizes of each tier: what `mulib assess NAME` runs, and the chapters read."""

from __future__ import annotations

from functools import partial

from mulib import unlearn
from mulib.assess.plan import CLEAN, GIVEN, Plan, recipes
from mulib.errors import InputError
from mulib.recipe import Recipe

EIGHT = ("finetune", "poison", "poison_full", "hybrid")
EIGHT += ("selective_pruning", "pruning_last", "pruning_complex", "activation_reset")


PACE = 5  # quick tiers unlearn for a fifth of the paper's epochs at five times its rates: no setting was searched for


def _digits(tier: str) -> Plan:
    """Digits with wrong labels: some ten minutes on two cores in the quick tier"""
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
        models={"smoke": 4, "quick": 16, "paper": 16 if fast else 80}[tier],
        own=False,
    )


NINE = ("finetune", "cf_k", "negative_gradient", "unsir", "scrub", "bad_teaching", "eu_k", "gli")
NINE += ("advanced_negative_gradient",)

# What GLI's released code does, where its paper says something else.
RELEASED = {
    "gli_released": {"method": "gli", "title": "GLI, as released", "frozen_after": 1, "select": "reported"},
    "eu_k_released": {"method": "eu_k", "title": "EU-k, as released", "k": ("layer3",), "reset": False},
    "scrub_released": {"method": "scrub", "title": "SCRUB, as released", "over": "forget"},
}
CHOSEN = {
    "gli_validation": {"method": "gli", "title": "GLI, selected on validation", "select": "validation"},
    "gli_reported": {"method": "gli", "title": "GLI, selected on test", "select": "reported"},
}


def _mufac(tier: str, honest: bool) -> Plan:
    """MUFAC as GLI's paper trains and unlearns it; honest: rates and batches are chosen on people held out of train.

    Smoke and quick: drawn faces with copies in the same places, a narrow network, and always honest.
    """
    name, honest = "mufac-honest" if honest else "mufac", honest or tier != "paper"
    paper = Recipe(30, 0.01, 64, momentum=0.9, weight_decay=0.0, schedule=(10, 20), precision="bf16")
    sizes = {
        "smoke": {"people": 16, "pictures": 5, "forget": 4, "val": 4, "test": 6, "unseen": 4},
        "quick": {"people": 120, "forget": 24, "val": 30, "test": 60, "unseen": 24},
    }
    drawn = {"size": 32, "copies": True, "augment": True, **sizes.get(tier, {})}
    plain = unlearn.MUFAC.but(precision="bf16" if tier == "paper" else "float32")
    rows = recipes(NINE, lambda r: r.but(batch_size=64, precision=plain.precision)) | {"finetune": {"recipe": plain}}
    if tier != "paper":  # one rate, times the factors, and in smoke one epoch
        changes = {"lr": plain.lr} | ({"epochs": 1} if tier == "smoke" else {})
        rows = {row: given | {"recipe": given["recipe"].but(**changes)} for row, given in rows.items()}
    forms = RELEASED | (CHOSEN if honest else {})
    only = {} if tier == "paper" else {"variants": (GIVEN,)}  # a page compares the forms on the data as given
    rows |= {row: {"recipe": rows[form["method"]]["recipe"], **form, **only} for row, form in forms.items()}
    return Plan(
        name=name,
        task="mufac" if tier == "paper" else "faces-age",
        task_options={"val": 800 if honest else 0} if tier == "paper" else drawn,
        network={"smoke": {"width": 4}, "quick": {"width": 8}, "paper": {"width": 64}}[tier]
        | {"stem": "imagenet" if tier == "paper" else "face"},
        training=paper if tier == "paper" else Recipe(1 if tier == "smoke" else 12, 0.05, 64, schedule="onecycle"),
        methods=rows,
        variants=(GIVEN, CLEAN),
        factors={"smoke": (10,), "quick": (1, 10, 100), "paper": (1, 3, 10) if honest else (1,)}[tier],
        balanced=tier != "paper",  # the released attack keeps all of the unseen set
        originals=2 if tier == "smoke" else 3,
        models=1,
        own=False,
    )


def _attributes(tier: str, several: bool) -> Plan:
    """Three attributes at once, or one, in the form of MUCAC, on drawn faces. One rate for all; nothing is chosen."""
    people = {"people": 130, "forget": 40, "val": 30, "test": 80, "unseen": 40}
    people = {"people": 16, "forget": 6, "val": 4, "test": 8, "unseen": 6} if tier == "smoke" else people
    rows = {row: {"recipe": unlearn.MUFAC.but(lr=0.01)} for row in ("finetune", "negative_gradient", "scrub")}
    weight = {} if several else {"weight": (800.0, 12000.0)}  # as released, for one attribute
    return Plan(
        name="attributes-three" if several else "attributes-one",
        task="faces-attributes",
        task_options={"attributes": ("Male", "Smiling", "Young") if several else ("Smiling",), "size": 32, **people},
        network={"width": 4 if tier == "smoke" else 8, "stem": "face"},
        training=Recipe(1 if tier == "smoke" else 10, 0.05, 64, schedule="onecycle"),
        methods=rows | {"gli": {"recipe": unlearn.MUFAC.but(lr=0.01, epochs=1), "steps": 5, **weight}},
        originals=1 if tier == "smoke" else 3,
        models=1,
        own=False,
    )


def _side_by_side(tier: str, task: str) -> Plan:
    """The sixteen methods of the papers, on wrong labels or on people, each at the best of three rates."""
    base = get("digits" if task == "labels" else "ages-decades", tier)
    papers = [name for name in unlearn.methods() if name in (*EIGHT, *NINE)]
    originals, models = {"smoke": (2, 2), "quick": (3, 16), "paper": (3, 80)}[tier]
    return base.scaled(
        name=f"side-by-side-{task}",
        methods=recipes(papers, lambda r: r.faster(PACE, 1).but(batch_size=50)),
        factors=(1, 10) if tier == "smoke" else (1, 10, 100),
        nonmembers="mislabelled" if task == "labels" else "val",
        originals=originals,
        models=models,
        own=False,
    )


KINDS = {  # what is forgotten of half of the digits; people are forgotten of drawn faces
    "labels": {"forget": 60},
    "people": {"people": 50, "pictures": 4, "forget": 10, "val": 10, "test": 30, "unseen": 10},
    "class": {"kind": "class"},
    "subclass": {"kind": "subclass"},
    "random": {"forget": 60, "mislabelled": 0.0},
}


def _gone(tier: str, kind: str) -> Plan:
    """Every registered method, asked what it still knows: relearning on retained images and probes of its features."""
    base = get("ages-decades" if kind == "people" else "digits", tier)
    rows = [name for name, each in unlearn.methods().items() if each.run.__module__.startswith("mulib.")]
    return base.scaled(
        name=f"gone-{kind}",
        task_options=dict(base.task_options) | KINDS[kind] if kind == "people" else {"images": 500} | KINDS[kind],
        network=dict(base.network) | {"width": 4} if kind == "people" else base.network,
        training=base.training if tier == "smoke" else base.training.but(epochs=24 if kind == "people" else 20),
        methods=recipes(rows[1:], lambda r: r.faster(PACE, 1).but(batch_size=50)),  # without retraining
        factors=(1, 10),
        nonmembers="mislabelled" if kind == "labels" else "val",
        audits=True,
        originals=2 if tier == "smoke" else 3,
        models=1,
        own=False,
    )


PLANS = {
    "digits": _digits,
    "ages-years": partial(_ages, labels="years"),
    "ages-decades": partial(_ages, labels="decades"),
    "cifar10": partial(_cifar10, fast=False),
    "cifar10-fast": partial(_cifar10, fast=True),
    "mufac": partial(_mufac, honest=False),
    "mufac-honest": partial(_mufac, honest=True),
    "attributes-three": partial(_attributes, several=True),
    "attributes-one": partial(_attributes, several=False),
    "side-by-side-labels": partial(_side_by_side, task="labels"),
    "side-by-side-people": partial(_side_by_side, task="people"),
    **{f"gone-{kind}": partial(_gone, kind=kind) for kind in KINDS},
}


def get(name: str, tier: str = "quick") -> Plan:
    """A plan by its name, in the sizes of a tier: "smoke", "quick" or "paper".

    Raises:
        InputError: there is no such plan or tier.
    """
    if name not in PLANS or tier not in ("smoke", "quick", "paper"):
        raise InputError(f"there is no plan {name!r} in tier {tier!r}: expected one of {', '.join(PLANS)}.")
    return PLANS[name](tier)
