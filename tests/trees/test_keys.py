"""Random keys of every implementation draw the same by number."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gamepruning as gp
from gamepruning.bandits import record_bandit, thompson
from gamepruning.trees.keys import as_threefry
from tests.small import make_mlp

N = 12
METHODS = ("leverage", "regression", "paired_regression", "toggle", "sample_reuse")


def additive(masks):
    return masks @ np.arange(float(N))


def rooted(masks):
    return np.sqrt(additive(masks))


def banzhaf(key, method="auto", **given):
    given = {"num_players": N, "num_evaluations": 600, "method": method} | given
    estimate = gp.shapley_values if method == "leverage" else gp.banzhaf_values
    return estimate(key, additive, **given).value


def pairs(key):
    semivalue = gp.coalitions.banzhaf(N)
    return gp.coalitions.interactions(
        key, additive, semivalue, num_evaluations=200
    ).value


def owen(key):
    return gp.coalitions.owen_values(key, rooted, [0, 1, 2] * 4, num_orders=20).value


def bands(key):
    players, params, inputs, _ = make_mlp(jax.random.key(0))
    return gp.mcue(key, players, params, inputs, num_samples=6, num_sizes=3).variance


def bandit(key):
    players, params, *examples = make_mlp(jax.random.key(0))
    arms = gp.removal_arms(players, params, gp.cross_entropy, *examples)
    return record_bandit(key, thompson(), arms, num_pulls=30).arms


def selection(key):
    scorer = functools.partial(
        gp.banzhaf_values, num_evaluations=40, method="sample_reuse"
    )
    trace = gp.iterated_pruning(key, rooted, 8, num_players=N, scorer=scorer)
    return trace.rounds[0].scores.value


USES = {method: functools.partial(banzhaf, method=method) for method in METHODS}
USES |= {use.__name__: use for use in (pairs, owen, bands, bandit, selection)}


@pytest.mark.parametrize("use", USES.values(), ids=USES)
def test_what_is_drawn_by_number_does_not_depend_on_the_kind_of_key(use):
    expected = use(jax.random.key(7, impl="threefry2x32"))
    np.testing.assert_array_equal(use(jax.random.key(7, impl="rbg")), expected)


@pytest.mark.parametrize("kind", ["rbg", "unsafe_rbg"])
def test_an_additive_game_is_valued_exactly_with_every_kind_of_key(kind):
    key = jax.random.key(0, impl=kind)
    for given in ({"method": "leverage"}, {"method": "regression", "round_size": 300}):
        found = banzhaf(key, num_evaluations=3000, **given)
        np.testing.assert_allclose(found, np.arange(N), atol=1e-6)


def test_folded_and_traced_keys_stay_apart():
    for kind in ("rbg", "unsafe_rbg"):
        keys = jax.random.split(jax.random.key(0, impl=kind), 3)
        alone = [jax.random.key_data(as_threefry(key)) for key in keys]
        side_by_side = jax.vmap(as_threefry)(keys)
        np.testing.assert_array_equal(jax.random.key_data(side_by_side), alone)
        assert len(np.unique(jnp.stack(alone), axis=0)) == 3
