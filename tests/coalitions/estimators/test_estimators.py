"""Every estimator against exact indices: within its errors, which are true."""

import jax
import numpy as np
import pytest

from gamepruning.coalitions import games as asked
from gamepruning.coalitions.estimators import ESTIMATORS, sampling
from gamepruning.coalitions.exact import exact_semivalue
from gamepruning.coalitions.indices import estimate_indices, semivalues
from gamepruning.coalitions.semivalues import banzhaf, beta_semivalue, shapley
from gamepruning.types import InputError
from tests.coalitions import games

CASES = (  # method, index of n players
    ("toggle", lambda n: banzhaf(n, 0.5)),
    ("toggle", lambda n: shapley(n)),
    ("toggle_all", lambda n: banzhaf(n, 0.3)),
    ("toggle_all", lambda n: beta_semivalue(n, 3.0, 1.0)),
    ("toggle_all", lambda n: shapley(n)),
    ("sample_reuse", lambda n: banzhaf(n, 0.3)),
    ("regression", lambda n: banzhaf(n, 0.3)),
    ("regression", lambda n: banzhaf(n, 0.5)),
    ("paired_regression", lambda n: banzhaf(n, 0.5)),
    ("permutation", shapley),
    ("antithetic", shapley),
    ("antithetic_centred", shapley),
    ("leverage", shapley),
    ("centred_reuse", shapley),
    ("centred_reuse", lambda n: beta_semivalue(n, 3.0, 1.0)),
    ("proxy", shapley),
    ("proxy", lambda n: banzhaf(n, 0.3)),
    ("proxy_reuse", lambda n: beta_semivalue(n, 3.0, 1.0)),
)
LEARNING = "proxy", "proxy_reuse"
FIVE_GAMES = (
    *(games.EEC_1973, games.NASSAU_1958, games.GLOVES_3_2, games.AIRPORT_4),
    games.soum(11, 30, 6, seed=1),
)
KEY = jax.random.key(7)


def each_case(function):
    names = [f"{method}-{index(3).name}" for method, index in CASES]
    return pytest.mark.parametrize(("method", "index"), CASES, ids=names)(function)


def network(n=10, seed=0):
    """A smooth, nonlinear function of the coalition, by a table."""
    rng = np.random.default_rng(seed)
    w, b, out = rng.normal(size=(n, 20)), rng.normal(size=20), rng.normal(size=20)
    digits = 1 << np.arange(n)
    masks = (np.arange(2**n)[:, None] & digits) > 0
    table = np.tanh(masks @ w / 2 + b) @ out + masks.mean(axis=1) ** 2
    return lambda masks: table[np.asarray(masks) @ digits]


@each_case
def test_agrees_with_known_games(method, index):
    """4 standard errors; and the error of the errors where few samples differ."""
    for game in FIVE_GAMES:
        law = index(game.num_players)
        exact = exact_semivalue(game.value_fn, law).value
        scores = semivalues(
            KEY, game.value_fn, law, num_evaluations=4000, method=method
        )
        error = np.abs(scores.value - np.asarray(exact))
        assert (error <= 4 * scores.stderr + 1e-9).all(), (game, error / scores.stderr)
        assert scores.stderr.max() < 0.4 * np.ptp(np.append(exact, 0)), game


@each_case
def test_errors_are_true(method, index):
    """Coverage of 95 % intervals, their width and the bias, over keys."""
    n, num_keys = 10, 20 if method == "proxy" else 40
    game, law = network(n), index(n)
    exact = np.asarray(exact_semivalue(game, law).value)
    found = [
        semivalues(key, game, law, num_evaluations=40 * n, method=method)
        for key in jax.random.split(KEY, num_keys)
    ]
    error = np.array([scores.value for scores in found]) - exact
    stderr = np.array([scores.stderr for scores in found])
    assert 0.91 <= (np.abs(error) <= 1.96 * stderr).mean() <= 0.985
    assert 0.85 < np.sqrt((stderr**2).mean() / (error**2).mean()) < 1.25
    z = error.mean(axis=0) / error.std(axis=0) * np.sqrt(num_keys)
    assert np.abs(z).max() < 4


@pytest.mark.parametrize("bias", [0.2, 0.5])
def test_additive_game_is_exact_from_n_plus_2(bias):
    n = 30
    game = games.additive(np.arange(n) / n, 4.0)
    scores = semivalues(
        KEY,
        game.value_fn,
        banzhaf(n, bias),
        num_evaluations=n + 20,
        method="regression",
    )
    np.testing.assert_allclose(scores.value, np.arange(n) / n, atol=1e-6)
    game = games.additive(np.arange(100) / 100, 4.0)
    scores = semivalues(
        KEY, game.value_fn, banzhaf(100), num_evaluations=102, method="regression"
    )
    np.testing.assert_allclose(scores.value, np.arange(100) / 100, atol=1e-6)


