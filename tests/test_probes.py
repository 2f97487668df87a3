"""Audits of a removed feature: detection, probes, counterfactual sensitivity, mass inside a region."""

import pytest
import torch

from mulib import InputError, audit
from mulib.data import ImageSet
from mulib.models import remover, resnet18


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(0)


def squares(n, generator):
    """Noise in which half of the images have a bright square, and whether they do."""
    images = torch.randint(0, 80, (n, 3, 32, 32), generator=generator, dtype=torch.uint8)
    has = torch.arange(n) % 2 == 0
    images[has, :, 8:24, 8:24] += 150
    return ImageSet(images, has.float()[:, None], ("Square",))


def test_a_constant_yes_is_a_perfect_true_positive_rate():
    found = audit.detection(torch.ones(10), torch.tensor([1.0] * 3 + [0.0] * 7))
    assert (found.tpr.point, found.tnr.point, found.balanced.point, found.auc) == (1, 0, 0.5, 0.5)
    assert found.accuracy.point == 0.3
    assert (found.tpr.n, found.tnr.n) == (3, 7)


def test_a_shift_hides_from_the_rate_but_not_from_the_auc():
    scores, truth = torch.tensor([3.0, 4.0, 1.0, 2.0]) - 10, torch.tensor([1, 1, 0, 0])
    found = audit.detection(scores[:, None], truth[:, None])
    assert (found.tpr.point, found.balanced.point, found.auc) == (0, 0.5, 1)


@pytest.mark.parametrize("truth", [torch.ones(4), torch.zeros(4)])
def test_detection_needs_both(truth):
    with pytest.raises(InputError, match="images have the feature: expected some with and without it"):
        audit.detection(torch.ones(4), truth)


@pytest.mark.parametrize("scores", [torch.ones(3), torch.full((4,), torch.nan), torch.ones(4, 2)])
def test_detection_of_what_does_not_fit(scores):
    with pytest.raises(InputError, match="do not fit"):
        audit.detection(scores, torch.tensor([0, 1, 0, 1]))


def test_a_linear_probe_finds_a_direction_and_nothing_in_noise(generator):
    x, truth = torch.randn(400, 5, generator=generator), torch.arange(400) % 2
    shifted = x + 3 * truth[:, None] * torch.tensor([0.0, 1.0, 0.0, -1.0, 0.0])
    told, noise = (audit.linear_probe(f[:200], truth[:200], f[200:], truth[200:]) for f in (shifted, x))
    assert told.auc > 0.99
    assert abs(noise.auc - 0.5) < 0.12


def test_a_linear_probe_that_has_nothing_to_learn():
    with pytest.raises(InputError, match="all of the 4 images"):
        audit.linear_probe(torch.ones(4, 2), torch.ones(4), torch.ones(4, 2), torch.ones(4))


def test_a_network_probe_finds_what_is_left_and_not_what_is_gone(generator):
    train, test = squares(64, generator), squares(40, generator)
    network = resnet18(1, width=4, stem="face")
    options = {"recipe": audit.PROBE.but(epochs=6, lr=1e-2), "progress": False}
    before = {name: value.clone() for name, value in network.state_dict().items()}
    assert audit.network_probe(network, train, test, **options).auc > 0.95

    class Closed(torch.nn.Module):
        def forward(self, x):
            return 0 * x

    assert audit.network_probe(network, train, test, through=Closed(), **options).auc == 0.5
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_a_network_probe_leaves_the_remover(generator):
    g, data = remover(width=2), squares(12, generator)
    before = {name: value.clone() for name, value in g.state_dict().items()}
    audit.network_probe(
        resnet18(1, width=2, stem="face"), data, data, audit.PROBE.but(epochs=1), through=g, progress=False
    )
    assert g.training
    assert all(parameter.requires_grad for parameter in g.parameters())
    assert all(torch.equal(value, before[name]) for name, value in g.state_dict().items())


def test_a_network_probe_of_several_attributes(generator):
    data = ImageSet(torch.zeros(4, 3, 32, 32, dtype=torch.uint8), torch.ones(4, 2), ("a", "b"))
    with pytest.raises(InputError, match="2 columns: expected one attribute"):
        audit.network_probe(resnet18(1, width=2), data, data)


def test_sensitivity_is_the_mean_change(generator):
    logits, change = torch.randn(500, 1, generator=generator), torch.randn(500, 1, generator=generator)
    found = audit.sensitivity(logits, logits + change)
    assert found.point == pytest.approx(float(change.abs().mean()), rel=1e-5)
    half = 1.96 * float(change.abs().std()) / 500**0.5
    assert (found.lower, found.upper) == pytest.approx((found.point - half, found.point + half), rel=1e-4)
    assert found.reference == pytest.approx(float(logits.std()), rel=1e-5)
    assert found.n == 500


def test_sensitivity_of_equal_outputs_is_0():
    assert audit.sensitivity(torch.ones(3, 2), torch.ones(3, 2)).point == 0


@pytest.mark.parametrize("toggled", [torch.ones(3, 1), torch.full((4, 1), torch.nan)])
def test_sensitivity_of_what_does_not_fit(toggled):
    with pytest.raises(InputError, match="cannot be compared"):
        audit.sensitivity(torch.ones(4, 1), toggled)


def test_mass_is_1_inside_and_the_area_where_nothing_is_known():
    region = torch.zeros(3, 8, 8, dtype=torch.bool)
    region[:, :4] = True
    inside = torch.zeros(3, 8, 8)
    inside[:, 1:3, 2:5] = 2.0
    assert audit.mass_inside(inside, region).point == 1
    flat = audit.mass_inside(torch.ones(3, 4, 4), region)
    assert flat.point == pytest.approx(0.5)
    assert flat.reference == 0.5


def test_mass_skips_images_without_mass_or_region():
    region = torch.ones(4, 4, 4, dtype=torch.bool)
    region[0] = False
    maps = torch.ones(4, 2, 2)
    maps[1] = 0
    assert audit.mass_inside(maps, region).n == 2
    with pytest.raises(InputError, match="0 of 4 images"):
        audit.mass_inside(0 * maps, region)


def test_mass_of_what_does_not_fit():
    with pytest.raises(InputError, match="do not fit"):
        audit.mass_inside(-torch.ones(2, 2, 2), torch.ones(2, 4, 4, dtype=torch.bool))
