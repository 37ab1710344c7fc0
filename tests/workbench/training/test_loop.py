"""Training: the same as by hand, once over all rows, batch statistics kept."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from gamepruning.metrics import accuracy, cross_entropy, squared_error
from gamepruning.run.batches import evaluate, predict
from gamepruning.workbench.datasets import Split
from gamepruning.workbench.networks.models import build_model
from gamepruning.workbench.training.loop import (
    is_slow_in_scan,
    make_train_step,
    run_epoch,
    taught,
)


def collect(seen, batch):
    """A step that notes which rows it saw."""
    return seen.at[batch.inputs].add(1), batch.inputs.astype(float)


def toy(key, rows=48, name="mlp", shape=(8, 8, 1), **options):
    model = build_model(name, input_shape=shape, num_outputs=3, **options)
    inputs = jax.random.normal(key, (rows, *shape))
    return model, Split(inputs, jnp.arange(rows, dtype=jnp.int32) % 3)


@pytest.mark.parametrize(("rows", "batch"), [(12, 4), (13, 4), (3, 100), (1, 1)])
def test_an_epoch_sees_each_row_at_most_once(key, rows, batch):
    data = Split(jnp.arange(rows), jnp.zeros(rows))
    seen, _ = run_epoch(key, collect, jnp.zeros(rows, int), data, batch_size=batch)
    size = min(batch, rows)
    assert seen.max() == 1 and seen.sum() == rows // size * size


def test_every_epoch_has_its_own_order(key):
    def order(state, batch):
        return state, batch.inputs

    data = Split(jnp.arange(64.0), jnp.zeros(64))
    one, two = jax.random.split(key)
    _, first = run_epoch(one, order, 0.0, data, batch_size=64)
    _, again = run_epoch(one, order, 0.0, data, batch_size=64)
    _, second = run_epoch(two, order, 0.0, data, batch_size=64)
    assert (first == again).all() and (first != second).any()


@pytest.mark.parametrize("name", ["mlp", "resnet"])
def test_an_epoch_is_its_steps_one_by_one(name, key):
    options = {"widths": (16,)} if name == "mlp" else {"filters": (4,)}
    model, data = toy(key, name=name, **options)
    init, step = make_train_step(model, cross_entropy, optax.adam(1e-2))
    start = init(key, jax.jit(model.init)(key))
    slow = is_slow_in_scan(step, start, data, batch_size=16)
    assert slow == (name == "resnet")  # only convolutions, only on a CPU
    state, info = run_epoch(key, step, start, data, batch_size=16)
    order = jax.random.permutation(key, 48).reshape(3, 16)
    by_hand, losses, one_step = start, [], jax.jit(step)
    for rows in order:
        by_hand, told = one_step(by_hand, Split(data.inputs[rows], data.labels[rows]))
        losses.append(told.loss)
    np.testing.assert_allclose(info.loss, jnp.stack(losses).mean(), rtol=1e-4)
    for ours, theirs in zip(
        jax.tree.leaves(state.params), jax.tree.leaves(by_hand.params), strict=True
    ):
        np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-4)


def test_a_step_of_gradient_descent_by_hand(key):
    class Line(NamedTuple):
        def apply(self, params, inputs):
            return params * inputs

    init, step = make_train_step(Line(), squared_error, optax.sgd(0.1))
    batch = Split(jnp.array([1.0, 2.0]), jnp.array([3.0, 6.0]))
    # loss = mean((w - 3)^2, (2w - 6)^2) = 2.5 (w - 3)^2; slope at 1: 5 (w - 3) = -10
    state, info = step(init(key, jnp.array(1.0)), batch)
    assert float(info.loss) == pytest.approx(10.0)
    assert float(state.params) == pytest.approx(2.0)


def test_the_optimizer_leaves_batch_statistics_alone(key):
    model, data = toy(key, name="resnet", filters=(4,))
    params = jax.jit(model.init)(key)
    tx = optax.adamw(0.1, weight_decay=0.5)

    init, step = make_train_step(model, cross_entropy, tx)
    state, _ = jax.jit(step)(init(key, params), data)
    _, expected = jax.jit(model.train_apply)(params, data.inputs, key)
    assert same(state.params["batch_stats"], expected["batch_stats"])
    assert not same(state.params["params"], params["params"])

    class Frozen(NamedTuple):
        apply: object

    init, step = make_train_step(Frozen(model.apply), cross_entropy, tx)
    state, _ = jax.jit(step)(init(key, params), data)
    assert same(state.params["batch_stats"], params["batch_stats"])


def same(one, two) -> bool:
    return jax.tree.all(jax.tree.map(lambda a, b: jnp.allclose(a, b), one, two))


@pytest.mark.parametrize("batch_size", [1, 7, 48, 100])
def test_predictions_do_not_depend_on_the_batch(key, batch_size):
    model, data = toy(key, widths=(8,))
    params = model.init(key)
    got = predict(model.apply, params, data.inputs, batch_size=batch_size)
    np.testing.assert_allclose(
        got, model.apply(params, data.inputs), rtol=1e-4, atol=1e-6
    )
    right = evaluate(model.apply, params, data, accuracy, batch_size=batch_size)
    assert right == pytest.approx(float(accuracy(got, data.labels)))


def test_images_are_cropped_anew_in_each_epoch_and_alike_for_one_key(key):
    images = jax.random.normal(key, (8, 8, 8, 1))
    data = Split(images, jnp.arange(8))

    def look(state, batch):  # all batches, in the order of the rows
        return state.at[batch.labels].set(batch.inputs), jnp.zeros(())

    one, two = jax.random.split(key)
    how = {"batch_size": 4, "augment": True}
    first, again, other = (
        run_epoch(k, look, jnp.zeros_like(images), data, **how)[0]
        for k in (one, one, two)
    )
    assert (first == again).all() and (first != other).any()
    plain, _ = run_epoch(one, look, jnp.zeros_like(images), data, batch_size=4)
    assert (plain == images).all() and (first != images).any()


def test_a_teacher_sees_the_images_that_the_step_sees():
    def step(state, batch):
        labels, said = batch.labels
        return state + (said == 2 * batch.inputs).all(), labels

    seen, labels = taught(step, lambda inputs: 2 * inputs)(
        jnp.zeros(()), Split(jnp.arange(3.0), jnp.ones(3))
    )
    assert seen == 1 and labels.tolist() == [1, 1, 1]
