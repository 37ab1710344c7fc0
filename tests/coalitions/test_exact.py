"""All 2^N coalitions: published figures, the axioms, and a twin over orders."""

import functools
import itertools
import math

import jax.numpy as jnp
import numpy as np
import pytest

from gamepruning.coalitions.exact import (
    all_coalitions,
    all_values,
    exact_banzhaf,
    exact_semivalue,
    exact_shapley,
    semivalue_of,
)
from gamepruning.coalitions.semivalues import banzhaf, beta_semivalue, shapley
from gamepruning.types import InputError
from tests.coalitions import games

close = functools.partial(np.testing.assert_allclose, rtol=1e-10, atol=1e-12)
small_games = pytest.mark.parametrize("game", games.SMALL_GAMES, ids=repr)
WITH_FORMULA = [game for game in games.SMALL_GAMES if game.biased is not None]
games_with_formula = pytest.mark.parametrize("game", WITH_FORMULA, ids=repr)
SEMIVALUES = {
    "shapley": shapley,
    "banzhaf": banzhaf,
    "banzhaf_small": lambda n: banzhaf(n, 0.2),
    "beta": lambda n: beta_semivalue(n, 4, 1),
}
every_semivalue = pytest.mark.parametrize(
    "make", SEMIVALUES.values(), ids=SEMIVALUES.keys()
)


def random_values(num_players, seed=0):
    return np.random.default_rng(seed).normal(size=2**num_players)


def unanimity(num_players, members):
    return lambda masks: masks[:, members].all(1)


@small_games
def test_known_shapley_values(game):
    scores = exact_shapley(game.value_fn, game.num_players)
    close(scores.value, game.shapley)
    close(scores.stderr, np.zeros(game.num_players))
    assert scores.value.dtype == np.float64
    assert scores.num_evaluations == 2**game.num_players


@small_games
def test_known_banzhaf_indices(game):
    scores = exact_banzhaf(game.value_fn, game.num_players)
    close(scores.value, game.banzhaf)
    assert scores.num_evaluations == 2**game.num_players


@games_with_formula
def test_known_biased_indices(game):
    values = all_values(game.value_fn, game.num_players)
    for bias in (0.05, 0.175, 0.8):
        index = semivalue_of(values, banzhaf(game.num_players, bias))
        close(index, game.biased(bias))


@games_with_formula
def test_beta_semivalues_average_the_biased_indices(game):
    # Beta(alpha, beta) = E beta_t with t ~ Beta(beta, alpha); (4, 2): 20 t (1 - t)^3.
    points, shares = np.polynomial.legendre.leggauss(20)
    t = (points + 1) / 2
    density = 20 * t * (1 - t) ** 3
    expected = sum(
        share / 2 * d * game.biased(p)
        for share, d, p in zip(shares, density, t, strict=True)
    )
    semivalue = beta_semivalue(game.num_players, 4, 2)
    close(exact_semivalue(game.value_fn, semivalue).value, expected)


def test_figures_as_published():
    """The table of games itself, where its numbers come from formulas."""
    close(games.AIRPORT_4.shapley, games.AIRPORT_4_SHAPLEY)
    classes = np.repeat(games.AIRPORT_100_SHAPLEY, games.AIRPORT_100_CLASSES)
    np.testing.assert_allclose(games.AIRPORT_100.shapley, classes, atol=5e-10)
    close(games.GLOVES_1_2.banzhaf, [3 / 4, 1 / 4, 1 / 4])
    close(games.GLOVES_3_2.banzhaf, [0.3125] * 3 + [0.6875] * 2)
    close(games.GLOVES_50_50.banzhaf, [0.5] * 100)
    close(games.majority(100).banzhaf[0], 0.0795892, rtol=1e-6)
    un = games.UN.biased(0.8)
    np.testing.assert_allclose(un[[0, -1]], [0.40924596, 0.00090194], atol=5e-9)


def test_shapley_is_the_mean_over_all_orders():
    values = random_values(5)
    expected = np.zeros(5)
    for order in itertools.permutations(range(5)):
        mask = 0
        for player in order:
            joined = mask | 1 << (4 - player)
            expected[player] += (values[joined] - values[mask]) / math.factorial(5)
            mask = joined
    close(semivalue_of(values, shapley(5)), expected)


@pytest.mark.parametrize("bias", [0.1, 0.5, 0.7])
def test_banzhaf_is_the_mean_over_independent_others(bias):
    values = random_values(5)
    for player in range(5):
        expected = 0.0
        for others in itertools.product([0, 1], repeat=4):
            without, joined = (
                int("".join(map(str, [*others[:player], own, *others[player:]])), 2)
                for own in (0, 1)
            )
            chance = bias ** sum(others) * (1 - bias) ** (4 - sum(others))
            expected += chance * (values[joined] - values[without])
        close(semivalue_of(values, banzhaf(5, bias))[player], expected)


def test_efficiency():
    values = random_values(12)
    close(semivalue_of(values, shapley(12)).sum(), values[-1] - values[0])


def test_banzhaf_of_a_merged_pair_is_the_sum_of_the_two():
    """2-efficiency, for p = 1/2 only (Lehrer, Int. J. Game Theory 17, 1988)."""
    values = random_values(6).reshape([2] * 6)
    merged = np.stack([values[0, 0], values[1, 1]])  # players 0 and 1 as one
    apart = semivalue_of(values.ravel(), banzhaf(6))
    close(semivalue_of(merged.ravel(), banzhaf(5))[0], apart[0] + apart[1])


