"""Weighted voting by dynamic programming: published figures and enumeration."""

import functools
import math

import numpy as np
import pytest

from gamepruning.coalitions.exact import exact_banzhaf, exact_shapley
from gamepruning.coalitions.voting import (
    voting_game,
    weighted_voting_banzhaf,
    weighted_voting_shapley,
)
from gamepruning.types import InputError
from tests.coalitions import games

close = functools.partial(np.testing.assert_allclose, rtol=1e-11, atol=1e-15)
every_game = pytest.mark.parametrize("game", games.VOTING_GAMES, ids=repr)

WITH_FORMULA = [game for game in games.VOTING_GAMES if game.biased is not None]


@every_game
def test_known_shapley_values(game):
    scores = weighted_voting_shapley(*game.voting)
    close(scores.value, game.shapley)
    close(scores.value.sum(), 1.0)
    close(scores.stderr, np.zeros(game.num_players))
    assert scores.num_evaluations == 0


@every_game
def test_known_banzhaf_indices(game):
    close(weighted_voting_banzhaf(*game.voting).value, game.banzhaf)


@pytest.mark.parametrize("game", WITH_FORMULA, ids=repr)
@pytest.mark.parametrize("bias", [0.05, 0.175, 0.8])
def test_known_biased_indices(game, bias):
    close(weighted_voting_banzhaf(*game.voting, bias).value, game.biased(bias))


def test_electoral_college_as_published():
    quota, votes = games.ELECTORAL_COLLEGE.voting
    assert sum(votes) == 538 and len(votes) == 51
    shapley = dict(zip(votes, weighted_voting_shapley(quota, votes).value, strict=True))
    assert set(shapley) == set(games.ELECTORAL_SHAPLEY)
    for vote, figure in games.ELECTORAL_SHAPLEY.items():
        last_digit = 10.0 ** (2 - len(figure))  # some are rounded, some cut off
        assert abs(shapley[vote] - float(figure)) < last_digit, vote
    assert shapley[45] == pytest.approx(0.088309395, abs=1e-9)
    assert shapley[41] == pytest.approx(0.079727355, abs=1e-9)
    assert shapley[3] == pytest.approx(0.005412571, abs=1e-9)
    banzhaf = weighted_voting_banzhaf(quota, votes).value
    absolute = [0.379365564, 0.339628944, 0.023395686]  # of 45, 41 and 3 votes
    np.testing.assert_allclose(banzhaf[[0, 1, -1]], absolute, atol=1e-9)
    normalised = [0.088815528, 0.079512552, 0.005477303]
    np.testing.assert_allclose(
        (banzhaf / banzhaf.sum())[[0, 1, -1]], normalised, atol=1e-9
    )


@pytest.mark.parametrize(
    ("game", "published"),
    [
        (games.UN, games.each((106 / 635, 5), (21 / 1270, 10))),
        (games.UN_1945, games.each((19 / 105, 5), (1 / 63, 6))),
        (games.EEC_1958, games.each((5 / 21, 3), (1 / 7, 2), (0, 1))),
        (
            games.EEC_1973,
            games.each((53 / 317, 4), (29 / 317, 2), (21 / 317, 2), (5 / 317, 1)),
        ),
        (games.NASSAU_1958, games.each((1 / 3, 3), (0, 3))),
        (games.FOUR_VOTERS, np.array([5 / 12, 1 / 4, 1 / 4, 1 / 12])),
    ],
    ids=repr,
)
def test_normalised_banzhaf_as_published(game, published):
    value = weighted_voting_banzhaf(*game.voting).value
    close(value / value.sum(), published)


def test_nassau_1964():
    """[58; 31, 31, 28, 21, 2, 2]: again three voters have all the power (Banzhaf)."""
    value = weighted_voting_banzhaf(58, [31, 31, 28, 21, 2, 2]).value
    close(value, [0.5, 0.5, 0.5, 0, 0, 0])


@pytest.mark.parametrize("seed", range(25))
def test_random_games_as_by_enumeration(seed):
    rng = np.random.default_rng(seed)
    weights = rng.integers(0, 12, rng.integers(1, 9))
    weights[0] += 1
    quota = int(rng.integers(1, weights.sum() + 1))
    wins, n = voting_game(quota, weights), len(weights)
    for bias in (0.1, 0.5, 0.97):
        value = weighted_voting_banzhaf(quota, weights, bias).value
        close(value, exact_banzhaf(wins, n, bias).value, atol=1e-12)
    value = weighted_voting_shapley(quota, weights).value
    close(value, exact_shapley(wins, n).value, atol=1e-12)


@pytest.mark.parametrize("index", [weighted_voting_shapley, weighted_voting_banzhaf])
def test_scaling_the_votes_changes_nothing(index):
    expected = index(12, [8, 6, 4, 2]).value
    close(index(12_000_000_000, [w * 10**9 for w in (8, 6, 4, 2)]).value, expected)
    close(index(6, [4, 3, 2, 1]).value, expected)


def test_all_or_any_voter_needed():
    # Unanimity: beta_p = p^(n - 1). A quota of 1: all others out, (1 - p)^(n - 1).
    n, p = 60, 0.3
    close(weighted_voting_banzhaf(n, [1] * n, p).value, [p ** (n - 1)] * n, atol=0)
    close(weighted_voting_banzhaf(1, [1] * n, p).value, [0.7 ** (n - 1)] * n, atol=0)
    for quota in (1, n):
        close(weighted_voting_shapley(quota, [1] * n).value, [1 / n] * n)


def test_a_dictator_a_single_voter_and_a_voter_without_votes():
    close(weighted_voting_shapley(7, [9, 3, 3, 0]).value, [1, 0, 0, 0])
    close(weighted_voting_banzhaf(7, [9, 3, 3, 0], 0.2).value, [1, 0, 0, 0])
    close(weighted_voting_shapley(2, [5]).value, [1])
    close(weighted_voting_banzhaf(2, [5]).value, [1])


def test_blocks_of_biases_give_what_all_at_once_give(monkeypatch):
    expected = weighted_voting_shapley(*games.ELECTORAL_COLLEGE.voting).value
    monkeypatch.setattr("gamepruning.coalitions.voting._CELLS_AT_ONCE", 1)
    close(weighted_voting_shapley(*games.ELECTORAL_COLLEGE.voting).value, expected)


@pytest.mark.parametrize(
    "make", [weighted_voting_shapley, weighted_voting_banzhaf, voting_game]
)
def test_bad_games_are_an_error(make):
    for weights in ([2, 1.5], [3, -1], [3, math.nan], [3, math.inf]):
        with pytest.raises(InputError, match=f"whole numbers >= 0, got {weights[1]}"):
            make(2, np.array(weights))
    for weights in (np.ones((2, 2), int), np.zeros(0, int), np.array(3)):
        with pytest.raises(InputError, match="one a voter, got shape"):
            make(1, weights)
    for quota in (0, -1, 5):
        with pytest.raises(InputError, match=f"from 1 to 4, .* got {quota}"):
            make(quota, [3, 1])


def test_a_quota_too_large_for_a_table_is_sent_to_sampling():
    with pytest.raises(InputError, match="quota of at most 100000000 .*voting_game"):
        weighted_voting_shapley(10**9 + 1, [10**9, 7, 3])


def test_a_bias_outside_zero_and_one_is_an_error():
    with pytest.raises(InputError, match=r"expected bias inside \(0, 1\)"):
        weighted_voting_banzhaf(3, [2, 1, 1], 1.2)
