"""Scales of fake quantisation: maxima of magnitudes over what could leave."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import gamepruning as gp

PARAMS = {
    "one": jax.random.normal(jax.random.key(0), (3, 6)),
    "two": jax.random.normal(jax.random.key(1), (6, 2)),
}
X = jax.random.normal(jax.random.key(2), (4, 3))
FOUR = np.array([True, True, False, True, False, True])


def rounded(array, axis):
    """To 15 steps of a scale for each row, column or all."""
    scale = jnp.maximum(jnp.abs(array).max(axis, keepdims=True), 1e-6) / 7
    return array + lax.stop_gradient(jnp.round(array / scale) * scale - array)


def apply(p, x):
    hidden = rounded(jax.nn.relu(x @ rounded(p["one"], None)), 1)
    return hidden @ rounded(p["two"], 0)


def test_a_maximum_of_magnitudes_is_gated_on_request():
    with pytest.raises(gp.InputError, match='reductions="gate" finds 6 players$'):
        gp.find_players(apply, PARAMS, X)
    players = gp.find_players(apply, PARAMS, X, reductions="gate")
    small = gp.compact(players, PARAMS, FOUR)
    cut = {"one": PARAMS["one"][:, FOUR], "two": PARAMS["two"][FOUR]}
    expected = apply(cut, X)  # a module built at the small width
    np.testing.assert_allclose(small.apply(cut, X), expected, atol=1e-6)
    gated = players.gated(PARAMS, FOUR, X)
    np.testing.assert_allclose(gated, expected, atol=1e-6)


def test_other_extremes_stay_and_say_so():
    def clipped(p, x):
        low = p["two"].max(axis=0, keepdims=True)
        return jnp.tanh(x @ p["one"]) @ jnp.minimum(p["two"], low)

    with pytest.raises(gp.InputError, match="can be gated only over absolute values"):
        gp.find_players(clipped, PARAMS, X, reductions="gate")


def test_a_layer_may_vanish_under_a_maximum():
    def both(p, x):
        return x @ p["skip"] + apply(p, x)

    params = {**PARAMS, "skip": jnp.ones((3, 2))}
    players = gp.find_players(both, params, X, reductions="gate")
    small = gp.compact(players, params, np.zeros(6, bool), min_units=0)
    np.testing.assert_allclose(small.apply(small.params, X), X @ params["skip"])
