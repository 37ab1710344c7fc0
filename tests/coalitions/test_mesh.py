"""Coalitions over one axis of a mesh, parameters and examples over the others."""

import jax
import numpy as np
import pytest
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec as P

import gamepruning as gp
from benchmarks.mesh import count_collectives
from gamepruning.coalitions.evaluation.hoisted import PIECES
from gamepruning.types import InputError

WIDTHS = (16, 1024, 1024, 4)  # much more parameters than rows
SPECS = {
    "dense0": {"kernel": P(None, "model"), "bias": P("model")},
    "dense1": {"kernel": P("model", None), "bias": P()},
    "dense2": {"kernel": P(None, "model"), "bias": P("model")},
}


def apply(params, x):
    """Layers dense0, dense1, ..., in a way that shardings in types allow, too."""
    *hidden, last = (params[name] for name in sorted(params))
    for layer in hidden:
        x = jax.nn.relu(x @ layer["kernel"] + layer["bias"][None])
    return x @ last["kernel"] + last["bias"][None]


@pytest.fixture(scope="module")
def game():
    rng = np.random.default_rng(0)
    shapes = zip(WIDTHS, WIDTHS[1:], strict=False)
    params = {
        f"dense{k}": {
            "kernel": rng.normal(size=shape).astype(np.float32) / shape[0] ** 0.5,
            "bias": np.zeros(shape[1], np.float32),
        }
        for k, shape in enumerate(shapes)
    }
    inputs = rng.normal(size=(8, WIDTHS[0])).astype(np.float32)
    labels = rng.integers(0, WIDTHS[-1], 8)
    players = gp.find_players(apply, params, inputs)
    return players, params, gp.negative_cross_entropy, inputs, labels


@pytest.fixture(scope="module")
def masks(game):
    return np.random.default_rng(1).random((20, game[0].num_players)) < 0.5


@pytest.fixture(scope="module")
def expected(game, masks):
    return gp.value_function(*game, devices=jax.devices()[:1])(masks)


def make_mesh(*names, kind=AxisType.Auto):
    shape = (2,) * len(names) if len(names) > 1 else (4,)
    return jax.make_mesh(shape, names, axis_types=(kind,) * len(names))


def placed(tree, mesh, specs):
    put = lambda x, spec: jax.device_put(x, NamedSharding(mesh, spec))  # noqa: E731
    return jax.tree.map(put, tree, specs)


@pytest.mark.parametrize("kind", [AxisType.Auto, AxisType.Explicit], ids=str)
def test_parameters_stay_split_and_nothing_is_gathered(
    game, masks, expected, kind, monkeypatch
):
    """Long sums are cut in pieces where nothing is split, and only there."""
    monkeypatch.setitem(PIECES, "cpu", 2)
    players, params, metric, inputs, labels = game
    mesh = make_mesh("coalitions", "model", kind=kind)
    own = placed(params, mesh, SPECS)
    value_fn = gp.value_function(players, own, metric, inputs, labels, mesh=mesh)
    np.testing.assert_allclose(value_fn(masks), expected, atol=1e-6)
    assert not value_fn.is_incremental and value_fn.processes is None
    program = value_fn.lower().compile()
    size = sum(leaf.nbytes for leaf in jax.tree.leaves(params))
    assert program.memory_analysis().argument_size_in_bytes <= 0.55 * size
    auto = placed(params, Mesh(mesh.devices, mesh.axis_names), SPECS)
    plain = jax.jit(lambda p: metric(apply(p, inputs), labels)).lower(auto).compile()
    found, allowed = map(count_collectives, (program.as_text(), plain.as_text()))
    assert found["all-gather"] <= allowed["all-gather"]
    assert found["all-reduce"] <= allowed["all-reduce"]


@pytest.mark.parametrize("rows_at_once", [None, 4, 3])
def test_rows_stay_split(game, masks, expected, rows_at_once):
    players, params, metric, inputs, labels = game
    mesh = make_mesh("coalitions", "data")
    inputs = placed(inputs, mesh, P("data"))  # the labels follow
    value_fn = gp.value_function(
        players, params, metric, inputs, labels, mesh=mesh, rows_at_once=rows_at_once
    )
    np.testing.assert_allclose(value_fn(masks), expected, atol=1e-6)
    assert not count_collectives(value_fn.lower().compile().as_text())["all-gather"]


