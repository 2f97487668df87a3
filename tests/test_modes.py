"""Each module's own mode survives whatever looks at a model or trains it; frozen batch norm stays frozen."""

import pytest
import torch
from torch import nn

from mulib import explain
from mulib.data import ImageSet
from mulib.models import resnet18
from mulib.models.modes import evaluating, training
from mulib.models.wiring import Wiring
from mulib.predict import feature_maps, predict, stream
from mulib.recipe import Recipe
from mulib.train import fit

RECIPE = Recipe(epochs=1, lr=0.1, batch_size=4)


@pytest.fixture
def data():
    pixels = torch.randint(0, 256, (12, 1, 8, 8), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    return ImageSet(pixels, torch.arange(12) % 2, ("a", "b"))


@pytest.fixture(params=[True, False], ids=["comes training", "comes evaluating"])
def model(request):
    model = resnet18(2, width=2, in_channels=1).train(request.param)
    model.bn1.eval()
    model.layer4.train()
    return model


def modes(model):
    return [module.training for module in model.modules()]


LOOKS = {
    "predict": predict,
    "stream": lambda model, data: list(stream(model, data)),
    "feature_maps": feature_maps,
    "grad_cam": explain.grad_cam,
    "groups": lambda model, data: explain.groups(model, data, "conv1", k=1),
    "essential_graph": lambda model, data: explain.essential_graph(model, data, "a", layers=1),
    "wiring": lambda model, data: Wiring(model),
    "fit": lambda model, data: fit(model, data, RECIPE, progress=False),
}


@pytest.mark.parametrize("look", LOOKS)
def test_modes_of_single_modules_are_restored(model, data, look):
    before = modes(model)
    LOOKS[look](model, data)
    assert modes(model) == before


@pytest.mark.parametrize("context", [evaluating, training])
def test_modes_are_restored_after_an_error(model, context):
    before = modes(model)
    with pytest.raises(ZeroDivisionError), context(model):
        raise ZeroDivisionError
    assert modes(model) == before


def test_frozen_batch_norm_stays_frozen_while_the_rest_trains(data):
    model = resnet18(2, width=2, in_channels=1)
    model.bn1.eval()
    frozen, moving = model.bn1.running_mean.clone(), model.layer4[0].bn1.running_mean.clone()
    fit(model, data, RECIPE, progress=False)
    assert torch.equal(model.bn1.running_mean, frozen)
    assert not torch.equal(model.layer4[0].bn1.running_mean, moving)


def test_a_model_that_comes_in_evaluation_mode_trains_as_a_whole(data):
    model = resnet18(2, width=2, in_channels=1).eval()
    before = model.bn1.running_mean.clone()
    fit(model, data, RECIPE, progress=False)
    assert not torch.equal(model.bn1.running_mean, before)
    assert not any(modes(model))


def test_several_models_at_once():
    nets = nn.Dropout(), nn.Sequential(nn.Dropout().eval())
    with evaluating(*nets):
        assert not any(module.training for net in nets for module in net.modules())
    assert [modes(net) for net in nets] == [[True], [True, False]]
