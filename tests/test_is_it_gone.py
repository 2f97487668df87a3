"""Audits since 2024: probes, exposure, closeness and recovery, against plain oracles and networks that are known."""

import copy

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from mulib import InputError, audit, data, train
from mulib.data import ImageSet
from mulib.models import resnet18
from mulib.predict import feature_maps, penultimate, predict
from mulib.recipe import Recipe


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(0)


@pytest.fixture
def model():
    return resnet18(3, width=2, in_channels=1, seed=7)


def noise(n, generator):
    pixels = torch.randint(0, 256, (n, 1, 8, 8), generator=generator, dtype=torch.uint8)
    return ImageSet(pixels, torch.randint(0, 3, (n,), generator=generator), ("a", "b", "c"))


def test_penultimate_features_are_what_the_last_layer_sees(model, generator):
    images = noise(11, generator)
    found = penultimate(model, images, batch_size=4)
    assert torch.allclose(found, feature_maps(model, images, "avgpool", normalise=False).flatten(1), atol=1e-6)
    assert torch.allclose(model.fc(found), predict(model, images), atol=1e-5)
    assert not model.fc._forward_pre_hooks


def test_a_model_without_a_linear_layer_has_no_penultimate_features(generator):
    with pytest.raises(InputError, match="no linear layer"):
        penultimate(nn.Sequential(nn.Conv2d(1, 3, 8), nn.Flatten()), noise(2, generator))


# Probes


def clusters(n, labels, generator, place=None):
    """Features around the corner of a class, which is that of the label, or another one."""
    return 6 * F.one_hot(labels if place is None else place, 4).float() + torch.randn(n, 4, generator=generator)


def test_the_label_probe_answers_where_the_features_keep_the_label(generator):
    y, wrong = torch.arange(200) % 4, torch.arange(40) % 4
    x = clusters(200, y, generator)
    kept, gone = (clusters(40, wrong, generator, place) for place in (None, (wrong + 1) % 4))
    assert audit.label_probe(x, y, kept, wrong).point > 0.95
    assert audit.label_probe(x, y, gone, wrong).point < 0.05
    assert audit.label_probe(x, y, kept, wrong).n == 40


def test_the_membership_probe_finds_a_shift_and_nothing_in_noise(generator):
    a, b = (torch.randn(120, 5, generator=generator) for _ in range(2))
    assert audit.membership_probe(a + 3, b).point > 0.99
    same = audit.membership_probe(a, b)
    assert same.lower < 0.5 < same.upper


def test_the_membership_probe_scores_no_image_that_it_was_fitted_to(generator):
    """With more features than images every fit is perfect; a probe scored on its own images would have an area of 1."""
    a, b = (torch.randn(30, 100, generator=generator) for _ in range(2))
    assert audit.membership_probe(a, b).point < 0.75


def test_cka_is_that_of_gram_matrices(generator):
    a, b = torch.randn(20, 5, generator=generator), torch.randn(20, 7, generator=generator)

    def centred(x):
        h = np.eye(20) - 1 / 20
        return h @ (x @ x.T).double().numpy() @ h

    k, m = centred(a), centred(b)
    expected = (k * m).sum() / np.sqrt((k * k).sum() * (m * m).sum())
    assert audit.cka(a, b) == pytest.approx(expected)


def test_cka_does_not_mind_rotation_and_scale(generator):
    a = torch.randn(30, 6, generator=generator)
    turn = torch.linalg.qr(torch.randn(6, 6, generator=generator))[0]
    assert audit.cka(a, 3 * a @ turn + 1) == pytest.approx(1)


def test_the_nearest_are_nearest_by_the_cosine(generator):
    a, b = torch.randn(15, 4, generator=generator), torch.randn(3, 4, generator=generator)
    likeness = [max(float(F.cosine_similarity(x, y, dim=0)) for y in b) for x in a]
    assert audit.nearest(a, b, 4).tolist() == sorted(np.argsort(likeness)[-4:].tolist())


# Many models


def logits(generator, models, shift=0.0, examples=9):
    z = torch.randn(examples, models, 3, generator=generator)
    z[..., 0] += shift
    return z


