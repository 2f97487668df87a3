"""ε of mechanisms whose ε is known: which bound holds how often, and where an estimate misses."""

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from scipy.stats import binom, norm

from mulib import InputError, audit
from mulib.audit.bounds import EpsilonBound, EpsilonEstimate, bonferroni, gaussian_epsilon, gaussian_estimate, one_run

DRAWS, DELTA = 1000, 0.05


def response(rng, shape, member, chance=0.8):
    """Randomised response: the bit itself with this chance, else the other one."""
    return np.where(rng.random(shape) < chance, member, 1.0 - member)


def noisy(rng, shape, member):
    """The Gaussian mechanism: the bit and normal noise."""
    return member + rng.normal(size=shape)


def laplace(rng, shape, member):
    """The Laplace mechanism: the bit and Laplace noise of scale ⅔."""
    return member + rng.laplace(scale=2 / 3, size=shape)


MECHANISMS = {"response": response, "gaussian": noisy, "laplace": laplace}
TRUTH = {  # {mechanism: ε at a δ}
    "response": lambda delta: np.log((0.8 - delta) / 0.2),
    "gaussian": lambda delta: gaussian_epsilon(1.0, delta)[0],
    "laplace": lambda delta: 1.5 + 2 * np.log(1 - delta),
}
mechanisms = pytest.mark.parametrize("name", MECHANISMS)


def sides(name, n, seed=0):
    """(draws, n) outputs without and with the example."""
    rng = np.random.default_rng(seed)
    return [MECHANISMS[name](rng, (DRAWS, n), member) for member in (0.0, 1.0)]


@mechanisms
def test_the_truths_are_true(name):
    """δ at that ε, by integration of the positive part of p − e^ε q."""
    epsilon = TRUTH[name](DELTA)
    if name == "response":
        found = max(0, 0.8 - np.exp(epsilon) * 0.2) + max(0, 0.2 - np.exp(epsilon) * 0.8)
    else:
        density = norm.pdf if name == "gaussian" else lambda x: np.exp(-abs(x) * 1.5) * 0.75
        excess = lambda x: max(0, density(x - 1) - np.exp(epsilon) * density(x))  # noqa: E731
        found = quad(excess, -12, 12, points=[0, 1], limit=300)[0]
    assert found == pytest.approx(DELTA, abs=1e-6)


@mechanisms
def test_the_split_bound_covers(name):
    negative, positive = (torch.from_numpy(side) for side in sides(name, 100))
    z = [torch.stack([side, 0 * side], 2) for side in (positive, negative)]  # the hinge of two classes is the score
    lower = audit.epsilon(*z, torch.zeros(DRAWS, dtype=torch.int64), delta=DELTA).lower
    assert (lower <= TRUTH[name](DELTA)).mean() >= 0.93


@mechanisms
@pytest.mark.parametrize("n", [50, 1000])
def test_bonferroni_covers(name, n):
    found = bonferroni(*sides(name, n), delta=DELTA)
    assert (found.lower <= TRUTH[name](DELTA)).mean() >= 0.93
    if n == 1000:  # and says something
        assert np.median(found.lower) > TRUTH[name](DELTA) / 3


@mechanisms
def test_bonferroni_says_more_than_the_split_with_few_scores_that_take_many_values(name):
    """Of scores with two values only the split wastes nothing: any of its thresholds is the right one."""
    negative, positive = sides(name, 60, seed=1)
    z = [torch.from_numpy(np.stack([side, 0 * side], 2)) for side in (positive, negative)]
    split = audit.epsilon(*z, torch.zeros(DRAWS, dtype=torch.int64), delta=DELTA).lower.mean()
    paid = bonferroni(negative, positive, delta=DELTA).lower.mean()
    assert paid < split if name == "response" else paid > 1.5 * split


@mechanisms
@pytest.mark.parametrize("delta", [0.0, 1e-4])
def test_one_run_covers(name, delta):
    rng = np.random.default_rng(2)
    member = rng.random((DRAWS, 400)) < 0.5
    scores = MECHANISMS[name](rng, member.shape, member.astype(float))
    found = one_run(scores, member, delta=delta, guesses=100)
    truth = np.inf if (name, delta) == ("gaussian", 0.0) else TRUTH[name](delta)
    assert (found.lower <= truth).mean() >= 0.93
    assert np.median(found.lower) > 0.3


def test_the_gaussian_value_is_right_where_its_assumption_holds():
    value = gaussian_estimate(*sides("gaussian", 2000), delta=DELTA).value
    assert value.mean() == pytest.approx(TRUTH["gaussian"](DELTA), rel=0.03)


def test_the_gaussian_value_misses_where_its_assumption_fails():
    """Above the truth in every draw for randomised response, and more scores do not help: it is no bound."""
    few, many = (gaussian_estimate(*sides("response", n), delta=DELTA).value for n in (100, 4000))
    assert (many > TRUTH["response"](DELTA)).all()
    assert many.mean() > 1.5 * TRUTH["response"](DELTA)
    assert (few > TRUTH["response"](DELTA)).mean() > 0.9