@each_case
def test_additive_game_leaves_no_doubt(method, index):
    worth = np.array([3.0, -1.0, 0.0, 2.0, 0.5])
    game = games.additive(worth, 5.0)
    scores = semivalues(
        KEY, game.value_fn, index(5), num_evaluations=200, method=method
    )
    noisy = "sample_reuse", "antithetic_centred", "centred_reuse", "proxy_reuse"
    if method in noisy:  # others count as noise
        assert (np.abs(scores.value - worth) < 4 * scores.stderr).all()
    else:
        np.testing.assert_allclose(scores.value, worth, atol=1e-6)
        np.testing.assert_allclose(scores.stderr, 0, atol=1e-6)


@pytest.mark.parametrize("method", ["permutation", "antithetic", "leverage"])
def test_efficiency(method):
    game = games.EEC_1973
    scores = semivalues(
        KEY, game.value_fn, shapley(9), num_evaluations=200, method=method
    )
    np.testing.assert_allclose(scores.value.sum(), 1, atol=1e-9)


@pytest.mark.parametrize("method", ["toggle", "toggle_all"])
def test_null_player_gets_exactly_0(method):
    game = games.EEC_1958
    scores = semivalues(
        KEY, game.value_fn, banzhaf(6), num_evaluations=500, method=method
    )
    assert scores.value[5] == scores.stderr[5] == 0
    assert (scores.value[:5] > 0).all()


def test_one_antithetic_pair_is_exact_for_pairs_of_players():
    rng = np.random.default_rng(0)
    pairs, single = rng.normal(size=(6, 6)), rng.normal(size=6)

    def game(masks):
        return np.einsum("si,ij,sj->s", masks, pairs, masks) + masks @ single

    exact = exact_semivalue(game, shapley(6)).value
    scores = semivalues(KEY, game, shapley(6), num_evaluations=22, method="antithetic")
    np.testing.assert_allclose(scores.value, exact, atol=1e-9)
    np.testing.assert_allclose(scores.stderr, 0, atol=1e-9)


@pytest.mark.parametrize("method", list(ESTIMATORS))
def test_one_player(method):
    index = next((index for name, index in CASES if name == method), shapley)(1)

    def game(masks):
        return 2.0 + 3 * masks[:, 0]

    scores = semivalues(KEY, game, index, num_evaluations=60, method=method)
    np.testing.assert_allclose(scores.value, [3.0], atol=1e-9)
    np.testing.assert_allclose(scores.stderr, [0.0], atol=0.9)


@each_case
def test_two_players(method, index):
    game = games.voting("both", 2, [1, 1]).value_fn
    law = index(2)
    scores = semivalues(KEY, game, law, num_evaluations=400, method=method)
    exact = np.asarray(exact_semivalue(game, law).value)
    assert (np.abs(scores.value - exact) <= 4 * scores.stderr + 1e-9).all()


@each_case
def test_linear_in_the_game(method, index):
    """The same coalitions give a v + b w what they give v and w."""
    if method in LEARNING:
        pytest.skip("what is learned of a sum is not the sum of what is learned")
    budget = 400  # enough for no penalty, which would depend on the game
    one, other, law = network(seed=1), network(seed=2), index(10)

    def value(game):
        return semivalues(KEY, game, law, num_evaluations=budget, method=method).value

    both = value(lambda masks: 2 * one(masks) - 3 * other(masks))
    tolerance = 1e-9 if method != "regression" else 1e-8
    np.testing.assert_allclose(
        both, 2 * value(one) - 3 * value(other), rtol=0, atol=tolerance
    )


@each_case
def test_scale_and_constant(method, index):
    """Doubling v doubles values and errors; a constant adds nothing."""
    game, law = network(), index(10)
    plain = semivalues(KEY, game, law, num_evaluations=300, method=method)
    moved = semivalues(
        KEY, lambda m: 2 * game(m) + 7, law, num_evaluations=300, method=method
    )
    np.testing.assert_allclose(moved.value, 2 * plain.value, atol=1e-8)
    np.testing.assert_allclose(moved.stderr, 2 * plain.stderr, atol=1e-8)


def test_unanimity_for_small_and_large_bias():
    """beta_p of a member of a coalition of 3 is p^2."""

    def game(masks):
        return masks[:, :3].all(axis=1)

    for bias in (0.175, 0.8):
        law = banzhaf(6, bias)
        for method in ("regression", "sample_reuse", "toggle_all"):
            scores = semivalues(KEY, game, law, num_evaluations=7000, method=method)
            exact = np.repeat([bias**2, 0.0], 3)
            assert (np.abs(scores.value - exact) <= 4 * scores.stderr).all()


