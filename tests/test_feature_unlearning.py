"""Networks, training and methods of feature unlearning, on eight-channel networks and noise."""

import copy
from dataclasses import replace

import pytest
import torch

from mulib import InputError, models, unlearn
from mulib.data import ImageSet, Request, only
from mulib.kernels.masking import mask_where_active
from mulib.models import hooks, identifier, remover, resnet18
from mulib.predict import feature_maps, predict, stream
from mulib.recipe import Recipe
from mulib.train import fit
from mulib.unlearn import phases

NAMES = ("Bald", "Mouth_Slightly_Open", "Pointy_Nose")
TASK = {"task": "Bald", "features": ("Mouth_Slightly_Open",)}
QUICK = Recipe(epochs=2, lr=1e-3, batch_size=8, weight_decay=0.0, optimiser="adam")


@pytest.fixture(scope="module")
def request_():
    generator = torch.Generator().manual_seed(0)

    def images(n, mouth=None):
        labels = torch.randint(0, 2, (n, 3), generator=generator).float()
        if mouth is not None:
            labels[:, 1] = mouth
        return ImageSet(torch.randint(0, 256, (n, 3, 32, 32), generator=generator, dtype=torch.uint8), labels, NAMES)

    return Request(images(10, 0), images(14, 1), images(6))


@pytest.fixture
def network():
    return resnet18(1, width=2, stem="face", seed=1)


@pytest.fixture
def adversary():
    return resnet18(1, width=2, stem="face", seed=2)


