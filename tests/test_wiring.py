"""Which convolution feeds which: VGG, AlexNet, MobileNet, ResNet-18 and -50, and our own; channels switched off."""

import oracles_graph as oracles
import pytest
import torch
import torchvision
from torch import nn

from mulib import InputError, models
from mulib.models.wiring import Wiring, convolutions, switch_off

NETWORKS = ["alexnet", "mobilenet_v2", "mobilenet_v3_small", "resnet50", "vgg11_bn"]


@pytest.mark.parametrize("name", [*NETWORKS, "ours"])
def test_sources_are_the_convolutions_of_which_a_change_is_felt(name):
    model = oracles.network(name) if name in NETWORKS else models.resnet18(2, width=2, stem="face")
    wiring, x = Wiring(model), torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    last = wiring.layers[-8:]
    for after in last[-4:]:
        assert set(wiring.sources(after)) & set(last) == oracles.felt(model, x, after, [n for n in last if n != after])


def test_residual_connections_reach_back_over_blocks():
    wiring = Wiring(torchvision.models.resnet18())
    assert wiring.sources("layer4.1.conv1") == ("layer4.0.conv2", "layer4.0.downsample.0")
    assert wiring.sources("layer4.0.conv1") == ("layer3.0.conv2", "layer3.0.downsample.0", "layer3.1.conv2")
    assert wiring.sources("conv1") == ()


def test_a_gate_feeds_what_it_gates():
    wiring = Wiring(torchvision.models.mobilenet_v3_small())
    assert wiring.sources("features.1.block.2.0") == ("features.1.block.0.0", "features.1.block.1.fc2")


def test_a_norm_is_found_where_there_is_one():
    assert Wiring(torchvision.models.resnet18()).norm("layer4.1.conv1") == "layer4.1.bn1"
    assert Wiring(torchvision.models.alexnet()).norm("features.3") is None


@pytest.mark.parametrize("training", [True, False])
def test_tracing_leaves_the_mode(training):
    model = models.resnet18(2, width=2).train(training)
    model.layer1.train(not training)
    convolutions(model)
    assert (model.training, model.layer1.training, model.layer1[0].training) == (training, not training, not training)


@pytest.mark.parametrize("norm", [True, False])
@pytest.mark.parametrize("training", [True, False])
def test_a_channel_that_is_off_is_zero_in_both_modes(norm, training):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6) if norm else nn.Identity(), nn.ReLU())
    if norm:
        nn.init.normal_(model[1].bias)
        model[1].running_mean.normal_()
    switch_off(model, {"0": torch.tensor([1, 4])}).train(training)
    output = model(torch.randn(4, 3, 8, 8))
    assert output.any(3).any(2).any(0).tolist() == [True, False, True, True, False, True]


def test_a_norm_without_scale_and_statistics():
    model = nn.Sequential(nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6, affine=False))
    switch_off(model, {"0": torch.tensor([2])})
    assert not model.eval()(torch.randn(2, 3, 8, 8))[:, 2].any()


class Branching(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 1)

    def forward(self, x):
        return self.conv(x) if x.sum() > 0 else x


class Twice(Branching):
    def forward(self, x):
        return self.conv(self.conv(x))


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (nn.Sequential(nn.Flatten(), nn.Linear(4, 2)), "has no convolution"),
        (Branching(), "torch.fx cannot trace this Branching"),
        (Twice(), "runs more than once"),
    ],
)
def test_models_that_cannot_be_wired(model, message):
    with pytest.raises(InputError, match=message):
        Wiring(model)


def test_channels_that_cannot_be_followed():
    with pytest.raises(InputError, match="cannot be followed through cat"):
        Wiring(torchvision.models.squeezenet1_1()).sources("features.12.squeeze")


def test_layers_and_channels_that_are_not_there():
    model = models.resnet18(2, width=2)
    with pytest.raises(InputError, match="'bn1' is not a convolution of this model: expected some of conv1, layer1"):
        switch_off(model, {"bn1": torch.tensor([0])})
    with pytest.raises(InputError, match="conv1 has no channels 1 … 2: expected 0 … 1"):
        switch_off(model, {"conv1": torch.tensor([1, 2])})


class Gated(nn.Module):
    """Squeeze-and-excitation with linear layers, its shapes as numbers: a block of the paper's network on CelebA."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        self.gate, self.head = nn.Sequential(nn.Linear(4, 2), nn.ReLU(), nn.Linear(2, 4), nn.Sigmoid()), nn.Linear(4, 3)

    def forward(self, x):
        x = self.first(x)
        n, c, _, _ = x.size()
        gate = self.gate(x.mean((2, 3)).view(n, c)).view(n, c, 1, 1)
        return self.head(self.second(x * gate.expand_as(x)).mean((2, 3)).view(n, -1))


def test_a_gate_of_linear_layers_is_a_scale_and_no_source():
    wiring = Wiring(Gated())
    assert wiring.sources("second") == ("first",)
    assert wiring.head == "head"
