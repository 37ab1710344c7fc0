"""Interactions of two players: exact ones by hand, sampled ones within their errors."""

import functools
import itertools
import tracemalloc

import jax
import numpy as np
import pytest

from gamepruning.coalitions.exact import all_coalitions
from gamepruning.coalitions.interactions import exact_interactions, interactions
from gamepruning.coalitions.semivalues import banzhaf, beta_semivalue, shapley
from gamepruning.types import InputError
from tests.coalitions import games

KEY = jax.random.key(3)
LAWS = {
    "shapley": shapley,
    "banzhaf": banzhaf,
    "biased_banzhaf": functools.partial(banzhaf, bias=0.8),
    "beta": functools.partial(beta_semivalue, alpha=2.0, beta=1.0),
}
each_law = pytest.mark.parametrize("law", LAWS.values(), ids=LAWS)


def unanimity(n, members):
    """1 where all members are in."""
    return lambda masks: np.asarray(masks)[:, members].all(axis=1).astype(float)


def by_definition(value_fn, semivalue):
    """E over coalitions S of the others of the second difference, one by one."""
    n = semivalue.num_players
    weights = semivalue._replace(num_players=n - 1).weights()
    found = np.zeros((n, n))
    for i, j in itertools.combinations(range(n), 2):
        others = [k for k in range(n) if k not in (i, j)]
        sizes = np.zeros(n - 1)
        for inside in all_coalitions(n - 2, 0, 2 ** (n - 2)):
            masks = np.zeros((4, n), bool)
            masks[:, others] = inside
            masks[1, i] = masks[2, j] = masks[3, i] = masks[3, j] = True
            off, with_i, with_j, both = value_fn(masks)
            size = int(inside.sum())
            many = (all_coalitions(n - 2, 0, 2 ** (n - 2)).sum(1) == size).sum()
            found[i, j] += weights[size] / many * (both - with_i - with_j + off)
            sizes[size] += 1
        found[j, i] = found[i, j]
    return found


def curved(n, seed=0):
    """A smooth function in which everything interacts with everything a little."""
    rng = np.random.default_rng(seed)
    w, out = rng.normal(size=(n, 12)), rng.normal(size=12)
    return lambda masks: np.tanh(np.asarray(masks, float) @ w / 2) @ out


@pytest.mark.parametrize("size", [2, 3, 4])
def test_those_who_are_needed_share_what_they_win(size):
    """Unanimity games: 1 / (t - 1) for Shapley, p^(t - 2) for Banzhaf, 0 elsewhere."""
    n, members = 6, list(range(1, size + 1))
    inside = np.zeros(n, bool)
    inside[members] = True
    pairs = (inside[:, None] & inside) & ~np.eye(n, dtype=bool)
    game = unanimity(n, members)
    for law, worth in (
        (shapley(n), 1 / (size - 1)),
        (banzhaf(n), 0.5 ** (size - 2)),
        (banzhaf(n, 0.8), 0.8 ** (size - 2)),
    ):
        found = exact_interactions(game, law)
        np.testing.assert_allclose(found.value, worth * pairs, atol=1e-12)
        assert not found.stderr.any() and found.num_evaluations == 2**n


@each_law
def test_exact_ones_follow_the_definition(law):
    game = curved(6)
    found = exact_interactions(game, law(6))
    np.testing.assert_allclose(found.value, by_definition(game, law(6)), atol=1e-12)


def test_a_council_of_europe():
    """The six of 1958: Luxembourg is never decisive, so it interacts with nobody."""
    game = games.EEC_1958
    found = exact_interactions(game.value_fn, shapley(game.num_players))
    reference = by_definition(game.value_fn, shapley(game.num_players))
    np.testing.assert_allclose(found.value, reference, atol=1e-12)
    alone = np.flatnonzero(game.shapley == 0)
    assert len(alone) == 1 and not found.value[alone].any()
    assert found.value.any(axis=0).sum() == 5


@each_law
def test_a_sum_over_pairs_is_learned_whole(law):
    rng, n = np.random.default_rng(1), 7
    pairs = np.triu(rng.normal(size=(n, n)), 1)
    alone = rng.normal(size=n)

    def game(masks):
        s = np.asarray(masks, float)
        return ((s @ pairs) * s).sum(axis=1) + s @ alone

    found = interactions(KEY, game, law(n), num_evaluations=200)
    np.testing.assert_allclose(found.value, pairs + pairs.T, atol=1e-6)
    assert found.stderr.max() < 1e-6 and found.num_evaluations == 200


