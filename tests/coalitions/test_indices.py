"""The public functions: defaults, arguments, errors."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gamepruning.coalitions.estimators import ESTIMATORS
from gamepruning.coalitions.estimators.select import choose_method, least_evaluations
from gamepruning.coalitions.indices import (
    banzhaf_values,
    semivalues,
    shapley_values,
)
from gamepruning.coalitions.semivalues import banzhaf, beta_semivalue, shapley
from gamepruning.types import InputError, Scores
from tests.coalitions import games

KEY = jax.random.key(11)


def count(masks):
    return masks.sum(axis=1)


@pytest.mark.parametrize("game", [games.UN, games.EEC_1973, games.NASSAU_1958], ids=str)
def test_published_indices(game):
    n, wins = game.num_players, game.value_fn
    scores = shapley_values(KEY, wins, n, num_evaluations=8000)
    assert isinstance(scores, Scores)
    assert (np.abs(scores.value - game.shapley) <= 4 * scores.stderr + 1e-9).all()
    scores = banzhaf_values(KEY, wins, n, num_evaluations=8000)
    assert (np.abs(scores.value - game.banzhaf) <= 4 * scores.stderr + 1e-9).all()
    if game.biased is not None:
        scores = banzhaf_values(KEY, wins, n, bias=0.8, num_evaluations=8000)
        apart = np.abs(scores.value - game.biased(0.8))
        assert (apart <= 4 * scores.stderr + 1e-9).all()


def test_electoral_college():
    """51 players: enumeration is out of reach, the exact index is by counting."""
    game = games.ELECTORAL_COLLEGE
    scores = shapley_values(KEY, game.value_fn, 51, num_evaluations=6000)
    assert (np.abs(scores.value - game.shapley) <= 4.5 * scores.stderr).all()
    scores = banzhaf_values(KEY, game.value_fn, 51, num_evaluations=6000)
    assert (np.abs(scores.value - game.banzhaf) <= 4.5 * scores.stderr).all()


def test_value_functions_of_jax():
    worth = jnp.array([1.0, 2.0, 4.0])
    value_fn = jax.jit(lambda masks: masks.astype(float) @ worth)
    scores = banzhaf_values(KEY, value_fn, 3, num_evaluations=50)
    np.testing.assert_allclose(scores.value, worth, atol=1e-5)


@pytest.mark.parametrize("is_incremental", [False, True])
@pytest.mark.parametrize("n", [1, 2, 5, 100, 2000])
def test_the_default_fits_and_can_be_paid(n, is_incremental):
    for law in (shapley(n), banzhaf(n), banzhaf(n, 0.2), beta_semivalue(n, 2.0, 1.0)):
        for budget in (3 * n + 20, 50 * n + 10):
            method = choose_method(law, n, budget, is_incremental)
            assert ESTIMATORS[method].misfit(law) is None
            assert least_evaluations(method, law) <= budget


@pytest.mark.parametrize("method", ESTIMATORS)
def test_the_least_budget_is_enough(method):
    n = 6
    fits = [
        law for law in (shapley(n), banzhaf(n)) if not ESTIMATORS[method].misfit(law)
    ]
    for law in fits:
        least = least_evaluations(method, law)
        with pytest.raises(InputError, match=f"at least {least} evaluations"):
            semivalues(KEY, count, law, num_evaluations=least - 1, method=method)
        lucky = "sample_reuse", "proxy_reuse", "regression"
        if method not in lucky:  # these need some luck
            scores = semivalues(KEY, count, law, num_evaluations=least, method=method)
            assert scores.num_evaluations == least
            assert np.isfinite(scores.value).all() and np.isfinite(scores.stderr).all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: shapley_values(KEY, count, 10, num_evaluations=5), "budget too small"),
        (
            lambda: banzhaf_values(KEY, count, 10, num_evaluations=5, method="toggle"),
            "at least 40 evaluations",
        ),
        (lambda: banzhaf_values(KEY, count, 4, bias=0.0, num_evaluations=99), "bias"),
        (lambda: banzhaf_values(KEY, count, 4, bias=1.2, num_evaluations=99), "bias"),
        (
            lambda: shapley_values(KEY, count, 0, num_evaluations=99),
            "number of players",
        ),
        (
            lambda: shapley_values(KEY, count, 4, num_evaluations=99, method="castro"),
            "expected 'auto' or a name of an estimator",
        ),
        (
            lambda: shapley_values(
                KEY, count, 4, num_evaluations=99, method="regression"
            ),
            "does not fit shapley",
        ),
        (
            lambda: banzhaf_values(
                KEY, count, 4, num_evaluations=99, method="leverage"
            ),
            "Shapley values only",
        ),
        (
            lambda: banzhaf_values(
                KEY, count, 4, bias=0.3, num_evaluations=99, method="paired_regression"
            ),
            "bias 0.5 only",
        ),
        (
            lambda: shapley_values(KEY, count, 4, num_evaluations=99, round_size=0),
            "round_size >= 1",
        ),
    ],
)
def test_bad_arguments(call, message):
    with pytest.raises(InputError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("method", ["toggle_all", "antithetic", "leverage"])
@pytest.mark.parametrize(
    ("value_fn", "message"),
    [
        (lambda masks: np.full(len(masks), np.nan), "NaN or infinity"),
        (lambda masks: np.log(masks.sum(axis=1) * 0.0), "NaN or infinity"),
        (lambda masks: np.zeros((len(masks), 1)), r"one value for each"),
        (lambda masks: 1.0, r"one value for each"),
    ],
)
@pytest.mark.filterwarnings("ignore:divide by zero")
def test_bad_values(method, value_fn, message):
    with pytest.raises(InputError, match=message):
        semivalues(KEY, value_fn, shapley(5), num_evaluations=99, method=method)


def test_another_number_of_players_than_the_value_function_has():
    class Value:
        num_players = 5

        def __call__(self, masks):
            return masks.sum(axis=1)

    with pytest.raises(InputError, match="has 5 players, got num_players = 6"):
        shapley_values(KEY, Value(), 6, num_evaluations=100)
