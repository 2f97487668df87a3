"""One contract for every registered method, and what single methods promise."""

import copy
import inspect
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from mulib import InputError, models, unlearn
from mulib.data import ImageSet, Task

ROOT = Path(__file__).parents[1]
QUICK = {"epochs": 1, "lr": 0.05, "batch_size": 8, "overfit_epochs": 1}


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


def run(method, model, request, **options):
    accepted = inspect.signature(method.run).parameters
    quick = {k: v for k, v in QUICK.items() if k in accepted}
    return method.run(model, request, **quick | {"progress": False} | options)


def state(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


def same(a, b):
    return all(torch.equal(a[name], b[name]) for name in a)


@pytest.fixture(params=unlearn.methods().values(), ids=lambda m: m.name)
def method(request):
    return request.param


def test_input_is_untouched_and_parameters_move(method, model, task):
    before = state(model)
    unlearned = run(method, model, task.request)
    assert same(before, model.state_dict())
    moved = [not torch.equal(a, b) for a, b in zip(model.parameters(), unlearned.parameters(), strict=True)]
    assert any(moved)
    assert not {id(p) for p in model.parameters()} & {id(p) for p in unlearned.parameters()}


def test_seed_decides(method, model, task):
    one, again, other = (state(run(method, model, task.request, seed=s)) for s in (1, 1, 2))
    assert same(one, again)
    assert not same(one, other)


def test_the_callers_generator_is_left_alone(method, model, task):
    torch.manual_seed(3)
    run(method, model, task.request)
    drawn = torch.rand(1)
    torch.manual_seed(3)
    assert torch.equal(drawn, torch.rand(1))


@pytest.mark.parametrize("training", [True, False])
def test_mode_and_hooks_are_restored(method, model, task, training):
    model.train(training)
    unlearned = run(method, model, task.request)
    for net in (model, unlearned):
        assert net.training is training
        assert not any(m._forward_hooks or m._backward_hooks for m in net.modules())
        assert all(p.requires_grad for p in net.parameters())


def test_unknown_arguments_are_errors(method, model, task):
    with pytest.raises(TypeError):
        method.run(model, task.request, learning_rat=0.1)


def test_options_are_keyword_only_with_the_common_three(method):
    model, request, *options = inspect.signature(method.run).parameters.values()
    assert (model.name, request.name) == ("model", "request")
    assert all(p.kind is p.KEYWORD_ONLY and p.default is not p.empty for p in options)
    assert {"seed", "on_step", "progress"} <= {p.name for p in options}


def test_source_is_cited_and_documented(method):
    assert f"{{{method.paper}," in (ROOT / "book" / "references.bib").read_text()
    assert "Source:" in inspect.getdoc(method.run)
    pages = [*(ROOT / "book").glob("*.md"), *(ROOT / "notebooks").glob("*.ipynb")]
    assert any(method.name in page.read_text().lower() for page in pages)


def test_steps_are_reported(method, model, task):
    seen = []
    run(method, model, task.request, on_step=lambda step, loss: seen.append(step))
    assert seen == list(range(1, len(seen) + 1))
    assert seen


def test_attributes_are_unlearned_or_refused(method, model, task):
    """Labels (N, A): every method works with them, or says that it does not."""
    request = task.request
    labelled = {
        part: replace(data, labels=torch.nn.functional.one_hot(data.labels, 3).float())
        for part, data in vars(request).items()
    }
    before, refused = state(model), None
    try:
        unlearned = run(method, model, replace(request, **labelled))
    except InputError as error:
        refused = str(error)
    assert same(before, model.state_dict())
    assert "attributes" in refused if refused else not same(before, state(unlearned))


def test_a_step_that_answers_true_is_the_last(method, model, task):
    seen = []
    run(method, model, task.request, batch_size=4, on_step=lambda step, loss: seen.append(step) or step == 2)
    assert seen == [1, 2]


def test_every_option_reaches_the_training(method, model, task):
    accepted = inspect.signature(method.run).parameters
    options = {"momentum": 0.5, "weight_decay": 0.1, "precision": "bf16"}
    assert options.keys() <= accepted.keys()
    options |= {"nesterov": True} if "nesterov" in accepted else {}  # where the default momentum is above 0
    plain = state(run(method, model, task.request, batch_size=4))
    for option in ({name: value} for name, value in options.items()):
        assert not same(plain, state(run(method, model, task.request, batch_size=4, **option))), option


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
        unlearn.method("retrain", paper="x", family="y")(lambda model, request: model)


def test_registering_returns_the_function_unchanged():
    def f(model, request):
        return model

    try:
        assert unlearn.method("temporary", paper="x", family="y")(f) is f
        assert unlearn.get("temporary").run is f
    finally:
        from mulib.unlearn import registry

        registry._METHODS.pop("temporary", None)
