"""Values after repair: those of the repaired network, however they are computed."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gamepruning as gp
from gamepruning.coalitions import measures
from gamepruning.reconstruction import gather_grams, gram
from tests.coalitions.test_values import make_attention, make_convnet, normal
from tests.small import make_mlp


def random_masks(num_players, count=9):
    """From nearly nobody to everybody."""
    shares = np.linspace(0.1, 1, count)[:, None]
    return np.random.default_rng(0).random((count, num_players)) < shares


def mean_of_first(outputs, labels):
    first = outputs["logits"] if isinstance(outputs, dict) else outputs
    return (jnp.tanh(first[:, 0]) * labels).mean()


@pytest.mark.parametrize("make", [make_convnet, make_attention])
def test_values_are_those_of_the_repaired_network(make):
    apply, params, inputs = make()
    players = gp.find_players(apply, params, *inputs)
    calibration = tuple(normal(k, 60, *x.shape[1:]) for k, x in enumerate(inputs))
    grams = gather_grams(players, params, calibration)
    labels = normal(9, len(inputs[0]))
    value_fn = gp.value_function(
        players, params, mean_of_first, inputs, labels, repair=grams
    )
    masks = random_masks(players.num_players)
    for mask, value in zip(masks, np.asarray(value_fn(masks)), strict=True):
        repaired = grams.run.passes.with_params(grams.repaired(mask))
        outputs = players.gated(repaired, mask, *inputs)
        np.testing.assert_allclose(value, mean_of_first(outputs, labels), rtol=2e-4)


@pytest.fixture(scope="module")
def game():
    players, params, inputs, labels = make_mlp(
        jax.random.key(0), (5, 24, 16, 3), num_examples=600
    )
    grams = gather_grams(players, params, inputs[:200])
    return (players, params, measures.negative_cross_entropy, inputs, labels), grams


def test_values_after_repair_do_not_depend_on_chunks_or_devices(game):
    data, grams = game
    masks = random_masks(data[0].num_players, 35)
    found = [
        np.asarray(
            gp.value_function(
                *data,
                repair=grams,
                rows_at_once=128,
                chunk_size=size,
                devices=jax.devices()[:devices],
            )(masks)
        )
        for size, devices in ((None, 1), (5, 1), (None, 4))
    ]
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_array_equal(found[0], found[2])
    whole = gp.value_function(*data, repair=grams, rows_at_once=600)(masks)
    np.testing.assert_allclose(found[0], whole, rtol=1e-5)


def test_both_ways_to_solve_give_the_weights_of_masked_least_squares(game, monkeypatch):
    """By the inverse where few leave, directly where many do: C_SS W = (C W)_S."""
    (players, *_), grams = game
    for most in (gram.MOST_INVERTED, 0):
        monkeypatch.setattr(gram, "MOST_INVERTED", most)
        for each in grams.grams:
            each.__dict__.pop("inverse", None)
            assert (each.inverse is None) == (most == 0)
            for mask in random_masks(players.num_players):
                stays, (moments,), (weights,) = (
                    each.stays(mask),
                    each.moments,
                    each.weights,
                )
                rows = np.flatnonzero(stays[0])
                expected = np.zeros_like(weights)
                expected[rows] = np.linalg.lstsq(
                    moments[np.ix_(rows, rows)], (moments @ weights)[rows]
                )[0]
                np.testing.assert_allclose(each.fit(stays)[0], expected, atol=1e-8)


def test_an_inverse_that_is_not_exact_is_not_used(game):
    (players, params, _, inputs, _), _ = game
    twice = jax.tree.map(jnp.asarray, params)
    same = inputs.at[:, 1:].set(inputs[:, :1])  # a few directions: singular moments
    grams = gather_grams(players, twice, same, ridge=0.0)
    assert all(each.inverse is None for each in grams.grams)


def test_a_bandit_pulls_arms_of_the_repaired_network(game):
    (players, params, measure, inputs, labels), grams = game
    few = players, params, measure, inputs[:100], labels[:100]
    value_fn = gp.value_function(*few, repair=grams)
    num = players.num_players
    scores = gp.play_bandit(
        jax.random.key(0), gp.ucb1(), value_fn, num_pulls=num + 8, pulls_at_once=8
    )

    def value(mask):
        repaired = grams.run.passes.with_params(grams.repaired(mask))
        return measure(players.gated(repaired, mask, few[3]), few[4])

    masks = ~np.eye(num, dtype=bool)
    changes = value(np.ones(num, bool)) - np.stack([value(mask) for mask in masks])
    np.testing.assert_allclose(scores.value, changes, atol=1e-5)
