"""The ε audit of a whole table, with its intervals; `mulib bench` measures the kernel."""

import numpy as np
import pytest
import torch

from mulib import audit

EXAMPLES, MODELS, CLASSES = 1000, 80, 10  # the published sizes
APPROACHES = 8


@pytest.fixture(scope="module")
def logits():
    """Unlearned, retrained, labels: half the examples forgotten worse than the other half."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, CLASSES, EXAMPLES)
    u, r = (rng.normal(0, 3, (EXAMPLES, MODELS, CLASSES)).astype(np.float32) for _ in "ur")
    u[np.arange(EXAMPLES // 2), :, labels[: EXAMPLES // 2]] += 2
    return torch.from_numpy(u), torch.from_numpy(r), torch.from_numpy(labels)


@pytest.mark.benchmark(group="the whole table with intervals: eight approaches and the null row (aim: below 0.5 s)")
def test_nine_rows(benchmark, logits):
    u, r, labels = logits

    def table():
        rows = [audit.epsilon(u, r, labels) for _ in range(APPROACHES)]
        return [*rows, audit.epsilon(*audit.split_null(r), labels)]

    benchmark.pedantic(table, rounds=10, warmup_rounds=1)
