"""What SSD, SalUn, MSG and ℓ1-sparse change, against plain loops, and what they leave alone."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from mulib import InputError, unlearn
from mulib.models import resnet18
from mulib.predict import predict
from mulib.recipe import Recipe
from mulib.unlearn import contract
from mulib.unlearn.phases import generator_for
from mulib.unlearn.recipes import DAMPENING

ONE = Recipe(epochs=1, lr=0.05, batch_size=8, weight_decay=0.1)
QUIET = {"progress": False}


@pytest.fixture
def model():
    return resnet18(3, width=2, in_channels=1, seed=7).eval()


@pytest.fixture(scope="module")
def request_():
    return contract.noise()


def gradient(model, images, labels):
    model = copy.deepcopy(model)
    F.cross_entropy(model(images), labels).backward()
    return {name: weight.grad for name, weight in model.named_parameters()}


def whole(data):
    return data.pixels(slice(None)), data.labels


def test_ssd_is_the_algorithm(model, request_):
    """One batch for each pass, so that the order does not count."""
    everything = request_.forget.joined(request_.retain)
    found = unlearn.ssd(model, request_, DAMPENING.but(batch_size=99), selection=1.5, dampening=0.7)
    forget, of_all = (gradient(model, *whole(data)) for data in (request_.forget, everything))
    dampened = 0
    for name, weight in model.named_parameters():
        f, a = forget[name].square(), of_all[name].square()
        expected = weight.detach().clone()
        chosen = f > 1.5 * a
        expected[chosen] *= (0.7 * a[chosen] / f[chosen]).clamp(max=1)
        assert torch.allclose(found.get_parameter(name), expected, rtol=1e-3, atol=1e-4), name
        dampened += int(chosen.sum())
    assert dampened > 100


def test_ssd_enlarges_no_weight_and_turns_no_sign(model, request_):
    found = unlearn.ssd(model, request_, selection=0.1, dampening=5.0)
    for before, after in zip(model.parameters(), found.parameters(), strict=True):
        assert bool((after.abs() <= before.abs()).all() and (after * before >= 0).all())


def test_salun_moves_its_share_and_nothing_else(model, request_):
    found = unlearn.salun(model, request_, ONE.but(batch_size=99), share=0.3, **QUIET)
    size = torch.cat([g.abs().flatten() for g in gradient(model, *whole(request_.forget)).values()])
    moved = torch.cat([(a != b).flatten() for a, b in zip(model.parameters(), found.parameters(), strict=True)])
    assert 0.25 < moved.double().mean() <= 0.3 + 1 / len(moved)
    assert size[moved].min() >= size.sort(descending=True).values[round(0.3 * len(size)) - 1] - 1e-6


def test_salun_of_all_weights_is_poison_full(model, request_):
    one = unlearn.salun(model, request_, ONE, share=1.0, seed=3, **QUIET)
    other = unlearn.poison_full(model, request_, ONE, seed=3, **QUIET)
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(one.parameters(), other.parameters(), strict=True))


def test_msg_draws_the_weights_with_the_smallest_difference_of_gradients(model, request_):
    """No training; as many retained images as forgotten ones, one batch of each."""
    found = unlearn.msg(model, request_, ONE.but(epochs=0, batch_size=99), share=0.4, seed=5, **QUIET)
    order = torch.randperm(len(request_.retain), generator=generator_for(5, "retain sample"))
    sample = request_.retain.subset(order[: len(request_.forget)])
    kept, gone = (gradient(model, *whole(data)) for data in (sample, request_.forget))
    for name, module in model.named_modules():
        key = f"{name}.weight"
        if not isinstance(module, nn.Conv2d):
            continue
        size = (kept[key] - gone[key]).abs()
        drawn = model.get_parameter(key) != found.get_parameter(key)
        assert int(drawn.sum()) == round(0.4 * size.numel())
        assert size[drawn].max() <= size[~drawn].min() + 1e-6
    assert torch.equal(model.fc.weight, found.fc.weight)


def test_msg_holds_the_other_kernel_weights(model, request_):
    """One step: where nothing is drawn anew, kernels move by a tenth of what finetuning moves them, the rest alike."""
    recipe = ONE.but(batch_size=99, weight_decay=0.0)
    found = unlearn.msg(model, request_, recipe, share=0.0, held=0.1, **QUIET)
    plain = unlearn.finetune(model, request_, recipe, **QUIET)
    for name, start in model.named_parameters():
        ours, theirs = (net.get_parameter(name) - start for net in (found, plain))
        scale = 0.1 if start.ndim == 4 else 1.0
        assert torch.allclose(ours, scale * theirs, atol=1e-5), name


def test_msg_says_that_it_needs_convolutions(request_):
    with pytest.raises(InputError, match="this model has none that train: choose another method"):
        unlearn.msg(nn.Sequential(nn.Flatten(), nn.Linear(64, 3)), request_, ONE, **QUIET)


def test_l1_sparse_is_the_loop(model, request_):
    recipe = Recipe(epochs=2, lr=0.05, batch_size=99, momentum=0.0, weight_decay=0.0)
    found = unlearn.l1_sparse(model, request_, recipe, gamma=0.01, **QUIET)
    plain = copy.deepcopy(model).train()
    for epoch in range(2):
        images, labels = whole(request_.retain)
        loss = F.cross_entropy(plain(images), labels)
        loss = loss + 0.01 * (1 - epoch / 2) * sum(w.abs().sum() for w in plain.parameters())
        plain.zero_grad()
        loss.backward()
        for w in plain.parameters():
            w.data -= 0.05 * w.grad
    assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(plain.parameters(), found.parameters(), strict=True))


def test_l1_sparse_without_a_penalty_is_finetuning(model, request_):
    one = unlearn.l1_sparse(model, request_, ONE, gamma=0.0, **QUIET)
    other = unlearn.finetune(model, request_, ONE, **QUIET)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


def test_the_released_penalty_leaves_nothing_of_a_network(model, request_):
    """γ of 0.2, as the released example has it: after a hundred steps all images get the same answer."""
    found = unlearn.l1_sparse(model, request_, Recipe(40, 0.01, 8), gamma=0.2, **QUIET)
    assert predict(found, request_.retain).std(0).max() < 1e-3
    assert predict(model, request_.retain).std(0).max() > 0.03


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("ssd", {"selection": 0.0}, "selection is 0.0"),
        ("salun", {"share": 0.0}, "share is 0.0"),
        ("msg", {"held": 2.0}, "held 2.0"),
        ("l1_sparse", {"gamma": -1.0}, "gamma is -1.0"),
    ],
)
def test_options_out_of_range_are_one_sentence(name, options, message, model, request_):
    with pytest.raises(InputError, match=message):
        unlearn.get(name).run(model, request_, ONE, **QUIET, **options)
