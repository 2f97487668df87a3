"""Feature unlearning's kernels against plain loops: read the ratio in parentheses.

Two references each: the loop that says what is meant, and the form in which it is published, where that differs.
"""

import oracles_features as oracles
import pytest
import torch

from mulib.kernels.masking import mask_where_active
from mulib.kernels.similarity import channel_similarity, group_loss

GROUPS = "group loss with its gradient: 16 images, 256 channels, 33 groups"
MASKS = "blanking: one image of 224×224"
SIMILARITY = "channel similarity: 512 images, 256 channels, 14×14"
BATCH = 64


@pytest.fixture(scope="module")
def generator():
    return torch.Generator().manual_seed(0)


@pytest.fixture(scope="module")
def layer(generator):
    """Maps, groups, mean maps."""
    maps = torch.randn(16, 256, 196, generator=generator, requires_grad=True)
    return maps, torch.arange(256) % 33, torch.rand(256, 196, generator=generator)


def gradient(loss, maps, groups, mean):
    return torch.autograd.grad(loss(maps, groups, mean), maps)


@pytest.mark.benchmark(group=GROUPS)
def test_group_loss(benchmark, layer):
    benchmark.pedantic(gradient, (group_loss, *layer), rounds=50, warmup_rounds=3)


@pytest.mark.benchmark(group=GROUPS)
def test_group_loss_plain_loop(benchmark, layer):
    benchmark.pedantic(gradient, (oracles.group_loss, *layer), rounds=1)


@pytest.mark.benchmark(group=GROUPS)
def test_group_loss_as_published(benchmark, layer):
    benchmark.pedantic(gradient, (oracles.group_loss_by_masks, *layer), rounds=3, warmup_rounds=1)


@pytest.fixture(scope="module")
def pictures(generator):
    images = torch.randint(0, 256, (BATCH, 3, 224, 224), generator=generator, dtype=torch.uint8)
    return images, 0.4 * torch.rand(BATCH, 14, 14, generator=generator)


@pytest.mark.benchmark(group=MASKS + f" (the kernel: {BATCH} of them, divide by {BATCH})")
def test_masks(benchmark, pictures):
    benchmark.pedantic(mask_where_active, pictures, rounds=50, warmup_rounds=3)


@pytest.mark.benchmark(group=MASKS)
def test_masks_plain_loop(benchmark, pictures):
    benchmark.pedantic(oracles.mask_where_active, (pictures[0][0], pictures[1][0], 0.2), rounds=3)


@pytest.mark.benchmark(group=MASKS)
def test_masks_plain_loop_in_numpy(benchmark, pictures):
    benchmark.pedantic(
        oracles.mask_where_active_in_numpy, (pictures[0][0].numpy(), pictures[1][0].numpy(), 0.2), rounds=3
    )


@pytest.fixture(scope="module")
def maps(generator):
    return torch.rand(512, 256, 196, generator=generator)


@pytest.mark.benchmark(group=SIMILARITY)
def test_similarity(benchmark, maps):
    benchmark.pedantic(lambda: channel_similarity(maps.split(32)), rounds=5, warmup_rounds=1)


@pytest.mark.benchmark(group=SIMILARITY)
def test_similarity_plain_loop(benchmark, maps):
    benchmark.pedantic(oracles.channel_similarity, (maps.numpy(),), rounds=1)


@pytest.mark.benchmark(group=SIMILARITY)
def test_similarity_as_published(benchmark, maps):
    benchmark.pedantic(oracles.channel_similarity_at_once, (maps.numpy(),), rounds=3, warmup_rounds=1)
