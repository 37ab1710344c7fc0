"""Training without a workbench: some epochs, their infos, and a word on divergence."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gamepruning.types import InputError
from gamepruning.workbench.datasets import Split
from gamepruning.workbench.training.loop import Step, run_epoch


class Fit(NamedTuple):
    """Where training ended."""

    state: Any  # after the last epoch
    infos: Any  # the mean of each epoch's infos, stacked: every leaf [epochs, ...]


def fit(
    key: jax.Array,
    step: Step,
    state: Any,
    train: Split,
    *,
    epochs: int,
    batch_size: int,
    callback: Callable[[int, Any, Any], None] | None = None,
) -> Fit:
    """Run `step` over the data, in a new random order every epoch.

    Args:
      key: random key; decides the orders.
      step: pure, (state, Split of one batch) -> (state, info). It is compiled once for
        as long as the same function is passed.
      state: where to start.
      train: the data; moved to the device once.
      epochs: passes over the data.
      batch_size: rows of a step; if there are fewer rows, all of them. Rows that do not
        fill a last batch wait for another epoch's order.
      callback: called after every epoch with its number (from 1), the state, and the
        mean of its infos.

    Returns:
      The last state, and the mean infos of every epoch.

    Raises:
      InputError: `info.loss` is not finite, or epochs or batch_size is below one.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> train = Split(jnp.arange(6.0), jnp.zeros(6))
      >>> def add(total, batch):
      ...     return total + batch.inputs.sum(), batch.inputs.mean()
      >>> key = jax.random.key(0)
      >>> done = fit(key, add, jnp.zeros(()), train, epochs=2, batch_size=3)
      >>> float(done.state), done.infos.tolist()
      (30.0, [2.5, 2.5])
    """
    if epochs < 1 or batch_size < 1:
        raise InputError(
            f"expected epochs and batch_size of at least 1, got {epochs} and "
            f"{batch_size}"
        )
    data = Split(jnp.asarray(train.inputs), jnp.asarray(train.labels))
    infos = []
    for epoch, own in enumerate(jax.random.split(key, epochs), start=1):
        state, info = run_epoch(own, step, state, data, batch_size=batch_size)
        loss = getattr(info, "loss", None)
        if loss is not None and not np.isfinite(loss):
            raise InputError(
                f"training diverged in epoch {epoch}: the loss is {float(loss)}; "
                "choose a lower learning rate"
            )
        if callback is not None:
            callback(epoch, state, info)
        infos.append(info)
    return Fit(state, jax.tree.map(lambda *leaves: jnp.stack(leaves), *infos))
