"""What a network is judged by: pure functions of (outputs, labels), each one number.

Losses (lower is better) train a network; metrics (higher is better) judge it. All of
them are means over the leading axis, so that the value over a whole set is the
size-weighted mean of the values over its parts; `r2` alone needs the whole set.
"""

import jax
import jax.numpy as jnp
from jaxtyping import ArrayLike, Float


def cross_entropy(outputs: ArrayLike, labels: ArrayLike) -> Float[jax.Array, ""]:
    """Mean softmax cross-entropy: -log softmax(outputs)[label], in nats.

    Args:
      outputs: logits, float [..., C].
      labels: the true classes, integers [...] in [0, C). A label outside that range
        makes the loss NaN, which is loud, where an index would be clipped in silence.

    Returns:
      The mean over all examples, a scalar.

    Raises:
      ValueError: labels are not integers, or their shape is not that of outputs
        without the last axis.

    Example:
      >>> import jax.numpy as jnp
      >>> loss = cross_entropy(jnp.zeros((2, 4)), jnp.array([0, 3]))
      >>> round(float(loss), 4)  # log 4
      1.3863
    """
    outputs, labels = _check_classes(outputs, labels)
    log_probs = jax.nn.log_softmax(outputs, axis=-1)
    picked = jnp.take_along_axis(
        log_probs, labels[..., None], axis=-1, mode="fill", fill_value=jnp.nan
    )
    inside = labels[..., None] >= 0  # a negative index would count from the end
    return -jnp.where(inside, picked, jnp.nan).mean()


def accuracy(outputs: ArrayLike, labels: ArrayLike) -> Float[jax.Array, ""]:
    """Fraction of examples whose largest output is that of the true class.

    Args:
      outputs: logits or probabilities, float [..., C].
      labels: the true classes, integers [...].

    Returns:
      A scalar in [0, 1]. Ties go to the lower class.

    Raises:
      ValueError: labels are not integers, or their shape is not that of outputs
        without the last axis.

    Example:
      >>> import jax.numpy as jnp
      >>> float(accuracy(jnp.array([[2.0, 1.0], [0.0, 3.0]]), jnp.array([0, 0])))
      0.5
    """
    outputs, labels = _check_classes(outputs, labels)
    return (jnp.argmax(outputs, axis=-1) == labels).mean(dtype=jnp.float32)


def squared_error(outputs: ArrayLike, labels: ArrayLike) -> Float[jax.Array, ""]:
    """Mean squared error: (outputs - labels)^2.

    Args:
      outputs: predictions, float [...] or [..., 1].
      labels: targets, [...] or the shape of outputs.

    Returns:
      The mean over all entries, a scalar >= 0.

    Raises:
      ValueError: the shapes do not match.

    Example:
      >>> import jax.numpy as jnp
      >>> float(squared_error(jnp.array([[1.0], [2.0]]), jnp.array([1.0, 4.0])))
      2.0
    """
    outputs, labels = _check_targets(outputs, labels)
    return jnp.square(outputs - labels).mean()


def r2(outputs: ArrayLike, labels: ArrayLike) -> Float[jax.Array, ""]:
    """Coefficient of determination: 1 - sum (y - f)^2 / sum (y - mean y)^2.

    Args:
      outputs: predictions, float [B, ...] or [B, ..., 1].
      labels: targets, [B, ...] or the shape of outputs; means are over B.

    Returns:
      A scalar, at most 1; 0 for the mean as the prediction. Where the targets do not
      vary it is 0, unless the prediction is perfect (then 1).

    Raises:
      ValueError: the shapes do not match.

    Example:
      >>> import jax.numpy as jnp
      >>> float(r2(jnp.array([1.0, 2.0, 3.0]), jnp.array([1.0, 2.0, 3.0])))
      1.0
    """
    outputs, labels = _check_targets(outputs, labels)
    residual = jnp.square(labels - outputs).sum()
    total = jnp.square(labels - labels.mean(axis=0, keepdims=True)).sum()
    explained = 1.0 - residual / jnp.where(total > 0, total, 1.0)
    return jnp.where(total > 0, explained, jnp.where(residual > 0, 0.0, 1.0))


def _check_classes(outputs, labels):
    outputs, labels = jnp.asarray(outputs), jnp.asarray(labels)
    if not jnp.issubdtype(labels.dtype, jnp.integer):
        raise ValueError(
            f"expected integer class labels, got {labels.dtype}: cast them with "
            "astype(int), or use squared_error for real-valued targets"
        )
    if outputs.ndim < 1 or outputs.shape[:-1] != labels.shape:
        raise ValueError(
            f"expected outputs [..., classes] and labels [...], got outputs "
            f"{outputs.shape} and labels {labels.shape}: for one-hot labels pass "
            "labels.argmax(-1)"
        )
    return outputs, labels


def _check_targets(outputs, labels):
    outputs, labels = jnp.asarray(outputs), jnp.asarray(labels)
    if outputs.shape == (*labels.shape, 1):
        outputs = outputs[..., 0]
    if outputs.shape != labels.shape:
        raise ValueError(
            "expected outputs and labels of one shape, or outputs with one more axis "
            f"of length 1, got outputs {outputs.shape} and labels {labels.shape}"
        )
    return outputs, labels.astype(jnp.result_type(outputs, float))
