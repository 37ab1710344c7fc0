"""Some epochs: reproducible, compiled once, and refused in a line."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from experiments.fitting import fit
from gamepruning.metrics import accuracy, cross_entropy
from gamepruning.run.batches import evaluate
from gamepruning.types import InputError
from gamepruning.workbench.datasets import Split, load_dataset
from gamepruning.workbench.networks.models import build_model
from gamepruning.workbench.training.loop import make_train_step


def toy(key):
    model = build_model("mlp", input_shape=(8, 8, 1), num_outputs=3, widths=(8,))
    inputs = jax.random.normal(key, (48, 8, 8, 1))
    return model, Split(inputs, jnp.arange(48, dtype=jnp.int32) % 3)


def passed(state, batch):
    return state, batch


def same(one, two) -> bool:
    return jax.tree.all(jax.tree.map(lambda a, b: jnp.allclose(a, b), one, two))


def test_fit_is_reproducible_compiles_once_and_reports(key):
    model, data = toy(key)
    made = make_train_step(model, cross_entropy, optax.sgd(0.1))
    traces = []

    def step(state, batch):
        traces.append(1)
        return made.step(state, batch)

    calls = []
    start = made.init(key, model.init(key))
    done = fit(
        key,
        step,
        start,
        data,
        epochs=4,
        batch_size=8,
        callback=lambda epoch, state, info: calls.append((epoch, float(info.loss))),
    )
    num_traces = len(traces)
    again = fit(key, step, start, data, epochs=4, batch_size=8)
    assert same(done.state.params, again.state.params)
    assert len(traces) == num_traces
    assert [epoch for epoch, _ in calls] == [1, 2, 3, 4]
    np.testing.assert_allclose([loss for _, loss in calls], done.infos.loss)


def test_batches_of_numpy_arrays_are_moved_once(key):
    model, data = toy(key)
    made = make_train_step(model, cross_entropy, optax.sgd(0.1))
    arrays = Split(*(np.asarray(part) for part in data))
    start = made.init(key, model.init(key))
    one = fit(key, made.step, start, data, epochs=1, batch_size=8)
    two = fit(key, made.step, start, arrays, epochs=1, batch_size=8)
    assert same(one.state.params, two.state.params)


def test_divergence_is_one_clear_line(key):
    model, data = toy(key)
    made = make_train_step(model, cross_entropy, optax.sgd(jnp.inf))
    with pytest.raises(InputError, match=r"diverged in epoch .*learning rate$"):
        start = made.init(key, model.init(key))
        fit(key, made.step, start, data, epochs=3, batch_size=8)


@pytest.mark.parametrize(("epochs", "batch_size"), [(0, 8), (1, 0)])
def test_nothing_to_run_is_refused(key, epochs, batch_size):
    data = Split(jnp.zeros(3), jnp.zeros(3))
    with pytest.raises(InputError, match="at least 1"):
        fit(
            key,
            lambda state, batch: (state, batch),
            0,
            data,
            epochs=epochs,
            batch_size=batch_size,
        )


def test_digits_are_learned(key):
    digits = load_dataset("digits", seed=0)
    model = build_model("mlp", input_shape=(8, 8, 1), num_outputs=10, widths=(64,))
    init, step = make_train_step(model, cross_entropy, optax.adam(3e-3))
    start = init(key, model.init(key))
    done = fit(key, step, start, digits.train, epochs=30, batch_size=64)
    # a linear model reaches .95
    assert evaluate(model.apply, done.state.params, digits.test, accuracy) > 0.95
