"""What is learned of a game, and the indices that it has for certain."""

import jax
import numpy as np
import pytest

from gamepruning.coalitions.estimate import estimate_indices
from gamepruning.coalitions.estimators import proxies
from gamepruning.coalitions.estimators.conjunctions import Conjunctions
from gamepruning.coalitions.exact import exact_semivalue
from gamepruning.coalitions.semivalues import banzhaf, beta_semivalue, shapley
from gamepruning.types import InputError
from tests.coalitions import games

KEY, RNG, N = jax.random.key(3), np.random.default_rng(0), 8
LAWS = [shapley(N), banzhaf(N), banzhaf(N, 0.2), beta_semivalue(N, 3.0, 1.0)]


def curved(masks):
    masks = np.asarray(masks, float)
    return np.tanh(masks @ np.linspace(-1, 2, N)) + masks[:, 0] * masks[:, 1]


@pytest.mark.parametrize("law", LAWS, ids=repr)
def test_conjunctions_have_the_indices_of_their_values(law):
    players = [RNG.permutation(N)[:size] for size in (0, 1, 2, 3, 8)]
    term = np.repeat(np.arange(5), [len(some) for some in players])
    terms = Conjunctions(
        RNG.normal(size=5), term, np.concatenate(players), RNG.random(len(term)) < 0.5
    )
    exact = exact_semivalue(terms.values, law).value
    np.testing.assert_allclose(terms.semivalues(law), exact, atol=1e-12)
    if law.bias is not None:
        every = (np.arange(2**N)[:, None] >> np.arange(N)) & 1 == 1
        chance = np.where(every, law.bias, 1 - law.bias).prod(axis=1)
        assert abs(terms.mean(law) - chance @ terms.values(every)) < 1e-12


@pytest.mark.parametrize("law", LAWS, ids=repr)
def test_learners_know_their_own_indices(law, monkeypatch):
    monkeypatch.setattr(proxies, "TREES", 10)
    masks = RNG.random((300, N)) < 0.5
    known = proxies.fit_trees(law, masks, curved(masks))
    exact = exact_semivalue(known.values, law).value
    np.testing.assert_allclose(known.indices, exact, atol=1e-12)
    off = known.values(masks) - curved(masks)
    assert off.std() < 0.5 * curved(masks).std()


def test_a_game_of_one_value_is_learned_as_it_is():
    masks = RNG.random((30, N)) < 0.5
    known = proxies.fit_trees(LAWS[0], masks, np.full(30, 2.5))
    assert known.mean == 2.5 and not known.indices.any()
    assert (known.values(masks) == 2.5).all()


def test_an_airport_is_learned():
    """The dearest of 30: trees leave a third of what a regression leaves, or less."""
    costs = np.sort(RNG.exponential(size=30))
    exact = np.cumsum(np.diff(costs, prepend=0) / np.arange(30, 0, -1))

    def off(method):
        found = estimate_indices(
            KEY,
            lambda masks: (masks * costs).max(axis=1),
            shapley(30),
            num_evaluations=1200,
            method=method,
        ).scores
        assert np.abs((found.value - exact) / found.stderr).max() < 4.5
        return np.linalg.norm(found.value - exact)

    assert off("proxy") < off("leverage") / 3


def test_more_players_than_trees_are_for_are_refused():
    game = games.additive(np.ones(5000), 0.0)
    for method in ("proxy", "proxy_reuse"):
        with pytest.raises(InputError, match="up to 4096 players"):
            estimate_indices(
                KEY, game.value_fn, banzhaf(5000), num_evaluations=10**5, method=method
            )
