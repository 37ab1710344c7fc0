"""A function of many rows, a batch at a time: outputs, and a metric of all of them."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from gamepruning.trees.examples import count_rows

Apply = Callable[[Any, Any], Array]  # (params, inputs) -> outputs [B, ...]
Measure = Callable[[Array, Any], Array]  # (outputs, labels) -> scalar: loss or metric


def predict(apply: Apply, params: Any, inputs: Any, *, batch_size: int = 2000) -> Array:
    """Outputs [B, ...] for all inputs, a batch at a time, compiled once.

    Args:
      apply: (params, inputs) -> outputs [B, ...].
      params: of the network.
      inputs: [B, ...], B >= 1; or a tree of such.
      batch_size: rows at a time; the last batch is filled up and cut again.

    Example:
      >>> import numpy as np
      >>> predict(lambda w, x: w * x, 2.0, np.arange(5.0), batch_size=2).tolist()
      [0.0, 2.0, 4.0, 6.0, 8.0]
    """
    num_rows = count_rows(inputs)
    if num_rows <= batch_size:
        return _call(apply, params, inputs)
    starts = np.arange(0, num_rows, batch_size)
    batches = (starts[:, None] + np.arange(batch_size)) % num_rows
    parts = (jax.tree.map(lambda leaf, at=at: leaf[at], inputs) for at in batches)
    outputs = [_call(apply, params, part) for part in parts]
    return jnp.concatenate(outputs)[:num_rows]


def evaluate(
    apply: Apply,
    params: Any,
    split: Any,
    metric_fn: Measure,
    *,
    batch_size: int = 2000,
) -> float:
    """The metric of all outputs together, exactly: not a mean over batches.

    Args:
      apply, params, batch_size: as for `predict`.
      split: the data: has inputs and labels.
      metric_fn: (outputs, labels) -> scalar, such as `accuracy`.

    Example:
      >>> import numpy as np
      >>> from gamepruning.metrics import squared_error
      >>> from types import SimpleNamespace
      >>> labels = np.array([0.0, 2.0, 4.0])
      >>> split = SimpleNamespace(inputs=np.arange(3.0), labels=labels)
      >>> evaluate(lambda w, x: w * x, 2.0, split, squared_error)
      0.0
    """
    outputs = predict(apply, params, split.inputs, batch_size=batch_size)
    return float(metric_fn(outputs, jnp.asarray(split.labels)))


@functools.partial(jax.jit, static_argnums=0)
def _call(fn, *args):
    return fn(*args)
