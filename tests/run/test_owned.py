"""Each player's own parameters, scaled and summed over."""

import jax
import jax.numpy as jnp
import numpy as np

from gamepruning.run.owned import sum_owned
from tests.small import apply_mlp, make_mlp


def test_participation_scales_the_preactivation(key):
    players, params, inputs, _ = make_mlp(key, widths=(5, 4, 2))
    gates = jnp.array([0.0, 0.25, 1.0, 0.5])
    scaled = players.participate(params, gates)
    one, two = params["dense0"], params["dense1"]
    hidden = jax.nn.relu((inputs @ one["kernel"] + one["bias"][None]) * gates[None])
    expected = hidden @ two["kernel"] + two["bias"][None]
    np.testing.assert_allclose(apply_mlp(scaled, inputs), expected, rtol=1e-5)


def test_sum_owned_adds_up_incoming_weights_and_bias(key):
    players, params, _, _ = make_mlp(key)
    squares = players.sum_owned(jax.tree.map(jnp.square, params))
    one, two = params["dense0"], params["dense1"]
    expected = [
        jnp.square(layer["kernel"]).sum(0) + jnp.square(layer["bias"])
        for layer in (one, two)
    ]
    np.testing.assert_allclose(squares, jnp.concatenate(expected), rtol=1e-6)


def test_what_nobody_owns_counts_for_nobody(key):
    """The last layer has no players; its weights are in no sum."""
    players, params, _, _ = make_mlp(key)
    ones = jax.tree.map(jnp.ones_like, params)
    assert sum_owned(players.model, ones).tolist() == [5 + 1] * 4 + [4 + 1] * 3
