"""Scores of quantised and half-precision weights, and rankings that say nothing."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gamepruning as gp
from gamepruning.types import Scores

NORMS = np.array([20.0, 200.0, 90.0, 50.0])


def apply(params, x):
    weights = params["w1"].astype(jnp.float32)
    return jax.nn.relu(x @ weights) @ params["w2"]


def make(dtype):
    weights = jnp.asarray(np.tile(NORMS / 2, (4, 1)), dtype)
    params = {"w1": weights, "w2": jnp.ones((4, 3))}
    return gp.find_players(apply, params, jnp.ones((2, 4))), params


@pytest.mark.parametrize("dtype", [jnp.int8, jnp.uint8, jnp.int32, jnp.float16])
def test_weights_of_few_bits_are_scored_by_their_values(dtype):
    players, params = make(dtype)
    np.testing.assert_allclose(
        gp.magnitude_scores(players, params).value, NORMS, rtol=1e-3
    )
    squares = gp.equilibrium.squared_norms(players, params)
    np.testing.assert_allclose(squares, NORMS**2, rtol=1e-3)
    x, y = jnp.ones((2, 4)), jnp.zeros((2, 3))
    slopes = gp.baselines.weight_gradient_scores(
        players, params, gp.squared_error, x, y
    )
    assert np.array_equal(np.argsort(slopes.value), np.argsort(NORMS))
    small = gp.compact(players, params, np.arange(4) < 1, round_to=2)
    assert small.mask.tolist() == [True, True, False, False]


def test_sums_over_half_precision_do_not_overflow():
    players, params = make(jnp.float16)
    total = players.sum_owned(jax.tree.map(lambda w: w * 600, params))
    assert total.dtype == jnp.float32 and np.isfinite(total).all()


def test_a_fraction_of_a_whole_number_is_kept():
    players, params = make(jnp.int8)
    half = players.participate(params, jnp.full(4, 0.5))
    np.testing.assert_allclose(half["w1"][0], NORMS / 4)


def test_scores_that_are_all_equal_are_told():
    same = Scores(np.full(4, 2.0), np.zeros(4), 0)
    with pytest.warns(UserWarning, match="all 4 scores are 2, so the players' order"):
        assert gp.top_n(same, 2).tolist() == [True, True, False, False]
    players, params = make(jnp.float32)
    with pytest.warns(UserWarning, match="all 4 scores are 0, which ranks nobody"):
        gp.magnitude_scores(players, jax.tree.map(jnp.zeros_like, params))


def test_a_selection_by_zeros_alone_is_told(key):
    def constant(masks):
        return np.ones(len(masks))

    with pytest.warns(UserWarning, match="in all 2 rounds all scores were 0"):
        gp.iterated_pruning(key, constant, 2, num_players=4, num_evaluations=40)
