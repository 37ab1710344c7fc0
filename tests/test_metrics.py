"""Losses and metrics against plain NumPy, and their refusals."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gamepruning.metrics import accuracy, cross_entropy, r2, squared_error


@pytest.fixture
def outputs(key):
    return jax.random.normal(key, (7, 3)) * 4


LABELS = jnp.array([0, 1, 2, 0, 1, 2, 0])


def test_cross_entropy_is_the_mean_surprise(outputs):
    z = np.asarray(outputs, np.float64)
    probabilities = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    expected = -np.log(probabilities[np.arange(7), LABELS]).mean()
    np.testing.assert_allclose(cross_entropy(outputs, LABELS), expected, rtol=1e-6)


@pytest.mark.parametrize("wrong", [-1, 3])
def test_labels_out_of_range_are_loud(outputs, wrong):
    assert np.isnan(cross_entropy(outputs, LABELS.at[0].set(wrong)))


def test_cross_entropy_has_the_softmax_gradient(outputs):
    slope = jax.jit(jax.grad(cross_entropy))(outputs, LABELS)
    expected = (jax.nn.softmax(outputs) - jax.nn.one_hot(LABELS, 3)) / 7
    np.testing.assert_allclose(slope, expected, atol=1e-6)


def test_every_position_of_a_sequence_counts(outputs):
    doubled = jnp.stack([outputs, outputs])
    labels = jnp.stack([LABELS, LABELS])
    np.testing.assert_allclose(
        cross_entropy(doubled, labels), cross_entropy(outputs, LABELS), rtol=1e-6
    )
    np.testing.assert_allclose(accuracy(doubled, labels), accuracy(outputs, LABELS))


def test_accuracy_counts_hits():
    outputs = jnp.eye(3)
    assert accuracy(outputs, jnp.array([0, 1, 0])) == pytest.approx(2 / 3)


@pytest.mark.parametrize("shape", [(4,), (4, 1)])
def test_squared_error_by_hand(shape):
    outputs = jnp.arange(4.0).reshape(shape)
    # (1 + 1 + 1 + 9) / 4
    assert squared_error(outputs, jnp.array([1, 2, 3, 6])) == pytest.approx(3.0)


def test_r2_by_hand():
    labels = jnp.array([1.0, 2.0, 3.0, 6.0])  # mean 3, total 4 + 1 + 0 + 9 = 14
    assert r2(jnp.full(4, 3.0), labels) == pytest.approx(0.0)
    assert r2(labels, labels) == pytest.approx(1.0)
    assert r2(jnp.array([[1.0], [2.0], [3.0], [4.0]]), labels) == pytest.approx(10 / 14)


def test_r2_of_targets_that_do_not_vary():
    labels = jnp.full(3, 2.0)
    assert r2(labels, labels) == 1
    assert r2(labels + 1, labels) == 0


@pytest.mark.parametrize(
    ("fn", "outputs", "labels", "message"),
    [
        (accuracy, jnp.ones((2, 3)), jnp.ones(2), "integer class labels"),
        (cross_entropy, jnp.ones((2, 3)), jnp.ones((2, 3), int), "argmax"),
        (squared_error, jnp.ones((2, 3)), jnp.ones(2), "one shape"),
        (r2, jnp.ones(3), jnp.ones(2), "one shape"),
    ],
)
def test_shapes_that_do_not_fit_are_named(fn, outputs, labels, message):
    with pytest.raises(ValueError, match=message):
        fn(outputs, labels)
