"""Arms over one axis of a mesh, parameters and mini-batches over the others."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec as P

import gamepruning as gp
from benchmarks.mesh import count_collectives
from gamepruning.bandits import arms as module, record_bandit, record_bandits
from gamepruning.types import InputError

SHAPES = {"a": (16, 512), "b": (512, 256), "c": (256, 4)}
SPECS = {"a": P(None, "model"), "b": P("model"), "c": P()}
ROWS, BATCH = 64, 16


def apply(params, x):
    x = jax.nn.relu(x @ params["a"])
    return jax.nn.relu(x @ params["b"]) @ params["c"]


def make(shapes):
    rng = np.random.default_rng(0)
    params = {
        name: rng.normal(size=shape).astype(np.float32) / shape[0] ** 0.5
        for name, shape in shapes.items()
    }
    inputs = rng.normal(size=(ROWS, shapes["a"][0])).astype(np.float32)
    labels = rng.integers(0, shapes["c"][1], ROWS)
    players = gp.find_players(apply, params, inputs[:2])
    return players, params, gp.cross_entropy, inputs, labels


@functools.cache
def game():
    """A network with much more parameters than rows."""
    return make(SHAPES)


@functools.cache
def small_game():
    return make({"a": (4, 6), "b": (6, 3), "c": (3, 3)})


def removal_arms(given, **options):
    return gp.removal_arms(*given, batch_size=BATCH, **options)


def mesh_of(*names, kind=AxisType.Auto):
    return jax.make_mesh((2, 2), names, axis_types=(kind,) * 2)


def placed(tree, mesh, specs):
    put = lambda x, spec: jax.device_put(x, NamedSharding(mesh, spec))  # noqa: E731
    return jax.tree.map(put, tree, specs)


def over_coalitions(count=4):
    return Mesh(np.array(jax.devices()[:count]), ("coalitions",))


@pytest.mark.parametrize("kind", [AxisType.Auto, AxisType.Explicit], ids=str)
def test_parameters_stay_split_and_nothing_is_gathered(kind):
    players, params, loss, inputs, labels = game()
    mesh = mesh_of("coalitions", "model", kind=kind)
    own = placed(params, mesh, SPECS)
    arms = removal_arms((players, own, loss, inputs, labels), mesh=mesh)
    program = arms.lower().compile()
    size = sum(leaf.nbytes for leaf in params.values())
    assert program.memory_analysis().argument_size_in_bytes <= 0.55 * size
    auto = placed(params, Mesh(mesh.devices, mesh.axis_names), SPECS)
    batch = inputs[:BATCH], jnp.asarray(labels[:BATCH])
    plain = jax.jit(lambda p: loss(apply(p, batch[0]), batch[1])).lower(auto).compile()
    found, allowed = map(count_collectives, (program.as_text(), plain.as_text()))
    assert found["all-gather"] <= allowed["all-gather"]
    assert found["all-reduce"] <= allowed["all-reduce"]
    kept = np.arange(players.num_players) % 64 == 0
    alone, spread = (
        each.without(kept).loss_changes() for each in (removal_arms(game()), arms)
    )
    np.testing.assert_allclose(spread, alone, atol=1e-6)


def test_mini_batches_stay_split_over_the_data():
    """Each takes as many rows of every part; over all of them means are the same."""
    players, params, loss, inputs, labels = small_game()
    mesh = mesh_of("coalitions", "data")
    own = placed(inputs, mesh, P("data"))  # the labels follow
    arms = removal_arms((players, params, loss, own, labels), mesh=mesh)
    first, _ = arms._batches
    assert first[0].shape == (4, BATCH, 4) and first[0].sharding.spec[1] == "data"
    np.testing.assert_array_equal(first[0][1], inputs[[*range(8, 16), *range(40, 48)]])
    assert arms.share < 1
    assert not count_collectives(arms.lower().compile().as_text())["all-gather"]
    expected = removal_arms(small_game()).loss_changes()
    np.testing.assert_allclose(arms.loss_changes(), expected, atol=1e-6)
    shuffled = removal_arms((players, params, loss, own, labels), mesh=mesh, key=0)
    parts = np.asarray(shuffled._batches[0][0]).reshape(4, 2, 8, 4)
    for part, rows in enumerate((inputs[:32], inputs[32:])):
        mine = np.unique(parts[:, part].reshape(32, 4), axis=0)
        np.testing.assert_array_equal(mine, np.unique(rows, axis=0))
    assert not np.array_equal(shuffled._batches[0][0], first[0])


def test_one_axis_has_the_bits_of_one_device():
    alone = removal_arms(small_game())
    kept = np.arange(9) != 4
    for count in (2, 4):
        arms = removal_arms(small_game(), mesh=over_coalitions(count))
        assert arms.layout.num_groups == count and arms.share == alone.share < 1
        np.testing.assert_array_equal(arms.loss_changes(), alone.loss_changes())
        found, expected = (
            record_bandit(1, gp.ucb1(), each.without(kept)) for each in (arms, alone)
        )
        np.testing.assert_array_equal(found.arms, expected.arms)
        np.testing.assert_array_equal(found.changes, expected.changes)
        assert found.pulls[4] == 0


def test_each_group_of_devices_plays_a_game_of_its_own():
    """Five keys over two groups: the last game has an empty seat beside it."""
    arms, seen = removal_arms(small_game(), mesh=over_coalitions(2)), []
    policy, options = gp.bandits.uniform(), {"num_pulls": 400, "stop_at": 4}
    games = record_bandits(
        *(range(5), policy, arms),
        **options,
        progress=lambda done, total: seen.append((done, total)),
    )
    alone = removal_arms(small_game())
    for key, found in enumerate(games):
        expected = record_bandit(key, policy, alone, **options)
        np.testing.assert_array_equal(found.arms, expected.arms)
        np.testing.assert_array_equal(found.changes, expected.changes)
        assert found.status == expected.status
    assert len({len(found.arms) for found in games}) > 1  # they end at their own time
    assert seen == sorted(seen) and {total for _, total in seen} == {5 * 400}
    assert seen[0] == (2 * 9, 2000)


def test_games_without_a_mesh_are_played_in_turn():
    alone = removal_arms(small_game())
    for arms in (alone, lambda masks: masks @ np.arange(9.0)):
        games = record_bandits([3, 4], gp.ucb1(), arms, num_arms=9)
        expected = record_bandit(4, gp.ucb1(), arms, num_arms=9)
        np.testing.assert_array_equal(games[1].arms, expected.arms)
    assert record_bandits([], gp.ucb1(), alone) == []


def test_many_pulls_of_a_turn_are_shared(monkeypatch):
    """Tiles of pulls go to the groups, and what is left of them to all."""
    monkeypatch.setattr(module, "SIDE_BY_SIDE", 2)
    options = {"num_pulls": 60, "pulls_at_once": 7}
    expected = record_bandit(0, gp.thompson(), removal_arms(small_game()), **options)
    arms = removal_arms(small_game(), mesh=over_coalitions(2))
    text = jax.jit(arms.pull_many).lower(arms.data, np.arange(7), np.zeros(7, int))
    assert count_collectives(text.compile().as_text())["all-reduce"] == 1
    found = record_bandit(0, gp.thompson(), arms, **options)
    np.testing.assert_array_equal(found.arms, expected.arms)
    np.testing.assert_allclose(found.changes, expected.changes, atol=1e-6)


def test_seeds_by_vmap_and_other_weights():
    arms = removal_arms(small_game(), mesh=over_coalitions(2))
    plays = gp.bandits.make_plays(gp.ucb1(), arms, num_pulls=20)

    def whole(key):
        state = plays.init(arms.data, key, jnp.ones(9, bool))
        return plays.advance(arms.data, state, 0, 11).arms

    keys = jax.random.split(jax.random.key(0), 2)
    by_map = jax.jit(jax.vmap(whole))(keys)
    for found, key in zip(by_map, keys, strict=True):
        expected = record_bandit(key, gp.ucb1(), arms, num_pulls=20)
        np.testing.assert_array_equal(found[:20], expected.arms)
    _, params, _, inputs, labels = small_game()
    given = jax.tree.map(lambda leaf: 2 * leaf, params), inputs, labels
    again, expected = (a.renewed(*given) for a in (arms, removal_arms(small_game())))
    np.testing.assert_array_equal(again.loss_changes(), expected.loss_changes())


def test_a_mesh_that_cannot_be_is_refused():
    with pytest.raises(InputError, match="has the axes 'x', and none is 'coalitions'"):
        removal_arms(small_game(), mesh=Mesh(np.array(jax.devices()), ("x",)))
    players, params, loss, inputs, labels = game()
    mesh = mesh_of("coalitions", "model")
    own = placed(params, mesh, SPECS)
    with pytest.raises(InputError, match="split over 'model', the axis of the coal"):
        removal_arms(
            (players, own, loss, inputs, labels), mesh=mesh, coalition_axis="model"
        )
