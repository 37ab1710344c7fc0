"""Statistics of the players' activations."""

import jax
import jax.numpy as jnp
import numpy as np

import gamepruning as gp
from tests.small import make_mlp


def test_activation_moments_are_those_of_the_hidden_units(key):
    players, params, inputs, _ = make_mlp(key, widths=(5, 4, 2))
    one = params["dense0"]
    hidden = jax.nn.relu(inputs @ one["kernel"] + one["bias"][None])
    mean, variance = players.activation_moments(params, inputs)
    np.testing.assert_allclose(mean, hidden.mean(0), rtol=1e-5)
    np.testing.assert_allclose(variance, hidden.var(0), rtol=1e-4, atol=1e-6)


def test_a_player_that_only_a_branch_reads_has_no_moments():
    def apply(params, x):
        hidden = jnp.tanh(x @ params["one"])
        return jax.lax.cond(
            x.sum() > 0,
            lambda h: h @ params["two"],
            lambda h: h @ params["two"],
            hidden,
        )

    params = {"one": jnp.ones((3, 4)), "two": jnp.ones((4, 2))}
    x = jnp.ones((2, 3))
    players = gp.find_players(apply, params, x)
    mean, variance = players.activation_moments(params, x)
    assert mean.shape == (4,) and jnp.isnan(mean).all() and jnp.isnan(variance).all()


def test_the_variance_of_large_numbers_is_not_rounded_away():
    def apply(params, x):
        return jax.nn.relu(x @ params["a"] + 300) @ params["c"]

    params = {"a": jnp.eye(3), "c": jnp.ones((3, 2))}
    x = jax.random.normal(jax.random.key(0), (64, 3))
    half = jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), params)
    players = gp.find_players(apply, half, x.astype(jnp.bfloat16))
    hidden = np.asarray(jax.nn.relu(x.astype(jnp.bfloat16) + 300), np.float32)
    mean, variance = players.activation_moments(half, x.astype(jnp.bfloat16))
    np.testing.assert_allclose(mean, hidden.mean(0), rtol=1e-5)
    np.testing.assert_allclose(variance, hidden.var(0), rtol=1e-4)
