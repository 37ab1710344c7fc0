"""Training: whole epochs as one compiled scan, with the data on the device.

Any pure `step(state, batch) -> (state, info)` can be run, be it plain training
(`make_train_step`), a game that prunes while it trains, or fine-tuning.
"""

import functools
import weakref
from collections.abc import Callable, Container
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from gamepruning.images.augment import crop_and_flip
from gamepruning.run.batches import Measure
from gamepruning.trees.paths import path_name
from gamepruning.trees.trainable import put_trainable, take_trainable
from gamepruning.workbench.datasets import Split

Step = Callable[[Any, Split], tuple[Any, Any]]  # (state, batch) -> (state, info)

# Whether a step has convolutions, which tracing it once has shown.
_CONVOLVES: weakref.WeakKeyDictionary[Step, bool] = weakref.WeakKeyDictionary()


class TrainState(NamedTuple):
    """What the next step of plain training needs."""

    params: Any  # of the network, batch statistics included
    opt_state: Any
    key: jax.Array  # for dropout


class TrainInfo(NamedTuple):
    """What a step of training tells: the loss on the batch, before the update."""

    loss: Float[Array, ""]


class TrainStep(NamedTuple):
    """A pair of pure functions."""

    init: Callable[[jax.Array, Any], Any]  # (key, params) -> state
    step: Step


def make_train_step(
    model: Any, loss_fn: Measure, tx: optax.GradientTransformation
) -> TrainStep:
    """Plain training: one step of `tx` down the gradient of the loss.

    Args:
      model: has `train_apply(params, inputs, key) -> (outputs, params)`, as a `Model`
        of the workbench, or only `apply(params, inputs) -> outputs`, as a compacted
        one. The optimizer touches neither what `model.state` names, such as batch
        statistics, which comes from `train_apply`, nor what is not a real number.
      loss_fn: (outputs, labels) -> scalar.
      tx: the optimizer.

    Example:
      >>> import jax, jax.numpy as jnp, optax
      >>> from gamepruning.metrics import cross_entropy
      >>> from gamepruning.workbench.networks.models import build_model
      >>> model = build_model("mlp", input_shape=(4,), num_outputs=3, widths=(8,))
      >>> init, step = make_train_step(model, cross_entropy, optax.sgd(0.1))
      >>> state = init(jax.random.key(0), model.init(jax.random.key(1)))
      >>> batch = Split(jnp.ones((2, 4)), jnp.array([0, 2]))
      >>> state, info = jax.jit(step)(state, batch)
      >>> info.loss.shape
      ()
    """

    def plain(params, inputs, key):
        return model.apply(params, inputs), params

    forward = getattr(model, "train_apply", plain)

    def init(key, params) -> TrainState:
        return TrainState(params, tx.init(take_trainable(params)), key)

    def objective(weights, params, batch, key):
        params = put_trainable(weights, params)
        outputs, params = forward(params, batch.inputs, key)
        return loss_fn(outputs, batch.labels), params

    def step(state: TrainState, batch: Split) -> tuple[TrainState, TrainInfo]:
        key, own = jax.random.split(state.key)
        weights = take_trainable(state.params)
        (loss, fresh), grads = jax.value_and_grad(objective, has_aux=True)(
            weights, state.params, batch, own
        )
        updates, opt_state = tx.update(grads, state.opt_state, weights)
        weights = optax.apply_updates(weights, updates)
        params = put_trainable(weights, state.params)
        params = keep_state(params, fresh, getattr(model, "state", None))
        return TrainState(params, opt_state, key), TrainInfo(loss)

    return TrainStep(init, step)


def taught(step: Step, teach: Callable[[Any], Any]) -> Step:
    """The step on batches whose labels come with what a teacher says of the inputs."""
    return lambda state, batch: step(
        state, Split(batch.inputs, (batch.labels, teach(batch.inputs)))
    )


def keep_state(params: Any, fresh: Any, names: Container[str] | None) -> Any:
    """The parameters with the leaves of `fresh` at some paths, or its `batch_stats`."""

    def is_kept(name: str) -> bool:
        return name.startswith("batch_stats/") if names is None else name in names

    return jax.tree_util.tree_map_with_path(
        lambda path, old, new: new if is_kept(path_name(path)) else old, params, fresh
    )


def run_epoch(
    key: jax.Array,
    step: Step,
    state: Any,
    data: Split,
    *,
    batch_size: int,
    augment: bool = False,
) -> tuple[Any, Any]:
    """One pass over the data in random order: (state, mean of the infos).

    It is one compiled scan. On a CPU a step with convolutions is run by a loop in
    Python instead: inside a scan XLA leaves the gradients of kernels in a form that
    takes ten times as long.

    Args:
      key: random key; decides the order, and what is done to the images.
      step: pure, (state, Split of one batch) -> (state, info). It is compiled once for
        as long as the same function is passed.
      state: where to start.
      data: all rows, on the device.
      batch_size: rows of a step; if there are fewer rows, all of them. Rows that do not
        fill a last batch wait for another epoch's order.
      augment: crop and mirror each batch of images, as `crop_and_flip` does.
    """
    batch_size = min(batch_size, len(data.inputs))
    order = _order(key, len(data.inputs), batch_size)
    keys = jax.random.split(jax.random.fold_in(key, 1), len(order)) if augment else None
    if not is_slow_in_scan(step, state, data, batch_size=batch_size):
        return _scan_epoch(step, state, data, (order, keys))
    infos = []
    for number, rows in enumerate(order):
        own = None if keys is None else keys[number]
        state, info = _step_rows(step, state, data, (rows, own))
        infos.append(info)
    return state, jax.tree.map(lambda *leaves: jnp.stack(leaves).mean(0), *infos)


def is_slow_in_scan(step: Step, state: Any, data: Split, *, batch_size: int) -> bool:
    """Return True if this step has convolutions and a CPU is to run it."""
    if jax.default_backend() != "cpu":
        return False
    if step not in _CONVOLVES:
        rows = jax.ShapeDtypeStruct((batch_size,), jnp.int32)
        traced = _step_rows.trace(step, state, data, (rows, None))
        _CONVOLVES[step] = "conv_general_dilated[" in str(traced.jaxpr)
    return _CONVOLVES[step]


@functools.partial(jax.jit, static_argnums=(1, 2))
def _order(key, num_rows: int, batch_size: int):
    """Row numbers in random order, int32 [steps, batch_size]."""
    num_steps = num_rows // batch_size
    order = jax.random.permutation(key, num_rows)[: num_steps * batch_size]
    return order.astype(jnp.int32).reshape(num_steps, batch_size)


@functools.partial(jax.jit, static_argnums=0, inline=True)
def _step_rows(step, state, data, drawn):
    rows, key = drawn  # without a key, images stay as they are
    batch = jax.tree.map(lambda leaf: leaf[rows], data)
    if key is not None:
        batch = batch._replace(inputs=crop_and_flip(key, batch.inputs))
    return step(state, batch)


@functools.partial(jax.jit, static_argnums=0)
def _scan_epoch(step, state, data, drawn):
    def visit(state, drawn):
        return _step_rows(step, state, data, drawn)  # traced already

    state, infos = jax.lax.scan(visit, state, drawn)
    return state, jax.tree.map(lambda leaf: leaf.mean(0), infos)
