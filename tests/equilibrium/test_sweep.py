"""Many games in one program are the games one by one."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gamepruning as gp
from gamepruning.equilibrium import joint_optimizer, make_equilibrium_step
from gamepruning.types import InputError
from tests.small import apply_mlp, make_mlp


def fresh(seed):
    keys = jax.random.split(jax.random.key(seed), 2)
    return {
        "dense0": {"kernel": jax.random.normal(keys[0], (5, 4)), "bias": jnp.zeros(4)},
        "dense1": {"kernel": jax.random.normal(keys[1], (4, 2)), "bias": jnp.zeros(2)},
    }


@pytest.mark.parametrize("eta", [0.0, 0.05])
def test_each_point_is_a_game_of_its_own(key, eta):
    _, _, inputs, labels = make_mlp(key)
    players = gp.find_players(apply_mlp, fresh(0), inputs)
    points = gp.equilibrium.sweep_grid(
        beta=[0.01, 0.1], gate_learning_rate=[0.01, 0.05], gamma=0.02, eta=eta, seed=3
    )
    assert points.num_points == 4
    init, step = gp.equilibrium.make_sweep_step(players, gp.cross_entropy, points)
    state = init(jax.vmap(fresh)(points.seed))
    step = jax.jit(step)
    for _ in range(3):
        state, info = step(state, (inputs, labels))
    assert state.gates.shape == (4, 4) and info.loss.shape == (4,)
    for k, row in enumerate(points.rows()):
        config = gp.UtilityConfig(beta=row["beta"], gamma=row["gamma"], eta=row["eta"])
        tx = joint_optimizer(gate_tx=row["gate_learning_rate"])
        one = make_equilibrium_step(players, gp.cross_entropy, tx, config)
        own = one.init(fresh(row["seed"]))
        for _ in range(3):
            own, _ = one.step(own, (inputs, labels))
        np.testing.assert_allclose(state.gates[k], own.gates, atol=1e-5)
        for ours, theirs in zip(
            jax.tree.leaves(state.params), jax.tree.leaves(own.params), strict=True
        ):
            np.testing.assert_allclose(ours[k], theirs, atol=1e-5)


@pytest.mark.parametrize(("num_points", "used"), [(8, 4), (6, 3), (5, 1)])
def test_points_are_shared_out_among_the_devices(key, num_points, used):
    _, _, inputs, labels = make_mlp(key)
    players = gp.find_players(apply_mlp, fresh(0), inputs)
    points = gp.equilibrium.sweep_grid(
        gamma=[0.01 * k for k in range(num_points)], beta=0.1
    )
    states = []
    for devices in (None, jax.local_devices()[:1]):
        init, step = gp.equilibrium.make_sweep_step(
            players, gp.cross_entropy, points, devices=devices
        )
        state = init(jax.vmap(fresh)(points.seed))
        for _ in range(2):
            state, _ = jax.jit(step)(state, (inputs, labels))
        states.append(state)
    shared, alone = states
    assert len(shared.gates.sharding.device_set) == used
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), *states)


def test_a_sweep_over_other_devices_is_the_same_sweep(key):
    """What was traced for two devices is not run on four."""
    _, _, inputs, labels = make_mlp(key)
    players = gp.find_players(apply_mlp, fresh(0), inputs[:2])
    points = gp.equilibrium.sweep_grid(gamma=[0.01, 0.02, 0.03, 0.04], beta=0.1)
    found = []
    for count in (2, 4, 1, 2):
        init, step = gp.equilibrium.make_sweep_step(
            *(players, gp.cross_entropy, points), devices=jax.local_devices()[:count]
        )
        state, info = step(init(jax.vmap(fresh)(points.seed)), (inputs, labels))
        assert len(state.gates.sharding.device_set) == count
        found.append((state.gates, info.loss))
    for other in found[1:]:
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), found[0], other
        )


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"delta": 1.0}, "expected one of alpha, beta"),
        ({"beta": []}, "at least one value of beta"),
        ({"gamma": [-1.0]}, "gamma >= 0, got -1"),
        ({"weight_learning_rate": 0.0}, "weight_learning_rate > 0"),
        ({"beta": float("nan")}, "beta >= 0, got nan"),
    ],
)
def test_a_grid_that_makes_no_sense(values, message):
    with pytest.raises(InputError, match=message):
        gp.equilibrium.sweep_grid(**values)


def test_the_front_beats_all_others():
    numbers = np.random.default_rng(0)
    good = [*numbers.random(30), float("nan")]
    size = [*numbers.integers(1, 10, 30), 0]
    front = gp.equilibrium.pareto_front(
        {"a": good, "b": size}, maximise="a", minimise="b"
    )
    for k in range(30):
        beaten = [j for j in front if good[j] >= good[k] and size[j] <= size[k]]
        assert beaten
    for one in front:
        for two in front:
            assert one == two or (good[one] > good[two]) == (size[one] > size[two])
    assert 30 not in front


def test_points_go_to_the_one_device_that_is_named(key):
    _, _, inputs, labels = make_mlp(key)
    players = gp.find_players(apply_mlp, fresh(0), inputs)
    points = gp.equilibrium.sweep_grid(gamma=[0.01, 0.02, 0.03])
    last = jax.local_devices()[-1]
    init, step = gp.equilibrium.make_sweep_step(
        players, gp.cross_entropy, points, devices=[last]
    )
    state, _ = step(init(jax.vmap(fresh)(points.seed)), (inputs, labels))
    assert state.gates.devices() == {last}


@pytest.mark.parametrize(
    "values",
    [
        {"seed": [0.5, 1.7]},
        {"seed": 3_000_000_000},
        {"seed": 2**32},
        {"beta": [[1.0, 2.0]]},
        {"beta": [[[1.0], [2.0, 3.0]]]},
        {"beta": np.ones((2, 2))},
        {"beta": "ab"},
    ],
)
def test_values_of_a_grid_are_numbers(values):
    (name,) = values
    with pytest.raises(InputError, match=f"expected (numbers for )?{name}"):
        inspect.unwrap(gp.equilibrium.sweep_grid)(**values)


def test_a_grid_of_numpy_numbers():
    grid = inspect.unwrap(gp.equilibrium.sweep_grid)
    points = grid(
        beta=np.array([0.1, 0.2]), gamma=jnp.array(0.5), seed=np.array([2.0, 5])
    )
    assert points.num_points == 4 and points.seed.tolist() == [2, 5, 2, 5]


def test_points_without_a_number_are_not_in_the_front():
    columns = {"good": [0.9, 0.5, float("nan")], "size": [float("nan"), 3.0, 1.0]}
    front = gp.equilibrium.pareto_front(columns, maximise="good", minimise="size")
    assert front == [1]
