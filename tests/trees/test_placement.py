"""What is cut from an array stays where the array is."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec as P

import gamepruning as gp
from gamepruning.compaction import slice_tree, unslice_tree
from gamepruning.trees.placement import fit_sharding, take_axes

EVEN, ODD = np.arange(0, 16, 2), np.arange(5)


def two_by_two(kind: AxisType = AxisType.Auto) -> Mesh:
    devices = np.array(jax.devices()[:4]).reshape(2, 2)
    return Mesh(devices, ("x", "y"), axis_types=(kind,) * 2)


@pytest.mark.parametrize("kind", [AxisType.Auto, AxisType.Explicit])
@pytest.mark.parametrize("memory", ["device", "pinned_host"])
def test_a_slice_keeps_sharding_and_memory(kind, memory):
    sharding = NamedSharding(two_by_two(kind), P("x", "y"), memory_kind=memory)
    full = np.arange(16.0 * 16).reshape(16, 16)
    array = jax.device_put(full, sharding)
    small = take_axes(array, {0: EVEN, 1: ODD})
    assert small.sharding.memory_kind == memory
    assert tuple(small.sharding.spec) == ("x", None)  # 5 columns over 2 devices
    np.testing.assert_array_equal(small, full[np.ix_(EVEN, ODD)])
    kept = {("w", 0): EVEN, ("w", 1): ODD}
    back = unslice_tree({"w": np.zeros((8, 5))}, {"w": array}, kept)["w"]
    assert back.sharding == sharding and not np.asarray(back)[::2, :5].any()
    assert np.asarray(back).sum() == full.sum() - np.asarray(small).sum()


def test_a_slice_stays_on_its_one_device_or_in_numpy():
    there = jax.device_put(jnp.ones((16, 2)), jax.devices()[3])
    small = slice_tree({"w": there}, {("w", 0): ODD})["w"]
    assert small.committed and small.devices() == {jax.devices()[3]}
    assert type(slice_tree(np.ones(16), {("", 0): ODD})) is np.ndarray


def test_only_the_axis_that_is_not_divided_is_replicated():
    whole = NamedSharding(two_by_two(), P(("x", "y"), None))
    assert fit_sharding(whole, (6, 3)).spec == P(None, None)
    sharding = NamedSharding(two_by_two(), P("x", None, "y"))
    assert fit_sharding(sharding, (7, 3, 4)).spec == P(None, None, "y")
    assert fit_sharding(sharding, (8, 3, 4)) is sharding


def test_a_compact_model_keeps_the_shardings_and_says_where_it_cannot():
    mesh = Mesh(np.array(jax.devices()[:4]), ("m",))
    spec = {"w1": P(None, "m"), "w2": P("m", None)}
    shapes = {"w1": (3, 8), "w2": (8, 2)}
    params = {
        name: jax.device_put(
            jax.random.normal(jax.random.key(0), shapes[name]),
            NamedSharding(mesh, spec[name]),
        )
        for name in spec
    }
    players = gp.find_players(
        lambda p, x: jnp.tanh(x @ p["w1"]) @ p["w2"], params, jnp.ones((2, 3))
    )
    state = optax.adam(0.1).init(params)
    small = gp.compact(players, params, np.arange(8) < 4, opt_state=state)
    for tree in (small.params, small.opt_state[0].mu, small.plan.apply(params)):
        assert {name: leaf.sharding.spec for name, leaf in tree.items()} == spec
    assert not small.report.notes
    odd = gp.compact(players, params, np.arange(8) < 3)
    assert odd.params["w1"].sharding.is_fully_replicated
    (note,) = odd.report.notes
    assert "axis 1 of 'w1' (3 over 4), axis 0 of 'w2' (3 over 4)" in note
