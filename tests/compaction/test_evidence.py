"""Evidence of nothing is not proof: NaN, zeros, outputs that depend on nobody."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gamepruning as gp
from gamepruning.compaction.verify import relative_error

HALF = np.arange(8) < 4


def apply(params, x):
    return jax.nn.relu(x @ params["w1"]) @ params["w2"] + params["b"][None]


def make(key):
    one, two, three = jax.random.split(key, 3)
    params = {
        "w1": jax.random.normal(one, (6, 8)),
        "w2": jax.random.normal(two, (8, 3)),
        "b": jnp.zeros(3),
    }
    x = jax.random.normal(three, (10, 6))
    return gp.find_players(apply, params, x), params, x


def test_a_model_that_is_nan_is_not_verified(key):
    players, params, x = make(key)
    broken = params | {"b": jnp.full(3, jnp.nan)}
    with pytest.raises(gp.InputError, match="all 30 outputs .*'b' holds NaN"):
        gp.compact(players, broken, HALF)
    with pytest.raises(gp.InputError, match="input 0 holds NaN"):
        gp.compact(players, params, HALF, inputs=(x * jnp.nan,))


def test_outputs_that_are_partly_nan_are_told(key):
    players, params, x = make(key)
    with pytest.warns(UserWarning, match="3 of 30 outputs .*input 0 holds NaN"):
        small = gp.compact(players, params, HALF, inputs=(x.at[2, 1].set(jnp.nan),))
    assert any("3 of 30 outputs" in note for note in small.report.notes)


def test_equal_nan_and_infinity_prove_nothing():
    nan, number = np.full(3, np.nan), np.ones(3)
    assert relative_error(nan, nan) == np.inf
    assert relative_error(np.full(3, np.inf), np.full(3, np.inf)) == np.inf
    assert relative_error((nan, number), (nan, number)) == 0


def test_a_last_layer_of_zeros_is_verified_with_other_weights(key):
    players, params, _ = make(key)
    silent = params | {"w2": jnp.zeros((8, 3))}
    small = gp.compact(players, silent, HALF)
    assert any("compared with random ones" in note for note in small.report.notes)
    assert small.report.max_error < 1e-4


def test_a_wrong_cut_is_found_though_the_outputs_are_all_zero(key, monkeypatch):
    players, params, _ = make(key)
    right = type(players).kept_indices

    def wrong(self, mask):
        kept = right(self, mask)
        return kept | {("w2", 0): kept["w2", 0] + 1}

    monkeypatch.setattr(type(players), "kept_indices", wrong)
    with pytest.raises(gp.compaction.VerificationError, match="differ"):
        gp.compact(players, params | {"w2": jnp.zeros((8, 3))}, HALF)


def test_ordinary_outputs_need_no_second_look(key):
    players, params, _ = make(key)
    assert gp.compact(players, params, HALF).report.notes == ()
