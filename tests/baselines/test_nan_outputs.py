"""A network whose outputs are NaN ranks nobody, whatever it is judged by."""

import jax
import jax.numpy as jnp
import pytest

import gamepruning as gp
from gamepruning import metrics

METRICS = [gp.accuracy, metrics.balanced_accuracy, metrics.macro_f1]


def apply(params, x):
    return jax.nn.relu(x @ params["w1"]) @ params["w2"]


def network(key):
    params = {"w1": jax.random.normal(key, (4, 6)), "w2": jnp.full((6, 3), jnp.nan)}
    x, labels = jax.random.normal(key, (8, 4)), jnp.arange(8) % 3
    return gp.find_players(apply, params, x), params, x, labels


@pytest.mark.parametrize("metric", METRICS)
def test_a_metric_of_nan_outputs_is_nan(metric):
    outputs = jnp.array([[1.0, 0.0], [jnp.nan, 0.0]])
    assert jnp.isnan(metric(outputs, jnp.array([0, 0])))
    assert metric(outputs[:1], jnp.array([0])) > 0


@pytest.mark.parametrize("metric", METRICS)
def test_power_indices_of_a_nan_network_are_refused(metric, key):
    players, params, x, labels = network(key)
    value_fn = gp.value_function(players, params, metric, x, labels)
    with pytest.raises(gp.InputError, match="metric is nan.*'w2' holds NaN"):
        gp.shapley_values(key, value_fn, num_evaluations=60)


def test_a_bandit_on_a_nan_network_is_refused(key):
    players, params, x, labels = network(key)
    with pytest.raises(gp.InputError, match="loss change of player 0 is nan"):
        arms = gp.removal_arms(players, params, gp.accuracy, x, labels)
        gp.play_bandit(key, gp.ucb1(), arms, num_pulls=12)


def test_scores_that_are_nan_are_refused(key):
    players, params, x, labels = network(key)
    with pytest.raises(gp.InputError, match="score of player 0 is NaN"):
        gp.taylor_scores(players, params, gp.cross_entropy, x, labels)