@every_semivalue
def test_linearity(make):
    one, other = random_values(7, 1), random_values(7, 2)
    both = semivalue_of(2 * one - 3 * other, make(7))
    close(both, 2 * semivalue_of(one, make(7)) - 3 * semivalue_of(other, make(7)))


@every_semivalue
def test_players_who_change_places_change_scores(make):
    values = random_values(5).reshape([2] * 5)
    order = [3, 0, 4, 1, 2]
    moved = values.transpose(order)  # player i of `moved` is order[i] of `values`
    expected = semivalue_of(values.ravel(), make(5))[order]
    close(semivalue_of(np.ravel(moved), make(5)), expected)


@every_semivalue
def test_null_and_dummy_players(make):
    values = random_values(4)
    null = np.repeat(values, 2)  # player 4 changes nothing
    dummy = null + np.tile([0.0, 2.5], 16)  # or always adds 2.5
    close(semivalue_of(null, make(5))[4], 0.0)
    close(semivalue_of(dummy, make(5))[4], 2.5)
    close(semivalue_of(null, make(5))[:4], semivalue_of(values, make(4)))


@pytest.mark.parametrize("bias", [0.05, 0.225, 0.5, 0.9])
def test_unanimity_gives_its_members_p_to_the_number_of_the_others(bias):
    for members in ([2], [0, 3], [1, 2, 4, 5]):
        expected = np.zeros(6)
        expected[members] = bias ** (len(members) - 1)
        close(exact_banzhaf(unanimity(6, members), 6, bias).value, expected)


def test_small_and_large_bias_tend_to_the_first_and_the_last_marginal():
    values = random_values(8)
    powers = 2 ** np.arange(7, -1, -1)
    alone, without = values[powers] - values[0], values[-1] - values[255 - powers]
    near = {"rtol": 0, "atol": 1e-6}
    close(semivalue_of(values, banzhaf(8, 1e-9)), alone, **near)
    close(semivalue_of(values, banzhaf(8, 1 - 1e-9)), without, **near)


@every_semivalue
def test_one_player_has_what_it_adds(make):
    scores = exact_semivalue(lambda masks: 3.0 + 4 * masks[:, 0], make(1))
    close(scores.value, [4.0])
    assert scores.num_evaluations == 2


def test_coalitions_come_in_chunks_and_once_each():
    seen = []

    def value_fn(masks):
        assert masks.dtype == bool
        seen.append(masks)
        return masks @ (2.0 ** np.arange(6, -1, -1))

    values = all_values(value_fn, 7, chunk_size=50)
    assert [len(masks) for masks in seen] == [50, 50, 28]
    np.testing.assert_array_equal(values, np.arange(128))
    np.testing.assert_array_equal(np.concatenate(seen), all_coalitions(7, 0, 128))


def test_value_functions_may_be_of_jax_and_of_any_number_type():
    def votes(dtype):
        return lambda masks: (jnp.asarray(masks).sum(1) >= 2).astype(dtype)

    for dtype in (jnp.float32, jnp.int32, bool):
        close(exact_shapley(votes(dtype), 3).value, [1 / 3] * 3)


@pytest.mark.parametrize("exact", [exact_shapley, exact_banzhaf])
def test_too_many_players_are_sent_to_sampling(exact):
    with pytest.raises(InputError, match="at most 20 .* got 51 .*banzhaf_values"):
        exact(games.ELECTORAL_COLLEGE.value_fn, 51)
    with pytest.raises(InputError, match="at most 3 players"):
        exact(games.GLOVES_1_2.value_fn, 4, max_players=3)
    with pytest.raises(InputError, match="at least 1, got 0"):
        exact(games.GLOVES_1_2.value_fn, 0)


def test_bad_values_are_an_error():
    with pytest.raises(InputError, match=r"got nan for the coalition \[0, 2\]"):
        exact_shapley(lambda m: np.where(m[:, 0] & m[:, 2], np.nan, 1.0), 3)
    with pytest.raises(InputError, match=r"expected 8 values .* got shape \(\)"):
        exact_shapley(lambda m: 1.0, 3)
    with pytest.raises(InputError, match=r"got shape \(8, 3\)"):
        exact_shapley(lambda m: m, 3)
    with pytest.raises(InputError, match="all 2.3 coalitions .* got 4"):
        semivalue_of(np.zeros(4), shapley(3))
    with pytest.raises(InputError, match="chunk_size >= 1, got 0"):
        all_values(lambda m: m[:, 0], 3, chunk_size=0)
    with pytest.raises(InputError, match="expected bias inside"):
        exact_banzhaf(lambda m: m[:, 0], 3, 1.0)


def test_noise_has_no_structure():
    """A check of the test game: uniform values that depend on every player."""
    values = all_values(games.noise(14, seed=3).value_fn, 14)
    assert len(np.unique(values)) == 2**14
    assert abs(values.mean()) < 4.5 / math.sqrt(12 * 2**14)
    assert abs(values.var() - 1 / 12) < 0.003
    # Var beta_i = 4 Var v / 2^14 for independent values.
    index = semivalue_of(values, banzhaf(14))
    assert (abs(index) < 4.5 * math.sqrt(4 / 12 / 2**14)).all()