@pytest.mark.parametrize("extra", [np.array([1.0, 2, 3]), np.float32(2)], ids=np.ndim)
def test_labels_without_rows_stay_whole(game, masks, extra):
    players, params, metric, inputs, labels = game
    own = {"y": labels, "weight": extra}

    def weighted(outputs, own):
        return metric(outputs, own["y"]) * own["weight"].sum()

    expected = gp.value_function(players, params, weighted, inputs, own)(masks)
    inputs = placed(inputs, make_mesh("coalitions", "data"), P("data"))
    mesh = inputs.sharding.mesh
    found = gp.value_function(players, params, weighted, inputs, own, mesh=mesh)
    np.testing.assert_allclose(found(masks), expected, rtol=1e-5)


def test_one_axis_gives_the_bits_of_one_device(game, masks, expected):
    mesh = Mesh(np.array(jax.devices()), ("pool",))
    value_fn = gp.value_function(*game, mesh=mesh, coalition_axis="pool")
    np.testing.assert_array_equal(value_fn(masks), expected)
    assert value_fn.is_incremental


def test_parameters_are_not_copied(game):
    players, params, metric, inputs, labels = game
    (device, *_) = jax.devices()
    params, inputs = jax.device_put((params, inputs), device)
    value_fn = gp.value_function(
        players, params, metric, inputs, labels, devices=[device]
    )
    value_fn(np.ones((1, players.num_players), bool))
    residuals, *_ = value_fn._chunks.evaluator._placed.values()
    held = {
        x.unsafe_buffer_pointer()
        for x in jax.tree.leaves(residuals)
        if isinstance(x, jax.Array)
    }
    kernels = (params[name]["kernel"] for name in ("dense1", "dense2"))
    assert {x.unsafe_buffer_pointer() for x in kernels} <= held


def test_uncertainty_over_a_mesh_has_the_bits_of_one_device():
    from tests.small import make_mlp

    players, params, inputs, _ = make_mlp(jax.random.key(0))
    given = jax.random.key(1), players, params, inputs
    mesh = Mesh(np.array(jax.devices()[:2]), ("coalitions",))
    alone = gp.mcue(*given, num_samples=4, num_sizes=3)
    spread = gp.mcue(*given, num_samples=4, num_sizes=3, mesh=mesh)
    np.testing.assert_array_equal(spread.variance, alone.variance)
    assert spread.peak == alone.peak


@pytest.mark.parametrize(
    "options, message",
    [
        (
            {"mesh": Mesh(np.array(jax.devices()), ("x",))},
            "the mesh has the axes 'x', and none is 'coalitions'",
        ),
        (
            {
                "mesh": Mesh(np.array(jax.devices()), ("coalitions",)),
                "devices": jax.devices(),
            },
            "expected devices= or mesh=, got both",
        ),
    ],
)
def test_a_mesh_that_cannot_be_is_refused(game, options, message):
    with pytest.raises(InputError, match=message):
        gp.value_function(*game, **options)


def test_arrays_that_lie_elsewhere_are_refused(game):
    players, params, *rest = game
    mesh = make_mesh("coalitions", "model")
    own = placed(params, mesh, SPECS)
    with pytest.raises(InputError, match="is split over 'model', the axis of the coal"):
        gp.value_function(players, own, *rest, mesh=mesh, coalition_axis="model")
    other = Mesh(mesh.devices.T, mesh.axis_names)
    with pytest.raises(InputError, match="is split over another mesh than mesh="):
        gp.value_function(players, own, *rest, mesh=other)


def test_examples_on_another_mesh_without_mesh(game, masks, expected):
    """They are on devices of this process: the values are those of one device."""
    players, params, metric, inputs, labels = game
    mesh = make_mesh("data", "model")
    rows = [jax.device_put(x, NamedSharding(mesh, P("data"))) for x in (inputs, labels)]
    for own in (params, placed(params, mesh, SPECS)):
        value_fn = gp.value_function(players, own, metric, *rows)
        np.testing.assert_allclose(value_fn(masks), expected, atol=1e-6)


def test_repaired_parameters_are_where_they_were(game, masks):
    players, params, _, _, _ = game
    inputs = np.random.default_rng(2).normal(size=(2000, WIDTHS[0])).astype(np.float32)
    own = placed(params, make_mesh("data", "model"), SPECS)
    found = gp.repair(players, own, masks[0], inputs).params
    assert jax.tree.all(jax.tree.map(lambda a, b: a.sharding == b.sharding, found, own))
    one = gp.repair(players, params, masks[0], inputs).params
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-3), found, one)
    assert not np.allclose(found["dense1"]["kernel"], params["dense1"]["kernel"])
