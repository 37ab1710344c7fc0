"""Masks travel as kept indices; the small function checks what it is fed."""

import jax.numpy as jnp
import numpy as np
import pytest

import gamepruning as gp
from gamepruning.run.kept import input_kept, kept_indices, mask_from_kept
from tests.small import apply_mlp, make_mlp

MASK = np.array([True, False, True, True, False, True, True])


def test_masks_by_index_survive_another_trace(key):
    players, params, inputs, _ = make_mlp(key)
    again = gp.find_players(apply_mlp, params, inputs[:2])
    mask = np.array([True, False, True, True, False, True, True])
    np.testing.assert_array_equal(
        again.mask_from_kept(players.kept_indices(mask)), mask
    )


def test_kept_indices_are_those_of_the_parameters_that_touch_the_players(key):
    players, _, _, _ = make_mlp(key)
    kept = kept_indices(players.model, MASK)
    assert {place: rows.tolist() for place, rows in kept.items()} == {
        ("dense0/bias", 0): [0, 2, 3],
        ("dense0/kernel", 1): [0, 2, 3],
        ("dense1/bias", 0): [1, 2],
        ("dense1/kernel", 0): [0, 2, 3],
        ("dense1/kernel", 1): [1, 2],
        ("dense2/kernel", 0): [1, 2],
    }
    assert input_kept(players.model, MASK) == {}


def test_input_features_travel_too(key):
    _, params, inputs, _ = make_mlp(key)
    players = gp.find_players(apply_mlp, params, inputs, input_axes={0: 1})
    mask = np.arange(players.num_players) % 3 > 0
    kept = kept_indices(players.model, mask), input_kept(players.model, mask)
    assert kept[1][0][1].tolist() == [1, 2, 4]
    np.testing.assert_array_equal(mask_from_kept(players.model, *kept), mask)


def test_the_small_function_refuses_other_shapes(key):
    _, params, inputs, _ = make_mlp(key)
    players = gp.find_players(apply_mlp, params, inputs, input_axes={0: 1})
    mask = np.arange(players.num_players) % 3 > 0
    small = gp.compact(players, params, mask)
    x = inputs[:, jnp.array([1, 2, 4])]
    assert small.apply(small.params, x[:2]).shape == (2, 2)
    with pytest.raises(
        ValueError, match=r"input 0 has 5 entries on axis 1.*the 3 that"
    ):
        small.apply(small.params, inputs)
    with pytest.raises(ValueError, match=r"dense0/bias has shape \(4,\), expected \("):
        small.apply(params, x)
