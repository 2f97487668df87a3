"""Choosing and resetting weights against plain loops: read the ratio in parentheses, the loop's time over the kernel's.

Floors: a layer of 512·256·3·3 float32 weights is 4.7 MB. Choosing reads two of them and writes 1.2 MB of mask
(10.6 MB); resetting reads one and the mask and writes one (10.6 MB) and draws 1.2 million normal numbers; comparing
the 512 maps of 4·4 float64 reads 131 KB. The loops have the same results (tests/test_reset.py).
"""

import oracles
import pytest
import torch
from torch import nn

from mulib.kernels import reset

SHAPE, MAPS = (512, 256, 3, 3), (512, 4, 4)  # ResNet-18: the first convolution of its last stage, on CIFAR-10
GROUPS = {name: pytest.mark.benchmark(group=f"{name} (aim: 20 times the loop)") for name in ("choose", "reset", "maps")}


@pytest.fixture(scope="module")
def weights():
    generator = torch.Generator().manual_seed(0)
    a = torch.randn(SHAPE, generator=generator)
    return a, a + 0.01 * torch.randn(SHAPE, generator=generator)


@pytest.fixture(scope="module")
def maps():
    return torch.randn(2, *MAPS, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@GROUPS["choose"]
def test_most_similar(benchmark, weights):
    benchmark.pedantic(reset.most_similar, (*weights, 0.3), rounds=20, warmup_rounds=2)


@GROUPS["choose"]
def test_most_similar_loop(benchmark, weights):
    benchmark.pedantic(oracles.most_similar, (*(w.flatten().numpy() for w in weights), 0.3), rounds=1)


@GROUPS["reset"]
def test_redraw(benchmark, weights):
    mask = reset.most_similar(*weights, 0.3)

    def whole():
        return reset.redraw(weights[0], mask, torch.Generator().manual_seed(0))

    benchmark.pedantic(whole, rounds=20, warmup_rounds=2)


@GROUPS["reset"]
def test_redraw_loop(benchmark, weights):
    mask = reset.most_similar(*weights, 0.3).flatten().numpy()

    def whole():
        fresh = nn.init.kaiming_normal_(torch.empty(SHAPE), generator=torch.Generator().manual_seed(0))
        return oracles.redraw(weights[0].flatten().numpy(), mask, fresh.flatten().numpy())

    benchmark.pedantic(whole, rounds=1)


@GROUPS["maps"]
def test_mostly_higher(benchmark, maps):
    benchmark.pedantic(reset.mostly_higher, (*maps, 0.8), rounds=200, warmup_rounds=10)


@GROUPS["maps"]
def test_mostly_higher_loop(benchmark, maps):
    benchmark.pedantic(oracles.mostly_higher, (*maps.numpy(), 0.8), rounds=3)
