"""The training loop and the evaluation loop."""

import dataclasses
import errno
import math
import os
import pickle
from pathlib import Path

import pytest
import torch
from torch import nn

from mulib import InputError, files, train
from mulib.data import ImageSet
from mulib.data.augment import CropFlip
from mulib.errors import DivergedError
from mulib.predict import predict
from mulib.recipe import Recipe, Steps


@pytest.fixture
def images():
    labels = torch.arange(64) % 2
    return ImageSet((labels * 200).to(torch.uint8).view(-1, 1, 1, 1).expand(-1, 1, 2, 2).contiguous(), labels)


def tiny(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Flatten(), nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Linear(8, 2))


def test_learns_what_can_be_learned(images):
    model = tiny()
    fit = train.fit(model, images, Recipe(epochs=20, lr=0.1, batch_size=16))
    assert fit.losses[-1] < 0.05 < fit.losses[0]
    assert fit.steps == 80
    assert (predict(model, images).argmax(1) == images.labels).all()


def test_same_seed_same_weights(images):
    weights = []
    for seed in (0, 0, 1):
        model = tiny()
        train.fit(model, images, Recipe(epochs=2, lr=0.1, batch_size=8), seed=seed)
        weights.append(model[1].weight.clone())
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_one_step_is_sgd(images):
    model, plain = tiny(), tiny()
    train.fit(model, images, Recipe(epochs=1, lr=0.1, batch_size=64, weight_decay=0.0))
    loss = nn.functional.cross_entropy(plain.train()(images.pixels(slice(None))), images.labels)
    loss.backward()
    expected = plain[1].weight - 0.1 * plain[1].weight.grad
    torch.testing.assert_close(model[1].weight, expected)


COSINE = [0.5 * (1 + math.cos(math.pi * step / 4)) for step in range(4)]


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("constant", [1, 1, 1, 1]),
        ((1, 3), [1, 0.1, 0.1, 0.01]),
        (Steps(0.2, at=(1, 3)), [1, 0.2, 0.2, 0.04]),
        (Steps(0.5, every=2), [1, 1, 0.5, 0.5]),
        ("cosine", COSINE),
    ],
    ids=str,
)
def test_schedules(schedule, expected):
    assert rates(Recipe(epochs=4, lr=1.0, schedule=schedule)) == pytest.approx(expected)


def test_one_cycle_rises_from_a_25th_to_its_peak_and_falls():
    found = rates(Recipe(epochs=9, lr=0.3, schedule="onecycle"))
    assert found[0] == pytest.approx(0.3 / 25)
    assert max(found) == pytest.approx(0.3)
    assert found.index(max(found)) == 2  # three tenths of the way
    assert found[-1] < 0.3 / 10


def rates(recipe):
    """The learning rate of each step, one per epoch."""
    optimiser = train.optimiser_of(tiny().parameters(), recipe)
    scheduler, found = train._scheduler(optimiser, recipe, 1), []
    for _ in range(recipe.epochs):
        found.append(optimiser.param_groups[0]["lr"])
        optimiser.step()
        scheduler.step()
    return found


def test_a_kept_network_is_trained_once(images, monkeypatch, tmp_path):
    monkeypatch.setenv("MULIB_CACHE", str(tmp_path))
    first, second, plain = tiny(), tiny(), tiny()
    recipe = Recipe(epochs=2, lr=0.1, batch_size=16)
    seconds = train.kept(first, images, recipe)
    train.fit(plain, images, recipe)
    with monkeypatch.context() as never:
        never.setattr(train, "fit", None)
        assert train.kept(second, images, recipe) == seconds > 0
    for name, value in plain.state_dict().items():
        assert torch.equal(value, first.state_dict()[name])
        assert torch.equal(value, second.state_dict()[name])