def test_an_estimate_says_so_and_is_no_bound():
    found = gaussian_estimate([0.0, 1.0], [1.0, 2.0])
    assert str(found).startswith("estimate")
    assert isinstance(found, EpsilonEstimate)
    assert not isinstance(found, EpsilonBound)
    assert not hasattr(found, "lower")


def test_one_run_is_the_theorem():
    """By a plain sum over the binomial, a little below and above what was found."""
    m, r, delta = 60, 20, 1e-3

    def most(right, epsilon):
        q = np.exp(epsilon) / (1 + np.exp(epsilon))
        above = sum(binom.pmf(k, r, q) for k in range(right, r + 1))
        near = max(sum(binom.pmf(right - j, r, q) for j in range(1, i + 1)) / i for i in range(1, right + 1))
        return min(1, above + 2 * m * delta * near)

    for right in (10, 16, 20):
        # The first r/2 of the ranks are guessed to be out, the last to be in; some of both are wrong.
        member = np.concatenate([np.zeros(r // 2), np.zeros(m - r), np.ones(r // 2)]).astype(bool)
        member[: r - right] = True
        found = one_run(np.arange(m), member, guesses=r, delta=delta).lower[0]
        assert most(right, found + 1e-6) >= 0.05
        assert found == 0 or most(right, found - 1e-6) < 0.05


# Values of jax_privacy 2.0.0, `auditing._epsilon_one_run` at a significance of .05, and of dp_accounting 0.6.0,
# `get_epsilon_gaussian(1 / mu, delta)`.
THEIRS = [(100, 50, 46, 1e-5, 1.558078), (100, 50, 44, 1e-3, 1.166134), (400, 200, 186, 1e-5, 2.117626)]
THEIRS += [(400, 200, 183, 1e-3, 1.787216)]
GAUSSIAN = [(0.3, 1e-5, 1.1317748966), (0.3, 0.05, 0.1991764918), (1, 1e-5, 4.3771780957), (1, 0.05, 1.5688777812)]
GAUSSIAN += [(2.5, 1e-5, 13.2067122405), (2.5, 0.05, 6.4804045), (4, 1e-5, 24.3816108831), (4, 0.05, 13.7493859855)]


@pytest.mark.parametrize(("m", "guesses", "right", "delta", "epsilon"), THEIRS)
def test_one_run_says_what_jax_privacy_says(m, guesses, right, delta, epsilon):
    member = np.arange(m) >= m - guesses // 2
    member[m - guesses // 2 : m - guesses // 2 + guesses - right] = False  # so many wrong guesses
    assert one_run(np.arange(m), member, guesses=guesses, delta=delta).lower[0] == pytest.approx(epsilon, abs=1e-6)


@pytest.mark.parametrize(("mu", "delta", "epsilon"), GAUSSIAN)
def test_a_gaussian_mechanism_has_the_epsilon_of_dp_accounting(mu, delta, epsilon):
    assert gaussian_epsilon(mu, delta)[0] == pytest.approx(epsilon, abs=1e-6)


def test_bonferroni_is_the_best_of_its_thresholds():
    """By plain loops."""
    from scipy.stats import beta

    negative, positive = (side[:20, :30] for side in sides("laplace", 30))
    ranks = sorted({round(r) for r in np.geomspace(1, 30, 5)})
    alpha = 0.05 / len(ranks) / 2
    for row, found in enumerate(bonferroni(negative, positive, thresholds=5, delta=0.01).lower):
        best = 0.0
        for rank in ranks:
            cut = sorted(negative[row])[-rank]
            fpr = beta.ppf(1 - alpha, rank, 30 - rank + 1)
            missed = sum(positive[row] <= cut)
            fnr = 1.0 if missed == 30 else beta.ppf(1 - alpha, missed + 1, 30 - missed)
            for a, b in ((fpr, fnr), (fnr, fpr)):
                best = max(best, np.log((1 - 0.01 - a) / b)) if a < 0.99 else best
        assert found == pytest.approx(best)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: bonferroni([1.0], [1.0, 2.0]), "at least two a side"),
        (lambda: bonferroni([1.0, 2.0], [1.0, 2.0], thresholds=3), "thresholds is 3"),
        (lambda: bonferroni([1.0, np.nan], [1.0, 2.0]), "none NaN"),
        (lambda: gaussian_estimate([1.0, 2.0], [1.0, 2.0], delta=0.0), "no finite ε"),
        (lambda: one_run([1.0, 2.0, 3.0], [True, False]), "one each"),
        (lambda: one_run([1.0, 2.0], [True, False], guesses=1), "an even number"),
    ],
)
def test_bad_input_is_one_sentence(call, message):
    with pytest.raises(InputError, match=message):
        call()


def test_mechanisms_without_a_difference_certify_nothing():
    rng = np.random.default_rng(3)
    same = rng.normal(size=(2, DRAWS, 100))
    assert (bonferroni(*same).lower == 0).mean() >= 0.95
    assert (one_run(same[0], rng.random((DRAWS, 100)) < 0.5).lower == 0).mean() >= 0.95
