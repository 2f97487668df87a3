"""One contract for every registered method, and what single methods promise."""

import copy
import inspect
from pathlib import Path

import pytest
import torch

from mulib import InputError, models, train, unlearn
from mulib.data import ImageSet, Task
from mulib.recipe import Recipe
from mulib.unlearn import contract
from mulib.unlearn.contract import run, same, state

ROOT = Path(__file__).parents[1]
ONE = Recipe(epochs=1, lr=0.05, batch_size=8)


@pytest.fixture(scope="module")
def task():
    generator = torch.Generator().manual_seed(0)

    def images(n):
        pixels = torch.randint(0, 256, (n, 1, 8, 8), generator=generator, dtype=torch.uint8)
        return ImageSet(pixels, torch.randint(0, 3, (n,), generator=generator), ("a", "b", "c"))

    return Task("noise", images(30), torch.arange(6), images(6), images(6), images(6))


@pytest.fixture
def model():
    return models.resnet18(3, width=2, in_channels=1, seed=7)


@pytest.fixture(params=unlearn.methods().values(), ids=lambda m: m.name)
def method(request):
    return request.param


def test_every_promise_is_kept(method):
    assert contract.broken(method) == {}


def careless(**changes):
    """A method of one's own that keeps every promise, but for what `changes` replaces."""

    def run(model, request, recipe=ONE, *, seed=0, on_step=None, progress=True):
        part = {"start": copy.deepcopy, "seed": lambda seed: seed, "step": lambda f: f, "end": lambda m: m} | changes
        unlearned, step = part["start"](model), part["step"](on_step)
        options = {"seed": part["seed"](seed), "progress": progress}
        train.fit(unlearned, request.retain, recipe, on_step=step, **options)
        return part["end"](unlearned)

    return unlearn.Method("careless", run, "a careless one", "x", "y")


def test_a_careful_method_of_ones_own_keeps_them_too():
    assert contract.broken(careless()) == {}


def hooked(model):
    model.register_forward_hook(lambda *_: None)
    return model


@pytest.mark.parametrize(
    ("changes", "promise", "complaint"),
    [
        ({"start": lambda model: model}, "the model is left as it was", "it changed the model"),
        ({"end": lambda _: contract.network()}, "the model is left as it was", "no parameter moved"),
        ({"seed": lambda _: 0}, "the seed decides", "another seed gave the same weights"),
        ({"seed": lambda _: int(torch.randint(9**9, ()))}, "the seed decides", "the same seed gave other weights"),
        ({"seed": lambda s: torch.manual_seed(s) and s}, "torch's global generator", "it drew from, or seeded"),
        ({"end": hooked}, "mode, hooks and frozen", "a hook was left behind"),
        ({"end": lambda m: m.train()}, "mode, hooks and frozen", "mode left it, or a module of it did"),
        ({"end": lambda m: m.requires_grad_(False)}, "mode, hooks and frozen", "left frozen"),
        ({"step": lambda _: None}, "on_step sees every step", "on_step was called with []"),
        ({"step": lambda f: f and (lambda *a: f(*a) and None)}, "on_step sees every step", "it went on after"),
        ({"start": lambda _: 1 / 0}, "labels that are attributes", "it raised ZeroDivisionError"),
    ],
)
def test_a_broken_promise_is_named(changes, promise, complaint, monkeypatch):
    ((name, check),) = ((name, check) for name, check in contract.PROMISES.items() if name.startswith(promise))
    monkeypatch.setattr(contract, "PROMISES", {name: check})  # the others are not run for this one
    assert complaint in contract.broken(careless(**changes))[name]


def test_a_swallowed_option_is_a_broken_promise():
    def run(model, request, recipe=ONE, *, seed=0, on_step=None, progress=True, **others):
        return careless().run(model, request, recipe, seed=seed, on_step=on_step, progress=progress)

    found = contract.broken(unlearn.Method("loose", run, "a loose one", "x", "y"))
    assert list(found.values()) == ["not keyword-only with a default: others"]


def test_source_is_cited_and_documented(method):
    assert f"{{{method.paper}," in (ROOT / "book" / "references.bib").read_text()
    assert "Source:" in inspect.getdoc(method.run)
    pages = [*(ROOT / "book").glob("*.md"), *(ROOT / "notebooks").glob("*.ipynb")]
    assert any(method.name in page.read_text().lower() for page in pages)


def test_every_recipe_reaches_its_training(method, model, task, monkeypatch):
    monkeypatch.setattr("mulib.predict.has_bf16", lambda kind: True)  # emulated, where the processor has none
    start = Recipe(epochs=2, lr=0.005, batch_size=4)  # ten times that diverges in bf16, in one order of summation
    short = dict.fromkeys(method.recipes, start)
    plain = state(run(method, model, task.request, **short))
    for name in short:
        for change in ({"schedule": "cosine"}, {"precision": "bf16"}):
            if method.name == "ssd" and "schedule" in change:  # it trains nothing
                continue
            changed = short | {name: start.but(**change)}
            assert not same(plain, state(run(method, model, task.request, **changed))), (name, change)


def test_methods_have_titles_and_families():
    families = [each.family for each in unlearn.methods().values()]
    assert list(unlearn.methods(family="gradient")) == ["negative_gradient", "advanced_negative_gradient"]
    assert len(set(families)) == sum(a != b for a, b in zip([None, *families], families, strict=False))  # side by side
    assert not any("_" in each.title for each in unlearn.methods().values())
    assert [unlearn.title(name) for name in ("cf_k", "retrained")] == ["CF-k", "retrained"]


def test_retrain_never_sees_the_forget_set(model, task):
    poisoned = copy.deepcopy(task)
    poisoned.forget.images.zero_()
    assert same(*(state(run(unlearn.get("retrain"), model, t.request)) for t in (task, poisoned)))


def test_retrain_starts_from_the_seed_alone(task):
    one, two = (models.resnet18(3, width=2, in_channels=1, seed=s) for s in (1, 2))
    assert same(*(state(run(unlearn.get("retrain"), m, task.request, seed=5)) for m in (one, two)))


def test_finetune_starts_from_the_model(task):
    one, two = (models.resnet18(3, width=2, in_channels=1, seed=s) for s in (1, 2))
    assert not same(*(state(run(unlearn.get("finetune"), m, task.request, seed=5)) for m in (one, two)))


def test_unknown_and_taken_names():
    with pytest.raises(InputError, match="expected one of retrain, finetune"):
        unlearn.get("forget_everything")
    with pytest.raises(InputError, match="there is a method 'retrain' already"):
        unlearn.method("retrain", title="z", paper="x", family="y")(lambda model, request: model)


def test_registering_returns_the_function_unchanged():
    def f(model, request):
        return model

    try:
        assert unlearn.method("temporary", title="z", paper="x", family="y")(f) is f
        assert unlearn.get("temporary").run is f
    finally:
        from mulib.unlearn import registry

        registry._METHODS.pop("temporary", None)