def test_many_players():
    """2000 players, with interactions, within the errors; no overflow."""
    game = games.soum(2000, 400, 3, seed=3)
    scores = semivalues(
        KEY, game.value_fn, banzhaf(2000), num_evaluations=4200, method="sample_reuse"
    )
    assert game.biased is not None
    z = (scores.value - game.biased(0.5)) / scores.stderr
    assert np.abs(z).max() < 5 and 0.9 < np.sqrt((z**2).mean()) < 1.1
    calls = []

    def cheap(masks):
        calls.append(len(masks))
        return masks @ np.arange(2000.0)

    scores = semivalues(
        KEY, cheap, shapley(2000), num_evaluations=8000, method="permutation"
    )
    np.testing.assert_allclose(scores.value, np.arange(2000.0))
    assert sum(calls) == scores.num_evaluations <= 8000


@each_case
def test_evaluations_are_counted_and_kept_to(method, index):
    calls = []

    def counted(masks):
        calls.append(len(masks))
        return network()(masks)

    scores = semivalues(KEY, counted, index(10), num_evaluations=333, method=method)
    assert sum(calls) == scores.num_evaluations
    assert 333 - 2 * 10 < scores.num_evaluations <= 333


def test_samples_follow_from_their_number():
    law = banzhaf(5, 0.3)
    whole = sampling.coalitions(KEY, law, 0, 100)
    parts = [sampling.coalitions(KEY, law, k, k + 20) for k in range(0, 100, 20)]
    np.testing.assert_array_equal(whole, np.concatenate(parts))
    orders = sampling.orders(KEY, 7, 0, 50)
    np.testing.assert_array_equal(orders[13:29], sampling.orders(KEY, 7, 13, 29))
    sized = sampling.sized_coalitions(KEY, 7, 0, 50)
    np.testing.assert_array_equal(
        sized[13:29], sampling.sized_coalitions(KEY, 7, 13, 29)
    )


def test_samples_follow_their_law():
    """Counts within 5 standard deviations of what they should be."""
    num, n = 20_000, 5

    def check(counts, shares):
        shares = np.asarray(shares)
        apart = counts - num * shares
        assert (np.abs(apart) < 5 * np.sqrt(num * shares * (1 - shares))).all()

    sizes = np.arange(n + 1)
    found = sampling.sized_coalitions(KEY, n, 0, num)
    check(np.bincount(found.sum(1), minlength=n + 1)[1:n], np.full(n - 1, 1 / (n - 1)))
    check(found.sum(axis=0), np.full(n, 0.5))
    found = sampling.coalitions(KEY, shapley(n), 0, num)
    check(np.bincount(found.sum(1), minlength=n + 1), np.full(n + 1, 1 / (n + 1)))
    for law in (banzhaf(n + 1, 0.2), beta_semivalue(n + 1, 3.0, 1.0)):
        others = sampling.coalitions(KEY, law, 0, num)[:, :n].sum(axis=1)
        check((others[:, None] == sizes).sum(axis=0), law.weights())
    first = sampling.orders(KEY, n, 0, num)[:, :2]
    check(
        np.bincount(first[:, 0] * n + first[:, 1], minlength=n * n)[1:n], [1 / 20] * 4
    )


