"""What is learned of a game, and the indices that it has for certain."""

import importlib

import jax
import numpy as np
import pytest

from gamepruning.coalitions.estimate import estimate_indices
from gamepruning.coalitions.estimators import ESTIMATORS, Problem, proxies, ridge
from gamepruning.coalitions.estimators.conjunctions import Conjunctions
from gamepruning.coalitions.estimators.sums import fit_sum, sum_operations
from gamepruning.coalitions.estimators.terms import fit_terms, term_operations
from gamepruning.coalitions.exact import exact_semivalue
from gamepruning.coalitions.semivalues import banzhaf, beta_semivalue, shapley
from gamepruning.coalitions.voting import (
    voting_game,
    weighted_voting_banzhaf,
    weighted_voting_shapley,
)
from gamepruning.files import npz
from gamepruning.types import InputError
from tests.coalitions import games

KEY, RNG, N = jax.random.key(3), np.random.default_rng(0), 8
LEARNERS = (fit_sum, fit_terms, proxies.fit_trees)
LAWS = [shapley(N), banzhaf(N), banzhaf(N, 0.2), beta_semivalue(N, 3.0, 1.0)]


def curved_by(number):
    def game(masks):
        masks = np.asarray(masks, float)
        slopes = np.linspace(-1, 2, number)
        return np.tanh(masks @ slopes) + masks[:, 0] * masks[:, 1]

    return game


curved = curved_by(N)


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


def seen(law, value_fn, number=300):
    """Values of random coalitions; of their complements, too, where those matter."""
    masks = RNG.random((number, N)) < (law.bias or 0.5)
    values, twins = value_fn(masks), value_fn(~masks) if law.is_symmetric else None
    return proxies.SeenCoalitions(
        masks, values, np.ones(number), twins, float(values.mean())
    )


@pytest.mark.parametrize("fit", LEARNERS)
@pytest.mark.parametrize("law", LAWS, ids=repr)
def test_learners_know_their_own_indices(law, fit, monkeypatch):
    monkeypatch.setattr(proxies, "TREES", 10)
    rows = seen(law, curved)
    known = fit(law, rows)
    exact = exact_semivalue(known.values, law).value
    np.testing.assert_allclose(known.indices, exact, atol=1e-12)
    slopes = np.column_stack([rows.masks, np.ones(len(rows.masks))])
    y, found = rows.values, known.values(rows.masks)
    if rows.twins is not None:
        y, found = rows.odd, (found - known.values(~rows.masks)) / 2
    left = [np.linalg.lstsq(slopes, one, rcond=None)[0] for one in (y, y - found)]
    before, after = (
        np.std(one - slopes @ by) for one, by in zip((y, y - found), left, strict=True)
    )
    assert after < 0.8 * before


@pytest.mark.parametrize("law", LAWS, ids=repr)
@pytest.mark.parametrize("fit", LEARNERS)
def test_a_multiple_of_a_game_has_the_same_proxy(law, fit):
    rows = seen(law, curved)
    scaled = rows._replace(
        values=3 * rows.values + 5,
        twins=None if rows.twins is None else 3 * rows.twins + 5,
        centre=3 * rows.centre + 5,
    )
    one, other = fit(law, rows).indices, fit(law, scaled).indices
    np.testing.assert_allclose(other, 3 * one, rtol=0, atol=1e-7)


@pytest.mark.parametrize("fit", LEARNERS)
def test_a_game_of_one_value_is_learned_as_it_is(fit):
    rows = seen(LAWS[0], lambda masks: np.full(len(masks), 2.5), 30)
    known = fit(LAWS[0], rows)
    assert known.mean == 2.5 and not known.indices.any()
    assert (known.values(rows.masks) == 2.5).all()