def test_a_kept_network_belongs_to_all_that_it_depends_on(images, monkeypatch, tmp_path):
    monkeypatch.setenv("MULIB_CACHE", str(tmp_path))
    recipe = Recipe(epochs=1, lr=0.1, batch_size=16)

    def objective(net, x, y):
        return -train.loss_of(net(x), y)

    others = dataclasses.replace(images, labels=1 - images.labels)
    calls = [(tiny(), images, {}), (tiny(1), images, {}), (tiny(), others, {}), (tiny(), images, {"seed": 1})]
    looks = {"mean": (0.5,)}, {"std": (0.5,)}, {"augment": CropFlip()}
    calls += [(tiny(), dataclasses.replace(images, **look), {}) for look in looks]
    calls += [(tiny(), images, {"objective": objective, "also": "upwards"})]
    changes = {"lr": 0.2, "momentum": 0.5, "schedule": Steps(0.5, every=1), "optimiser": "adam", "precision": "bf16"}
    calls += [(tiny(), images, {"recipe": recipe.but(**{name: value})}) for name, value in changes.items()]
    for model, given, options in calls:
        train.kept(model, given, **{"recipe": recipe} | options)
    assert len(list(tmp_path.rglob("*.safetensors"))) == len(calls)
    monkeypatch.setattr(files, "source", lambda: "edited")
    train.kept(tiny(), images, recipe)
    assert len(list(tmp_path.rglob("*.safetensors"))) == len(calls) + 1
    with pytest.raises(InputError, match="there is an objective, but `also` is empty"):
        train.kept(tiny(), images, recipe, objective=objective)


def test_a_full_disk_is_one_sentence_at_every_call(images, monkeypatch, tmp_path):
    def full(path, content):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    monkeypatch.setenv("MULIB_CACHE", str(tmp_path))
    recipe = Recipe(epochs=1, lr=0.1, batch_size=16)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        for _ in range(2):
            with pytest.raises(InputError, match=r"the cache .* cannot be used .*No space left.*: make room"):
                train.kept(tiny(), images, recipe)
    assert not [file for file in tmp_path.rglob("*") if file.is_file()]
    assert train.kept(tiny(), images, recipe) > 0


def test_a_damaged_kept_network_is_noticed_and_trained_anew(images, monkeypatch, tmp_path):
    monkeypatch.setenv("MULIB_CACHE", str(tmp_path))
    expected, recipe = tiny(), Recipe(epochs=1, lr=0.1, batch_size=16)
    train.kept(expected, images, recipe)
    (path,) = tmp_path.rglob("*.safetensors")
    data = bytearray(path.read_bytes())
    data[-5] ^= 1
    for damaged in (data, data[:-40], b""):
        path.write_bytes(damaged)
        again = tiny()
        train.kept(again, images, recipe)
        assert all(torch.equal(v, again.state_dict()[k]) for k, v in expected.state_dict().items())
        assert files.read_tensors(path) is not None


@pytest.mark.parametrize("training", [True, False])
def test_mode_is_restored(images, training):
    model = tiny().train(training)
    train.fit(model, images, Recipe(epochs=1, lr=0.1))
    predict(model, images)
    assert model.training is training


def test_predict_answers_in_order_and_in_evaluation_mode(images):
    model = tiny()
    whole = predict(model, images)
    torch.testing.assert_close(predict(model, {"all": images}, batch_size=7)["all"], whole)
    torch.testing.assert_close(predict(model, images.subset(torch.arange(5, 9))), whole[5:9])


def test_attributes_sum_the_loss():
    logits, labels = torch.randn(5, 3), torch.randint(0, 2, (5, 3)).float()
    each = nn.functional.binary_cross_entropy_with_logits(logits, labels, reduction="none")
    torch.testing.assert_close(train.loss_of(logits, labels), each.sum(1).mean())
    torch.testing.assert_close(train.loss_of(logits, labels, "none"), each.sum(1))


def test_steps_are_reported(images):
    seen = []
    train.fit(
        tiny(), images, Recipe(epochs=2, lr=0.1, batch_size=48), on_step=lambda step, loss: seen.append((step, loss))
    )
    assert [step for step, _ in seen] == [1, 2, 3, 4]
    assert all(isinstance(loss, float) for _, loss in seen)


def test_a_loss_that_is_not_finite_stops(images):
    with pytest.raises(InputError, match=r"at step \d, in epoch [123]: lower the learning rate"):
        train.fit(tiny(), images, Recipe(epochs=3, lr=1e30))