def state(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


def same(a, b):
    return all(torch.equal(a[name], b[name]) for name in a)


def remove(network, adversary, request, recipe=QUICK, **options):
    small = {"remover": remover(width=2), "progress": False, **TASK}
    return unlearn.remove_features(network, adversary, request, recipe, **small | options)


# Networks -------------------------------------------------------------------------------------------------------------


def test_the_identifier_repeats_its_borders():
    model = identifier(3, width=2, stem="imagenet").eval()
    maps = torch.nn.Sequential(model.conv1, model.bn1, model.relu, model.maxpool)(torch.full((1, 3, 64, 64), 0.7))
    torch.testing.assert_close(maps, maps[:, :, :1, :1].expand_as(maps))  # a flat image stays flat up to its border
    zeros = resnet18(3, width=2, stem="imagenet").eval()
    maps = zeros.conv1(torch.full((1, 3, 64, 64), 0.7))
    assert not torch.allclose(maps, maps[:, :, 9:10, 9:10].expand_as(maps))


def test_the_identifier_has_the_weights_of_a_resnet():
    assert same(
        identifier(3, width=2, stem="face", seed=4).state_dict(), resnet18(3, width=2, stem="face", seed=4).state_dict()
    )


def test_the_remover_starts_open_and_multiplies():
    model, x = remover(width=4).eval(), torch.randn(2, 3, 64, 32)
    mask = model.mask(x)
    assert mask.shape == (2, 1, 64, 32)
    assert bool((mask > 0.9).all())
    assert bool((mask < 1).all())
    torch.testing.assert_close(model(x), mask * x)


def test_the_remover_takes_the_smallest_image_in_training():
    assert remover(width=2).train()(torch.randn(2, 3, 32, 32)).shape == (2, 3, 32, 32)


@pytest.mark.parametrize("size", [(16, 16), (48, 64), (31, 32)])
def test_images_that_the_remover_cannot_halve(size):
    with pytest.raises(InputError, match="needs multiples of 32, at least 32×32"):
        remover(width=2)(torch.zeros(1, 3, *size))


def test_the_remover_is_drawn_from_its_seed():
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    one, again, other = (remover(width=2, seed=s) for s in (1, 1, 2))
    assert torch.equal(torch.rand(1), expected)
    assert same(one.state_dict(), again.state_dict())
    assert not same(one.state_dict(), other.state_dict())


def test_a_remover_without_channels():
    with pytest.raises(InputError, match="at least 1"):
        remover(width=0)


# Hooks and maps -------------------------------------------------------------------------------------------------------


def test_outputs_of_named_layers_with_gradients(network):
    with hooks.outputs(network, ["layer3", "fc"]) as seen:
        logits = network(torch.randn(2, 3, 32, 32))
    assert torch.equal(seen["fc"], logits)
    assert seen["layer3"].requires_grad


def test_hooks_are_gone_whatever_happens(network):
    with pytest.raises(RuntimeError, match="on purpose"), hooks.outputs(network, ["layer3", "layer4.0"]):
        raise RuntimeError("on purpose")
    with pytest.raises(InputError), hooks.outputs(network, ["layer3", "nothing"]):
        pass
    assert not any(module._forward_hooks for module in network.modules())


def test_a_layer_that_is_not_there_is_answered_with_the_nearest(network):
    with pytest.raises(InputError, match=r"no layer 'layer_3'.*layer3"), hooks.outputs(network, ["layer_3"]):
        pass


def test_feature_maps_are_the_layers_output_normalised_per_channel(network, request_):
    data = request_.retain
    raw = feature_maps(network, data, "layer3", normalise=False, batch_size=3)
    with torch.no_grad(), hooks.outputs(network.eval(), ["layer3"]) as seen:
        network(data.pixels(slice(None)))
    torch.testing.assert_close(raw, seen["layer3"])
    maps = feature_maps(network, data, "layer3")
    low, high = raw.amin((0, 2, 3)), raw.amax((0, 2, 3))
    torch.testing.assert_close(maps[:, 5], (raw[:, 5] - low[5]) / (high[5] - low[5]))
    torch.testing.assert_close(feature_maps(network, data, "layer3", channels=[5, 1]), maps[:, [5, 1]])


@pytest.mark.parametrize("training", [True, False])
def test_looking_at_maps_restores_the_mode(network, request_, training):
    network.train(training)
    batches = stream(network, request_.retain, batch_size=4)
    next(batches)
    assert network.training is training
    batches.close()
    assert network.training is training


@pytest.mark.parametrize("channel", [-1, 8])
def test_a_filter_out_of_range(network, request_, channel):
    with pytest.raises(InputError, match=f"no channel {channel} in 'layer3': expected 0 … 7"):
        feature_maps(network, request_.retain, channels=[channel])


def test_maps_of_no_images(network, request_):
    with pytest.raises(InputError, match="no images"):
        feature_maps(network, request_.retain.subset(torch.tensor([], dtype=torch.int64)))


def test_only_some_attributes(request_):
    part = only(request_.retain, "Pointy_Nose", "Bald")
    assert torch.equal(part.labels, request_.retain.labels[:, [2, 0]])
    assert part.classes == ("Pointy_Nose", "Bald")
    with pytest.raises(InputError, match="expected some of Bald, Mouth_Slightly_Open, Pointy_Nose"):
        only(request_.retain, "Nose")
    with pytest.raises(InputError, match="no named attributes"):
        only(replace(request_.retain, classes=()), "Bald")


def test_an_optimiser_of_ones_own_goes_on(network, request_):
    data = only(request_.retain, "Bald")
    adam = torch.optim.Adam(network.parameters(), lr=1e-3)
    for _ in range(2):
        fit(network, data, QUICK.but(epochs=1, batch_size=5), optimiser=adam, progress=False)
    assert {int(held["step"]) for held in adam.state.values()} == {4}


# The adversarial remover ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("game", ["frozen", "alternating"])
def test_removing_leaves_its_arguments_and_moves_what_learns(network, adversary, request_, game):
    start = remover(width=2)
    before = [state(net) for net in (network, adversary, start)]
    removal = remove(network, adversary, request_, remover=start, game=game)
    assert all(same(old, net.state_dict()) for old, net in zip(before, (network, adversary, start), strict=True))
    assert not same(before[0], removal.model.state_dict())
    assert not same(before[2], removal.remover.state_dict())
    assert same(before[1], removal.adversary.state_dict()) is (game == "frozen")
    assert len(removal.losses) == QUICK.epochs


@pytest.mark.parametrize("game", ["frozen", "alternating"])
def test_removing_is_decided_by_its_seed(network, adversary, request_, game):
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    one, again, other = (state(remove(network, adversary, request_, game=game, seed=s).pipeline) for s in (1, 1, 2))
    assert torch.equal(torch.rand(1), expected)
    assert same(one, again)
    assert not same(one, other)


@pytest.mark.parametrize("training", [True, False])
def test_removing_restores_modes_and_gradients(network, adversary, request_, training):
    network.train(training)
    adversary.train(not training)
    removal = remove(network, adversary, request_)
    assert removal.model.training is removal.remover.training is removal.pipeline.training is training
    assert removal.adversary.training is not training
    assert all(p.requires_grad for net in (removal.pipeline, removal.adversary) for p in net.parameters())


def test_removing_keeps_frozen_batch_norm_frozen(network, adversary, request_):
    network.train().bn1.eval()
    adversary.eval().layer4.train()
    modes = [[module.training for module in net.modules()] for net in (network, adversary)]
    for game in ("frozen", "alternating"):
        removal = remove(network, adversary, request_, game=game)
        assert torch.equal(removal.model.bn1.running_mean, network.bn1.running_mean)
        assert not removal.pipeline[1].bn1.training
        for net, before in zip((removal.model, removal.adversary), modes, strict=True):
            assert [module.training for module in net.modules()] == before


def test_every_turn_of_every_epoch_has_a_seed_of_its_own(network, adversary, request_, monkeypatch):
    seeds, fit = [], phases.fit
    monkeypatch.setattr(phases, "fit", lambda *a, **options: seeds.append(options["seed"]) or fit(*a, **options))
    for seed in (0, 1):
        remove(network, adversary, request_, game="alternating", recipe=QUICK.but(epochs=3), seed=seed)
    assert len(seeds) == len(set(seeds)) == 18


def test_as_released_only_images_with_the_feature_are_used(network, adversary, request_):
    poisoned = replace(request_, retain=replace(request_.retain, images=torch.zeros_like(request_.retain.images)))
    one, other = (state(remove(network, adversary, r).pipeline) for r in (request_, poisoned))
    assert same(one, other)
    one, other = (state(remove(network, adversary, r, images="all").pipeline) for r in (request_, poisoned))
    assert not same(one, other)


def test_closeness_keeps_the_image(network, adversary, request_):
    x = request_.forget.pixels(slice(None))
    far, near = (
        (remove(network, adversary, request_, closeness=c, recipe=QUICK.but(epochs=6, lr=1e-2)).remover.eval()(x) - x)
        .abs()
        .mean()
        for c in (0.0, 100.0)
    )
    assert near < far


def test_the_remover_turns_a_frozen_adversary(network, request_):
    everything = only(replace(request_.forget, labels=request_.forget.labels), "Mouth_Slightly_Open")
    adversary = resnet18(1, width=2, stem="face", seed=2)
    fit(adversary, everything, Recipe(epochs=8, lr=1e-2, batch_size=7, optimiser="adam"), progress=False)
    assert bool((predict(adversary, everything) > 0).all())
    options = {"closeness": 0.0, "recipe": QUICK.but(epochs=12, lr=1e-2)}
    removal = remove(network, adversary, request_, **options)
    with torch.no_grad():
        after = adversary.eval()(removal.remover.eval()(everything.pixels(slice(None))))
    assert float(after.mean()) < float(predict(adversary, everything).mean())


def test_several_features(network, request_):
    adversary = resnet18(2, width=2, stem="face")
    remove(network, adversary, request_, features=NAMES[1:])
    with pytest.raises(InputError, match="2 outputs for 1 features: expected one for each"):
        remove(network, adversary, request_)


def test_removing_ends_when_asked(network, adversary, request_):
    seen = []
    removal = remove(network, adversary, request_, on_step=lambda step, loss: seen.append(step) or len(seen) == 3)
    assert seen == [1, 2, 3]
    assert removal.losses == ()


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"features": ("Nose",)}, "expected some of"),
        ({"features": ()}, "expected others than the task"),
        ({"features": ("Bald",)}, "expected others than the task"),
        ({"game": "chess"}, "'frozen' or 'alternating'"),
        ({"images": "some"}, "'forget' or 'all'"),
        ({"recipe": QUICK.but(schedule="cosine")}, "expected 'constant'"),
    ],
)
def test_bad_requests_to_remove(network, adversary, request_, bad, message):
    with pytest.raises(InputError, match=message):
        remove(network, adversary, request_, **bad)


