"""Collectives under vmap are reductions; what stays opaque says what to do."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.experimental import pallas as pl
from jax.sharding import Mesh, PartitionSpec as P

import gamepruning as gp
from gamepruning.trace.rules import RULES
from gamepruning.trace.rules.elementwise import elementwise

PARAMS = {
    "one": jnp.linspace(-1.0, 2.0, 15).reshape(3, 5),
    "two": jnp.cos(jnp.arange(10.0)).reshape(5, 2),
}
X = jnp.sin(jnp.arange(12.0)).reshape(4, 3)
THREE = np.array([True, False, True, True, False])


def test_collectives_under_vmap_are_reductions():
    def alone(params, x):
        h = x @ params["one"]
        centred = h - lax.pmean(h, "batch")
        spread, total = lax.pmax(abs(centred), "batch"), lax.psum(h, "batch")
        return jnp.tanh(centred / spread + total) @ params["two"]

    apply = jax.vmap(alone, (None, 0), axis_name="batch")
    players = gp.find_players(apply, PARAMS, X)
    assert players.num_players == 5 and not players.opaque
    small = gp.compact(players, PARAMS, THREE)
    without = apply(players.exclude(PARAMS, THREE), X)
    np.testing.assert_allclose(small.apply(small.params, X), without, atol=1e-5)


def scale(ref, out):
    out[...] = 2 * ref[...]


def doubled(h):
    shape = jax.ShapeDtypeStruct(h.shape, h.dtype)
    return pl.pallas_call(scale, out_shape=shape, interpret=True)(h)


def apply_kernel(params, x):
    return doubled(x @ params["one"]) @ params["two"]


def test_a_kernel_can_be_declared():
    with pytest.raises(gp.InputError, match="pallas_call .a kernel .*register_rule"):
        gp.find_players(apply_kernel, PARAMS, X)
    rebind = lambda sizes, node, h: [doubled(h)]  # noqa: E731
    gp.register_rule("pallas_call", label=elementwise, rebind=rebind)
    try:
        players = gp.find_players(apply_kernel, PARAMS, X)
        small = gp.compact(players, PARAMS, THREE)
    finally:
        RULES.remove("pallas_call")
    assert small.params["one"].shape == (3, 3)


def test_shard_map_says_what_to_do():
    mesh = Mesh(np.array(jax.devices()[:1]), ("m",))
    inner = jax.shard_map(jnp.tanh, mesh=mesh, in_specs=P(), out_specs=P())
    apply = lambda p, x: inner(x @ p["one"]) @ p["two"]  # noqa: E731
    with pytest.raises(gp.InputError, match="shard_map .its body sees one device's"):
        gp.find_players(apply, PARAMS, X)


def test_ragged_experts_have_players():
    sizes = jnp.array([1, 3])
    params = {"up": jnp.ones((2, 3, 5)), "down": jnp.ones((2, 5, 2))}

    def apply(p, x):
        return lax.ragged_dot(
            jnp.tanh(lax.ragged_dot(x, p["up"], sizes)), p["down"], sizes
        )

    players = gp.find_players(apply, params, X)
    assert players.num_players == 5
    assert gp.compact(players, params, THREE).params["down"].shape == (2, 3, 2)
