"""`TracedModel`: traces by shape, and who plays where."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.sharding import AxisType, PartitionSpec as P

import gamepruning as gp
from gamepruning.trace.call import split_call
from gamepruning.trace.labelled import TraceOptions
from gamepruning.trace.model import TracedModel
from gamepruning.trace.units import Numbers
from tests.small import apply_mlp, make_mlp


@pytest.fixture
def mlp(key):
    players, params, inputs, _ = make_mlp(key)
    return players.model, params, inputs


def test_a_trace_is_kept_by_the_shapes_of_the_call(mlp):
    model, params, inputs = mlp
    again = model.trace(model.call(params, inputs + 1))
    assert again is model.base
    smaller = model.trace(model.call(params, inputs[:3]))
    assert smaller is not model.base
    assert smaller is model.trace(model.call(params, inputs[5:]))


def test_a_trace_is_kept_by_the_mesh_around_the_call():
    """One that was made without a mesh serves in all of them, and no other does."""

    def split(params, x):
        hidden = lax.with_sharding_constraint(x @ params["one"], P(None, "model"))
        return hidden @ params["two"]

    params, x = {"one": jnp.ones((3, 4)), "two": jnp.ones((4, 2))}, jnp.ones((2, 3))
    meshes = [
        jax.make_mesh(
            (count,),
            ("model",),
            axis_types=(AxisType.Auto,),
            devices=jax.devices()[:count],
        )
        for count in (2, 4)
    ]
    with jax.set_mesh(meshes[0]):
        players = gp.find_players(split, params, x)
    for mesh in meshes:
        with jax.set_mesh(mesh):
            out = jax.jit(players.gated)(params, jnp.ones(4), x)
        assert len(out.sharding.device_set) == mesh.size
        np.testing.assert_array_equal(out, jnp.full((2, 2), 12.0))
    model, call = players.model, players.model.call(params, x)
    assert model.trace(call) is model.base
    with jax.set_mesh(meshes[1]):
        assert model.trace(call) is not model.base
    players, params, inputs, _ = make_mlp(jax.random.key(0))
    with jax.set_mesh(meshes[0]):
        call = players.model.call(params, inputs)
        assert players.model.trace(call) is players.model.base


def test_players_are_the_same_in_every_trace(mlp):
    """Both batch sizes have the seven hidden units, under the same numbers."""
    model, params, inputs = mlp
    for trace in (model.base, model.trace(model.call(params, inputs[:3]))):
        columns = [trace.columns(label) for label in trace.param_labels[1]]  # kernel0
        assert columns[0] is None
        assert columns[1].tolist() == [[1], [2], [3], [4]]


def test_numbers_make_another_model_of_the_same_trace(mlp):
    _, params, inputs = mlp
    model = TracedModel.of(apply_mlp, split_call(params, (inputs,)), TraceOptions())
    assert model.num_players == 0 and model.owned_axes() == []
    unit = model.base.units[0].take(np.array([0]))
    played = model.with_players(Numbers([(unit, np.zeros(1, int))]), 1)
    assert (model.num_players, played.num_players) == (0, 1)
    assert {(axis.leaf, axis.axis) for axis in played.owned_axes()} == {(0, 0), (1, 1)}
    assert played.base.program is model.base.program
    assert model.paths[:2] == ("dense0/bias", "dense0/kernel")
    assert model.array_names[-1] == "input 0"


def test_a_structure_that_depends_on_the_batch_is_refused():
    def apply(params, x):
        hidden = x @ params["one"]
        return (hidden if len(x) == 2 else hidden.sort()) @ params["two"]

    params = {"one": jnp.ones((3, 4)), "two": jnp.ones((4, 2))}
    players = gp.find_players(apply, params, jnp.ones((2, 3)))
    with pytest.raises(ValueError, match="has 0 of its 4 players.*find_players again"):
        players.gated(params, np.ones(4, bool), jnp.ones((5, 3)))


def test_a_trace_that_holds_tracers_is_not_kept(key):
    """What `apply` closes over may be traced; it must not outlive its jit."""
    _, params, inputs, _ = make_mlp(key, widths=(5, 4, 2))

    @jax.jit
    def run(shift):
        def apply(params, x):
            return apply_mlp(params, x + shift)

        players = gp.find_players(apply, params, inputs)
        gates = jnp.ones(players.num_players)
        first = players.gated(params, gates, inputs[:3])
        assert len(players.model._traces) == 1  # that of find_players itself
        return first

    np.testing.assert_allclose(
        run(jnp.float32(1)), apply_mlp(params, inputs[:3] + 1), rtol=1e-5
    )


def test_gates_that_do_not_fit(mlp):
    model, _, _ = mlp
    with pytest.raises(gp.InputError, match=r"gates have shape \(3,\), expected \(7,"):
        model.gates(jnp.ones(3))
    assert model.gates(np.ones(7, int)).dtype == jnp.float32
    assert model.gates(np.ones(7, bool)).dtype == bool
