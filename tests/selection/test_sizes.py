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
