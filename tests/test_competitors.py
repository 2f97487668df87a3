"""What GLI is compared with: gradient, layer, noise and distillation methods, each against a plain step by hand."""

import copy
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from mulib import InputError, models, unlearn
from mulib.data import ImageSet, Request
from mulib.errors import DivergedError
from mulib.recipe import Recipe
from mulib.unlearn.distillation import divergence
from mulib.unlearn.layers import block_names
from mulib.unlearn.pairs import Companion, Pairs

LR = 0.05
PLAIN = Recipe(epochs=1, lr=LR, batch_size=8, momentum=0.0, weight_decay=0.0)


def images(n, seed):
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.randint(0, 256, (n, 3, 8, 8), generator=generator, dtype=torch.uint8)
    labels = torch.randint(0, 3, (n,), generator=generator)
    return ImageSet(pixels, labels, ("a", "b", "c"), mean=(0.5, 0.4, 0.3), std=(0.3, 0.2, 0.25))


@pytest.fixture
def request_():
    return Request(images(16, 0), images(8, 1), images(4, 2))


@pytest.fixture
def model():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        start = nn.Sequential(nn.Conv2d(3, 4, 3, stride=2), nn.BatchNorm2d(4), nn.ReLU())
        return nn.Sequential(start, nn.Sequential(nn.Conv2d(4, 6, 3), nn.ReLU()), nn.Flatten(), nn.Linear(6, 3)).train()


def run(name, model, request, **options):
    """The method with plain steps of `LR`, one epoch in each phase; options of a recipe go to the first one."""
    own = {k: options.pop(k) for k in [*options] if k in PLAIN.__dict__}
    recipes = dict.fromkeys(unlearn.get(name).recipes, PLAIN) | {"recipe": PLAIN.but(**own)}
    return unlearn.get(name).run(model, request, **recipes | {"progress": False} | options)


def batches(data, seed=0):
    return data.batches(8, torch.Generator().manual_seed(seed))


def descend(model, *losses):
    """One plain step of gradient descent for each loss, a function of the model; in place."""
    for loss in losses:
        model.zero_grad()
        loss(model).backward()
        with torch.no_grad():
            for p in model.parameters():
                p -= LR * p.grad
    return model


def assert_same_weights(a, b):
    for (name, x), y in zip(a.named_parameters(), b.parameters(), strict=True):
        torch.testing.assert_close(x, y, rtol=1e-4, atol=1e-6, msg=name)


# Gradient -------------------------------------------------------------------------------------------------------------


def test_negative_gradient_is_a_step_uphill(model, request_):
    plain = copy.deepcopy(model)
    (x, y), *_ = batches(request_.forget)
    descend(plain, lambda net: -F.cross_entropy(net(x), y))
    assert_same_weights(run("negative_gradient", model, request_), plain)


def test_negative_gradient_may_diverge(model, request_):
    with pytest.raises(DivergedError, match="lower the learning rate"):
        run("negative_gradient", model, request_, lr=1e30, epochs=5)


def test_advanced_negative_gradient_goes_both_ways_at_once(model, request_):
    plain, forget = copy.deepcopy(model), Companion(request_.forget, seed=0)
    for x, y in batches(request_.retain):
        x_forget, y_forget = forget.take(8)

        def loss(net, x=x, y=y, x_forget=x_forget, y_forget=y_forget):
            return F.cross_entropy(net(x), y) - F.cross_entropy(net(x_forget), y_forget)

        descend(plain, loss)
    assert_same_weights(run("advanced_negative_gradient", model, request_), plain)


# Pairs ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["advanced_negative_gradient", "scrub", "bad_teaching", "unsir"])
@pytest.mark.parametrize(("over", "retain_batches"), [("retain", 2), ("forget", 1)])
def test_an_epoch_passes_over_one_of_the_sets(name, over, retain_batches, model, request_):
    steps = []
    options = {"repair": PLAIN.but(epochs=0)} if name == "unsir" else {}
    run(name, model, request_, over=over, on_step=lambda step, loss: steps.append(step), **options)
    assert len(steps) == retain_batches * (2 if name == "scrub" else 1)


