"""Distances between losses and between predictions, against plain definitions and scipy."""

import math

import numpy as np
import oracles
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import jensenshannon
from scipy.stats import gaussian_kde

from mulib import InputError, audit


def published_recipe(a, b):
    """The released notebooks' distance, by the library calls that they make."""
    grid = np.linspace(min(a.min(), b.min()), max(a.max(), b.max()), 1000)
    p, q = gaussian_kde(a)(grid), gaussian_kde(b)(grid)
    return jensenshannon(p / np.trapezoid(p, grid), q / np.trapezoid(q, grid))


@settings(max_examples=25, deadline=None)
@given(st.integers(2, 300), st.integers(2, 300), st.integers(0, 1000))
def test_js_equals_the_published_recipe(n, m, seed):
    rng = np.random.default_rng(seed)
    a, b = rng.gamma(0.5, 1, n), rng.gamma(1, 2, m)
    assert audit.js_distance(a, b) == pytest.approx(published_recipe(a, b), abs=1e-9)


def test_js_equals_the_plain_definition():
    rng = np.random.default_rng(0)
    a, b = rng.gamma(0.5, 1, 40), rng.gamma(1, 2, 60)
    grid = np.linspace(min(a.min(), b.min()), max(a.max(), b.max()), 1000)
    plain = oracles.js(oracles.density(a, grid), oracles.density(b, grid))
    assert audit.js_divergence(a, b) == pytest.approx(plain, abs=1e-9)
    assert audit.js_distance(a, b) == pytest.approx(math.sqrt(plain), abs=1e-9)


def test_js_is_symmetric_and_bounded_by_log_two():
    a, b = np.random.default_rng(1).normal(size=(2, 50))
    b = b + 1000
    assert audit.js_divergence(a, b) == pytest.approx(audit.js_divergence(b, a), abs=1e-12)
    assert audit.js_divergence(a, b) == pytest.approx(math.log(2), abs=1e-9)


@pytest.mark.parametrize(
    ("a", "b", "divergence"),
    [
        ([2.0, 2.0], [2.0, 2.0, 2.0], 0.0),
        ([2.0, 2.0], [3.0, 3.0], math.log(2)),
        ([0.5, 0.5], [0.0, 100.0], math.log(2)),
    ],
)
def test_js_of_equal_losses_counts_them_where_they_lie(a, b, divergence):
    assert audit.js_divergence(a, b) == pytest.approx(divergence, abs=0.05)


def test_js_of_a_sample_between_two_grid_points_is_finite():
    narrow, wide = 0.55 + np.array([0.0, 1e-9, 2e-9]), np.array([0.0, 300.0, 700.0, 1000.0])
    assert audit.js_distance(narrow, wide) > 0.8


@pytest.mark.parametrize("losses", [[1.0], [1.0, np.nan], [[1.0, 2.0]], [1.0, np.inf]])
def test_js_bad_losses(losses):
    with pytest.raises(InputError, match="the losses"):
        audit.js_distance(losses, [1.0, 2.0])


def test_js_needs_a_grid():
    with pytest.raises(InputError, match="at least 2"):
        audit.js_divergence([1.0, 2.0], [1.0, 2.0], points=1)


def logits(shape, seed=0, scale=3.0):
    return torch.from_numpy(np.random.default_rng(seed).normal(0, scale, (2, *shape)))


def test_activation_distance_equals_the_plain_definition():
    a, b = logits((20, 5))
    plain = [np.linalg.norm(oracles.probabilities(x) - oracles.probabilities(y)) for x, y in zip(a, b, strict=True)]
    result = audit.activation_distance(a, b)
    assert result.point == pytest.approx(np.mean(plain), abs=1e-12)
    assert result.lower < result.point < result.upper
    assert result.n == 20


def test_zrf_equals_the_plain_definition():
    a, b = logits((20, 5))
    plain = [oracles.js(oracles.probabilities(x), oracles.probabilities(y)) for x, y in zip(a, b, strict=True)]
    assert audit.zrf(a, b).point == pytest.approx(1 - np.mean(plain) / math.log(2), abs=1e-12)


@pytest.mark.parametrize("measure", [audit.zrf, audit.activation_distance])
def test_an_attribute_is_a_pair_of_classes(measure):
    a, b = logits((20, 3))
    single = [
        measure(torch.stack([x, 0 * x], 1), torch.stack([y, 0 * y], 1)).point
        for x, y in zip(a.T, b.T, strict=True)
    ]  # fmt: skip
    assert measure(a, b, multilabel=True).point == pytest.approx(np.mean(single), abs=1e-12)


def test_opposite_certainties_are_as_far_apart_as_can_be():
    a = torch.tensor([[800.0, -800.0, 0.0]])
    assert audit.zrf(a, -a).point == pytest.approx(0.0, abs=1e-12)
    assert audit.activation_distance(a, -a).point == pytest.approx(math.sqrt(2), abs=1e-12)


def test_the_released_zrf_hides_what_the_formula_shows():
    """Its mean runs over the N·C entries, its divergences are turned round, and its unit is the nat."""
    student, incompetent = logits((500, 10), scale=1.0)
    p, q = student.softmax(1), incompetent.softmax(1)
    m = (p + q) / 2
    released = 1 - ((m * (m / p).log()).mean() + (m * (m / q).log()).mean()) / 2
    assert audit.zrf(student, incompetent).point < 0.83
    assert released > 0.97


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        (torch.zeros(3), torch.zeros(3), "expected"),
        (torch.zeros(0, 3), torch.zeros(0, 3), "expected"),
        (torch.zeros(2, 3), torch.zeros(3, 3), "differ"),
        (torch.zeros(2, 3), torch.full((2, 3), torch.nan), "second logits contain NaN"),
    ],
)
def test_bad_logits(a, b, message):
    for measure in (audit.zrf, audit.activation_distance):
        with pytest.raises(InputError, match=message):
            measure(a, b)


def test_bootstrap_gives_the_interval_of_the_mean():
    values = np.random.default_rng(7).normal(5, 2, 400)
    result = audit.bootstrap_mean(values, rounds=4000)
    assert result.point == values.mean()
    assert result.upper - result.lower == pytest.approx(2 * 1.96 * values.std() / 20, rel=0.05)


def test_bootstrap_is_seeded():
    values = np.random.default_rng(8).normal(size=30)
    assert audit.bootstrap_mean(values, seed=1) == audit.bootstrap_mean(values, seed=1)
    assert audit.bootstrap_mean(values, seed=1) != audit.bootstrap_mean(values, seed=2)


@pytest.mark.parametrize("values", [[], [1.0, np.nan], [[1.0]]])
def test_bootstrap_bad_values(values):
    with pytest.raises(InputError, match="values"):
        audit.bootstrap_mean(values)