def vote(number, seed=0):
    """An odd number of votes: one side of two wins."""
    weights = np.random.default_rng(seed).integers(1, 20, number)
    weights[0] += 1 - weights.sum() % 2
    return voting_game(int(weights.sum()) // 2 + 1, weights.tolist())


def off(method, game, law, exact, budget, times=4.5):
    """How far an estimate is off; not more than its errors say."""
    options = {"num_evaluations": budget, "method": method}
    found = estimate_indices(KEY, game, law, **options).scores
    assert np.abs((found.value - exact) / found.stderr).max() < times
    return np.linalg.norm(found.value - exact)


@pytest.mark.parametrize("index", [shapley, banzhaf])
def test_a_vote_is_learned(index):
    """Less than two thirds of what a regression leaves, which is unpaired as well."""
    game, plain = vote(30), "leverage" if index is shapley else "paired_regression"
    known = {shapley: weighted_voting_shapley, banzhaf: weighted_voting_banzhaf}
    exact = np.asarray(known[index](game.quota, game.weights.tolist()).value)
    asked = game, index(30), exact, 1800
    assert off("proxy", *asked) < off(plain, *asked) * 2 / 3


def test_terms_in_which_some_have_to_agree_are_learned():
    rng, n = np.random.default_rng(3), 24
    needed = np.zeros((30, n), bool)
    for row, size in zip(needed, rng.integers(1, 5, 30), strict=True):
        row[rng.permutation(n)[:size]] = True
    worth, sizes = rng.normal(size=30), needed.sum(axis=1)

    def game(masks):
        return (masks.astype(float) @ needed.T.astype(float) >= sizes) @ worth

    asked = game, shapley(n), (worth / sizes) @ needed, 2400
    assert off("proxy", *asked) < off("leverage", *asked) / 3


def test_what_nobody_can_learn_has_honest_intervals():
    """Every coalition has a value of its own: nothing of it is like anything else."""
    table, powers = np.random.default_rng(5).normal(size=2**10), 1 << np.arange(10)
    errors = []
    for law in (shapley(10), banzhaf(10), banzhaf(10, 0.3)):
        exact = exact_semivalue(lambda masks: table[masks @ powers], law).value
        for seed in range(6):
            found = estimate_indices(
                jax.random.key(seed),
                lambda masks: table[masks @ powers],
                law,
                num_evaluations=240,
                method="proxy",
            ).scores
            errors.append((found.value - exact) / found.stderr)
    errors = np.array(errors)
    assert 0.9 < (np.abs(errors) < 1.96).mean() < 0.99
    assert np.abs(errors.mean()) < 0.3


@pytest.mark.parametrize(
    ("method", "law"),
    [
        ("proxy", shapley(9)),
        ("proxy", banzhaf(9)),
        ("leverage", shapley(9)),
        ("paired_regression", banzhaf(9)),
    ],
)
def test_pairs_that_tell_nothing_are_given_up(method, law, tmp_path):
    """In votes, whatever the rounds; and nowhere else."""
    pairs, path = [], tmp_path / "run.npz"

    def counted(game):
        def play(masks):
            half = len(masks) // 2
            pairs.append((masks[:half] == ~masks[half : 2 * half]).all(axis=1))
            return game(masks)

        return play

    def estimate(game, **options):
        pairs.clear()
        found = estimate_indices(
            KEY, counted(game), law, num_evaluations=200, method=method, **options
        ).scores
        return found, np.concatenate(pairs)[-60:]

    whole, are_pairs = estimate(vote(9))
    assert are_pairs.mean() < 0.1
    for budget in (60, 200):
        cut = estimate_indices(
            *(KEY, counted(vote(9)), law),
            num_evaluations=budget,
            method=method,
            round_size=14,
            checkpoint=path,
        ).scores
    assert whole.value.tobytes() == cut.value.tobytes()
    assert whole.stderr.tobytes() == cut.stderr.tobytes()
    assert npz.load(path).arrays["is_single"]
    for other in (curved_by(9), lambda masks: masks @ np.arange(9.0)):
        assert estimate(other)[1].all()


@pytest.mark.parametrize(
    ("method", "law"), [("leverage", shapley(11)), ("paired_regression", banzhaf(11))]
)
def test_single_coalitions_have_honest_intervals(method, law):
    """Votes of 11, without their complements from the 32nd sample on."""
    game, errors = vote(11), []
    exact = exact_semivalue(game, law).value
    for seed in range(20):
        found = estimate_indices(
            *(jax.random.key(seed), game, law), num_evaluations=440, method=method
        ).scores
        errors.append((found.value - exact) / found.stderr)
    errors = np.array(errors)
    assert 0.91 < (np.abs(errors) < 1.96).mean() < 0.99
    assert np.abs(errors.mean()) < 0.3


@pytest.mark.parametrize(("quota", "most"), [(0.5, 0.9), (0.7, 1.05)])
def test_sizes_that_decide_a_vote_are_drawn_more_often(quota, most, monkeypatch):
    """Nearer values, with honest intervals.

    Pairs that span two quotas, as at 0.7, vary at more sizes: there, no harm is done.
    """
    game = vote(15)
    game = voting_game(int(quota * game.weights.sum()) + 1, game.weights.tolist())
    exact = exact_semivalue(game, shapley(15)).value

    def errors():
        runs = [
            estimate_indices(
                *(jax.random.key(seed), game, shapley(15)),
                num_evaluations=600,
                method="leverage",
            ).scores
            for seed in range(20)
        ]
        apart = np.array([run.value - exact for run in runs])
        return apart, np.array([run.stderr for run in runs])

    own, stderr = errors()
    assert 0.91 < (np.abs(own) < 1.96 * stderr).mean() < 0.99
    by_size = importlib.import_module("gamepruning.coalitions.estimators.leverage")
    monkeypatch.setattr(by_size, "_WORTH", 0.0)  # all sizes alike
    assert np.square(own).mean() < most * np.square(errors()[0]).mean()


def test_sizes_are_drawn_alike_where_none_tells_more():
    sums = games.soum(20, 60, 3, seed=1).value_fn
    for game in (sums, lambda masks: masks @ np.arange(20.0)):
        state = state_of(game, shapley(20))
        assert np.ptp(state["shares"]) == 0
    assert np.ptp(state_of(vote(20), shapley(20))["shares"]) > 0


def state_of(game, law):
    """What a run of leverage keeps."""
    problem = Problem(KEY, law)
    estimator = ESTIMATORS["leverage"]
    state = estimator.init(problem, game, 60)
    return estimator.update(problem, game, state, 0, 60)


def test_an_airport_is_learned(monkeypatch):
    """The dearest of 30: trees leave a third of what a regression leaves, or less."""
    monkeypatch.setattr(proxies, "TREES", 40)
    costs = np.sort(RNG.exponential(size=30))
    exact = np.cumsum(np.diff(costs, prepend=0) / np.arange(30, 0, -1))
    asked = lambda masks: (masks * costs).max(axis=1), shapley(30), exact, 1200
    assert off("proxy", *asked) < off("leverage", *asked) / 3


def test_trees_learn_alone_where_the_others_would_take_long():
    """And what all take is what "auto" counts."""
    work = ESTIMATORS["proxy"].work
    assert work is not None
    for players, budget, fits in ((50, 8000, LEARNERS), (600, 6000, LEARNERS[-1:])):
        operations = {
            fit_sum: sum_operations,
            fit_terms: term_operations,
            proxies.fit_trees: proxies.tree_operations,
        }
        seen = budget * 3 // 4
        own = 4 * sum(operations[fit](players, seen) for fit in fits)
        after = ridge.work(budget, players).operations
        assert work(players, budget).operations == pytest.approx(own + after)
    few, many = (work(50, budget).operations for budget in (8000, 24_000))
    assert few < 4e10 and many < 4e10


def test_more_players_than_trees_are_for_are_refused():
    game = games.additive(np.ones(5000), 0.0)
    for method in ("proxy", "proxy_reuse"):
        with pytest.raises(InputError, match="up to 4096 players"):
            estimate_indices(
                KEY, game.value_fn, banzhaf(5000), num_evaluations=10**5, method=method
            )
