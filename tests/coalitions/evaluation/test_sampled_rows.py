"""Sweeps over some of the examples: unbiased, reproducible, honest about errors."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gamepruning as gp
from gamepruning.coalitions.evaluation import tiles
from gamepruning.coalitions.exact import exact_semivalue
from gamepruning.coalitions.semivalues import banzhaf, shapley
from gamepruning.coalitions.values import value_function
from gamepruning.selection import local_search, marginal_values
from gamepruning.types import InputError
from tests.small import apply_mlp, make_mlp

ROWS = 1300  # the last of the tiles is not full


@functools.cache
def network():
    """A random classifier, on examples that are sorted by class."""
    players, params, x, _ = make_mlp(jax.random.key(2), (6, 7, 5, 3), ROWS)
    noisy = apply_mlp(params, x) + jax.random.normal(jax.random.key(4), (ROWS, 3)) / 2
    labels = jnp.argmax(noisy, axis=1)
    order = jnp.argsort(labels)
    return players, params, x[order], labels[order]


def game(metric=gp.negative_cross_entropy, **options):
    players, params, x, y = network()
    return value_function(players, params, metric, x, y, **options)


def orders_of(num, players=12):
    rng = np.random.default_rng(0)
    return rng.permuted(np.tile(np.arange(players), (num, 1)), axis=1)


@pytest.fixture(scope="module")
def sampled():
    return game().sample_rows(100)


@pytest.mark.parametrize("sweep", ["prefixes", "toggles"])
def test_values_are_unbiased(sweep, sampled):
    """Over many sweeps the error is that of their mean."""
    if sweep == "prefixes":
        found, full = (g.prefixes(orders_of(80)) for g in (sampled, game()))
    else:
        masks = np.random.default_rng(1).random((80, 12)) < 0.5
        pairs = (g.toggles(masks) for g in (sampled, game()))
        found, full = (np.column_stack(pair) for pair in pairs)
    error = found - full
    assert (np.abs(error).max(axis=1) > 1e-4).mean() > 0.99  # rows are left out
    spread = error.std(axis=0, ddof=1) / np.sqrt(len(error))
    assert (np.abs(error.mean(axis=0)) < 4 * spread).all()


def test_a_sample_of_every_tile_is_all_rows():
    sample = tiles.plan_sample(100, ROWS)
    assert sample is not None
    whole = sample._replace(each=sample.num_tiles)
    places, weights = whole.draw(np.arange(3))
    assert sorted(places) == list(range(sample.num_tiles)) and (weights == 1).all()


def test_where_it_takes_most_rows_it_takes_all():
    full, most = game(), game().sample_rows(ROWS - 100)
    orders = orders_of(3)
    np.testing.assert_array_equal(most.prefixes(orders), full.prefixes(orders))


def test_a_sweep_has_one_value(sampled):
    """Whatever was asked before it, and however many devices there are."""
    orders = orders_of(9)
    expected = sampled.prefixes(orders)
    np.testing.assert_array_equal(sampled.prefixes(orders[[4, 2]]), expected[[4, 2]])
    for num in (1, 3, 4):
        again = game(devices=jax.local_devices()[:num]).sample_rows(100)
        np.testing.assert_array_equal(again.prefixes(orders), expected)
    masks = np.random.default_rng(2).random((5, 12)) < 0.5
    alone = game(devices=jax.local_devices()[:1]).sample_rows(100)
    for a, b in zip(alone.toggles(masks), sampled.toggles(masks), strict=True):
        np.testing.assert_array_equal(a, b)


def test_all_rows_are_looked_at_without_a_sweep(sampled):
    masks = np.random.default_rng(3).random((6, 12)) < 0.5
    np.testing.assert_array_equal(sampled(masks), game()(masks))


@pytest.mark.parametrize("semivalue", [shapley(12), banzhaf(12, 0.5)])
def test_standard_errors_know_of_the_rows(semivalue, sampled):
    exact = exact_semivalue(game(), semivalue).value
    num, z = 800, []
    for key in range(24):
        scores = gp.coalitions.semivalues(
            jax.random.key(key), sampled, semivalue, num_evaluations=num
        )
        z.append((scores.value - exact) / scores.stderr)
    assert (np.abs(z) < 1.96).mean() > 0.92
    assert 0.85 < np.std(z) < 1.1
    assert np.abs(np.mean(z, axis=0)).max() < 4 / np.sqrt(24)


def test_it_is_counted_and_restricted_like_any_other():
    whole = game()
    some = whole.sample_rows(100)
    few = some.restrict(always_in=[0, 1], always_out=[2])
    few.prefixes(orders_of(2, 9))
    assert few.num_players == 9
    assert whole.num_evaluations == some.num_evaluations == few.num_evaluations == 20
    masks = np.ones((1, 9), bool)
    assert few.toggles(masks)[0] != whole.restrict([0, 1], [2]).toggles(masks)[0]


def test_refusals():
    with pytest.raises(InputError, match="sample_rows >= 1, got 0"):
        game().sample_rows(0)
    with pytest.raises(InputError, match="a metric of all examples at once"):
        game(lambda out, y: out.mean()).sample_rows(100)

    def mixed(params, x):
        return apply_mlp(params, x) - apply_mlp(params, x).mean(axis=0, keepdims=True)

    _, params, x, y = network()
    players = gp.find_players(mixed, params, x)
    mixing = value_function(players, params, gp.accuracy, x, y)
    with pytest.raises(InputError, match="see is_incremental"):
        mixing.sample_rows(100)


def test_coalitions_are_compared_on_all_examples(sampled):
    """Exchanges and marginal values: each coalition has examples of its own."""
    mask = np.arange(12) % 2 == 0
    for found, full in ((sampled, game()), (sampled.restrict(~mask), None)):
        full = game().restrict(~mask) if full is None else full
        own = mask if found is sampled else np.ones(full.num_players, bool)
        exact = marginal_values(full, own)
        np.testing.assert_allclose(marginal_values(found, own).value, exact.value)
    searched = local_search(sampled, mask, max_exchanges=3)
    full = local_search(game(), mask, max_exchanges=3)
    np.testing.assert_array_equal(searched.mask, full.mask)
    assert searched.exchanges == full.exchanges != ()
    assert searched.value == pytest.approx(float(game()(searched.mask[None])[0]))
