"""Models whose types say how arrays are sharded."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec as P

import gamepruning as gp

NARROW = np.arange(16) % 16 < 3  # 3 columns, which 2 devices do not divide


def contract_resharded(h, down):
    h = jax.sharding.reshard(h, P("x", "y"))
    return jnp.einsum("bf,fo->bo", h, down, out_sharding=P("x", None))


def contract_auto(h, down):
    product = jax.sharding.auto_axes(jnp.matmul, out_sharding=P("x", None))
    return product(h, down)


def contract_heads(h, down):
    h = lax.reshape(h, (4, 8, 2), out_sharding=P("x", "y", None))
    down = lax.reshape(down, (8, 2, 3), out_sharding=P("y", None, None))
    return jnp.einsum("bhk,hko->bo", h, down, out_sharding=P("x", None))


@pytest.fixture
def mesh():
    devices = np.array(jax.devices()[:4]).reshape(2, 2)
    mesh = Mesh(devices, ("x", "y"), axis_types=(AxisType.Explicit,) * 2)
    with jax.set_mesh(mesh):
        yield mesh


def arrays(mesh):
    def put(seed, shape, *spec):
        array = jax.random.normal(jax.random.key(seed), shape)
        return jax.device_put(array, NamedSharding(mesh, P(*spec)))

    params = {
        "up": put(0, (8, 16), None, "y"),
        "bias": put(1, (16,), "y"),
        "down": put(2, (16, 3), "y", None),
    }
    return params, put(3, (4, 8), "x", None), put(4, (4, 3), "x", None)


def scores(players, params, x, y):
    loss = gp.squared_error
    taylor = gp.taylor_scores(players, params, loss, x, y)
    means, _ = players.activation_moments(params, x)
    return gp.magnitude_scores(players, params).value, taylor.value, means


def test_explicit_shardings_change_no_number(mesh):
    params, x, y = arrays(mesh)

    def apply(p, x):
        h = jax.nn.relu(jnp.einsum("bd,df->bf", x, p["up"]) + p["bias"][None])
        return contract_auto(h, p["down"])

    def plainly(p, x):
        return jax.nn.relu(x @ p["up"] + p["bias"][None]) @ p["down"]

    players = gp.find_players(apply, params, x)
    assert players.num_players == 16 and not players.opaque
    small = gp.compact(players, params, NARROW)
    assert jax.tree.map(jnp.shape, small.params)["up"] == (8, 3)
    without = apply(players.exclude(params, NARROW), x)
    np.testing.assert_allclose(without, small.apply(small.params, x), atol=1e-5)
    found = scores(players, params, x, y)
    with pytest.raises(gp.InputError, match="use a mesh of AxisType.Auto"):
        gp.value_function(players, params, gp.squared_error, x, y)
    with jax.set_mesh(Mesh(np.array(jax.devices()[:1]), ("one",))):
        arguments = jax.tree.map(np.asarray, (params, x, y))
        alone = scores(gp.find_players(plainly, *arguments[:2]), *arguments)
    for one, two in zip(found, alone, strict=True):
        np.testing.assert_allclose(one, two, atol=1e-4)


CONTRACTS = {contract_resharded: [16], contract_heads: [8, 2]}


@pytest.mark.parametrize("contract", CONTRACTS)
def test_a_sharded_axis_shrinks_in_the_middle(mesh, contract):
    params, x, _ = arrays(mesh)

    def apply(p, x):
        return contract(jnp.tanh(x @ p["up"]), p["down"])

    players = gp.find_players(apply, params, x)
    assert [family.size for family in players.families] == CONTRACTS[contract]
    small = gp.compact(players, params, np.arange(players.num_players) != 3)
    assert small.params["up"].shape == (8, 16 - 16 // CONTRACTS[contract][0])
