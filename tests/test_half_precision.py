"""Kernels in half precision against the same values in float32, and on a device that is not the CPU."""

import pytest
import torch
from torch import nn

from mulib.kernels import channels, epsilon, masking, perturb, reset, reversal, similarity

HALVES = [torch.bfloat16, torch.float16]


def values(dtype, *shape, seed=0):
    """Random values that `dtype` can hold, in it and in float32."""
    x = torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(dtype)
    return x, x.float()


KERNELS = {
    "channel_similarity": lambda x: similarity.channel_similarity(x.split(3)),
    "group_loss": lambda x: similarity.group_loss(x, torch.arange(x.shape[1]) % 2, x.float().mean(0).to(x.dtype)),
    "enlarge": lambda x: masking.enlarge(x[:, 0], 12, 10),
    "mask_where_active": lambda x: masking.mask_where_active(torch.full_like(x[:, :3], 7), x[:, 0]),
    "hinge": lambda x: epsilon.hinge(x[..., 0], torch.zeros(len(x), dtype=torch.int64)),
    "cross_entropy": lambda x: epsilon.cross_entropy(x[..., 0], torch.zeros(len(x), dtype=torch.int64)),
    "top_channels": lambda x: channels.top_channels(x[..., 0, 0], 0.3),
    "tap_means": lambda x: channels.tap_means(x, nn.Conv2d(6, 4, 3, padding=1)),
    "mostly_higher": lambda x: reset.mostly_higher(x[0], x[1], 0.5),
    "most_similar": lambda x: reset.most_similar(x, x.flip(0), 0.5),
    "redraw": lambda x: reset.redraw(x, x > 0, torch.Generator().manual_seed(0)),
    "ascend": lambda x: perturb.ascend(lambda v: (v * v).sum(), x, steps=2, size=0.25, low=x.min(), high=x.max()),
    "reverse_gradient": lambda x: reversal.reverse_gradient(x, 2.0),
}


@pytest.mark.parametrize("dtype", HALVES, ids=str)
@pytest.mark.parametrize("kernel", KERNELS)
def test_a_kernel_gives_in_half_precision_what_it_gives_in_full(kernel, dtype):
    half, full = (KERNELS[kernel](x) for x in values(dtype, 8, 6, 4, 4))
    torch.testing.assert_close(half.double(), full.double(), rtol=0.03, atol=0.03)
    assert half.dtype in (dtype, torch.bool, torch.uint8, torch.float64)


@pytest.mark.parametrize("dtype", HALVES, ids=str)
@pytest.mark.parametrize("kernel", ["group_loss", "enlarge", "reverse_gradient", "tap_means"])
def test_gradients_in_half_precision(kernel, dtype):
    half, full = (x.requires_grad_() for x in values(dtype, 8, 6, 4, 4))
    for x in (half, full):
        KERNELS[kernel](x).sum().backward()
    assert half.grad.dtype is dtype
    torch.testing.assert_close(half.grad.float(), full.grad, rtol=0.05, atol=0.05)


class Elsewhere(torch.Tensor):
    """A tensor that says it is on a GPU, so that the branches for one run."""

    @property
    def device(self):
        return torch.device("cuda")


@pytest.mark.parametrize("q", [0.0, 0.123, 0.5, 1.0])
@pytest.mark.parametrize("n", [1, 2, 101])
def test_the_quantile_on_a_gpu_is_the_cpus(n, q):
    x = values(torch.float32, n)[1]
    assert float(reset.quantile_of(x.as_subclass(Elsewhere), q)) == float(reset.quantile_of(x, q))


def test_rows_are_sorted_on_a_gpu_as_on_the_cpu():
    x = values(torch.float32, 5, 33)[1].double()
    assert torch.equal(epsilon.sort_rows(x.as_subclass(Elsewhere)).as_subclass(torch.Tensor), epsilon.sort_rows(x))
