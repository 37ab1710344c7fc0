"""How many entries of the parameters each player owns, from shapes alone."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gamepruning as gp
from gamepruning.players.own_entries import own_entries


def heads(params, x):
    q = jnp.tanh(jnp.einsum("bd,dhk->bhk", x, params["q"]) + params["b"][None])
    return jnp.einsum("bhk,hko->bo", q, params["o"])


def flat_heads(params, x):
    q = jnp.tanh((x @ params["q"]).reshape(-1, 2, 4) + params["b"][None])
    return jnp.einsum("bhk,hko->bo", q, params["o"])


def scanned(params, x):
    def layer(x, w):
        return x + jnp.tanh(x @ w["up"]) @ w["down"], None

    return jax.lax.scan(layer, x, params["layers"])[0] @ params["out"]


def nested(params, x):
    inner = jnp.tanh(x @ params["a"])
    inner = inner + jnp.tanh(inner @ params["b"]) @ params["c"]
    return (x + inner @ params["d"]) @ params["out"]


HEADS = {"q": (3, 2, 4), "b": (2, 4), "o": (2, 4, 1)}
LAYERS = {"layers": {"up": (2, 3, 4), "down": (2, 4, 3)}, "out": (3, 2)}
NESTED = {"a": (3, 4), "b": (4, 5), "c": (5, 4), "d": (4, 3), "out": (3, 2)}


@pytest.mark.parametrize(
    ("apply", "shapes", "options", "owners"),
    [
        (heads, HEADS, {}, [2] * 6),
        (heads, HEADS, {"granularity": "weight"}, [1] * 32),
        (flat_heads, HEADS | {"q": (3, 8)}, {}, [2] * 6),
        (scanned, LAYERS, {"layers": "each"}, [1] * 8),
        (scanned, LAYERS, {"granularity": "layer"}, [1]),
        (scanned, LAYERS, {"granularity": "branch"}, [1, 1]),
        (nested, NESTED, {"granularity": "branch"}, [2, 2]),
    ],
)
def test_counts_are_sums_of_ones(apply, shapes, options, owners):
    is_shape = lambda leaf: isinstance(leaf, tuple)  # noqa: E731
    ones = jax.tree.map(jnp.ones, shapes, is_leaf=is_shape)
    players = gp.find_players(apply, ones, jnp.ones((5, 3)), **options)
    found = own_entries(players)
    np.testing.assert_array_equal(found.counts, players.sum_owned(ones))
    assert found.owners.tolist() == owners
    assert own_entries(players) is found


def test_players_of_one_model_in_two_ways_are_told_apart():
    is_shape = lambda leaf: isinstance(leaf, tuple)  # noqa: E731
    ones = jax.tree.map(jnp.ones, LAYERS, is_leaf=is_shape)
    each = gp.find_players(scanned, ones, jnp.ones((5, 3)), layers="each")
    assert own_entries(each.tied).counts.tolist() == [6] * 4
    assert own_entries(each).counts.tolist() == [3] * 8
