"""The eight methods of *Forget with Precision*: what each changes, and what it leaves alone."""

import copy
import dataclasses

import numpy as np
import pytest
import torch
from torch import nn

from mulib import InputError, models, train, unlearn
from mulib.data import ImageSet, Request, Task
from mulib.predict import predict
from mulib.recipe import Recipe
from mulib.unlearn import phases

PRUNING = (unlearn.selective_pruning, unlearn.pruning_last, unlearn.pruning_complex)
POISONING = (unlearn.poison, unlearn.poison_full, unlearn.hybrid)
QUICK = {"progress": False}


def small(method, epochs, **others):
    """{option: recipe} of a method: batches of 16, so many epochs, or others for its other phases."""
    recipes = unlearn.get(method.__name__).recipes
    return {name: r.but(batch_size=16, epochs=others.get(name, epochs)) for name, r in recipes.items()} | QUICK


def noise(n, labels, classes=("a", "b", "c"), seed=0):
    pixels = torch.randint(0, 256, (n, 1, 8, 8), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)
    return ImageSet(pixels, labels, classes)


@pytest.fixture(scope="module")
def request_():
    labels = torch.arange(120) % 3
    return Request(noise(120, labels), noise(40, labels[:40], seed=1), noise(6, labels[:6], seed=2))


@pytest.fixture
def model():
    return models.resnet18(3, width=4, in_channels=1, seed=7)