def test_exposure_is_the_share_of_pairs(generator):
    before, after, without = (logits(generator, m, shift) for m, shift in ((4, 0.5), (5, 2.0), (3, 0.0)))
    labels = torch.zeros(9, dtype=torch.int64)
    found = audit.exposure(before, after, without, labels)
    gap = lambda z: float(z[0] - max(z[1:]))  # noqa: E731
    for side, area in ((before, found.before), (after, found.after)):
        for i in range(9):
            pairs = [gap(a) > gap(b) for a in side[i] for b in without[i]]
            assert area[i] == pytest.approx(np.mean(pairs))
    assert found.change.point == pytest.approx(float(np.mean(found.after - found.before)))
    assert found.worse == np.mean(found.after > found.before)


def test_closeness_is_the_mean_over_pairs_of_models(generator):
    u, r, o = (logits(generator, m) for m in (2, 3, 4))
    found = audit.closeness(u, r, o)
    p = [z.double().softmax(2) for z in (u, r, o)]
    for side, mean in ((p[0], found.unlearned), (p[2], found.other)):
        pairs = [(side[e, i] - p[1][e, j]).norm() for e in range(9) for i in range(side.shape[1]) for j in range(3)]
        assert mean == pytest.approx(float(torch.stack(pairs).mean()))
    assert found.difference.point == pytest.approx(found.unlearned - found.other)


def test_closeness_does_not_take_two_models_for_many(generator):
    """Models that differ as whole models: two of each kind tell nothing, however many examples there are."""

    def kind(models):
        return torch.randn(1, models, 3, generator=generator).expand(400, models, 3) * 2

    found = [audit.closeness(kind(2), kind(2), kind(2)).answer for _ in range(20)]
    assert found.count("open") >= 12


def test_closeness_answers(generator):
    r = logits(generator, 5, examples=60)
    near, far = r + 0.1 * torch.randn(r.shape, generator=generator), r + torch.tensor([0.0, 8.0, 0.0])
    assert audit.closeness(near, r, far).answer == "nearer"
    assert audit.closeness(far, r, near).answer == "farther"
    assert audit.closeness(near, r, near).answer == "open"


# Recovery


def test_recovery_looks_after_so_many_steps_of_the_same_training(model, generator):
    retain, forget = noise(20, generator), noise(8, generator)
    recipe = Recipe(epochs=9, lr=0.05, batch_size=6)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    found = audit.recover(model, retain, forget, recipe, steps=(0, 2, 5), seed=3)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    for step, accuracy in zip(found.steps, found.accuracy, strict=True):
        network = copy.deepcopy(model)
        if step:
            from mulib.train import fit

            fit(network, retain, recipe, seed=3, on_step=lambda n, loss, last=step: n == last, progress=False)
        assert accuracy == float((predict(network, forget).argmax(1) == forget.labels).double().mean())


def test_a_memory_behind_the_last_layer_comes_back(generator):
    """A linear network whose features hold the label of the forget set, and whose last layer was turned away."""
    pixels = torch.zeros(60, 1, 1, 6, dtype=torch.uint8)
    y = torch.arange(60) % 3
    pixels[torch.arange(60), 0, 0, y] = 255
    images = ImageSet(pixels, y, ("a", "b", "c"))
    network = nn.Sequential(nn.Flatten(), nn.Linear(6, 3))
    network[1].weight.data.zero_()[:, :3] = -4 * torch.eye(3)
    retain, forget = images.subset(torch.arange(40)), images.subset(torch.arange(40, 60))
    found = audit.recover(network, retain, forget, Recipe(1, 0.5, 10), steps=(0, 40))
    assert found.accuracy == (0.0, 1.0)
    assert found.most == 1.0


def test_apart_is_the_first_step_beyond_two_deviations():
    curve = lambda *values: audit.Recovery((0, 5, 10), values)  # noqa: E731
    null = [curve(0.1, 0.1, 0.2), curve(0.2, 0.1, 0.2)]
    assert curve(0.2, 0.11, 0.5).apart(null) == 10
    assert curve(0.2, 0.15, 0.5).apart(null) == 5
    assert curve(0.2, 0.1, 0.21).apart(null) is None
    with pytest.raises(InputError, match="two or more"):
        curve(0.2, 0.1, 0.2).apart(null[:1])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x, y: audit.label_probe(x, y[:3], x, y), "one each"),
        (lambda x, y: audit.label_probe(x, 0 * y, x, y), "two classes"),
        (lambda x, y: audit.membership_probe(x, x[:2]), "5 folds"),
        (lambda x, y: audit.cka(x, x[:3]), "the same two or more"),
        (lambda x, y: audit.cka(x, 0 * x), "the same for all images"),
        (lambda x, y: audit.nearest(x, x, 9), "count is 9"),
        (lambda x, y: audit.exposure(x, x, x, y), "before is"),
        (lambda x, y: audit.closeness(x, x, x), "of the same examples"),
        (lambda x, y: audit.recover(None, None, None, steps=(3, 1)), "ascend"),
    ],
)
def test_bad_input_is_one_sentence(call, message):
    with pytest.raises(InputError, match=message):
        call(torch.randn(6, 3), torch.arange(6) % 3)