# Blanking what a filter marks -----------------------------------------------------------------------------------------


def test_blanking_is_the_kernel_on_the_normalised_map(network, request_):
    data = request_.retain
    blanked = unlearn.blank(data, network, filter=3, threshold=0.4)
    assert torch.equal(blanked.images, mask_where_active(data.images, feature_maps(network, data)[:, 3], 0.4))
    assert blanked.classes == data.classes
    assert not torch.equal(blanked.images, data.images)


def test_blank_filter_is_finetuning_on_blanked_images(network, request_):
    before = state(network)
    finder = identifier(3, width=2, stem="face")
    options = {"recipe": QUICK, "filter": 3, "task": "Bald", "progress": False}
    one, again, other = (state(unlearn.blank_filter(network, finder, request_, seed=s, **options)) for s in (1, 1, 2))
    assert same(before, network.state_dict())
    assert same(one, again)
    assert not same(one, other)
    expected = copy.deepcopy(network)
    parts = (
        torch.cat([request_.retain.images, request_.forget.images]),
        torch.cat([request_.retain.labels, request_.forget.labels]),
    )
    blanked = unlearn.blank(only(ImageSet(*parts, NAMES), "Bald"), finder, filter=3)
    fit(expected, blanked, QUICK, seed=1, progress=False)
    assert same(one, expected.state_dict())


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"filter": 99}, "no channel 99"),
        ({"threshold": 1.5}, "expected 0 … 1"),
        ({"layer": "layer9"}, r"no layer 'layer9'.*layer"),
        ({"layer": "fc", "filter": 0}, "gives no maps"),
    ],
)
def test_bad_requests_to_blank(network, request_, bad, message):
    with pytest.raises(InputError, match=message):
        unlearn.blank(request_.retain, network, **{"filter": 0} | bad)


def test_public_names_of_the_models():
    assert all(hasattr(models, name) for name in ("resnet18", "identifier", "remover", "reinitialise", "device_of"))
