"""Games while training, parameters and examples split over a mesh."""

import contextlib
import re
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec as P

import gamepruning as gp

ROWS, WIDTH, HIDDEN, CLASSES = 32, 16, 64, 10


def layers(params, x):
    """Columns, then rows of a layer are split, in a way that types allow, too."""
    x = jax.nn.relu(x @ params["a"] + params["bias"][None])
    x = jax.nn.relu(x @ params["b"])
    return x @ params["c"]


def stack(params, x):
    """A scan over layers that are run again for the gradient."""

    @jax.checkpoint
    def block(x, layer):
        return x + jax.nn.relu(x @ layer["in"]) @ layer["out"], None

    x, _ = jax.lax.scan(block, x, params["blocks"])
    return x @ params["c"]


SHAPES = {
    layers: {
        "a": ((WIDTH, HIDDEN), P(None, "model")),
        "bias": ((HIDDEN,), P("model")),
        "b": ((HIDDEN, WIDTH), P("model")),
        "c": ((WIDTH, CLASSES), P()),
    },
    stack: {
        "blocks": {
            "in": ((3, WIDTH, HIDDEN), P(None, None, "model")),
            "out": ((3, HIDDEN, WIDTH), P(None, "model")),
        },
        "c": ((WIDTH, CLASSES), P()),
    },
}
TX = {
    "sgd": gp.joint_optimizer(optax.sgd(0.1, momentum=0.9)),
    "adam": gp.joint_optimizer(
        optax.adam(0.01), gp.projected_gate_ascent(0.05, optax.scale_by_adam())
    ),
}
PRICES = gp.equilibrium.EQUILIBRIUM_PRESETS["l1_l2"]
BUDGET = gp.Budget(keep=0.3)


def make_step(name, players, tx):
    if name == "market":
        how = {"num_steps": 20, "every": 2}
        return gp.make_market_step(players, gp.cross_entropy, tx, BUDGET, **how)
    how = {"updates": "alternating", "normalise": True} if name == "alternating" else {}
    return gp.make_equilibrium_step(players, gp.cross_entropy, tx, PRICES, **how)


def make_params(apply):
    rng = np.random.default_rng(0)
    is_leaf = lambda leaf: isinstance(leaf, tuple)  # noqa: E731
    draw = lambda leaf: rng.normal(0, 0.1, leaf[0]).astype(np.float32)  # noqa: E731
    return jax.tree.map(draw, SHAPES[apply], is_leaf=is_leaf)


def place(tree, mesh, spec):
    """Arrays on a mesh, by one `PartitionSpec` or by a tree of them."""
    if isinstance(spec, P):
        return jax.tree.map(
            lambda x: jax.device_put(x, NamedSharding(mesh, spec)), tree
        )
    put = lambda x, leaf: place(x, mesh, leaf[1])  # noqa: E731
    return jax.tree.map(put, tree, spec)


def make_batch():
    rng = np.random.default_rng(1)
    x = rng.normal(size=(ROWS, WIDTH)).astype(np.float32)
    return x, rng.integers(0, CLASSES, ROWS)


def gathered(compiled):
    """The shapes of the arrays that a program gathers."""
    found = re.findall(
        r" = \w+\[([\d,]*)\]\S* all-(?:gather|to-all)", compiled.as_text()
    )
    return [tuple(map(int, shape.split(","))) for shape in found]


@pytest.mark.parametrize("apply", [layers, stack])
@pytest.mark.parametrize("name", ["equilibrium", "alternating", "market"])
@pytest.mark.parametrize("tx", TX)
def test_a_game_gathers_no_more_than_its_gates(name, apply, tx):
    """The same gates as on one device; donated states keep their shardings."""
    batch, params = make_batch(), make_params(apply)
    players = gp.find_players(apply, params, batch[0][:2])
    init, step = make_step(name, players, TX[tx])
    alone = init(jax.tree.map(jnp.asarray, params))
    step_alone = jax.jit(step, donate_argnums=0)
    for _ in range(6):
        alone, told_alone = step_alone(alone, batch)

    mesh = jax.make_mesh((2, 2), ("data", "model"), axis_types=(AxisType.Auto,) * 2)
    split = place(batch, mesh, P("data"))
    state = init(place(params, mesh, SHAPES[apply]))
    shardings = jax.tree.map(lambda leaf: leaf.sharding, state)
    assert all(isinstance(s, NamedSharding) for s in jax.tree.leaves(shardings))
    game = jax.jit(step, donate_argnums=0, out_shardings=(shardings, None))
    shapes = gathered(game.lower(state, split).compile())
    assert all(len(shape) == 1 and shape[0] <= players.num_players for shape in shapes)
    for _ in range(6):
        state, told = game(state, split)
        jax.block_until_ready(state)
    assert game._cache_size() == 1
    assert jax.tree.map(lambda leaf: leaf.sharding, state) == shardings
    assert state.gates.sharding.spec == P() and len(state.gates.devices()) == 4
    np.testing.assert_allclose(state.gates, alone.gates, atol=1e-5)
    np.testing.assert_allclose(told.loss, told_alone.loss, rtol=1e-5)


