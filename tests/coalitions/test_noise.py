"""95 % intervals of the default hold: few evaluations, and a noisy value function."""

import math

import jax
import numpy as np
import pytest

from gamepruning.coalitions import (
    banzhaf,
    beta_semivalue,
    estimate_indices,
    exact_semivalue,
    restrict,
    shapley,
    voting_game,
)
from gamepruning.coalitions.estimators import SampleCost, ends, moments
from gamepruning.coalitions.estimators.base import effective_number

N, DIGITS = 10, 1 << np.arange(10)
MASKS = (np.arange(2**N)[:, None] & DIGITS) > 0
WORTH = np.arange(N) / 5
TABLE = np.minimum(MASKS @ WORTH, 5) + np.sqrt(MASKS @ WORTH[::-1])
TABLE = TABLE + (MASKS[:, :3].sum(axis=1) >= 2)
LAWS = {"shapley": shapley(N), "banzhaf": banzhaf(N), "biased": banzhaf(N, 0.2)}


def plain(masks):
    return TABLE[np.asarray(masks) @ DIGITS]


class Noisy:
    """The game with normal errors; counts how often it values nobody."""

    def __init__(self, size, *, drops_duplicates=False):
        self.rng, self.size = np.random.default_rng(0), size
        self.drops_duplicates, self.nobody = drops_duplicates, 0

    def __call__(self, masks):
        self.nobody += int((~np.asarray(masks).any(axis=1)).sum())
        noise = self.size * self.rng.normal(size=2**N)
        if self.drops_duplicates:  # one value for each coalition of a call
            return plain(masks) + noise[np.asarray(masks) @ DIGITS]
        return plain(masks) + self.size * self.rng.normal(size=len(masks))


def coverage(value_fn, law, times, exact, *, method="auto", num_keys=40):
    found = [
        estimate_indices(key, value_fn, law, num_evaluations=times * N, method=method)
        for key in jax.random.split(jax.random.key(5), num_keys)
    ]
    value = np.array([estimate.scores.value for estimate in found])
    stderr = np.array([estimate.scores.stderr for estimate in found])
    return (np.abs(value - exact) <= 1.96 * stderr).mean()


@pytest.mark.parametrize("size", [0.0, 1.0])
@pytest.mark.parametrize("law", LAWS)
def test_intervals_hold_on_small_budgets(law, size):
    """400 intervals: 95 % within what they may differ by."""
    exact = np.asarray(exact_semivalue(plain, LAWS[law]).value)
    for times in (10, 50):
        game = Noisy(size) if size else plain
        assert 0.915 <= coverage(game, LAWS[law], times, exact) <= 0.98


@pytest.mark.parametrize("method", ["permutation", "antithetic_centred"])
def test_orders_know_the_noise_of_the_ends(method):
    exact = np.asarray(exact_semivalue(plain, LAWS["shapley"]).value)
    assert coverage(Noisy(5.0), LAWS["shapley"], 50, exact, method=method) >= 0.915


def test_duplicates_dropped_within_a_call_do_not_hide_noise():
    exact = np.asarray(exact_semivalue(plain, LAWS["shapley"]).value)
    game = Noisy(5.0, drops_duplicates=True)
    assert coverage(game, LAWS["shapley"], 10, exact) >= 0.915
    found = estimate_indices(jax.random.key(0), game, shapley(N), num_evaluations=500)
    assert 2.5 < found.noise < 10


def test_remembered_noise_is_a_game_of_its_own():
    table = TABLE + np.random.default_rng(1).normal(size=2**N)

    def game(masks):
        return table[np.asarray(masks) @ DIGITS]

    exact = np.asarray(exact_semivalue(game, LAWS["shapley"]).value)
    assert 0.915 <= coverage(game, LAWS["shapley"], 20, exact) <= 0.98
    found = estimate_indices(jax.random.key(0), game, shapley(N), num_evaluations=200)
    assert found.noise == 0


@pytest.mark.parametrize("method", ["leverage", "permutation", "antithetic"])
def test_the_ends_are_valued_again_unless_the_game_is_deterministic(method):
    game = Noisy(1.0)
    options = {"num_evaluations": 600, "method": method}
    found = estimate_indices(jax.random.key(0), game, shapley(N), **options)
    again = game.nobody
    assert again >= 5 and found.noise > 0
    game.is_deterministic, game.nobody = True, 0
    found = estimate_indices(jax.random.key(0), game, shapley(N), **options)
    assert game.nobody == 1 and math.isnan(found.noise)