def test_what_is_left_after_divergence_is_the_last_good_epoch(images):
    """The rate jumps at epoch 2, as a bad schedule would make it: what epoch 1 gave is what remains."""
    model, short = tiny(), tiny()
    train.fit(short, images, Recipe(epochs=1, lr=0.1, batch_size=16))

    def poisoned(model, x, y):
        poisoned.calls += 1
        return train.loss_of(model(x), y) * (float("nan") if poisoned.calls == 7 else 1.0)

    poisoned.calls = 0
    with pytest.raises(DivergedError, match=r"nan at step 7, in epoch 2: .* as it was after epoch 1") as error:
        train.fit(model, images, Recipe(epochs=3, lr=0.1, batch_size=16), objective=poisoned)
    assert (error.value.step, error.value.epoch) == (7, 2)
    assert all(torch.equal(v, short.state_dict()[k]) for k, v in model.state_dict().items())
    again = pickle.loads(pickle.dumps(error.value))
    assert (str(again), again.step) == (str(error.value), 7)


def test_training_ends_when_asked(images):
    model, short = tiny(), tiny()
    fit = train.fit(model, images, Recipe(epochs=3, lr=0.1, batch_size=16), on_step=lambda step, loss: step == 4)
    assert fit.steps == 4
    train.fit(short, images, Recipe(epochs=1, lr=0.1, batch_size=16))
    assert all(torch.equal(v, short.state_dict()[k]) for k, v in model.state_dict().items())


def test_frozen_parameters_stay(images):
    model = tiny()
    model[1].requires_grad_(False)
    before = model[1].weight.clone(), model[3].weight.clone()
    train.fit(model, images, Recipe(epochs=1, lr=0.1))
    assert torch.equal(model[1].weight, before[0])
    assert not torch.equal(model[3].weight, before[1])


@pytest.mark.parametrize("options", [{"optimiser": "adam", "lr": 0.01}, {"precision": "bf16"}, {"nesterov": True}])
def test_other_optimisers_and_precisions_learn(images, options):
    fit = train.fit(model := tiny(), images, Recipe(epochs=20, lr=0.1, batch_size=16).but(**options))
    assert fit.losses[-1] < 0.1
    assert all(p.dtype == torch.float32 for p in model.parameters())
    assert predict(model, images, precision="bf16").dtype == torch.float32


def test_values_are_learned_by_absolute_error(images):
    values = dataclasses.replace(images, labels=images.labels * 2.0 + 1)
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 1))
    fit = train.fit(model, values, Recipe(epochs=60, lr=0.05, batch_size=16, weight_decay=0.0, schedule="cosine"))
    assert fit.losses[-1] < 0.1
    outputs = torch.tensor([[1.0], [5.0]])
    torch.testing.assert_close(train.loss_of(outputs, torch.tensor([2.0, 3.0]), "none"), torch.tensor([1.0, 2.0]))


@pytest.mark.parametrize(
    ("labels", "classes", "outputs"),
    [(torch.arange(64) % 3, (), 2), (torch.arange(64) % 3, ("a", "b", "c"), 4), (torch.zeros(64, 3), (), 2)],
    ids=["too few", "too many", "attributes"],
)
def test_outputs_that_do_not_fit_the_labels(images, labels, classes, outputs):
    data = dataclasses.replace(images, labels=labels, classes=classes)
    with pytest.raises(InputError, match=f"has {outputs} outputs but the labels need 3"):
        train.fit(nn.Sequential(nn.Flatten(), nn.Linear(4, outputs)), data, Recipe(epochs=1, lr=0.1))


def test_empty_sets(images):
    empty = images.subset(torch.tensor([], dtype=torch.long))
    with pytest.raises(InputError, match="nothing to train on"):
        train.fit(tiny(), empty, Recipe(epochs=1, lr=0.1))
    with pytest.raises(InputError, match="nothing to predict"):
        predict(tiny(), empty)


@pytest.mark.parametrize("progress", [True, False])
def test_bars_can_be_turned_off(progress, monkeypatch):
    """Where a bar is wanted, `disable` is left to tqdm, whose default TQDM_DISABLE changes."""
    seen = []
    monkeypatch.setattr(train, "tqdm", lambda epochs, **options: seen.append(options) or epochs)
    images = ImageSet(torch.zeros(2, 1, 1, 1, dtype=torch.uint8), torch.zeros(2, dtype=int))
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(1, 2))
    train.fit(model, images, Recipe(epochs=1, lr=0.1), progress=progress)
    assert [options.get("disable") for options in seen] == [None if progress else True]
