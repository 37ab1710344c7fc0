"""Losses and metrics against plain NumPy, and their refusals."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gamepruning.metrics import (
    METRICS,
    accuracy,
    balanced_accuracy,
    balanced_class_weights,
    class_facts,
    class_recalls,
    cross_entropy,
    macro_f1,
    r2,
    squared_error,
)
from gamepruning.types import InputError


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


def test_what_counts_classes_alike_against_scikit_learn(key):
    from sklearn import metrics as theirs

    outputs = jax.random.normal(key, (60, 4)).at[:, 3].set(-9)  # never named
    labels = jnp.arange(60) % 7 // 2
    named = np.argmax(outputs, axis=1)
    expected = theirs.recall_score(labels, named, average=None)
    np.testing.assert_allclose(class_recalls(outputs, labels), expected, rtol=1e-6)
    expected = theirs.balanced_accuracy_score(labels, named)
    assert float(jax.jit(balanced_accuracy)(outputs, labels)) == pytest.approx(expected)
    expected = theirs.f1_score(labels, named, average="macro")
    assert float(jax.jit(macro_f1)(outputs, labels)) == pytest.approx(expected)


def test_a_class_without_examples_does_not_count():
    outputs, labels = jnp.eye(3)[jnp.array([0, 0, 1])], jnp.array([0, 0, 1])
    assert np.isnan(class_recalls(outputs, labels)[2])
    assert balanced_accuracy(outputs, labels) == macro_f1(outputs, labels) == 1


def test_balanced_weights_let_classes_count_alike(outputs):
    """The weighted mean is the mean over classes of their mean losses."""
    labels = jnp.array([0, 0, 0, 0, 1, 1, 2])
    weights = balanced_class_weights(labels, 3)
    np.testing.assert_allclose(weights, [7 / 12, 7 / 6, 7 / 3], rtol=1e-6)
    own = [cross_entropy(outputs[labels == k], labels[labels == k]) for k in range(3)]
    loss = cross_entropy(outputs, labels, class_weights=weights)
    np.testing.assert_allclose(loss, np.mean(own), rtol=1e-6)
    assert balanced_class_weights(labels, 4)[3] == 0


@pytest.mark.parametrize("name", METRICS)
def test_every_metric_is_best_when_all_is_right(name):
    labels = jnp.array([0, 1, 2, 1])
    outputs = labels if name == "r2" else jax.nn.one_hot(labels, 3)
    assert float(METRICS[name](outputs, labels)) == 1


def test_targets_that_do_not_vary_but_by_rounding():
    target = jnp.full(1000, 0.1)
    assert float(r2(target + 0.01, target)) == 0
    assert float(r2(target, target)) == 1


@pytest.mark.parametrize("odd", [5, -1])
@pytest.mark.parametrize("metric", [accuracy, balanced_accuracy, macro_f1])
def test_metrics_of_labels_out_of_range_are_loud(odd, metric):
    outputs = jnp.array([[2.0, 1.0], [0.0, 3.0], [1.0, 0.0]])
    assert np.isnan(metric(outputs, jnp.array([0, 1, odd])))


def test_weights_and_facts_of_classes_are_checked():
    outputs = jnp.array([[2.0, 1.0], [0.0, 3.0]])
    with pytest.raises(InputError, match=r"class_weights of shape \(2,\)"):
        cross_entropy(outputs, np.array([0, 1]), class_weights=np.ones(1))
    for call in (
        lambda: balanced_class_weights(np.array([0, -1]), 2),
        lambda: class_facts(np.array([0, 1]), np.array([2]), ("a", "b")),
        lambda: class_facts(np.array([-1]), np.array([0]), ("a", "b")),
    ):
        with pytest.raises(InputError, match="labels from 0 to 1, got"):
            call()