@pytest.mark.parametrize("n", [2, 3, 9, 50, 604])
def test_sizes_are_stratified(n):
    """As many of each size as there can be, whatever the number of coalitions."""
    sizes = stratified(KEY, n, 0, 5 * n).sum(axis=1)
    for num in (1, n - 1, n + n // 2, 5 * n):
        counts = np.bincount(sizes[:num], minlength=n + 1)
        assert counts[0] == counts[n] == 0
        assert np.ptp(counts[1:n]) <= (num % (n - 1) > 0)
    few = max(n // 2, 1)  # spread evenly before each size had its turn
    early = np.sort(sizes[:few]) / n - np.arange(few) / few
    assert np.ptp(early) * few < 4


def test_sizes_that_are_drawn_more_often_are_stratified():
    shares = np.arange(1.0, 10) / 45
    sizes = stratified(KEY, 10, 0, 900, shares).sum(axis=1)
    counts = np.bincount(sizes, minlength=11)[1:10]
    assert np.abs(counts - 900 * shares).max() < 10
    for turn in np.split(sizes, 100):  # nine at a time
        apart = np.bincount(turn, minlength=11)[1:10] - 9 * shares
        assert np.abs(apart).max() < 2


def stratified(key, n, start, stop, shares=None):
    shares = np.full(n - 1, 1 / (n - 1)) if shares is None else shares
    return sampling.stratified_coalitions(key, n, start, stop, shares)


def test_a_stratified_size_has_the_law_of_a_drawn_one():
    """The third coalition, over keys: any size is as likely, and so is any member."""
    n, num = 5, 400
    keys = jax.random.split(KEY, num)
    found = np.concatenate([stratified(key, n, 2, 3) for key in keys])
    counts = np.bincount(found.sum(axis=1), minlength=n + 1)[1:n]
    assert np.abs(counts - num / 4).max() < 4 * np.sqrt(num * 3 / 16)
    assert np.abs(found.sum(axis=0) - num / 2).max() < 4 * np.sqrt(num / 4)


def test_stratified_sizes_bring_values_nearer(monkeypatch):
    """Few players: what follows the size is a good part of the error."""
    game, law = network(5), shapley(5)
    exact = np.asarray(exact_semivalue(game, law).value)

    def error():
        keys = jax.random.split(KEY, 60)
        found = [
            semivalues(key, game, law, num_evaluations=200, method="leverage").value
            for key in keys
        ]
        return np.square(np.array(found) - exact).mean()

    nearer = error()
    drawn = sampling.sized_coalitions
    monkeypatch.setattr(sampling, "stratified_coalitions", drawn)
    assert nearer < 0.9 * error()


class Incremental:
    """A value function with methods of its own, as a network's."""

    is_incremental = True
    num_players = 10

    def __init__(self):
        self.game, self.asked, self.valued = network(), [], 0

    def __call__(self, masks):
        self.asked.append("full")
        self.valued += len(masks)
        return self.game(masks)

    def prefixes(self, orders):
        self.asked.append("prefixes")
        self.valued += orders.size + len(orders)
        return asked.prefix_values(self.game, orders)

    def toggles(self, masks):
        self.asked.append("toggles")
        return asked.toggle_values(self.game, masks)


@pytest.mark.parametrize(
    ("method", "law", "way"),
    [
        ("antithetic", shapley(10), "prefixes"),
        ("permutation", shapley(10), "prefixes"),
        ("toggle_all", banzhaf(10, 0.2), "toggles"),
    ],
)
def test_sweeps_of_the_value_function_are_used(method, law, way):
    incremental = Incremental()
    one = semivalues(KEY, incremental, law, num_evaluations=300, method=method)
    plain = network()
    plain.is_deterministic = True  # nobody and everybody are valued once
    shared = {"permutation": 27 * 2, "antithetic": 13 * 4}.get(method, 0)  # ends
    two = semivalues(KEY, plain, law, num_evaluations=300 - shared, method=method)
    assert way in incremental.asked
    np.testing.assert_array_equal(one.value, two.value)
    np.testing.assert_array_equal(one.stderr, two.stderr)


@pytest.mark.parametrize("method", ["permutation", "antithetic", "antithetic_centred"])
@pytest.mark.parametrize("is_incremental", [True, False])
def test_orders_cost_what_is_said(method, is_incremental):
    """Prefixes bring nobody and everybody along, N + 1 values for each order."""
    game = Incremental()
    game.is_incremental = is_incremental
    found = semivalues(KEY, game, shapley(10), num_evaluations=300, method=method)
    assert ("prefixes" in game.asked) == is_incremental
    assert game.valued == found.num_evaluations <= 300


def test_prefixes_and_toggles_by_hand():
    """v = 1 x in_0 + 10 x in_1 + 100 x in_0 in_2."""

    def game(m):
        return m[:, 0] + 10.0 * m[:, 1] + 100.0 * (m[:, 0] & m[:, 2])

    orders = np.array([[2, 0, 1], [1, 2, 0]])
    values = asked.prefix_values(game, orders)
    np.testing.assert_array_equal(values, [[0, 0, 101, 111], [0, 10, 10, 111]])
    base, toggled = asked.toggle_values(game, np.array([[True, True, False]]))
    np.testing.assert_array_equal(base, [11])
    np.testing.assert_array_equal(toggled, [[10, 1, 111]])


def test_players_never_seen_are_refused_before_anything_is_evaluated():
    def untouched(masks):
        raise AssertionError

    for method in ("sample_reuse", "regression"):
        with pytest.raises(InputError, match=r"budget too small.*ask for \d+"):
            semivalues(
                KEY, untouched, banzhaf(20, 0.001), num_evaluations=50, method=method
            )


def test_halves_are_of_half_the_samples():
    """The mean of the halves is the whole, and they differ as halves should."""
    law = banzhaf(10, 0.3)
    estimate = estimate_indices(
        KEY, network(), law, num_evaluations=4000, method="toggle_all"
    )
    assert estimate.agreement > 0.9
