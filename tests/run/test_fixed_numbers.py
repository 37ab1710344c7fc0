"""Axes that are read at numbers that stand in the program."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gamepruning as gp

NUMBERS = np.random.default_rng(0)
X = jnp.asarray(NUMBERS.standard_normal((4, 6)), jnp.float32)
A = jnp.asarray(NUMBERS.standard_normal((6, 8)), jnp.float32)
B = jnp.asarray(NUMBERS.standard_normal((12, 3)), jnp.float32)
SHUFFLED = np.array([3, 1, 7, 0, 5, 2, 6, 4])


def check_small(apply, params, shapes) -> None:
    """Every third player leaves; the smaller parameters have these shapes."""
    players = gp.find_players(apply, params, X)
    mask = np.arange(players.num_players) % 3 != 1
    small = gp.compact(players, params, mask, inputs=(X,))
    assert {name: w.shape for name, w in small.params.items()} == shapes
    everybody = players.gated(params, np.ones(len(mask), bool), X)
    np.testing.assert_allclose(everybody, apply(params, X), rtol=1e-5, atol=1e-5)
    zeroed = players.exclude(params, mask)
    gated = players.gated(params, mask, X)
    np.testing.assert_allclose(apply(zeroed, X), gated, rtol=1e-5, atol=1e-5)
    slopes = jax.grad(lambda p: (players.gated(p, mask, X) ** 2).sum())(params)
    ours = jax.grad(lambda p: (small.apply(p, X) ** 2).sum())(small.params)
    for (path, axis), kept in players.kept_indices(mask).items():
        slopes[path] = jnp.take(slopes[path], kept, axis)
    for name, slope in ours.items():
        np.testing.assert_allclose(slope, slopes[name], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("order", "units", "read"),
    [
        (SHUFFLED, 5, 5),
        (SHUFFLED - 8, 5, 5),  # from the end
        (np.concatenate([SHUFFLED, [1, 3, 3, 0]]), 5, 8),  # 1 leaves, 4 and 7, too
        (
            np.array([5, 2, 0, 2]),
            7,
            2,
        ),  # 0, 2 and 5 play, 2 leaves, others are not read
    ],
)
def test_fixed_numbers_reorder_the_units(order, units, read):
    params = {"a": A, "b": B[: len(order)]}

    def by_index(params, x):
        return jax.nn.relu(x @ params["a"])[:, order] @ params["b"]

    def by_take(params, x):
        return jnp.take(jax.nn.relu(x @ params["a"]), order, -1) @ params["b"]

    for apply in (by_index, by_take):
        check_small(apply, params, {"a": (6, units), "b": (read, 3)})


def test_fixed_numbers_outside_the_axis_keep_it_whole():
    def apply(params, x):
        hidden = jnp.take(jax.nn.relu(x @ params["a"]), np.array([1, 9]), -1)
        return jnp.nan_to_num(hidden) @ params["b"]

    players = gp.find_players(apply, {"a": A, "b": B[:2]}, X)
    assert ("a", 1) in {(row.path, row.axis) for row in players.frozen}


def test_a_slice_at_a_fixed_start_passes():
    def apply(params, x):
        hidden = jax.nn.relu(x @ params["a"])
        left = jax.lax.dynamic_slice(hidden, (0, 2), (4, 6))
        right = jax.lax.dynamic_slice(hidden, (0, 0), (4, 2))
        return jnp.concatenate([left, right], 1) @ params["b"]

    check_small(apply, {"a": A, "b": B[:8]}, {"a": (6, 5), "b": (5, 3)})
