"""Channel importance against the released procedure, and the essential graph of a full ResNet-18."""

import oracles_graph as oracles
import pytest
import torch
import torchvision

from mulib import explain, models
from mulib.data import ImageSet
from mulib.models.wiring import convolutions

TARGETS, LAYERS = 3, 5
FEW, MANY = 16, 256  # for 256 the plain loop would take two minutes; per image it takes the same


def build():
    return models.resnet18(TARGETS, width=16, stem="face")


def images(n, size):
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (n, 3, size, size), generator=generator, dtype=torch.uint8)
    return ImageSet(pixels, torch.ones(n, TARGETS), ("mouth", "beard", "glasses"))  # every image has every target


@pytest.fixture(scope="module")
def network():
    model = build()
    return model, convolutions(model)[-LAYERS:]


GROUP = "importance: 16 images, 5 layers, 3 targets, 64 × 64 pixels, width 16 (aim: a twentieth of the plain loop)"


@pytest.mark.benchmark(group=GROUP)
def test_one_pass(benchmark, network):
    model, layers = network
    shown = images(FEW, 64)
    benchmark.pedantic(explain.channel_importance, (model, shown, range(TARGETS), layers), rounds=10, warmup_rounds=1)


@pytest.mark.benchmark(group=GROUP)
def test_plain_loop(benchmark, network):
    model, layers = network
    shown, state = images(FEW, 64), model.state_dict()

    def plain():
        for layer in layers:
            for target in range(TARGETS):
                oracles.mean_channel_weights(build, state, shown.pixels(slice(None)), target, layer)

    benchmark.pedantic(plain, rounds=1)  # 240 model loads and backward passes


@pytest.mark.benchmark(group="importance: 256 images, otherwise the same")
def test_one_pass_over_many(benchmark, network):
    model, layers = network
    shown = images(MANY, 64)
    benchmark.pedantic(explain.channel_importance, (model, shown, range(TARGETS), layers), rounds=5, warmup_rounds=1)


@pytest.mark.benchmark(
    group="essential graph: ResNet-18, 64 images of 224 × 224, 5 layers, two cores (aim: below 10 s)"
)
def test_graph_of_a_full_resnet(benchmark):
    model, shown, threads = torchvision.models.resnet18(num_classes=TARGETS), images(64, 224), torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        benchmark.pedantic(explain.essential_graph, (model, shown, "glasses"), rounds=2)
    finally:
        torch.set_num_threads(threads)
