"""A model in two parts, split at the first gate that varies."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gamepruning as gp
from gamepruning.run.hoist import split
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