def state(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


def changed(a, b):
    return {name for name in a if not torch.equal(a[name], b[name])}


# Poisoning


def test_uniform_labels_hit_the_true_one_and_wrong_ones_never(request_):
    many = dataclasses.replace(request_, forget=noise(3000, torch.arange(3000) % 3))
    hit = unlearn.poisoned(many, labels="uniform").labels == many.forget.labels
    assert float(hit.float().mean()) == pytest.approx(1 / 3, abs=0.03)
    wrong = unlearn.poisoned(many, labels="wrong").labels
    assert not (wrong == many.forget.labels).any()
    counts = torch.bincount(wrong * 3 + many.forget.labels, minlength=9).view(3, 3)
    assert torch.allclose(counts[~torch.eye(3, dtype=torch.bool)].float(), torch.tensor(500.0), atol=80)


def test_poisoned_labels_come_from_the_seed_and_share_the_images(request_):
    one, again, other = (unlearn.poisoned(request_, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(one.labels, again.labels)
    assert not torch.equal(one.labels, other.labels)
    assert one.images.data_ptr() == request_.forget.images.data_ptr()
    assert one.labels.dtype == torch.int64


def test_classes_without_names_are_those_of_the_whole_request():
    retain, forget = (noise(n, torch.arange(n) % k, classes=()) for n, k in ((50, 5), (400, 2)))
    assert set(unlearn.poisoned(Request(retain, forget, retain)).labels.tolist()) == {0, 1, 2, 3, 4}


def test_ages_get_gaussian_noise_of_the_asked_width():
    ages = noise(4000, torch.full((4000,), 40.0), classes=())
    drawn = unlearn.poisoned(Request(ages, ages, ages), noise=5.0).labels
    assert drawn.dtype == torch.float32
    assert float(drawn.mean()) == pytest.approx(40, abs=0.3)
    assert float(drawn.std()) == pytest.approx(5, rel=0.05)


def test_attributes_are_drawn_each_or_all_flipped():
    true = torch.randint(2, (3000, 2), generator=torch.Generator().manual_seed(0)).float()
    both = noise(3000, true, classes=("smiling", "young"))
    request = Request(both, both, both)
    agree = (unlearn.poisoned(request).labels == true).float().mean(0)
    assert torch.allclose(agree, torch.tensor(0.5), atol=0.05)
    assert torch.equal(unlearn.poisoned(request, labels="wrong").labels, 1 - true)


@pytest.mark.parametrize("method", POISONING)
@pytest.mark.parametrize("kind", ["ages", "attributes"])
def test_poisoning_trains_on_ages_and_attributes(method, kind):
    generator = torch.Generator().manual_seed(0)
    labels = 40 + 10 * torch.rand(40, generator=generator) if kind == "ages" else torch.ones(40, 2)
    data = noise(40, labels, classes=())
    net = models.resnet18(1 if kind == "ages" else 2, width=2, in_channels=1)
    unlearned = method(net, Request(data, data, data), **small(method, 1))
    assert changed(state(net), state(unlearned))


@pytest.mark.parametrize(
    ("options", "message"),
    [({"labels": "random"}, "expected 'uniform' or 'wrong'"), ({"noise": 0.0}, "above 0")],
)
def test_impossible_poison(options, message, request_):
    with pytest.raises(InputError, match=message):
        unlearn.poisoned(request_, **options)


def test_one_class_has_no_wrong_label():
    data = noise(20, torch.zeros(20, dtype=torch.long), classes=("only",))
    with pytest.raises(InputError, match="one class only"):
        unlearn.poisoned(Request(data, data, data), labels="wrong")


def test_poison_is_training_on_the_poisoned_set_alone(model, request_):
    expected = copy.deepcopy(model)
    train.fit(
        expected, unlearn.poisoned(request_, seed=3), Recipe(epochs=1, lr=7e-4, batch_size=16), seed=3, progress=False
    )
    assert not changed(state(expected), state(unlearn.poison(model, request_, seed=3, **small(unlearn.poison, 1))))


def test_poison_full_is_training_on_everything_with_a_cosine(model, request_):
    expected, everything = copy.deepcopy(model), request_.retain.joined(unlearn.poisoned(request_))
    assert len(everything) == 160
    train.fit(expected, everything, Recipe(epochs=2, lr=2e-3, batch_size=16, schedule="cosine"), progress=False)
    assert not changed(state(expected), state(unlearn.poison_full(model, request_, **small(unlearn.poison_full, 2))))


def test_hybrid_without_its_poison_is_finetuning(model, request_):
    mixed = unlearn.hybrid(model, request_, **small(unlearn.hybrid, 1, poisoning=0))
    tuned = unlearn.finetune(model, request_, **small(unlearn.finetune, 1))
    assert not changed(state(mixed), state(tuned))


# Pruning


def test_only_the_chosen_weights_change(model, request_):
    fitted, net = copy.deepcopy(model), copy.deepcopy(model)
    train.fit(fitted, request_.forget, Recipe(epochs=1, lr=1e-2, batch_size=16), progress=False)
    masks = unlearn.reset_most_similar(net, [fitted], quantile=0.3)
    before, after = state(model), state(net)
    assert set(masks) == {name for name, p in model.named_parameters() if p.ndim >= 2} == changed(before, after)
    for name, mask in masks.items():
        assert torch.equal(before[name] != after[name], mask)
        assert float(mask.float().mean()) == pytest.approx(0.3, abs=0.5 / min(mask.numel(), 100))


def test_a_weight_must_be_similar_in_every_copy(model):
    one, two = (copy.deepcopy(model) for _ in range(2))
    for seed, other in enumerate((one, two)):
        generator = torch.Generator().manual_seed(seed)
        other.fc.weight.data += torch.randn(other.fc.weight.shape, generator=generator)
    masks = [
        unlearn.reset_most_similar(copy.deepcopy(model), copies, quantile=0.5, layers=["fc.weight"])["fc.weight"]
        for copies in ([one], [two], [one, two])
    ]
    assert torch.equal(masks[0] & masks[1], masks[2])
    assert 0 < masks[2].sum() < masks[0].sum()


def test_pruning_last_resets_the_last_weight_only(model, request_):
    last, all_layers = (
        state(method(model, request_, **small(method, 2, recipe=0)))
        for method in (unlearn.pruning_last, unlearn.selective_pruning)
    )
    assert changed(state(model), last) == {"fc.weight"}
    assert len(changed(state(model), all_layers)) > 10


def test_pruning_complex_resets_a_part_of_what_selective_pruning_does(model, request_):
    before, both, one = (
        state(net)
        for net in (
            model,
            unlearn.pruning_complex(model, request_, retain_share=0.5, **small(unlearn.pruning_complex, 2, recipe=0)),
            unlearn.selective_pruning(model, request_, **small(unlearn.selective_pruning, 2, recipe=0)),
        )
    )
    reset = [(before[n] != both[n], before[n] != one[n]) for n in before]
    assert all(bool((b <= a).all()) for b, a in reset)
    assert 0 < sum(int(b.sum()) for b, _ in reset) < 0.9 * sum(int(a.sum()) for _, a in reset)
    assert all(torch.equal(both[n][m], one[n][m]) for n, (m, _) in zip(before, reset, strict=True))


def test_the_released_rate_of_zero_selects_nothing_and_leaves_finetuning(model, request_):
    def released(epochs):
        options = small(unlearn.pruning_complex, 2, recipe=epochs, retain_overfitting=0)
        return unlearn.pruning_complex(model, request_, seed=5, **options)

    assert not changed(state(model), state(released(0)))
    tuned = unlearn.finetune(model, request_, seed=5, **small(unlearn.finetune, 1))
    assert not changed(state(released(1)), state(tuned))


@pytest.mark.parametrize("method", PRUNING)
def test_impossible_quantiles(method, model, request_):
    with pytest.raises(InputError, match="expected 0 … 1"):
        method(model, request_, quantile=1.5, **small(method, 0))


@pytest.mark.parametrize("share", [0, 1.1])
def test_impossible_shares_of_the_retain_set(share, model, request_):
    with pytest.raises(InputError, match="retain_share"):
        unlearn.pruning_complex(model, request_, retain_share=share, **QUICK)


def test_frozen_weights_stay(model, request_):
    model.conv1.weight.requires_grad_(False)
    unlearned = unlearn.activation_reset(model, request_, share=0.0, **small(unlearn.activation_reset, 0))
    assert torch.equal(unlearned.conv1.weight, model.conv1.weight)
    assert not torch.equal(unlearned.layer1[0].conv1.weight, model.layer1[0].conv1.weight)


# Activation reset


class Bright(nn.Module):
    """Two kernels: the first answers to bright images, the second to dark ones."""

    def __init__(self):
        super().__init__()
        self.only, self.pool, self.fc = nn.Conv2d(1, 2, 1), nn.AdaptiveAvgPool2d(1), nn.Linear(2, 3)
        with torch.no_grad():
            self.only.weight.copy_(torch.tensor([1.0, -1.0]).view(2, 1, 1, 1))
            self.only.bias.copy_(torch.tensor([0.0, 1.0]))

    def forward(self, x):
        return self.fc(self.pool(self.only(x)).flatten(1))


def flat(value, n):
    return ImageSet(torch.full((n, 1, 4, 4), value, dtype=torch.uint8), torch.arange(n) % 3, ("a", "b", "c"))


@pytest.fixture
def bright_forget():
    return Request(flat(51, 60), flat(204, 6), flat(0, 3))  # brightness 0.2 and 0.8


def test_the_kernel_that_answers_to_the_forget_set_is_found(bright_forget):
    assert unlearn.active_kernels(Bright(), bright_forget)["only.weight"].tolist() == [True, False]


def test_mean_maps_average_over_images():
    both = flat(51, 3).joined(flat(204, 9))
    maps = unlearn.mean_maps(Bright(), both, batch_size=5)
    assert set(maps) == {"only.weight"}
    assert maps["only.weight"].shape == (2, 4, 4)
    assert torch.allclose(maps["only.weight"][0], torch.tensor(0.65).double(), atol=1e-6)


def test_the_released_divisor_selects_other_kernels(bright_forget, model, request_):
    chosen = unlearn.active_kernels(Bright(), bright_forget, divisor="retain set")["only.weight"]
    assert chosen.tolist() == [True, True]  # the dark kernel's retain mean shrinks tenfold
    right, wrong = (
        torch.cat([*unlearn.active_kernels(model, request_, divisor=divisor).values()])
        for divisor in ("sample", "retain set")
    )
    assert (right & wrong).sum() < min(right.sum(), wrong.sum())  # neither choice holds the other


def test_reset_are_the_chosen_kernels_and_the_last_layer(bright_forget):
    before = Bright()
    options = small(unlearn.activation_reset, 0)
    after = unlearn.activation_reset(before, bright_forget, **options)
    assert changed(state(before), state(after)) == {"only.weight", "fc.weight"}
    assert (before.only.weight != after.only.weight).flatten().tolist() == [True, False]
    kept = unlearn.activation_reset(before, bright_forget, reset_last=False, **options)
    assert changed(state(before), state(kept)) == {"only.weight"}


def test_shortcuts_are_convolutions_too(model, request_):
    kernels = unlearn.active_kernels(model, request_)
    assert len(kernels) == 20
    assert kernels["layer2.0.downsample.0.weight"].shape == (8,)


def test_the_mode_and_the_statistics_stay_while_activations_are_measured(model, request_):
    before = state(model.train())
    unlearn.active_kernels(model, request_)
    assert model.training
    assert not changed(before, state(model))


def test_hooks_are_gone_when_a_batch_raises(model, request_):
    def fail(module, inputs):
        raise RuntimeError("out of luck")

    handle = model.fc.register_forward_pre_hook(fail)
    with pytest.raises(RuntimeError, match="out of luck"):
        unlearn.mean_maps(model, request_.forget)
    handle.remove()
    assert not any(m._forward_hooks for m in model.modules())


@pytest.mark.parametrize(
    ("options", "message"),
    [({"divisor": "all"}, "unknown divisor"), ({"share": -0.1}, "expected 0 … 1")],
)
def test_impossible_resets(options, message, model, request_):
    with pytest.raises(InputError, match=message):
        unlearn.activation_reset(model, request_, **options, **QUICK)


def test_networks_without_the_layers_a_method_resets(request_):
    flat_net, conv_net = nn.Sequential(nn.Flatten(), nn.Linear(64, 3)), nn.Sequential(nn.Conv2d(1, 3, 8), nn.Flatten())
    with pytest.raises(InputError, match="no convolution"):
        unlearn.activation_reset(flat_net, request_, **QUICK)
    with pytest.raises(InputError, match="no linear layer"):
        unlearn.pruning_last(conv_net, request_, **small(unlearn.pruning_last, 1))


# Phases, requests and joined sets


def test_phases_number_their_steps_through_and_stop_for_good(model, request_):
    seen = []
    both = phases.Phases(lambda step, loss: seen.append(step) or step == 3, progress=False)
    recipe = Recipe(epochs=1, lr=1e-3, batch_size=20)
    both.train(model, request_.forget, recipe, seed=0)
    both.train(model, request_.forget, recipe.but(epochs=2), seed=0)
    stopped = state(model)
    both.train(model, request_.forget, recipe.but(epochs=2), seed=0)
    assert seen == [1, 2, 3]
    assert not changed(stopped, state(model))


def test_purposes_have_seeds_of_their_own():
    seeds = {phases.seed_for(seed, purpose) for seed in range(-5, 20) for purpose in ("labels", "overfit")}
    assert len(seeds) == 50
    assert all(0 <= seed < 2**63 for seed in seeds)


@pytest.mark.parametrize("empty", ["retain", "forget"])
def test_empty_requests_are_one_sentence(empty, request_):
    nothing = getattr(request_, empty).subset(torch.tensor([], dtype=torch.long))
    with pytest.raises(InputError, match=f"the {empty} set of the request is empty"):
        dataclasses.replace(request_, **{empty: nothing})


def test_a_whole_class_may_be_forgotten(model):
    train_set = noise(60, torch.arange(60) % 3)
    task = Task("class", train_set, torch.arange(0, 60, 3), *(noise(6, torch.arange(6) % 3) for _ in range(3)))
    assert set(task.retain.labels.tolist()) == {1, 2}
    for method in unlearn.methods().values():
        unlearned = method.run(model, task.request, **small(method.run, 1))
        assert predict(unlearned, task.val).shape == (6, 3)


def test_joined_sets_keep_what_both_know(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((3, 1, 2, 2), np.uint8))
    mapped = torch.from_numpy(np.load(tmp_path / "a.npy", mmap_mode="c"))
    one = ImageSet(mapped, torch.zeros(3).long(), ("a", "b"), torch.arange(3), names=np.array(["x", "y", "z"]))
    two = ImageSet(torch.ones(2, 1, 2, 2, dtype=torch.uint8), torch.ones(2).long(), ("a", "b"), torch.tensor([8, 9]))
    both = one.joined(two)
    assert both.images[:, 0, 0, 0].tolist() == [0, 0, 0, 1, 1]
    assert both.labels.tolist() == [0, 0, 0, 1, 1]
    assert both.identities.tolist() == [0, 1, 2, 8, 9]
    assert both.names is None
    named = dataclasses.replace(two, names=np.array(["long name", "q"]))
    assert one.joined(named).names.tolist() == ["x", "y", "z", "long name", "q"]


@pytest.mark.parametrize(
    ("other", "what"),
    [
        ({"mean": (0.5,)}, "normalisation"),
        ({"classes": ("c", "d", "e")}, "classes"),
        ({"labels": torch.zeros(4)}, "kind of labels"),
        ({"images": torch.zeros(4, 1, 2, 2, dtype=torch.uint8)}, "image shape"),
        ({"augment": lambda images, generator: images}, "augmentation"),
    ],
)
def test_sets_that_do_not_fit_are_not_joined(other, what):
    data = noise(4, torch.zeros(4).long())
    with pytest.raises(InputError, match=f"differ in {what}"):
        data.joined(dataclasses.replace(data, **other))
