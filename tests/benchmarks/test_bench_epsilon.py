"""The ε audit against the plain loop: read the ratio in parentheses, the loop's time over the audit's."""

import numpy as np
import oracles
import pytest
import torch

from mulib import audit
from mulib.kernels import epsilon as kernel

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


@pytest.mark.benchmark(group="ε per example, one approach: 1,000 examples, 80 + 80 models")
def test_kernel(benchmark, logits):
    u, r, labels = logits

    def point():
        values_u, values_r = kernel.hinge(u, labels), kernel.hinge(r, labels)
        fits = kernel.gaussian(values_u), kernel.gaussian(values_r)
        score_u, score_r = (kernel.log_likelihood_ratio(x, *fits) for x in (values_u, values_r))
        sign = torch.where(kernel.median(score_r) > kernel.median(score_u), -1.0, 1.0)[:, None]
        _, fp, fn = kernel.error_counts(score_r * sign, score_u * sign)
        return kernel.epsilon_at(fp, fn, MODELS, MODELS, 0.05)

    benchmark.pedantic(point, rounds=50, warmup_rounds=3)


@pytest.mark.benchmark(group="ε per example, one approach: 1,000 examples, 80 + 80 models")
def test_plain_loop(benchmark, logits):
    u, r, labels = (x.numpy() for x in logits)
    benchmark.pedantic(oracles.epsilon, (u, r, labels, 0.05), rounds=1)


@pytest.mark.benchmark(group="the whole table with intervals: eight approaches and the null row (aim: below 0.5 s)")
def test_nine_rows(benchmark, logits):
    u, r, labels = logits

    def table():
        rows = [audit.epsilon(u, r, labels) for _ in range(APPROACHES)]
        return [*rows, audit.epsilon(*audit.split_null(r), labels)]

    benchmark.pedantic(table, rounds=10, warmup_rounds=1)
