"""The kernels that choose weights and draw them anew, and the hooks that look inside a network."""

import math

import numpy as np
import oracles
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from mulib.kernels import reset
from mulib.models.hooks import watched


def tensors(*shape, count=2, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator) for _ in range(count)]


@settings(deadline=None, max_examples=200)
@given(n=st.integers(1, 400), q=st.floats(0, 1, width=32), seed=st.integers(0, 99), double=st.booleans())
def test_the_quantile_is_torchs(n, q, seed, double):
    x = torch.randn(n, generator=torch.Generator().manual_seed(seed), dtype=torch.float64 if double else torch.float32)
    assert torch.equal(reset.quantile_of(x, q), torch.quantile(x, q))


@pytest.mark.parametrize("q", [0.3, 0.123, 0.999999, 1.0])
def test_the_quantile_is_torchs_where_positions_are_rounded(q):
    x = tensors(3_000_001, count=1)[0]
    assert torch.equal(reset.quantile_of(x, q), torch.quantile(x, q))


def test_the_quantile_takes_more_than_sixteen_million():
    x = torch.arange(17_000_000, dtype=torch.float32)
    assert float(reset.quantile_of(x, 0.3)) == pytest.approx(0.3 * 17e6, rel=1e-6)


@pytest.mark.parametrize("quantile", [0.0, 0.3, 0.75, 1.0])
def test_most_similar_is_the_loops_choice(quantile):
    a, b = tensors(6, 4, 3, 3)
    expected = oracles.most_similar(a.flatten().numpy(), b.flatten().numpy(), quantile)
    found = reset.most_similar(a, b, quantile)
    assert found.shape == a.shape
    assert np.array_equal(found.flatten().numpy(), expected)


def test_nothing_lies_below_the_quantile_of_equal_tensors():
    (a,) = tensors(8, 5, count=1)
    assert not reset.most_similar(a, a.clone(), 0.3).any()


def test_redraw_is_the_loops_and_leaves_its_argument():
    weight, uniform = tensors(6, 4, 3, 3)
    mask, before = uniform > 0, weight.clone()
    fresh = nn.init.kaiming_normal_(torch.empty(6, 4, 3, 3), generator=torch.Generator().manual_seed(5)).numpy()
    expected = oracles.redraw(weight.flatten().numpy(), mask.flatten().numpy(), fresh.ravel())
    found = reset.redraw(weight, mask, torch.Generator().manual_seed(5))
    assert np.array_equal(found.flatten().numpy(), expected)
    assert torch.equal(weight, before)


def test_redraw_has_the_spread_of_he_initialisation():
    weight = torch.zeros(64, 128, 3, 3)
    drawn = reset.redraw(weight, torch.tensor(True), torch.Generator().manual_seed(0))
    assert float(drawn.std()) == pytest.approx(math.sqrt(2 / (128 * 9)), rel=0.01)


def test_a_kernels_mask_is_broadcast_and_its_draw_its_own():
    (weight,) = tensors(4, 3, 3, 3, count=1)
    some = torch.tensor([True, False, True, False]).view(-1, 1, 1, 1)
    one, all_of_them = (reset.redraw(weight, m, torch.Generator().manual_seed(1)) for m in (some, torch.tensor(True)))
    assert torch.equal(one[::2], all_of_them[::2])
    assert torch.equal(one[1::2], weight[1::2])


@pytest.mark.parametrize("share", [0.0, 0.5, 0.8, 1.0])
def test_mostly_higher_is_the_loops_choice(share):
    a, b = tensors(40, 5, 3)
    a = a + torch.linspace(-2, 2, 40).view(-1, 1, 1)
    found = reset.mostly_higher(a, b, share)
    assert np.array_equal(found.numpy(), oracles.mostly_higher(a.numpy(), b.numpy(), share))


def test_exactly_the_share_is_enough():
    a, b = torch.zeros(1, 2, 5), torch.zeros(1, 2, 5)
    a.view(-1)[:8] = 1
    assert reset.mostly_higher(a, b, 0.8).tolist() == [True]
    a.view(-1)[7] = 0
    assert reset.mostly_higher(a, b, 0.8).tolist() == [False]


def test_watching_changes_no_output_and_leaves_no_hook():
    net, seen = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)), {}
    x = torch.ones(5, 3)
    before = net(x)
    with watched({"first": net[0], "last": net[2]}, lambda name, output: seen.setdefault(name, output)):
        assert torch.equal(net(x), before)
    assert torch.equal(seen["last"], before)
    assert seen["first"].shape == (5, 4)
    assert not any(module._forward_hooks for module in net.modules())


def test_hooks_are_gone_when_a_batch_raises():
    net = nn.Linear(3, 2)
    with pytest.raises(RuntimeError), watched({"fc": net}, lambda name, output: None):
        net(torch.ones(5, 4))
    assert not net._forward_hooks