def test_games_say_that_they_are_deterministic():
    game = voting_game(5, [3, 2, 2, 1])
    small = restrict(game, always_in=np.arange(4) == 0)
    assert game.is_deterministic and small.is_deterministic
    other = restrict(plain, N, always_out=np.arange(N) == 0)
    assert not other.is_deterministic


@pytest.mark.parametrize("law", [banzhaf(12), banzhaf(12, 0.2)])
@pytest.mark.parametrize("method", ["auto", "sample_reuse", "toggle_all"])
def test_errors_are_infinite_where_no_value_differs(law, method):
    game = voting_game(12, [1] * 12)
    options = {"num_evaluations": 60, "method": method}
    found = estimate_indices(jax.random.key(0), game, law, **options)
    assert np.isinf(found.scores.stderr).all() and (found.scores.value == 0).all()
    assert found.note.startswith("all values were equal")


def test_what_speaks_against_the_intervals_is_noted():
    key, jury = jax.random.key(2), voting_game(7, [1] * 10)
    rare = estimate_indices(key, jury, banzhaf(10, 0.3), num_evaluations=100)
    assert 0 < np.median(rare.support) < 4 and "may be too narrow" in rare.note
    few = estimate_indices(key, plain, banzhaf(N), num_evaluations=30)
    assert few.is_shrunk and "on average" in few.note and "see note" in repr(few)
    law, heavy = beta_semivalue(10, 1.0, 2.0), voting_game(10, [10] + [1] * 9)
    null = estimate_indices(key, heavy, law, num_evaluations=110)
    assert "all samples of 10 players agree" in null.note and "no proof" in null.note
    good = estimate_indices(key, plain, banzhaf(N), num_evaluations=500)
    assert not good.note and "note" not in repr(good)


def test_moments_are_those_of_all_rows():
    rows = np.random.default_rng(0).exponential(size=(37, 4))
    state = moments.init(4)
    for start in (0, 10, 11):
        stop = {0: 10, 10: 11, 11: 37}[start]
        state = moments.fold(state, rows[start:stop], start)
    apart = rows - rows.mean(axis=0)
    support = effective_number((apart**2).sum(axis=0), (apart**4).sum(axis=0))
    np.testing.assert_allclose(moments.finish(state).support, support)


def test_a_budget_pays_for_its_repeats():
    cost = SampleCost(2, 3, 1, repeat_every=4)
    for budget in range(5, 200):
        num = cost.affordable(budget)
        assert cost.evaluations(num) <= budget < cost.evaluations(num + 1)


def test_noise_of_the_ends_adds_to_the_errors():
    """Two repeats: Var(rise) = s^2 / 2 for each end."""
    found = ends.rise(np.array([[0.0, 1.0], [2.0, 5.0]]))
    assert found.value == 2.0 and found.freedom == pytest.approx(25 / 17)
    assert found.variance == pytest.approx(2 / 2 + 8 / 2)


@pytest.mark.parametrize(
    "method", ["auto", "leverage", "permutation", "antithetic", "antithetic_centred"]
)
def test_shapley_values_of_a_constant_game_are_not_certain(method):
    """Unless all coalitions are tried, which takes 128 evaluations here."""
    found = estimate_indices(
        jax.random.key(0),
        lambda masks: np.full(len(masks), 0.5),
        shapley(6),
        num_evaluations=100,
        method=method,
    )
    assert np.isinf(found.scores.stderr).all()
    assert found.note.startswith("all values were equal")


@pytest.mark.parametrize("method", ["permutation", "antithetic"])
def test_the_noise_of_an_only_player_is_known(method):
    rng = np.random.default_rng(0)

    def game(masks):
        return masks[:, 0] + rng.normal(size=len(masks))

    found = estimate_indices(0, game, shapley(1), num_evaluations=10, method=method)
    assert (found.scores.stderr > 0).all() and found.noise > 0


@pytest.mark.parametrize(
    ("law", "method"), [(shapley(N), "leverage"), (banzhaf(N), "paired_regression")]
)
def test_errors_hold_where_players_seem_alike(law, method):
    """Of a game without structure few rows say how far apart its players are."""
    ratios = []
    for seed in range(20):
        table = np.random.default_rng(seed).normal(size=2**N)
        game = lambda masks, table=table: table[np.asarray(masks) @ DIGITS]  # noqa: E731
        exact = np.asarray(exact_semivalue(game, law).value)
        options = {"num_evaluations": 62, "method": method}
        found = estimate_indices(jax.random.key(seed), game, law, **options).scores
        ratios.append((np.asarray(found.value) - exact) / np.asarray(found.stderr))
    assert np.sqrt(np.square(ratios).mean()) < 1.5
