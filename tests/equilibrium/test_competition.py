"""The competition term against inner products written out, in several networks."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gamepruning.equilibrium import competition, squared_norms
from gamepruning.players import find_players
from tests.small import apply_mlp, make_mlp


def pull(theta: np.ndarray, gates: np.ndarray) -> np.ndarray:
    """sum over j != i of s_j <theta_i, theta_j>, the players along axis 0."""
    rows = theta.reshape(len(theta), -1).astype(np.float64)
    gram = rows @ rows.T
    return (gram - np.diag(np.diag(gram))) @ gates


def heads(params, x):
    """Two axes of one kernel are players: H heads, and D dimensions of all heads."""
    hidden = jax.nn.relu(jnp.einsum("bi,ihd->bhd", x, params["in"]))
    return jnp.einsum("bhd,hdo->bo", hidden, params["out"])


def test_heads_and_their_dimensions_compete_among_themselves(key):
    keys = jax.random.split(key, 3)
    params = {
        "in": jax.random.normal(keys[0], (5, 3, 4)),
        "out": jax.random.normal(keys[1], (3, 4, 2)),
    }
    players = find_players(heads, params, jnp.ones((2, 5)))
    gates = np.asarray(jax.random.uniform(keys[2], (players.num_players,)))
    actual = competition(players, params, gates)
    kernel = np.asarray(params["in"])
    of_size = {3: kernel.transpose(1, 0, 2), 4: kernel.transpose(2, 0, 1)}
    for family in players.families:
        span = slice(family.start, family.stop)
        expected = pull(of_size[family.size], gates[span])
        np.testing.assert_allclose(actual[span], expected, rtol=1e-4, atol=1e-5)


def residual(params, x):
    """Three layers write to the same units, which are one player each."""
    x = x @ params["embed"]
    for kernel in (params["first"], params["second"]):
        x = x + jnp.tanh(x @ kernel)
    return x @ params["head"]


def test_a_player_owns_its_column_of_every_layer_that_writes_to_it(key):
    keys = jax.random.split(key, 5)
    shapes = {"embed": (6, 4), "first": (4, 4), "second": (4, 4), "head": (4, 2)}
    params = {
        name: jax.random.normal(k, shape)
        for k, (name, shape) in zip(keys, shapes.items(), strict=False)
    }
    players = find_players(residual, params, jnp.ones((3, 6)))
    assert players.num_players == 4
    gates = np.asarray(jax.random.uniform(keys[4], (4,)))
    theta = np.concatenate(
        [np.asarray(params[name]).T for name in ("embed", "first", "second")], axis=1
    )
    actual = competition(players, params, gates)
    np.testing.assert_allclose(actual, pull(theta, gates), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(
        squared_norms(players, params), (theta**2).sum(axis=1), rtol=1e-5
    )


def test_filters_compete_with_all_their_weights(key):
    keys = jax.random.split(key, 4)
    params = {
        "kernel": jax.random.normal(keys[0], (3, 3, 2, 5)),
        "bias": jax.random.normal(keys[1], (5,)),
        "head": jax.random.normal(keys[2], (5, 2)),
    }

    def apply(params, x):
        dims = ("NHWC", "HWIO", "NHWC")
        x = jax.lax.conv_general_dilated(
            x, params["kernel"], (1, 1), "SAME", dimension_numbers=dims
        )
        x = jax.nn.relu(x + params["bias"][None, None, None])
        return x.max(axis=(1, 2)) @ params["head"]

    players = find_players(apply, params, jnp.ones((1, 4, 4, 2)))
    gates = np.asarray(jax.random.uniform(keys[3], (5,)))
    theta = np.concatenate(
        [
            np.moveaxis(np.asarray(params["kernel"]), -1, 0).reshape(5, -1),
            np.asarray(params["bias"])[:, None],
        ],
        axis=1,
    )
    actual = competition(players, params, gates)
    np.testing.assert_allclose(actual, pull(theta, gates), rtol=1e-4, atol=1e-5)


def test_single_weights_compete_within_their_matrix(key):
    _, params, *_ = make_mlp(key)
    weights = find_players(apply_mlp, params, jnp.ones((1, 5)), granularity="weight")
    gates = np.asarray(jax.random.uniform(key, (weights.num_players,)))
    actual = competition(weights, params, gates)
    for family in weights.families:
        span = slice(family.start, family.stop)
        theta = np.asarray(params[family.name]["kernel"]).reshape(-1, 1)
        expected = pull(theta, gates[span])
        np.testing.assert_allclose(actual[span], expected, rtol=1e-4, atol=1e-5)


def test_who_owns_different_amounts_cannot_compete(key):
    def apply(params, x):
        hidden = jax.nn.relu(x @ params["w1"])
        return jax.nn.relu(hidden @ params["w2"]) @ params["w3"]

    shapes = {"w1": (3, 4), "w2": (4, 5), "w3": (5, 2)}
    params = {name: jnp.ones(shape) for name, shape in shapes.items()}
    layers = find_players(apply, params, jnp.ones((1, 3)), granularity="layer")
    with pytest.raises(ValueError, match="equally many"):
        competition(layers, params, jnp.ones(layers.num_players))
