"""What a coalition is worth: metrics that rise with the quality of the network."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import ArrayLike, Float

from gamepruning import metrics


def negative_cross_entropy(
    outputs: ArrayLike, labels: ArrayLike
) -> Float[jax.Array, ""]:
    """Mean log-probability of the true class: log softmax(outputs)[label].

    Where accuracy only sees who is largest, it sees by how much, also near the empty
    network; it has no lower bound.

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
    outputs, labels = metrics._check_classes(outputs, labels)
    mine = jax.nn.one_hot(labels, outputs.shape[-1], dtype=bool)
    picked = jnp.where(mine, jax.nn.softmax(outputs, axis=-1), 0).sum(axis=-1)
    return jnp.where(mine.any(axis=-1), picked, jnp.nan).mean()


MEANS = (
    metrics.accuracy,
    metrics.cross_entropy,
    metrics.squared_error,
    negative_cross_entropy,
    true_class_probability,
)


def is_mean(metric: Callable[..., Any]) -> bool:
    """True for the library's own metrics that are means over examples."""
    return any(metric is known for known in MEANS)
