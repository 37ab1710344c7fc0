"""What a coalition is worth: metrics that rise with the quality of the network."""

import chex
import jax
import jax.numpy as jnp
from jaxtyping import ArrayLike, Float

from gamepruning import metrics
from gamepruning.types import Metric


def negative_cross_entropy(
    outputs: ArrayLike, labels: ArrayLike
) -> Float[jax.Array, ""]:
    """Mean log-probability of the true class: log softmax(outputs)[label].

    Accuracy sees which output is largest only; this sees by how much, also near the
    empty network. It has no lower bound.

    Args:
      outputs: logits, float [..., C].
      labels: the true classes, integers [...] in [0, C).

    Returns:
      The mean over all examples, at most 0.

    Raises:
      ValueError: see `cross_entropy`.

    Example:
      >>> import jax.numpy as jnp
      >>> value = negative_cross_entropy(jnp.zeros((2, 4)), jnp.array([0, 3]))
      >>> round(float(value), 4)  # -log 4
      -1.3863
    """
    return -metrics.cross_entropy(outputs, labels)


def true_class_probability(
    outputs: ArrayLike, labels: ArrayLike
) -> Float[jax.Array, ""]:
    """Mean probability of the true class: softmax(outputs)[label].

    Args:
      outputs: logits, float [..., C].
      labels: the true classes, integers [...] in [0, C); another gives NaN.

    Returns:
      The mean over all examples, in [0, 1].

    Raises:
      ValueError: labels are not integers, or their shape is not that of outputs
        without the last axis.

    Example:
      >>> import jax.numpy as jnp
      >>> float(true_class_probability(jnp.zeros((2, 4)), jnp.array([0, 3])))
      0.25
    """
    outputs, labels = map(jnp.asarray, metrics._check_classes(outputs, labels))
    mine = jax.nn.one_hot(labels, outputs.shape[-1], dtype=bool)
    picked = jnp.where(mine, jax.nn.softmax(outputs, axis=-1), 0).sum(axis=-1)
    chex.assert_equal_shape([picked, labels])
    return jnp.where(mine.any(axis=-1), picked, jnp.nan).mean()


SHARPNESS = (0.5, 1.0, 2.0, 4.0, 8.0)


def calibrated_likelihood(
    outputs: ArrayLike, labels: ArrayLike
) -> Float[jax.Array, ""]:
    """Mean log-probability of the true class at the best of five temperatures.

    max over t in SHARPNESS of the mean of log softmax(t outputs)[label]

    Networks of few players have small outputs: right, but unsure. Cross-entropy then
    mostly measures the scale of the outputs, which this does not; on LeNet-5 it finds
    better small networks than cross-entropy, accuracy or the true class's probability
    (`experiments/gtap`). It is not a mean over examples, so all of them are evaluated
    at once.

    Args:
      outputs: logits, float [..., C].
      labels: the true classes, integers [...] in [0, C); another gives NaN.

    Returns:
      A scalar, at most 0.

    Raises:
      ValueError: see `cross_entropy`.

    Example: the same network, half as sure of itself, right three times in four.
      >>> import jax.numpy as jnp
      >>> sure, labels = jnp.array([[1.0, 0.0]] * 4), jnp.array([0, 0, 0, 1])
      >>> values = [calibrated_likelihood(x, labels) for x in (sure, sure / 2)]
      >>> [round(float(value), 3) for value in values]
      [-0.563, -0.563]
    """
    outputs = jnp.asarray(outputs)
    values = [metrics.cross_entropy(t * outputs, labels) for t in SHARPNESS]
    chex.assert_rank(values, 0)
    return -jnp.stack(values).min()


MEANS = (
    metrics.accuracy,
    metrics.cross_entropy,
    metrics.squared_error,
    negative_cross_entropy,
    true_class_probability,
)


def is_mean(metric: Metric) -> bool:
    """Return True for the library's own metrics that are means over examples."""
    return any(metric is known for known in MEANS)
