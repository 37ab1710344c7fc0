"""A constant that several layers read ties none of their players to each other."""

import jax
import jax.numpy as jnp
import numpy as np

import gamepruning as gp
from gamepruning.trace.flatten import trace

KEYS = jax.random.split(jax.random.key(0), 5)
SHAPES = {"a": (3, 6), "b": (6, 4), "c": (4, 6), "d": (6, 2)}
PARAMS = {
    name: jax.random.normal(key, shape)
    for key, (name, shape) in zip(KEYS, SHAPES.items(), strict=False)
}
X = jax.random.normal(KEYS[-1], (5, 3))


def masked(params, x):
    """Two hidden layers scaled by one table."""
    table = jnp.sin(jnp.arange(6.0))[None] * 2
    hidden = jnp.tanh(x @ params["a"]) * table @ params["b"]
    return (jnp.tanh(hidden @ params["c"]) * table) @ params["d"]


def test_layers_that_read_one_table_are_families_of_their_own():
    players = gp.find_players(masked, PARAMS, X)
    sizes = {family.name: family.size for family in players.families}
    assert sizes == {"a": 6, "b": 4, "c": 6}
    mask = np.ones(16, bool)
    mask[[0, 2, 7, 11]] = False
    small = gp.compact(players, PARAMS, mask)
    assert small.params["a"].shape == (3, 4) and small.params["c"].shape == (3, 5)


def test_a_reader_has_copies_of_what_makes_the_table_and_no_more():
    closed = jnp.arange(6.0)

    def apply(x):
        table = closed[None] * 2
        return x * table, jnp.exp(x + table), x * closed[None], x * closed[0]

    program = trace(apply, jnp.ones((2, 6)))
    arrays = [c for c in program.constants.values() if np.shape(c) == (6,)]
    assert len(arrays) == 3  # for two readers of the table, and one of a row
    made = [v for node in program.graph.nodes for v in node.outs]
    assert len(made) == len(set(made))
    ready = {*program.graph.inputs, *program.constants}
    for node in program.graph.nodes:
        assert {v for v in node.ins if isinstance(v, int)} <= ready
        ready.update(node.outs)


def test_a_constant_may_be_longer_than_python_recurses():
    def apply(params, x):
        scale = jnp.arange(4.0)
        for _ in range(1200):
            scale = scale * 0.99
        return jax.nn.relu(x @ params["q"]) * scale[None] @ params["o"]

    params = {"q": jnp.ones((3, 4)), "o": jnp.ones((4, 2))}
    assert gp.find_players(apply, params, jnp.ones((1, 3))).num_players == 4
