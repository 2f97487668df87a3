"""Groups of filters, their ranking by a known region, outlines, and Grad-CAM."""

import numpy as np
import oracles_features as oracles
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from mulib import InputError, explain
from mulib.data import ImageSet
from mulib.kernels.masking import enlarge
from mulib.kernels.similarity import group_loss
from mulib.models import identifier, resnet18


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(0)


@pytest.fixture
def data(generator):
    images = torch.randint(0, 256, (24, 3, 32, 32), generator=generator, dtype=torch.uint8)
    return ImageSet(images, torch.randint(0, 2, (24, 2), generator=generator).float(), ("Bald", "Smiling"))


@pytest.fixture
def network():
    model = identifier(2, width=4, stem="face", seed=3)
    nn.init.constant_(model.layer3[1].bn2.bias, 50.0)  # so that no filter is silent
    return model


def state(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


def same(a, b):
    return all(torch.equal(a[name], b[name]) for name in a)


# Groups ---------------------------------------------------------------------------------------------------------------


def test_groups_do_not_depend_on_the_batch_size(network, data):
    one, other = (explain.groups(network, data, k=3, batch_size=size) for size in (5, 24))
    assert torch.equal(one.labels, other.labels)
    assert one.k == 3
    assert sorted(filter for k in range(3) for filter in one.members(k)) == list(range(16))


def test_the_eigengap_chooses_where_no_number_is_given(network, data):
    assert 2 <= explain.groups(network, data).k < 16


def test_more_groups_than_filters(network, data):
    with pytest.raises(InputError, match="17 groups of 16 channels"):
        explain.groups(network, data, k=17)


def test_constant_maps_are_named(network, data):
    with torch.no_grad():
        network.layer3[1].bn2.bias[3] = -1000.0
    with pytest.raises(InputError, match=r"1 filters of 'layer3' \(3 …\) have a constant map"):
        explain.groups(network, data, k=2)


def test_a_layer_that_is_not_there(network, data):
    with pytest.raises(InputError, match="no layer 'layer7'"):
        explain.groups(network, data, "layer7")


def test_group_maps_are_means_of_their_members():
    maps = torch.arange(12.0).view(1, 3, 2, 2)
    expected = torch.stack([(maps[:, 0] + maps[:, 2]) / 2, maps[:, 1]], 1)
    torch.testing.assert_close(explain.group_maps(maps, torch.tensor([0, 1, 0])), expected)


SHORT = explain.IDENTIFICATION.but(epochs=3, lr=1e-3, batch_size=8)
OPTIONS = {"recipe": SHORT, "k": 3, "progress": False}


def test_identify_returns_a_new_model_decided_by_its_seed(network, data):
    before = state(network)
    (one, found), (again, _), (other, _) = (explain.identify(network, data, seed=s, **OPTIONS) for s in (1, 1, 2))
    assert same(before, network.state_dict())
    assert same(one.state_dict(), again.state_dict())
    assert not same(one.state_dict(), other.state_dict())
    assert found.k == 3
    assert not any(module._forward_hooks for module in one.modules())


def test_identify_lowers_the_group_loss(network, data):
    def loss(model, labels):
        maps = explain.feature_maps(model, data, normalise=False)
        return group_loss(maps, labels, maps.mean(0))

    options = OPTIONS | {"until": 0, "recipe": SHORT.but(epochs=8, lr=5e-3)}  # the groups of the first epoch are kept
    free, fixed = (explain.identify(network, data, weight=w, **options) for w in (0.0, 10.0))
    assert torch.equal(free[1].labels, fixed[1].labels)
    assert loss(fixed[0], fixed[1].labels) < loss(free[0], free[1].labels) - 0.05


def test_groups_are_found_anew_every_few_epochs(network, data, monkeypatch):
    calls, original = [], explain.groups.__globals__["_groups"]
    monkeypatch.setitem(explain.groups.__globals__, "_groups", lambda *a: calls.append(a[3]) or original(*a))
    explain.identify(network, data, **OPTIONS | {"recipe": SHORT.but(epochs=5), "every": 2, "until": 4, "k": None})
    assert len(calls) == 3  # before epochs 1 and 3, and after the last
    assert calls[0] is None
    assert calls[1] == calls[2] is not None


def test_an_epoch_of_seventeen_images_is_one_batch_of_sixteen_and_one(network, data, monkeypatch):
    """The image that would be left over joins the batch before, so four epochs are four steps."""
    calls, original = [], explain.groups.__globals__["_groups"]
    monkeypatch.setitem(explain.groups.__globals__, "_groups", lambda *a: calls.append(a) or original(*a))
    options = OPTIONS | {"recipe": SHORT.but(epochs=4, batch_size=16), "every": 1, "until": 9}
    explain.identify(network, data.subset(torch.arange(17)), **options)
    assert len(calls) == 5  # before each epoch, and after the last


def test_mean_maps_are_a_moving_average_that_mostly_stays(network, data):
    objective = explain.groups.__globals__["_Grouping"](data, "layer3", 3, 1.0, 0.9, 100, 100, 0)
    batches, network = [data.pixels(slice(k, k + 8)) for k in (0, 8)], network.eval()
    for x in batches:
        objective(network, x, data.labels[:8])
    first, second = (x.mean(0) for x in explain.feature_maps(network, data, normalise=False)[:16].split(8))
    torch.testing.assert_close(objective.mean, 0.9 * first + 0.1 * second, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("bad", [{"weight": -1.0}, {"decay": 1.0}, {"every": 0}])
def test_bad_numbers_to_identify(network, data, bad):
    with pytest.raises(InputError, match="expected ≥ 0"):
        explain.identify(network, data, **OPTIONS | bad)


# Ranking --------------------------------------------------------------------------------------------------------------


def test_iou_equals_the_loop(generator):
    maps = torch.rand(6, 3, 4, 4, generator=generator)
    region = torch.rand(6, 16, 16, generator=generator) > 0.8
    ranking = explain.rank_filters(maps, region, threshold=0.5)
    expected = [oracles.iou((enlarge(maps[:, c], 16, 16) > 0.5).numpy(), region.numpy()) for c in range(3)]
    np.testing.assert_allclose(ranking.iou, expected, rtol=1e-6)
    assert ranking.best == int(np.argmax(expected))


def test_a_filter_that_marks_the_region_exactly_is_first():
    region = torch.zeros(5, 8, 8, dtype=torch.bool)
    for image, place in enumerate([0, 1, 2, 3, 4]):
        region[image, place : place + 3, 2:6] = True
    maps = torch.stack([region.roll(3, 1), region, torch.ones_like(region)], 1).float()
    ranking = explain.rank_filters(maps, region, threshold=0.5)
    assert ranking.order.tolist()[0] == 1
    assert float(ranking.iou[1]) == 1
    assert ranking.baseline < 1


def test_the_baseline_is_the_best_mask_for_all_images(generator):
    region = torch.rand(4, 3, 3, generator=generator) > 0.5
    ranking = explain.rank_filters(torch.rand(4, 1, 3, 3, generator=generator), region)
    masks = [torch.tensor([(code >> bit) & 1 for bit in range(9)], dtype=torch.bool) for code in range(1, 512)]
    values = [oracles.iou(mask.view(3, 3).expand(4, 3, 3).numpy(), region.numpy()) for mask in masks]
    assert ranking.baseline == pytest.approx(max(values))
    assert oracles.iou(ranking.mean_mask.expand(4, 3, 3).numpy(), region.numpy()) == pytest.approx(max(values))


@pytest.mark.parametrize(
    ("maps", "region"),
    [((3, 2, 4, 4), torch.ones(2, 8, 8)), ((3, 4, 4), torch.ones(3, 8, 8)), ((3, 2, 4, 4), torch.zeros(3, 8, 8))],
)
def test_bad_regions(maps, region):
    with pytest.raises(InputError, match="do not fit"):
        explain.rank_filters(torch.ones(maps), region)


# Outlines -------------------------------------------------------------------------------------------------------------


def test_the_line_is_the_border_of_the_region():
    region = torch.zeros(1, 6, 6, dtype=torch.bool)
    region[0, 1:5, 1:5] = True
    drawn = explain.outline(torch.full((1, 3, 6, 6), 7, dtype=torch.uint8), region, colour=(1, 2, 3))
    line = (drawn == torch.tensor([1, 2, 3], dtype=torch.uint8)).all(-1)[0]
    assert drawn.shape == (1, 6, 6, 3)
    assert int(line.sum()) == 12
    assert not bool(line[2:4, 2:4].any())
    assert bool((drawn[0][~line] == 7).all())


def test_the_line_of_a_map_lies_inside_what_is_blanked(generator):
    maps, images = torch.rand(2, 4, 4, generator=generator), torch.full((2, 3, 16, 16), 7, dtype=torch.uint8)
    drawn = explain.outline(images, maps, threshold=0.6)
    changed = (drawn != 7).any(-1)
    assert bool(changed.any())
    assert not bool((changed & ~(enlarge(maps, 16, 16) > 0.6)).any())


def test_outlines_that_do_not_fit():
    with pytest.raises(InputError, match="do not fit"):
        explain.outline(torch.zeros(2, 3, 8, 8, dtype=torch.uint8), torch.zeros(3, 2, 2))


# Grad-CAM -------------------------------------------------------------------------------------------------------------


def test_grad_cam_equals_the_equation(data):
    model = resnet18(2, width=2, stem="face", seed=1).eval()
    x = data.pixels(slice(None))
    front = nn.Sequential(*list(model.children())[:-2])
    maps = front(x).detach().requires_grad_()
    (slope,) = torch.autograd.grad(model.fc(maps.mean((2, 3)))[:, 1].sum(), maps)
    expected = F.relu((slope.mean((2, 3))[:, :, None, None] * maps).sum(1)).detach()
    torch.testing.assert_close(explain.grad_cam(model, data, output=1, batch_size=7), expected)


def test_grad_cam_leaves_the_model(data, network):
    network.requires_grad_(False).train()
    before = state(network)
    explain.grad_cam(network, data)
    assert same(before, network.state_dict())
    assert network.training
    assert not any(module._forward_hooks for module in network.modules())
    assert all(parameter.grad is None for parameter in network.parameters())


def test_an_output_that_is_not_there(data, network):
    with pytest.raises(InputError, match="no output 2: expected 0 … 1"):
        explain.grad_cam(network, data, output=2)
