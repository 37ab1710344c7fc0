"""Batch norm over the batch, and graphs: examples that depend on each other."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gamepruning as gp
from gamepruning.baselines import activation_scores, loss_oracle_scores

NUM = 10


def normed(params, x):
    hidden = x @ params["w1"]
    mean, var = hidden.mean(0, keepdims=True), hidden.var(0, keepdims=True)
    return jax.nn.relu((hidden - mean) / jnp.sqrt(var + 1e-5)) @ params["w2"]


def graph(params, x, links):
    return links @ jax.nn.relu(links @ x @ params["w1"]) @ params["w2"]


def make(key, name):
    one, two, three, four = jax.random.split(key, 4)
    params = {
        "w1": jax.random.normal(one, (4, 6)),
        "w2": jax.random.normal(two, (6, 3)),
    }
    x = jax.random.normal(three, (NUM, 4))
    links = (jax.random.uniform(four, (NUM, NUM)) < 0.3) + jnp.eye(NUM)
    apply, inputs = (normed, (x,)) if name == "normed" else (graph, (x, links / NUM))
    labels = jnp.arange(NUM) % 3
    return gp.find_players(apply, params, *inputs), params, inputs, labels


@pytest.mark.parametrize("name", ["normed", "graph"])
def test_taylor_scores_see_the_whole_batch(key, name):
    players, params, inputs, labels = make(key, name)

    def losses(gates):
        log_probs = jax.nn.log_softmax(players.gated(params, gates, *inputs))
        return -jnp.take_along_axis(log_probs, labels[:, None], axis=1)[:, 0]

    slopes = jax.jacrev(losses)(jnp.ones(6))
    first = gp.taylor_scores(players, params, gp.cross_entropy, inputs, labels)
    np.testing.assert_allclose(first.value, jnp.abs(slopes).mean(0), rtol=1e-4)

    outputs = lambda gates: players.gated(params, gates, *inputs)  # noqa: E731
    jacobian = jax.jacrev(outputs)(jnp.ones(6)).reshape(-1, 6)
    flat = outputs(jnp.ones(6)).ravel()
    loss = lambda z: gp.cross_entropy(z.reshape(NUM, 3), labels)  # noqa: E731
    curve = jnp.einsum("an,ab,bn->n", jacobian, jax.hessian(loss)(flat), jacobian)
    second = gp.taylor_scores(
        players, params, gp.cross_entropy, inputs, labels, order=2
    )
    np.testing.assert_allclose(
        second.value, curve / 2 - slopes.mean(0), rtol=1e-3, atol=1e-5
    )


@pytest.mark.parametrize("name", ["normed", "graph"])
def test_bandits_and_oracles_agree_with_the_value_function(key, name):
    players, params, inputs, labels = make(key, name)
    value_fn = gp.value_function(
        players, params, gp.negative_cross_entropy, inputs, labels
    )
    base, without = value_fn.toggles(np.ones((1, 6), bool))
    expected = base[:, None] - without
    arms = gp.removal_arms(
        players, params, gp.cross_entropy, inputs, labels, batch_size=5
    )
    assert arms.num_batches == 1
    np.testing.assert_allclose(arms.loss_changes(), expected[0], rtol=1e-3, atol=1e-5)
    oracle = loss_oracle_scores(
        players, params, gp.cross_entropy, inputs, labels, examples_at_once=5
    )
    np.testing.assert_allclose(oracle.value, expected[0], rtol=1e-3, atol=1e-5)
    assert np.isfinite(
        activation_scores(players, params, inputs, examples_at_once=5).value
    ).all()