@each_law
@pytest.mark.parametrize("budget", [60, 400])
def test_errors_are_true(law, budget):
    """Coverage of 95 % intervals and the bias, over keys; pairs learned or not."""
    n, num_keys = 8, 60
    game = curved(n)
    exact = exact_interactions(game, law(n)).value
    off = ~np.eye(n, dtype=bool)
    errors, covered = [], []
    for k in range(num_keys):
        found = interactions(jax.random.key(k), game, law(n), num_evaluations=budget)
        error = (found.value - exact)[off]
        errors.append(error)
        covered.append(np.abs(error) <= 1.96 * found.stderr[off])
        np.testing.assert_array_equal(found.value, found.value.T)
        assert not np.diag(found.value).any()
    errors = np.stack(errors)
    assert 0.88 <= np.mean(covered) <= 0.99
    bias = errors.mean(axis=0) / (errors.std(axis=0) / np.sqrt(num_keys))
    assert np.sqrt(np.mean(bias**2)) < 1.5


@each_law
def test_of_many_players_a_strong_pair_is_found(law):
    """Coalitions whose chance is below the smallest number are never drawn."""
    n = 1500

    def game(masks):
        return 5.0 * (masks[:, 3] & masks[:, 700]) + masks[:, 9]

    found = interactions(KEY, game, law(n), num_evaluations=3000)
    assert np.isfinite(found.value).all() and np.isfinite(found.stderr).all()
    assert abs(found.value[3, 700] - 5) <= 4 * found.stderr[3, 700]


def test_no_table_of_all_coalitions_is_held_in_float():
    """8000 of 100 players: 0.8 MB as bool, 6.4 MB in float64."""
    tracemalloc.start()
    interactions(KEY, unanimity(100, [0, 1]), shapley(100), num_evaluations=8000)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 5.5e6


def test_the_budget_is_kept_and_keys_decide():
    asked = []

    def game(masks):
        asked.append(len(masks))
        return curved(9)(masks)

    for law in (shapley(9), banzhaf(9)):
        asked.clear()
        one, two = (interactions(KEY, game, law, num_evaluations=50) for _ in range(2))
        assert sum(asked) == 100
        np.testing.assert_array_equal(one.value, two.value)
        other = interactions(jax.random.key(9), game, law, num_evaluations=50)
        assert np.abs(other.value - one.value).max() > 0


def test_the_strongest_pairs_come_first():
    found = exact_interactions(unanimity(5, [1, 4]), shapley(5))
    assert found.strongest(1) == [(1, 4, 1.0)]
    assert len(found.strongest(99)) == 10
    assert repr(found).startswith("Interactions(value=float64[5, 5]")


def test_what_never_changes_is_not_known():
    found = interactions(KEY, lambda m: np.ones(len(m)), shapley(4), num_evaluations=20)
    assert not found.value.any()
    assert np.isinf(found.stderr[0, 1]) and found.stderr[0, 0] == 0


def test_bad_input_is_named():
    game = curved(5)
    with pytest.raises(InputError, match="at least 8 evaluations, got 3"):
        interactions(KEY, game, shapley(5), num_evaluations=3)
    with pytest.raises(InputError, match="two players or more"):
        interactions(KEY, game, shapley(1), num_evaluations=30)
    with pytest.raises(InputError, match="at most 4096 players"):
        interactions(KEY, game, banzhaf(5000), num_evaluations=30)
    with pytest.raises(InputError, match="at most 20 players"):
        exact_interactions(game, shapley(21))
    with pytest.raises(InputError, match="NaN or infinity for 2 of 2"):
        interactions(
            KEY, lambda m: np.full(len(m), np.nan), shapley(4), num_evaluations=9
        )


@pytest.mark.parametrize("number", [300, 3000])
def test_noise_of_nobody_and_everybody_is_in_the_errors(number):
    """A game of noise alone: all interactions are 0."""
    noise, inside = np.random.default_rng(0), []
    for seed in range(40):
        found = interactions(
            seed,
            lambda masks: noise.normal(size=len(masks)),
            shapley(5),
            num_evaluations=number,
        )
        off = np.triu_indices(5, 1)
        inside.append(abs(found.value[off]) < 1.96 * found.stderr[off])
    assert 0.88 < np.mean(inside) < 0.99
