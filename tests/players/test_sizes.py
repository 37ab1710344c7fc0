"""The size that a mask leaves; `test_zoo.py` counts it in the networks themselves."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gamepruning as gp
from tests.small import make_mlp


@pytest.fixture
def players() -> gp.Players:
    return make_mlp(jax.random.key(0))[0]


@pytest.mark.parametrize("unit", ["players", "params", "bytes", "macs"])
def test_what_a_player_adds_is_the_difference_it_makes(players, unit):
    size = gp.players.size_of(players, unit)
    mask = np.arange(players.num_players) % 3 > 0
    marginal = size.marginal(mask)
    for player in range(0, players.num_players, 5):
        with_it, without = mask.copy(), mask.copy()
        with_it[player], without[player] = True, False
        difference = float(size(with_it) - size(without))
        assert float(marginal[player]) == pytest.approx(difference)


def test_it_runs_compiled_and_mapped(players):
    masks = np.random.default_rng(0).random((4, players.num_players)) > 0.5
    size = gp.players.size_of(players, "params")
    mapped = jax.jit(jax.vmap(size))(jnp.asarray(masks))
    assert mapped.tolist() == [float(size(mask)) for mask in masks]


def test_another_unit_is_an_error(players):
    with pytest.raises(
        ValueError, match="'macs', or what gp.compaction.latency_of.*, got 'grams"
    ):
        gp.players.size_of(players, "grams")


def test_single_weights_have_no_size_but_their_number(key):
    players, params, inputs, _ = make_mlp(key)
    weights = gp.find_players(players.apply, params, inputs, granularity="weight")
    half = np.arange(weights.num_players) % 2 == 0
    assert float(gp.players.size_of(weights, "players")(half)) == half.sum()
    with pytest.raises(gp.InputError, match="single weights play"):
        gp.players.size_of(weights, "params")