@pytest.mark.parametrize("over", ["retain", "forget"])
def test_pairs_tell_retain_from_forget(over, model, request_):
    marked = {
        part: replace(data, labels=torch.full_like(data.labels, i)) for i, (part, data) in enumerate(parts(request_))
    }
    pairs = Pairs(replace(request_, **marked), model, over=over, seed=0)
    for batch in batches(pairs.data):
        (x, y), (x_forget, y_forget) = pairs(*batch)
        assert x.shape == x_forget.shape
        assert (set(y.tolist()), set(y_forget.tolist())) == ({0}, {1})


def parts(request):
    return [("retain", request.retain), ("forget", request.forget)]


def test_an_unknown_set_to_pass_over(model, request_):
    with pytest.raises(InputError, match="over is 'val': expected 'retain' or 'forget'"):
        run("bad_teaching", model, request_, over="val")


# Layers ---------------------------------------------------------------------------------------------------------------


def test_blocks_of_a_resnet():
    net = models.resnet18(3, width=2)
    assert block_names(net, 3) == ("layer3", "layer4", "fc")
    assert block_names(net, ["layer3"]) == ("layer3",)
    assert block_names(net, "fc") == ("fc",)


@pytest.mark.parametrize(
    ("k", "message"),
    [
        (0, "expected 1 … 3"),
        (4, "expected 1 … 3"),
        (("head",), "no block is called head: expected some of 0, 1, 3"),
        ((), "k names no block"),
    ],
)
def test_blocks_that_are_not_there(k, message, model):
    with pytest.raises(InputError, match=message):
        block_names(model, k)


@pytest.mark.parametrize("name", ["cf_k", "eu_k"])
@pytest.mark.parametrize(("k", "moved"), [(1, {"3"}), (2, {"1", "3"}), (("0",), {"0"})])
def test_only_the_last_blocks_move(name, k, moved, model, request_):
    unlearned = run(name, model, request_, k=k)
    pairs = zip(model.named_parameters(), unlearned.parameters(), strict=True)
    assert {n.split(".")[0] for (n, a), b in pairs if not torch.equal(a, b)} == moved


def test_cf_k_of_all_blocks_is_finetuning(model, request_):
    options = {"momentum": 0.9, "weight_decay": 5e-4}
    assert_same_weights(run("cf_k", model, request_, k=3, **options), run("finetune", model, request_, **options))


def test_eu_k_as_released_is_cf_k(model, request_):
    assert_same_weights(run("eu_k", model, request_, k=2, reset=False), run("cf_k", model, request_, k=2))


def test_eu_k_resets_from_the_seed_alone(model, request_):
    """Two models that differ in the last block only are the same after it is reset."""
    other = copy.deepcopy(model)
    nn.init.normal_(other[3].weight, generator=torch.Generator().manual_seed(1))
    one, two = (run("eu_k", net, request_, k=1, seed=5) for net in (model, other))
    assert_same_weights(one, two)
    one, two = (run("eu_k", net, request_, k=1, seed=5, reset=False) for net in (model, other))
    assert not torch.equal(one[3].weight, two[3].weight)


@pytest.mark.parametrize("name", ["cf_k", "eu_k"])
def test_what_requires_a_gradient_stays_as_it_was(name, model, request_):
    model[0].requires_grad_(False)
    unlearned = run(name, model, request_, k=1)
    assert [p.requires_grad for p in unlearned.parameters()] == [p.requires_grad for p in model.parameters()]


# Noise ----------------------------------------------------------------------------------------------------------------


def test_unsir_without_impairing_is_plain_training(model, request_):
    plain = copy.deepcopy(model)
    for x, y in batches(request_.retain):
        descend(plain, lambda net, x=x, y=y: F.cross_entropy(net(x), y))
    assert_same_weights(run("unsir", model, request_, epochs=0), plain)


def test_the_noise_goes_away_from_the_forget_logits(model, request_):
    from mulib.unlearn.unsir import _far_from

    target = model(request_.forget.pixels(slice(None))).detach()
    noise = torch.rand(8, 3, 8, 8)

    def distance(pixels):
        return F.mse_loss(model(pixels), target)

    moved = _far_from(distance, noise, 5, 0.01)
    assert distance(moved) > distance(noise)
    assert 0 < (moved - noise).abs().max() <= 0.06
    assert all(p.grad is None for p in model.parameters())


