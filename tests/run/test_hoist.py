"""A model in two parts, split at the first gate that varies."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gamepruning as gp
from gamepruning.run.hoist import split
from tests.coalitions.test_values import make_convnet
from tests.small import make_mlp


@pytest.mark.parametrize("gate_smaller", [False, True])
def test_the_first_layer_is_computed_once(key, gate_smaller):
    """Only dense1 varies: what passes is its product's input, 4 hidden units wide."""
    players, params, inputs, _ = make_mlp(key)
    varying = players.select("dense1")
    parts = split(players.model, params, (inputs,), varying, gate_smaller=gate_smaller)
    gates = jnp.where(varying, 0.5, 1.0)
    residuals = parts.prefix(params, gates, inputs)
    by_input = [r for r, mine in zip(residuals, parts.by_input, strict=True) if mine]
    assert [r.shape for r in by_input] == [(8, 3)]
    np.testing.assert_allclose(
        parts.suffix(residuals, gates), players.gated(params, gates, inputs), rtol=1e-5
    )
    other = jnp.where(varying, 0.25, 1.0)
    np.testing.assert_allclose(
        parts.suffix(residuals, other), players.gated(params, other, inputs), rtol=1e-5
    )


@pytest.mark.parametrize("gate_smaller", [False, True])
def test_parameters_may_come_with_the_gates(gate_smaller):
    """Of all players, the kernels of the readers are gated, not what they read."""
    apply, params, (inputs,) = make_convnet()
    players = gp.find_players(apply, params, inputs)
    everyone = np.ones(players.num_players, bool)
    parts = split(
        players.model,
        params,
        (inputs,),
        everyone,
        gate_smaller=gate_smaller,
        changed=[1, 2],
    )
    residuals = parts.prefix(params, everyone, inputs)
    own = {"conv1": 2 * params["conv1"], "w0": params["w0"] - 1}
    for seed in range(3):
        gates = np.random.default_rng(seed).random(players.num_players) < 0.6
        jax.tree.map(
            partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-5),
            parts.suffix(residuals, gates, list(own.values())),
            players.gated(params | own, gates, inputs),
        )
    masks, kernels = np.ones((7, players.num_players), bool), np.ones((7, 3, 4, 3, 3))
    rest = np.stack([params["w0"]] * 7)
    mapped = jax.make_jaxpr(jax.vmap(parts.suffix, in_axes=(None, 0, 0)))
    first = next(
        eqn
        for eqn in mapped(residuals, masks, [kernels.astype("f4"), rest]).eqns
        if eqn.primitive.name == "conv_general_dilated"
    )
    assert (first.params["feature_group_count"] == 1) == gate_smaller


@pytest.mark.parametrize("kind", [bool, float])
@pytest.mark.parametrize("is_first", [True, False])
def test_a_long_sum_is_gated_piece_by_piece(kind, is_first):
    """Eleven hidden units in pieces of four, and three that are left over."""
    rng = np.random.default_rng(0)
    params = {"in": rng.normal(size=(5, 11)), "out": rng.normal(size=(11, 3))}

    def apply(params, x):
        hidden = jnp.tanh(x @ params["in"])
        return hidden @ params["out"] if is_first else params["out"].T @ hidden.T

    x = rng.normal(size=(20, 5))
    players = gp.find_players(apply, params, x)
    everyone = np.ones(11, bool)
    pieces, whole = (
        split(players.model, params, (x,), everyone, gate_smaller=True, piece=size)
        for size in (4, 6)  # less than two pieces of six
    )
    residuals = pieces.prefix(params, everyone, x)
    for seed in range(3):
        gates = np.random.default_rng(seed).random(11)
        gates = gates < 0.5 if kind is bool else gates
        np.testing.assert_allclose(
            pieces.suffix(residuals, gates),
            players.gated(params, gates, x),
            rtol=1e-5,
            atol=1e-5,
        )
    masks = np.ones((7, 11), bool)
    for parts, has_loop in ((pieces, True), (whole, False)):
        mapped = jax.make_jaxpr(jax.vmap(parts.suffix, in_axes=(None, 0)))
        assert ("scan" in str(mapped(residuals, masks))) == has_loop


def test_the_two_parts_serve_one_batch_size(key):
    players, params, inputs, _ = make_mlp(key)
    hoisted = players.hoist(params, inputs)
    with pytest.raises(gp.InputError, match="gates have shape"):
        hoisted.prefix(params, jnp.ones(3), inputs)
    assert "prefix" in repr(hoisted) and len(repr(hoisted)) < 100


def test_a_number_that_jit_made_an_array_is_refused():
    def apply(params, x):
        return jnp.tanh(x @ params["one"] * params["scale"]) @ params["two"]

    params = {"one": jnp.ones((3, 4)), "scale": 2.0, "two": jnp.ones((4, 2))}
    x, gates = jnp.ones((2, 3)), jnp.ones(4)
    hoisted = gp.find_players(apply, params, x).hoist(params, x)
    with pytest.raises(gp.InputError, match="a number in params.*jnp.asarray"):
        jax.jit(hoisted.prefix)(params, gates, x)
