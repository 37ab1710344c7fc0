"""Inputs that are trees, such as caches, lose entries with the players."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gamepruning as gp
from gamepruning.compaction import Plan

BATCH, TIME, HEADS, SIZE, WIDTH = 2, 5, 4, 3, 8
SHAPES = {
    "q": (WIDTH, HEADS, SIZE),
    "k": (WIDTH, HEADS, SIZE),
    "v": (WIDTH, HEADS, SIZE),
    "o": (HEADS, SIZE, WIDTH),
}


def attend(params, x, cache, position):
    """One token against a cache of keys and values, which it adds its own to."""
    query, key, value = (jnp.einsum("bd,dhk->bhk", x, params[name]) for name in "qkv")
    place = (0, position, 0, 0)
    keys = jax.lax.dynamic_update_slice(cache["k"], key[:, None], place)
    values = jax.lax.dynamic_update_slice(cache["v"], value[:, None], place)
    scores = jnp.einsum("bhk,bthk->bht", query, keys)
    scores = jnp.where(jnp.arange(TIME)[None, None] <= position, scores, -1e9)
    read = jnp.einsum("bht,bthk->bhk", jax.nn.softmax(scores, -1), values)
    out = jnp.einsum("bhk,hkd->bd", read, params["o"])
    return x + out, {"k": keys, "v": values}


def make(lead=()):
    keys = jax.random.split(jax.random.key(0), len(SHAPES))
    params = {
        name: jax.random.normal(key, (*lead, *shape))
        for key, (name, shape) in zip(keys, SHAPES.items(), strict=True)
    }
    size = (*lead, BATCH, TIME, HEADS, SIZE)
    return params, {"k": jnp.zeros(size), "v": jnp.zeros(size)}


PARAMS, CACHE = make()
X = jax.random.normal(jax.random.key(1), (2, BATCH, WIDTH))


def same_cache(params, x, cache, position):
    return None, cache


def find(axes):
    return gp.find_players(
        attend, PARAMS, X[0], CACHE, 0, input_axes={1: axes}, outputs_like=same_cache
    )


def test_a_small_decoder_takes_and_returns_a_small_cache():
    players = find({"k": (2, 3), "v": (2, 3)})
    sizes = {family.name: family.size for family in players.families}
    assert sizes == {"k[axis 2]": SIZE, "k[axis 1]": HEADS, "v": SIZE}
    mask = np.array([True, False, True, True, False, True, False, True, True, False])
    small = gp.compact(players, PARAMS, mask)
    assert [*small.input_kept] == ["1/k", "1/v"]
    assert small.input_kept["1/k"][2].tolist() == [0, 2]
    cache, (_, cut) = CACHE, small.plan.select_inputs(X[0], CACHE)
    for position, x in enumerate(X):
        full, cache = players.gated(PARAMS, mask, x, cache, position)
        out, cut = small.apply(small.params, x, cut, position)
        np.testing.assert_allclose(out, full, rtol=1e-5, atol=1e-5)
        assert jax.tree.map(jnp.shape, cut) == {
            "k": (BATCH, TIME, 2, 2),
            "v": (BATCH, TIME, 2, 2),
        }
    again = Plan.from_dict(small.plan.to_dict())
    assert again == small.plan and (players.mask_from_kept(*_kept(again)) == mask).all()


def _kept(plan):
    return plan.kept, plan.input_kept


def test_axes_of_a_tree_and_of_all_its_arrays():
    whole = find((2, 3))
    assert whole.names == find({"k": [-2, -1], "v": (2, 3)}).names
    assert whole.num_players == HEADS + 2 * SIZE
    values = find({"k": None, "v": 3})
    assert [family.name for family in values.families] == ["v"]


@pytest.mark.parametrize("axes", [{"k": 2}, {"k": 2, "v": 2, "w": 2}, "k", {"k": "v"}])
def test_axes_that_are_no_tree_like_the_input(axes):
    with pytest.raises(gp.InputError, match=r"input_axes\[1\]=.*like input 1, .*2, 5"):
        find(axes)


def test_axes_that_an_array_of_a_tree_has_not():
    with pytest.raises(gp.InputError, match="axis .4,. of input 1/v, which has 4"):
        find({"k": 2, "v": 4})


def test_an_input_behind_a_tree_is_named_by_its_position():
    params = {"one": jnp.ones((3, 4)), "two": jnp.ones((6, 4))}

    def apply(params, pair, x):
        hidden = jnp.tanh(pair["a"] @ params["one"] + x @ params["two"])
        return hidden.sum(axis=0) * pair["b"]

    inputs = {"a": jnp.ones((5, 3)), "b": jnp.ones(4)}, jnp.ones((5, 6))
    players = gp.find_players(apply, params, *inputs, input_axes={1: 1})
    mask = np.arange(6) < 4
    small = gp.compact(players, params, mask)
    assert small.input_kept[1][1].tolist() == [0, 1, 2, 3]
    _, x = small.plan.select_inputs(*inputs)
    assert x.shape == (5, 4)
    with pytest.raises(gp.InputError, match="no axis 1"):
        small.plan.select_inputs(inputs[0], jnp.ones(6))


def test_a_cache_of_scanned_layers_loses_the_same_heads_in_all_layers():
    params, cache = make((2,))

    def decode(params, x, cache, position):
        def layer(x, both):
            return attend(both[0], x, both[1], position)

        return jax.lax.scan(layer, x, (params, cache))

    players = gp.find_players(
        decode,
        params,
        X[0],
        cache,
        0,
        input_axes={1: (3, 4)},
        outputs_like=same_cache,
        layers="each",
    )
    assert players.num_players == HEADS + 2 * SIZE
    mask = np.array([True, False, True, True, False, True, False, True, True, False])
    small = gp.compact(players, params, mask)
    assert small.input_kept["1/v"][3].tolist() == [0, 2]
    assert small.params["o"].shape == (2, 2, 2, WIDTH)