@pytest.mark.parametrize("name", ["equilibrium", "market"])
def test_without_shardings_of_the_state_gates_are_whole_all_the_same(name):
    batch, params = make_batch(), make_params(layers)
    players = gp.find_players(layers, params, batch[0][:2])
    init, step = make_step(name, players, TX["adam"])
    mesh = jax.make_mesh((4,), ("data",), axis_types=(AxisType.Auto,))
    state = init(place(params, mesh, P()))
    state, _ = jax.jit(step)(state, place(batch, mesh, P("data")))
    assert state.gates.sharding.is_fully_replicated
    assert jax.jit(init)(place(params, mesh, P())).gates.shape == state.gates.shape


@pytest.mark.parametrize("name", ["equilibrium", "market"])
@pytest.mark.parametrize("is_set", [False, True])
def test_explicit_shardings_are_left_to_their_types(name, is_set):
    batch, params = make_batch(), make_params(stack)
    players = gp.find_players(stack, params, batch[0][:2])
    init, step = make_step(name, players, TX["sgd"])
    alone, _ = jax.jit(step)(init(params), batch)
    mesh = jax.make_mesh((4,), ("data",), axis_types=(AxisType.Explicit,))
    with jax.set_mesh(mesh) if is_set else contextlib.nullcontext():
        state = init(place(params, mesh, P()))
        shardings = jax.tree.map(lambda leaf: leaf.sharding, state)
        game = jax.jit(step, donate_argnums=0, out_shardings=(shardings, None))
        state, _ = game(state, place(batch, mesh, P("data")))
    assert state.gates.sharding == NamedSharding(mesh, P())
    np.testing.assert_allclose(state.gates, alone.gates, atol=1e-5)


def test_gates_are_put_where_the_parameters_are():
    """Gates that are split, or on other devices; init under other transforms."""
    batch, params = make_batch(), make_params(layers)
    players = gp.find_players(layers, params, batch[0][:2])
    init, step = make_step("market", players, TX["sgd"])
    mesh = jax.make_mesh((2, 2), ("data", "model"), axis_types=(AxisType.Auto,) * 2)
    own = place(params, mesh, SHAPES[layers])
    other = jax.make_mesh((2,), ("x",), axis_types=(AxisType.Auto,))
    gates = np.ones(players.num_players, np.float32)
    for given in (place(gates, mesh, P("model")), place(gates, other, P("x")), gates):
        state = init(own, given)
        assert state.gates.sharding == NamedSharding(mesh, P())
        jax.jit(step)(state, batch)
    twice = jax.tree.map(lambda leaf: jnp.stack([leaf, leaf]), own)
    assert jax.vmap(init)(twice).gates.shape == (2, players.num_players)
    jax.grad(lambda params: init(params).params["a"].sum())(own)


def test_gradients_without_jit():
    """Nothing is compiled as a whole, so nothing has to be kept whole."""
    batch, params = make_batch(), make_params(layers)
    players = gp.find_players(layers, params, batch[0][:2])
    gates = np.random.default_rng(2).random(players.num_players).astype(np.float32)
    mesh = jax.make_mesh((4,), ("data",), axis_types=(AxisType.Auto,))
    own, split = place(params, mesh, P()), place(batch, mesh, P("data"))

    def loss(params, gates, batch):
        return gp.cross_entropy(players.gated(params, gates, batch[0]), batch[1])

    for argument in (0, 1):
        found = jax.grad(loss, argument)(own, gates, split)
        wanted = jax.grad(loss, argument)(params, gates, batch)
        close = partial(np.testing.assert_allclose, atol=1e-6)
        jax.tree.map(close, found, wanted)
    many = jax.vmap(loss, (None, 0, None))(own, gates[None] ** jnp.ones((2, 1)), split)
    np.testing.assert_allclose(many, [loss(params, gates, batch)] * 2, rtol=1e-5)
    config = gp.equilibrium.EQUILIBRIUM_PRESETS["l1_l2"]
    solved = gp.equilibrium.solve(
        players, own, lambda p, g: loss(p, g, split), config, max_steps=2
    )
    assert solved.gates.shape == gates.shape
