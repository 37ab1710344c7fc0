"""How parameters are used, where it is not plain to see."""

import jax
import jax.numpy as jnp
import numpy as np

import gamepruning as gp

PARAMS = {"b": jnp.ones(5), "one": jnp.ones((3, 5)), "two": jnp.ones((5, 2))}
X = jnp.ones((4, 3))


def roles(apply) -> dict[str, str]:
    players = gp.find_players(apply, PARAMS, X)
    return {piece.path: piece.role for piece in players.families[0].slices}


def network(params, x):
    return jnp.tanh(x @ params["one"] + params["b"][None]) @ params["two"]


def behind_a_barrier(params, x):
    """A barrier passes all its operands, each as it is."""
    return network(jax.lax.optimization_barrier(params), x)


def under_remat(params, x):
    return jax.checkpoint(network)(params, x)


def test_a_barrier_passes_each_parameter():
    expected = {"b": "bias", "one": "out", "two": "in"}
    assert roles(network) == roles(behind_a_barrier) == expected
    assert roles(under_remat) == expected


def test_what_is_owned_is_the_same_behind_a_barrier():
    plain, behind = (
        gp.find_players(apply, PARAMS, X).sum_owned(PARAMS)
        for apply in (network, behind_a_barrier)
    )
    np.testing.assert_array_equal(plain, behind)
    np.testing.assert_array_equal(plain, np.full(5, 4.0))