def test_unsir_wants_steps_and_a_rate(model, request_):
    for bad in ({"noise_steps": -1}, {"noise_lr": 0.0}):
        with pytest.raises(InputError, match="expected ≥ 0 and > 0"):
            run("unsir", model, request_, **bad)


# Distillation ---------------------------------------------------------------------------------------------------------


def test_divergence_of_classes_is_kullback_and_leiblers():
    student, teacher = torch.randn(2, 5, 4, generator=torch.Generator().manual_seed(0)).double()
    p, q = (teacher / 4).softmax(1), (student / 4).softmax(1)
    expected = 16 * (p * (p / q).log()).sum(1).mean()
    torch.testing.assert_close(divergence(student, teacher, torch.zeros(5).long(), 4.0), expected.float())


def test_divergence_of_attributes_is_the_sum_over_coins():
    student, teacher = torch.randn(2, 5, 3, generator=torch.Generator().manual_seed(0)).double()
    p, q = (teacher / 4).sigmoid(), (student / 4).sigmoid()
    expected = 16 * (p * (p / q).log() + (1 - p) * ((1 - p) / (1 - q)).log()).sum(1).mean()
    torch.testing.assert_close(divergence(student, teacher, torch.zeros(5, 3), 4.0), expected.float())


def test_divergence_of_extreme_logits_is_finite():
    big = torch.tensor([[1e4, -1e4]])
    for labels in (torch.zeros(1).long(), torch.zeros(1, 2)):
        assert divergence(big, -big, labels, 4.0).isfinite()


def released_divergence(student, teacher):
    return F.kl_div((student / 4).log_softmax(1), (teacher / 4).softmax(1), reduction="batchmean") * 16


def test_scrub_takes_a_min_step_then_a_max_step(model, request_):
    plain, teacher, forget = copy.deepcopy(model), copy.deepcopy(model).eval(), Companion(request_.forget, seed=0)
    for x, y in batches(request_.retain):
        x_forget, _ = forget.take(8)
        on_retain, on_forget = (teacher(v).detach() for v in (x, x_forget))

        def towards(net, x=x, y=y, goal=on_retain):
            logits = net(x)
            return F.cross_entropy(logits, y) + released_divergence(logits, goal)

        descend(plain, towards, lambda net, x=x_forget, goal=on_forget: -released_divergence(net(x), goal))
    assert_same_weights(run("scrub", model, request_), plain)


def test_bad_teaching_follows_two_teachers(model, request_):
    seen = {}

    def remember(student, teacher, labels, temperature):
        seen.setdefault("calls", []).append(teacher)
        return divergence(student, teacher, labels, temperature)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mulib.unlearn.distillation.divergence", remember)
        run("bad_teaching", model, request_)
    good = copy.deepcopy(model).eval()
    (x, _), *_ = batches(request_.retain)
    x_forget, _ = Companion(request_.forget, seed=0).take(8)
    torch.testing.assert_close(seen["calls"][0], good(x).detach())
    assert not torch.allclose(seen["calls"][1], good(x_forget))
    assert len(seen["calls"]) == 4


def test_the_bad_teacher_is_drawn_from_the_seed(model, request_):
    """On a retain set of one image, seen again and again, two seeds differ in the teacher and in the order only."""
    one = replace(
        request_,
        retain=request_.retain.subset(torch.zeros(8).long()),
        forget=request_.forget.subset(torch.zeros(8).long()),
    )
    first, again, second = (run("bad_teaching", model, one, seed=s) for s in (1, 1, 2))
    assert_same_weights(first, again)
    assert not torch.allclose(first[3].weight, second[3].weight, atol=1e-5)


@pytest.mark.parametrize("name", ["scrub", "bad_teaching"])
def test_distillation_refuses_what_it_cannot_do(name, model, request_):
    with pytest.raises(InputError, match=r"temperature is 0.0: expected a number above 0"):
        run(name, model, request_, temperature=0.0)
    ages = {part: replace(data, labels=data.labels.float(), classes=()) for part, data in parts(request_)}
    with pytest.raises(InputError, match="distillation needs classes"):
        run(name, model, replace(request_, **ages))
