"""The ε audit against the plain oracle, against the published table, and on bad input."""

import hypothesis.extra.numpy as arrays
import numpy as np
import oracles
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mulib import InputError, audit
from mulib.audit.intervals import clopper_pearson
from mulib.kernels import epsilon as kernel

PRINTED = {  # Table 1 of the paper, δ = 0.05
    "baseline": "0.88",
    "finetune": "3.74",
    "poison": "4.16",
    "poison_full": "4.20",
    "hybrid": "2.83",
    "prune": "3.22",
    "prune_last_layer": "2.30",
    "prune_complex": "2.20",
    "activation_reset": "3.58",
}


def draw(examples=7, unlearned=8, retrained=8, classes=4, shift=1.0, seed=0):
    """Random logits (E, Mu, C), (E, Mr, C) float32 and labels (E,)."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, examples)
    u = rng.normal(size=(examples, unlearned, classes)).astype(np.float32)
    r = rng.normal(size=(examples, retrained, classes)).astype(np.float32)
    u[np.arange(examples), :, labels] += shift
    return u, r, labels


@st.composite
def logits(draw, max_models=200):
    """Unlearned and retrained logits with ties, constant models and separable sides among them."""
    examples, classes = draw(st.integers(1, 3)), draw(st.integers(2, 4))
    n_u, n_r = draw(st.integers(2, max_models)), draw(st.integers(2, max_models))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    kind = draw(st.sampled_from(["smooth", "ties", "separable", "constant", "one constant"]))
    u, r = rng.normal(size=(examples, n_u, classes)), rng.normal(0.5, 2.0, size=(examples, n_r, classes))
    if kind == "ties":  # few distinct values, so that the two sides share many scores
        u, r = np.round(u), np.round(r)
    if kind == "separable":
        u[..., 0] += 100
        r[..., 0] -= 100
    if kind == "constant":
        u[:], r[:] = u[:, :1], r[:, :1] if draw(st.booleans()) else u[:, :1]
    if kind == "one constant":
        u[:] = r[:, :1]
    return u.astype(np.float32), r.astype(np.float32), rng.integers(0, classes, examples)


@settings(max_examples=150, deadline=None)
@given(logits(), st.sampled_from([0.0, 0.05, 0.3, 0.9]), st.sampled_from(["hinge", "loss"]))
def test_equals_the_plain_definition(case, delta, statistic):
    u, r, labels = case
    ours = audit.epsilon(u, r, labels, delta=delta, statistic=statistic).point
    np.testing.assert_allclose(ours, oracles.epsilon(u, r, labels, delta, statistic), rtol=0, atol=1e-9)


@settings(max_examples=40, deadline=None)
@given(logits(max_models=40), st.sampled_from([0.0, 0.05]))
def test_lower_bound_equals_the_plain_definition(case, delta):
    u, r, labels = case
    ours = audit.epsilon(u, r, labels, delta=delta)
    np.testing.assert_allclose(ours.lower, oracles.lower_bound(u, r, labels, delta, 0.95), rtol=0, atol=1e-9)


@settings(max_examples=50, deadline=None)
@given(
    arrays.arrays(np.float64, st.tuples(st.integers(1, 4), st.integers(2, 30)), elements=st.integers(-3, 3)),
    arrays.arrays(np.float64, st.tuples(st.just(1), st.integers(2, 30)), elements=st.integers(-3, 3)),
)
def test_error_counts_are_the_counts(negative, positive):
    positive = np.repeat(positive, len(negative), axis=0)
    thresholds, fp, fn = kernel.error_counts(torch.from_numpy(negative), torch.from_numpy(positive))
    for row in range(len(negative)):
        for t, a, b in zip(thresholds[row], fp[row], fn[row], strict=True):
            assert a == (negative[row] >= float(t) - 1e-9).sum()
            assert b == (positive[row] < float(t) - 1e-9).sum()


@pytest.mark.parametrize("approach", PRINTED)
def test_published_table_to_the_printed_digit(published, approach):
    pair = audit.split_null(published.retrained), (None, published.retrained)
    unlearned, retrained = pair[0] if approach == "baseline" else (published.unlearned(approach), pair[1][1])
    result = audit.epsilon(unlearned, retrained, published.labels, delta=0.05)
    assert f"{result.median:.2f}" == PRINTED[approach]
    assert result.undefined == 0


def test_mean_is_infinite_for_six_of_the_eight(published):
    means = [audit.epsilon(published.unlearned(a), published.retrained, published.labels).mean
             for a in published.approaches]  # fmt: skip
    assert sum(np.isinf(means)) == 6


def test_curve_is_the_medians(published):
    args = published.unlearned("hybrid"), published.retrained, published.labels
    curve = audit.epsilon_curve(*args, [0.0, 0.05, 0.5])
    assert curve.tolist() == [audit.epsilon(*args, delta=d).median for d in (0.0, 0.05, 0.5)]


@pytest.mark.parametrize(("n", "printed"), [(80, 2.34), (160, 3.05)])
def test_ceiling_is_that_of_the_scored_half(n, printed):
    u, r, labels = draw(examples=1, unlearned=n, retrained=n, shift=1000.0)
    result = audit.epsilon(u, r, labels, delta=0.0)
    assert round(result.ceiling, 2) == printed
    assert result.lower[0] == result.ceiling
    assert result.point[0] == np.inf


@pytest.mark.parametrize("n", [1, 7, 40])
@pytest.mark.parametrize("confidence", [0.5, 0.95])
def test_clopper_pearson_inverts_the_binomial_tails(n, confidence):
    lower, upper = clopper_pearson(np.arange(n + 1), n - np.arange(n + 1), confidence)
    expected = np.array([oracles.clopper_pearson(k, n, confidence) for k in range(n + 1)])
    np.testing.assert_allclose(np.stack([lower, upper], 1), expected, atol=1e-9)


def test_lower_bound_covers_a_known_epsilon():
    """Two Gaussians of known ε (δ = 0.05): the bound exceeds the truth in at most 5 % of examples."""
    from scipy.optimize import brentq
    from scipy.stats import norm

    shift, delta = 1.0, 0.05
    # The δ at which N(0, 1) and N(shift, 1) are (ε, δ)-indistinguishable, solved for ε (Balle and Wang, 2018).
    gap = lambda e: norm.cdf(shift / 2 - e / shift) - np.exp(e) * norm.cdf(-shift / 2 - e / shift) - delta  # noqa: E731
    truth = brentq(gap, 0, 50)
    rng = np.random.default_rng(0)
    u, r = rng.normal(size=(4000, 80, 2)) * [1, 0] + [shift, 0], rng.normal(size=(4000, 80, 2)) * [1, 0]
    result = audit.epsilon(u, r, np.zeros(4000, int), delta=delta)
    assert (result.lower > truth).mean() <= 0.05
    assert result.median > truth  # the point estimate has no such guarantee: it is biased upward


def test_sides_may_differ_in_size_and_swap_roles():
    u, r, labels = draw(unlearned=5, retrained=9)
    a, b = audit.epsilon(u, r, labels), audit.epsilon(r, u, labels)
    np.testing.assert_allclose(a.point, b.point, atol=1e-9)
    assert (a.n_unlearned, a.n_retrained, a.n_models) == (5, 9, 5)


def test_null_halves_are_disjoint_and_complete():
    r = torch.arange(9).view(1, 9, 1)
    for seed in (None, 3):
        one, two = audit.split_null(r, seed)
        assert sorted([*one.flatten().tolist(), *two.flatten().tolist()]) == list(range(9))
    assert audit.split_null(r)[1].flatten().tolist() == [0, 1, 2, 3]


def test_memory_is_linear_in_the_models():
    """A hundred thousand models a side: a table over pairs of counts would need 80 GB."""
    u, r, labels = draw(examples=1, unlearned=100_000, retrained=100_000, classes=2)
    assert audit.epsilon(u, r, labels).undefined == 0


def test_worst_decile_never_mixes_infinity_with_numbers():
    point = np.array([0.0] * 8 + [np.inf] * 2)
    result = audit.Epsilon(point, point, point, 2, 2, 1.0, 0.05, 0.95, "hinge")
    assert result.worst_decile == np.inf
    assert result.median == 0.0


U, R, Y = draw()
BAD = {
    "expected (examples, models, classes)": (U[0], R, Y),
    "no forget examples": (U[:0], R[:0], Y[:0]),
    "example counts differ": (U[:3], R, Y),
    "class counts differ": (U[..., :3], R, Y),
    "1 unlearned model": (U[:, :1], R, Y),
    "1 class": (U[..., :1], R[..., :1], Y * 0),
    "NaN": (np.where(U > 1, np.nan, U), R, Y),
    "labels have shape": (U, R, Y[:3]),
    "label lies outside": (U, R, Y + 10),
}


@pytest.mark.parametrize("message", BAD)
def test_bad_arrays_are_one_sentence(message):
    with pytest.raises(InputError, match=message.replace("(", r"\(").replace(")", r"\)")) as error:
        audit.epsilon(*BAD[message])
    assert str(error.value).endswith(".")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("option", [{"delta": 1.0}, {"delta": -0.1}, {"confidence": 1.0}, {"statistic": "margin"}])
def test_bad_options_are_one_sentence(option):
    with pytest.raises(InputError, match=r"expected"):
        audit.epsilon(U, R, Y, **option)


def test_null_row_needs_four_models():
    with pytest.raises(InputError, match="at least 4"):
        audit.split_null(torch.zeros(1, 3, 2))