# Planted truth


@pytest.fixture(scope="module")
def planted():
    """A small task with coins, a network that learned it by heart, and one that never saw what coins excluded."""

    task = data.by_coin(data.digits(images=200, forget=30), 0)
    nets = {}
    for name, part, seed in (("original", task.train, 0), ("retrained", task.retain, 1)):
        nets[name] = resnet18(10, width=4, in_channels=1, stem="face", seed=seed)
        train.fit(nets[name], part, Recipe(40, 0.1, 20, schedule="onecycle"), seed=seed, progress=False)
    return task, nets["original"], nets["retrained"]


def weights_that_differ(a, b):
    return [name for (name, x), y in zip(a.named_parameters(), b.parameters(), strict=True) if not torch.equal(x, y)]


def test_coins_move_images_and_change_none(planted):

    task, before = planted[0], data.digits(images=200, forget=30)
    members, others = len(task.forget), len(task.unseen)
    assert members + others == 60
    assert torch.equal(task.retain.images, before.retain.images)
    drawn = torch.cat([task.forget.images, task.unseen.images]).flatten(1).sum(1).sort().values
    given = torch.cat([before.forget.images, before.unseen.images[:30]]).flatten(1).sum(1).sort().values
    assert torch.equal(drawn, given)


def test_coins_are_fair(planted):

    task = data.digits(images=200, forget=100)
    assert 80 < np.mean([len(data.by_coin(task, seed).forget) for seed in range(40)]) < 120


def test_what_is_hidden_is_behind_the_last_layer_alone(planted):
    task, original, retrained = planted
    network = audit.hidden(original, retrained, task.request)
    assert weights_that_differ(original, network) == ["fc.weight", "fc.bias"]
    answers = [predict(net, task.forget).argmax(1) for net in (original, retrained, network)]
    assert (answers[2] == answers[1]).double().mean() > (answers[0] == answers[1]).double().mean() + 0.3
    assert (predict(network, task.retain).argmax(1) == task.retain.labels).double().mean() > 0.95


def test_who_doubts_answers_the_same(planted):
    task, original, _ = planted
    network = audit.doubtful(original, task.request, 20.0)
    before, after = (predict(net, task.test) for net in (original, network))
    assert torch.allclose(before / 20, after, atol=1e-5)


def test_what_is_overdone_never_saw_the_forget_set_and_has_a_loss_to_show(planted):
    task, _, retrained = planted
    network = audit.overdone(retrained, task.request, times=2.0)
    losses = [F.cross_entropy(predict(net, task.forget), task.forget.labels) for net in (retrained, network)]
    assert losses[1] > 1.5 * losses[0]


def test_every_metric_is_asked_and_tells_the_original_from_the_retrained(planted):
    task, original, retrained = planted
    saw, never = (audit.asked(net, retrained, task) for net in (original, retrained))
    assert list(saw) == list(never)
    assert len(saw) == 14
    assert (never["CKA"], never["activation distance"]) == (1, 0)
    for name in ("forget accuracy", "label probe", "relearning"):
        assert saw[name] > never[name] + 0.2, name
    z = predict(original, task.forget)
    assert saw["forget accuracy"] == (z.argmax(1) == task.forget.labels).double().mean()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda task, a, b: audit.doubtful(a, task.request, 1.0), "temperature is 1.0"),
        (lambda task, a, b: audit.overdone(b, task.request, 1.0), "times is 1.0"),
        (
            lambda task, a, b: audit.doubtful(nn.Sequential(nn.Conv2d(1, 10, 16), nn.Flatten()), task.request),
            "no linear layer",
        ),
    ],
)
def test_a_state_that_cannot_be_planted_is_one_sentence(call, message, planted):
    with pytest.raises(InputError, match=message):
        call(*planted)
