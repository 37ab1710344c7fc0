"""The same sizes everywhere: a count, a fraction, or a count for each family."""

import jax.numpy as jnp
import numpy as np
import pytest

import gamepruning as gp
from gamepruning.selection import compression_curve, masks_at

WORTH = np.arange(12.0)


def value_fn(masks):
    return masks @ WORTH


@pytest.fixture
def players():
    def apply(params, x):
        return jnp.tanh(jnp.tanh(x @ params["one"]) @ params["two"]) @ params["three"]

    params = {
        "one": jnp.ones((3, 8)),
        "two": jnp.ones((8, 4)),
        "three": jnp.ones((4, 2)),
    }
    return gp.find_players(apply, params, jnp.ones((2, 3)))


SIZES = [(0.25, 3), (3, 3), (np.int64(3), 3), ((3, 1), 4), ({"two": 1, "one": 3}, 4)]


@pytest.mark.parametrize(("size", "num"), SIZES)
@pytest.mark.parametrize("select", [gp.iterated_pruning, gp.iterated_building])
def test_iterated_selections_end_with_it(key, players, select, size, num):
    trace = select(
        key, value_fn, size, num_players=12, num_evaluations=60, players=players
    )
    mask = trace.mask
    assert mask.sum() == num
    if num == 4:
        assert [mask[:8].sum(), mask[8:].sum()] == [3, 1]


@pytest.mark.parametrize(("size", "num"), SIZES)
def test_curves_and_masks_have_it(players, size, num):
    masks = masks_at(WORTH, [size, 6], players=players)
    assert masks.sum(axis=1).tolist() == [num, 6]
    curve = compression_curve(WORTH, value_fn, [6, size], players=players)
    assert curve.sizes.tolist() == [num, 6]


@pytest.mark.parametrize(
    ("keep", "limits"),
    [([2, 1], [2, 1]), ({"two": 1, "one": 2}, [2, 1]), (np.array([2, 1]), [2, 1])],
)
def test_budgets_take_it_by_family(players, keep, limits):
    from gamepruning.equilibrium.budget import falling_budget

    size = gp.players.size_of(players, "players")
    seats = falling_budget(players, size, gp.Budget(keep=keep), 0, 10)
    assert seats(jnp.array(10)).limits.tolist() == limits


@pytest.mark.parametrize("share", [1.0, np.float32(1.0), np.float64(1.0)])
def test_1_is_one_player_and_the_float_one_is_everybody(key, players, share):
    masks = masks_at(WORTH, [1, share])
    assert masks.sum(axis=1).tolist() == [1, 12]
    assert gp.top_n(WORTH, 1).sum() == 1
    with pytest.raises(gp.InputError, match="n=12 of 12 players are kept"):
        gp.top_n(WORTH, share)
    with pytest.raises(gp.InputError, match="0 < n < 12.*got 12"):
        gp.iterated_pruning(key, value_fn, share, num_players=12, num_evaluations=60)
    assert final_budget(players, gp.Budget(keep=share)) == 12
    with pytest.raises(gp.InputError, match="got 1"):  # two families keep one each
        final_budget(players, gp.Budget(keep=1))


def final_budget(players, budget: gp.Budget) -> float:
    from gamepruning.equilibrium.budget import falling_budget

    size = gp.players.size_of(players, "players")
    return float(falling_budget(players, size, budget, 0, 10)(jnp.array(10)).size)


@pytest.mark.parametrize(("step", "rounds"), [(1, 6), (1.0, 1), (6, 1), (0.5, 1)])
def test_a_step_of_1_is_one_player_and_of_the_float_one_everybody(key, step, rounds):
    trace = gp.iterated_pruning(
        key, value_fn, 6, step=step, num_players=12, num_evaluations=60
    )
    assert len(trace.rounds) == rounds and trace.mask.sum() == 6


@pytest.mark.parametrize(
    "size", [True, "3", 2.5, None, {"one": 3}, (3, 1, 1), (3, 1.5)]
)
def test_what_is_no_size_is_refused(key, players, size):
    with pytest.raises(gp.InputError):
        gp.top_n(WORTH, size, players=players)
    with pytest.raises(gp.InputError):
        gp.iterated_pruning(
            key, value_fn, size, num_players=12, num_evaluations=60, players=players
        )
    if not isinstance(size, dict | tuple):
        with pytest.raises(gp.InputError):
            gp.Budget(keep=size)
