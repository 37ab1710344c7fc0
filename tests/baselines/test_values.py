"""Scores against hand-worked numbers and their plain definitions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gamepruning.baselines import (
    activation_scores,
    loss_oracle_scores,
    magnitude_scores,
    random_scores,
    taylor_scores,
    weight_gradient_scores,
)
from gamepruning.metrics import cross_entropy, squared_error
from gamepruning.players import find_players
from tests.small import apply_mlp, make_mlp


@pytest.fixture
def hand():
    """h = relu(x W + b), f = h V: two inputs, two units, one output.

    theta_1 = (3, -4 | 0), theta_2 = (1, 0 | 2), V = (1, -1).
    """
    players, *_ = make_mlp(jax.random.key(0), widths=(2, 2, 1))
    params = {
        "dense0": {
            "kernel": jnp.array([[3.0, 1.0], [-4.0, 0.0]]),
            "bias": jnp.array([0.0, 2.0]),
        },
        "dense1": {"kernel": jnp.array([[1.0], [-1.0]]), "bias": jnp.zeros(1)},
    }
    # h = (3, 3) and (0, 2), f = 0 and -2, targets 1 and -2: errors -1 and 0.
    inputs, targets = jnp.array([[1.0, 0.0], [0.0, 1.0]]), jnp.array([1.0, -2.0])
    return players, params, inputs, targets


def test_magnitudes(hand):
    players, params, *_ = hand
    np.testing.assert_allclose(magnitude_scores(players, params, ord=1).value, [7, 3])
    np.testing.assert_allclose(
        magnitude_scores(players, params, ord=2).value, [5, np.sqrt(5)], rtol=1e-6
    )
    with pytest.raises((ValueError, TypeError), match="ord"):
        magnitude_scores(players, params, ord=3)  # pyright: ignore[reportArgumentType]


def test_activation_variance(hand):
    players, params, inputs, _ = hand
    # unit 1 emits 3 and 0, unit 2 emits 3 and 2
    scores = activation_scores(players, params, inputs)
    np.testing.assert_allclose(scores.value, [2.25, 0.25], rtol=1e-6)


def test_weight_times_gradient(hand):
    players, params, inputs, targets = hand
    # L = ((f1 - 1)^2 + (f2 + 2)^2) / 2, dL/df = (-1, 0): only x = (1, 0) counts.
    # dL/dtheta_1 = -1 * (1, 0 | 1), dL/dtheta_2 = +1 * (1, 0 | 1)
    scores = weight_gradient_scores(players, params, squared_error, inputs, targets)
    np.testing.assert_allclose(scores.value, [3.0, 3.0], rtol=1e-6)
    assert scores.num_evaluations == 2


def test_first_order_taylor(hand):
    players, params, inputs, targets = hand
    # l = (f - y)^2, dl/ds_i = 2 (f - y) h_i V_i: example 1 gives -6 and +6, 2 gives 0.
    scores = taylor_scores(players, params, squared_error, inputs, targets)
    np.testing.assert_allclose(scores.value, [3.0, 3.0], rtol=1e-6)


def test_second_order_taylor_is_exact_for_a_quadratic_loss(hand):
    players, params, inputs, targets = hand
    # Without unit 1: f = (-3, -2), errors (-4, 0): loss 8 against .5 before.
    # Without unit 2: f = (3, 0), errors (2, 2): loss 4 against .5 before.
    expected = [7.5, 3.5]
    arguments = (players, params, squared_error, inputs, targets)
    np.testing.assert_allclose(
        loss_oracle_scores(*arguments).value, expected, rtol=1e-5
    )
    scores = taylor_scores(*arguments, order=2)
    np.testing.assert_allclose(scores.value, expected, rtol=1e-5)
    assert scores.num_evaluations == 2  # one output


def test_second_order_taylor_is_the_gauss_newton_expansion(key):
    players, params, inputs, labels = make_mlp(key)
    scores = taylor_scores(players, params, cross_entropy, inputs, labels, order=2)
    ones = jnp.ones(players.num_players)
    logits = lambda s: players.gated(params, s, inputs)  # noqa: E731
    z, jacobian = logits(ones), jax.jacfwd(logits)(ones)
    p = jax.nn.softmax(z)
    slope = (p - jax.nn.one_hot(labels, z.shape[1])) / len(labels)
    curvature = (jax.vmap(jnp.diag)(p) - p[:, :, None] * p[:, None, :]) / len(labels)
    first = -jnp.einsum("bc,bcn->n", slope, jacobian)
    second = jnp.einsum("bcn,bcd,bdn->n", jacobian, curvature, jacobian)
    np.testing.assert_allclose(scores.value, first + second / 2, atol=1e-5)


def test_counters_and_random_keys_have_no_weight(key):
    players, params, inputs, labels = make_mlp(key)
    more = {"weights": params, "count": jnp.array(3), "key": jax.random.key(0)}
    same = find_players(lambda p, x: apply_mlp(p["weights"], x), more, inputs)
    for score in (
        lambda players, params: magnitude_scores(players, params, ord=1),
        lambda players, params: magnitude_scores(players, params, ord=2),
        lambda players, params: weight_gradient_scores(
            players, params, cross_entropy, inputs, labels
        ),
    ):
        np.testing.assert_allclose(
            score(same, more).value, score(players, params).value, rtol=1e-5
        )


@pytest.mark.parametrize("batch_size", [1, 2, 5, 100])
def test_the_oracle_takes_everybody_out_alone(key, batch_size):
    players, params, inputs, labels = make_mlp(key)
    scores = loss_oracle_scores(
        players, params, cross_entropy, inputs, labels, batch_size=batch_size
    )
    loss_of = lambda gates: cross_entropy(players.gated(params, gates, inputs), labels)  # noqa: E731
    everyone = jnp.ones(players.num_players)
    expected = [
        loss_of(everyone.at[i].set(0)) - loss_of(everyone)
        for i in range(players.num_players)
    ]
    np.testing.assert_allclose(scores.value, np.array(expected), atol=1e-5)
    assert scores.num_evaluations == players.num_players + 1


def test_random_scores_are_uniform_and_depend_on_the_key(key):
    players, *_ = make_mlp(key, widths=(2, 400, 2))
    value = np.asarray(random_scores(key, players).value)
    # The mean of 400 uniform numbers: .5 within four standard errors.
    assert abs(value.mean() - 0.5) < 4 / np.sqrt(12 * 400)
    assert (value != random_scores(jax.random.fold_in(key, 1), players).value).any()


def test_settings_out_of_range_are_refused(key):
    problem = make_mlp(key)
    players, params, inputs, labels = problem
    arguments = (players, params, cross_entropy, inputs, labels)
    with pytest.raises((ValueError, TypeError), match="order"):
        taylor_scores(*arguments, order=3)  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="batch_size"):
        loss_oracle_scores(*arguments, batch_size=0)
    with pytest.raises(ValueError, match="at once"):
        weight_gradient_scores(*arguments, examples_at_once=0)
