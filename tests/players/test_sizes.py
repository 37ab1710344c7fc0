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


def test_experts_cost_what_their_rows_cost():
    """Each of 3 rows meets one matrix of 4 x 100."""

    def apply(params, x):
        sizes = jnp.array([2, 1], jnp.int32)
        hidden = jax.lax.ragged_dot(x @ params["q"], params["e"], sizes)
        return hidden @ params["o"]

    params = {
        "q": jnp.ones((3, 4)),
        "e": jnp.ones((2, 4, 100)),
        "o": jnp.ones((100, 2)),
    }
    x = jnp.ones((3, 3))
    macs = 3 * (3 * 4 + 4 * 100 + 100 * 2)
    assert gp.compaction.measure.tally_macs(apply, params, x).total == macs
    players = gp.find_players(apply, params, x)
    everyone = np.ones(players.num_players, bool)
    assert gp.players.size_of(players, "macs").count(everyone) == macs
