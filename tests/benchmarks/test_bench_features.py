"""The similarity of channels against a plain loop: read the ratio in parentheses.

Two references: the loop that says what is meant, and the form in which it is published.
"""

import oracles_features as oracles
import pytest
import torch

from mulib.kernels.similarity import channel_similarity

SIMILARITY = "channel similarity: 512 images, 256 channels, 14×14"


@pytest.fixture(scope="module")
def generator():
    return torch.Generator().manual_seed(0)


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
