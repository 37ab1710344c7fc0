"""When a ranking counts as settled: never for noise, and rightly for real games."""

import jax
import numpy as np
import pytest
from scipy import stats

from gamepruning.coalitions.estimators import stopping
from gamepruning.coalitions.exact import exact_semivalue
from gamepruning.coalitions.indices import estimate_indices
from gamepruning.coalitions.semivalues import banzhaf, shapley
from gamepruning.types import InputError

LAWS = {
    "regression": lambda n: banzhaf(n, 0.3),
    "paired_regression": lambda n: banzhaf(n),
    "leverage": shapley,
    "antithetic": shapley,
    "toggle_all": lambda n: banzhaf(n, 0.3),
    "sample_reuse": lambda n: banzhaf(n),
}


def noise(seed):
    """Another value each time, as of a coalition among very many."""
    rng = np.random.default_rng(seed)
    return lambda masks: rng.normal(size=len(masks))


@pytest.mark.parametrize("method", LAWS)
@pytest.mark.parametrize(("n", "cut"), [(3, 1), (8, None), (30, 8)])
def test_noise_is_never_settled(method, n, cut):
    for seed in range(3):
        estimate = estimate_indices(
            jax.random.key(seed),
            noise(seed),
            LAWS[method](n),
            num_evaluations=20 * n,
            method=method,
            target_agreement=0.9,
            cut=cut,
        )
        assert estimate.status == "budget"


@pytest.mark.parametrize("method", LAWS)
def test_a_clear_ranking_settles_early_and_is_right(method):
    n = 40
    worth = np.random.default_rng(0).gamma(2.0, size=n)

    def game(masks):
        return np.sqrt(masks @ worth)

    estimate = estimate_indices(
        jax.random.key(1),
        game,
        LAWS[method](n),
        num_evaluations=40_000,
        method=method,
        target_agreement=0.95,
    )
    assert estimate.status == "settled"
    assert estimate.scores.num_evaluations < 30_000
    assert estimate.agreement >= 0.95
    actual = stats.spearmanr(estimate.scores.value, worth).statistic
    assert actual > 0.93


def test_a_cut_settles():
    """Ten players of 40 are worth little; their ranks among themselves do not count."""
    worth = np.r_[np.full(10, 0.5), np.full(30, 1.0)]

    def game(masks):
        return np.sqrt(masks @ worth)

    options = {"num_evaluations": 5000, "target_agreement": 0.95}
    key, law = jax.random.key(0), banzhaf(40, 0.3)
    cut = estimate_indices(key, game, law, cut=10, **options)
    assert cut.status == "settled" and cut.cut_overlap >= 0.95
    assert set(np.argsort(cut.scores.value)[:10]) == set(range(10))
    ranks = estimate_indices(key, game, law, **options)
    assert np.isnan(ranks.cut_overlap)
    assert ranks.status == "budget"  # ties never settle


def test_prediction_is_calibrated():
    """Predicted against actual rank correlation, over keys and budgets."""
    n = 12
    rng = np.random.default_rng(5)
    w, out = rng.normal(size=(n, 30)), rng.normal(size=30)

    def game(masks):
        return np.tanh(np.asarray(masks, float) @ w) @ out

    law = banzhaf(n)
    exact = np.asarray(exact_semivalue(game, law).value)
    for budget in (60, 240):
        predicted, actual = [], []
        for key in jax.random.split(jax.random.key(0), 40):
            found = estimate_indices(key, game, law, num_evaluations=budget)
            predicted.append(found.agreement)
            actual.append(stats.spearmanr(found.scores.value, exact).statistic)
        assert abs(np.mean(predicted) - np.mean(actual)) < 0.08


def test_correlations_by_hand_and_by_scipy():
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 8, (2, 30)).astype(float)  # with ties
    expected = stats.spearmanr(a, b).statistic
    np.testing.assert_allclose(stopping.rank_correlation(a, b), expected, atol=1e-9)
    assert stopping.rank_correlation(a, np.ones(30)) == 0
    assert stopping.predicted_agreement(np.arange(5.0), -np.arange(5.0)) == 0
    assert stopping.predicted_agreement(np.zeros(1), np.zeros(1)) == 1


@pytest.mark.parametrize("share", [0.1, 0.25, 0.8])
@pytest.mark.parametrize("rho", [0.2, 0.7, 0.97])
def test_normal_overlap_against_scipy(share, rho):
    edge = stats.norm.ppf(share)
    both = stats.multivariate_normal([0, 0], [[1, rho], [rho, 1]]).cdf([edge, edge])
    np.testing.assert_allclose(
        stopping.normal_overlap(rho, share), both / share, atol=1e-4
    )


def test_overlap_prediction_against_simulation():
    """Halves with equal noise: predicted overlap of their mean with the truth."""
    rng = np.random.default_rng(0)
    truth = rng.normal(size=4000)
    halves = truth + rng.normal(size=(2, 4000))
    lowest = set(np.argsort(truth)[:1000])
    actual = len(lowest & set(np.argsort(halves.mean(axis=0))[:1000])) / 1000
    assert abs(stopping.predicted_overlap(*halves, 1000) - actual) < 0.03


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"target_agreement": 1.0}, "target_agreement in"),
        ({"target_agreement": 0.9, "cut": 4}, r"cut in \[1, 3\]"),
        ({"cut": 0}, r"cut in \[1, 3\]"),
    ],
)
def test_bad_targets(options, message):
    with pytest.raises(InputError, match=message):
        estimate_indices(
            jax.random.key(0),
            lambda m: m.sum(1),
            banzhaf(4),
            num_evaluations=50,
            **options,
        )


def test_ties_at_the_cut_are_no_agreement():
    """Whom chance alone has put among the lowest is there in both halves by chance."""
    same = np.zeros(12)
    assert stopping.predicted_overlap(same, same, 3) == pytest.approx(3 / 12)
    half = np.array([0.0] * 8 + [1.0] * 4)
    assert stopping.predicted_overlap(half, half, 4) < 0.8
    assert stopping.predicted_overlap(half, half, 8) == 1


def test_rare_swings_that_were_not_seen_do_not_settle_a_ranking():
    """Players 0 to 7 matter only all together, 16 to 23 never: both seem worth 0."""
    worth = np.linspace(1, 3, 8)

    def value_fn(masks):
        some = masks[:, 8:16]
        return 10.0 * masks[:, :8].all(1) + some @ worth + 0.3 * some.sum(1) ** 2 / 8

    found = estimate_indices(
        3,
        value_fn,
        banzhaf(24),
        num_evaluations=2000,
        method="toggle_all",
        cut=8,
        target_agreement=0.95,
    )
    assert found.status != "settled" and found.cut_overlap < 0.9
