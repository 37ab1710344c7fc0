"""Elimination, the comparison across families, and the game after repair."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gamepruning as gp
from gamepruning.reconstruction import (
    ReconstructionConfig,
    reconstruction_curves,
    reconstruction_scores,
)
from gamepruning.reconstruction.eliminate import eliminate
from gamepruning.reconstruction.gram import gather_grams
from gamepruning.reconstruction.scores import FamilyCurve, price
from gamepruning.types import InputError
from tests.reconstruction.test_repair import draw, mlp, mlp_params

RIDGE = 1e-6


@pytest.fixture(scope="module")
def network():
    params, x = mlp_params(), draw(0, 300, 4)
    players = gp.find_players(mlp, params, x)
    grams = gather_grams(players, params, (x,), ridge=RIDGE, batch_size=100)
    return params, x, players, grams


def hidden(params, x):
    return np.maximum(x @ params["in"] + params["b"], 0).astype(float)


def lost(params, x, rows) -> float:
    """What no weights of these hidden units give back, as a share of the variance."""
    h, z = hidden(params, x), hidden(params, x) @ params["mid"]
    h, z = h - h.mean(axis=0), z - z.mean(axis=0)
    fitted = h[:, rows] @ np.linalg.lstsq(h[:, rows], z, rcond=None)[0]
    return float(np.square(z - fitted).sum() / np.square(z).sum())


def test_elimination_takes_the_smallest_loss_each_time(network):
    params, x, _, grams = network
    found = eliminate(list(range(12)), grams.of(range(12)))
    left = list(range(12))
    for player, loss in zip(found.order[:-1], found.loss, strict=False):
        rests = {k: [j for j in left if j != k] for k in left}
        losses = {k: lost(params, x, rest) for k, rest in rests.items()}
        left.remove(player)
        assert losses[player] <= min(losses.values()) * 1.02 + 1e-6
        assert loss == pytest.approx(losses[player], rel=2e-2, abs=1e-5)
    assert found.loss[-1] == pytest.approx(1.0, rel=1e-2)


def test_weights_of_a_coalition_are_those_of_least_squares(network):
    params, x, players, grams = network
    mask = np.arange(players.num_players) % 3 != 0
    rows = np.flatnonzero(mask[:12])
    h = hidden(params, x)
    z = h @ params["mid"] + params["c"]
    design = np.hstack([h[:, rows], np.ones((len(h), 1))])
    expected = np.linalg.lstsq(design, z, rcond=None)[0]
    repaired = grams.run.passes.with_params(grams.repaired(mask))
    np.testing.assert_allclose(repaired["mid"][rows], expected[:-1], atol=5e-3)
    np.testing.assert_allclose(repaired["c"], expected[-1], atol=5e-3)


def test_counts_are_noted_with_their_weights(network):
    _, _, players, grams = network
    found = eliminate(list(range(12)), grams.of(range(12)), [4, 8], lambda left: left)
    assert sorted(found.weights) == [4, 8]
    mask = np.ones(players.num_players, bool)
    mask[found.order[:8]] = False
    (gram,) = grams.of(range(12))
    np.testing.assert_allclose(
        found.weights[4][0], gram.fit(gram.stays(mask)), atol=1e-4
    )


def test_elimination_may_stop_early(network):
    _, _, _, grams = network
    every = eliminate(list(range(12)), grams.of(range(12)))
    found = eliminate(list(range(12)), grams.of(range(12)), until=5)
    assert len(found.order) == 7
    np.testing.assert_array_equal(found.order, every.order[:7])
    np.testing.assert_allclose(found.loss, every.loss[:7])


def test_the_price_is_of_the_errors_where_the_network_was_not_asked():
    none = np.array([], int)
    error = np.array([1.0, 2.0, 4.0, 7.0])
    found = price(FamilyCurve("f", np.arange(4), error, none, none.astype(float)))
    np.testing.assert_allclose(found, [1, 1, 2, 3], rtol=1e-2)


@pytest.mark.parametrize("across", ["network", "error", "share"])
def test_scores_rank_a_family_as_its_elimination(network, across):
    params, x, players, _ = network
    config = ReconstructionConfig(across=across, shares=(0.25, 0.5, 0.75))
    curves, evaluations = reconstruction_curves(players, params, x, config=config)
    scores = reconstruction_scores(players, params, x, config=config)
    assert scores.num_evaluations == evaluations
    for curve in curves:
        np.testing.assert_array_equal(
            np.argsort(np.asarray(scores.value)[curve.order]),
            np.arange(len(curve.order)),
        )
    if across == "network":
        assert all((np.diff(curve.loss) <= 1e-6).all() for curve in curves)


def test_the_price_never_falls_and_is_the_slope_of_a_convex_curve():
    curve = FamilyCurve(
        "f", np.arange(8), np.arange(8.0), np.array([2, 4, 6]), np.array([9.0, 8, 1])
    )
    found = price(curve)
    assert (np.diff(found) > 0).all()
    # 8 -> 6 loses 1; 6 -> 2 loses 8, below the point at 4; the last two cost as much
    np.testing.assert_allclose(found, [0.5, 0.5, 2, 2, 2, 2, 2, 2], rtol=1e-2)


def test_prices_of_a_large_family_differ_in_single_precision():
    size = 4000
    curve = FamilyCurve(
        "f", np.arange(size), np.arange(size), np.array([2000]), np.array([0.0])
    )
    assert (np.diff(price(curve).astype("float32")) > 0).all()


def test_a_value_after_repair_is_that_of_the_repaired_network(network):
    params, x, players, grams = network
    y = jnp.argmax(mlp(params, x), axis=-1)
    metric = gp.negative_cross_entropy
    value_fn = gp.value_function(players, params, metric, x, y, repair=grams)
    plain = gp.value_function(players, params, metric, x, y)
    masks = np.random.default_rng(0).random((5, players.num_players)) < 0.5
    masks[0] = True
    values = np.asarray(value_fn(masks))
    assert value_fn.num_evaluations == 5
    for mask, value in zip(masks, values, strict=True):
        repaired = grams.run.passes.with_params(grams.repaired(mask))
        expected = metric(players.gated(repaired, mask, x), y)
        np.testing.assert_allclose(value, expected, rtol=1e-4)
    assert values[0] == pytest.approx(plain(masks[0]), rel=1e-5)
    assert (values[1:] > np.asarray(plain(masks[1:]))).mean() > 0.5


def test_the_game_after_repair_is_a_game(network):
    params, x, players, grams = network
    y = jnp.argmax(mlp(params, x), axis=-1)
    value_fn = gp.value_function(
        players, params, gp.negative_cross_entropy, x, y, repair=grams
    )
    inside = np.zeros(players.num_players, bool)
    inside[4:] = True
    game = value_fn.restrict(always_in=inside)
    masks = np.array(list(itertools.product([False, True], repeat=4)))
    whole = np.hstack([masks, np.ones((16, players.num_players - 4), bool)])
    np.testing.assert_allclose(game(masks), value_fn(whole), rtol=1e-6)
    exact = gp.exact_shapley(game, 4)
    estimate = gp.shapley_values(
        jax.random.key(0), game, num_players=4, num_evaluations=200
    )
    np.testing.assert_allclose(estimate.value, exact.value, atol=0.05)
    trace = gp.iterated_building(
        jax.random.key(0),
        game,
        2,
        scorer=lambda key, game, n: gp.exact_shapley(game, n),
    )
    assert trace.mask.sum() == 2


def test_bad_settings_are_named(network):
    params, x, players, _ = network
    with pytest.raises(gp.InputError, match="expected shares between 0 and 1"):
        ReconstructionConfig(shares=(0.5, 1.0))
    with pytest.raises(gp.InputError, match="batch_size of at least 1"):
        gather_grams(players, params, x, batch_size=0)
    weights = gp.find_players(mlp, params, x, granularity="weight")
    with pytest.raises(gp.InputError, match="not weight players"):
        reconstruction_scores(weights, params, x)
    with pytest.raises(gp.InputError, match="gather_grams"):
        gp.value_function(
            players,
            params,
            gp.accuracy,
            x,
            jnp.zeros(len(x), int),
            repair=3,  # type: ignore
        )


def tied(params, x):
    return jax.nn.sigmoid(x @ params["w"]) @ params["w"].T


def test_families_that_nothing_can_be_fitted_for_leave_by_what_they_do():
    """One matrix read in two ways: nobody makes up for anybody."""
    w = jnp.asarray(draw(1, 12, 16) / 2)
    w = w.at[:, 15].set(0.0).at[:, 0].multiply(5.0)  # nobody, and the most important
    params, x = {"w": w}, draw(3, 150, 12)
    players = gp.find_players(tied, params, x)
    with pytest.warns(UserWarning, match="1 family is read by nothing that can be"):
        scores = reconstruction_scores(players, params, x)
    order = np.argsort(scores.value)
    assert order[0] == 15 and order[-1] == 0

    def divergence(mask):
        full, cut = (players.gated(params, m, x) for m in (np.ones(16, bool), mask))
        return float(gp.metrics.class_divergence(full, cut))

    with pytest.warns(UserWarning, match="ranked by their own effect"):
        found = gp.reconstruction.trade(players, params, x, 8)
    np.testing.assert_array_equal(found.mask, gp.top_n(scores, 8, players=players))
    numbers = np.random.default_rng(0)
    others = [numbers.permutation(np.arange(16) < 8) for _ in range(20)]
    assert divergence(found.mask) < np.median([divergence(mask) for mask in others])


def test_a_graph_is_one_batch():
    """Inputs of different lengths, whose rows belong together."""

    def apply(params, nodes, edges):
        hidden = jax.nn.relu(nodes @ params["in"])
        summed = jax.ops.segment_sum(hidden[edges[:, 0]], edges[:, 1], len(nodes))
        return summed @ params["out"]

    params = {"in": draw(0, 5, 8), "out": draw(1, 8, 3)}
    numbers = np.random.default_rng(0)
    graph = draw(2, 30, 5), numbers.integers(0, 30, (90, 2))
    players = gp.find_players(apply, params, *graph)
    scores = reconstruction_scores(players, params, graph)
    found = gp.reconstruction.trade(players, params, graph, 4)
    np.testing.assert_array_equal(found.mask, gp.top_n(scores, 4, players=players))


def test_grams_of_another_network_are_refused(network):
    params, x, players, grams = network
    labels = np.zeros(len(x), int)

    def value_fn(players, params):
        metric = gp.negative_cross_entropy
        return gp.value_function(players, params, metric, x, labels, repair=grams)

    again = gp.find_players(mlp, params, x)
    for same in (players, again):
        assert value_fn(same, params).num_players == players.num_players
    keep = players.families[0].name
    fewer = gp.find_players(mlp, params, x, keep=keep)
    with pytest.raises(InputError, match="gathered for other players"):
        value_fn(fewer, params)
    with pytest.raises(InputError, match="gathered for other parameters"):
        value_fn(players, params | {"in": 2 * params["in"]})
    with pytest.raises(InputError, match="gathered for other parameters"):
        value_fn(players, params | {"more": params["in"]})
