"""Distillation against plain NumPy, its gradient, and what it refuses."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gamepruning as gp
from gamepruning.distillation import (
    distillation_loss,
    softened_divergence,
    teacher_outputs,
)


def draw(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype("float32")


def softmax(logits):
    logits = np.asarray(logits, float)
    shifted = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return shifted / shifted.sum(axis=-1, keepdims=True)


@pytest.mark.parametrize("temperature", [1.0, 4.0, 20.0])
@pytest.mark.parametrize("weight", [0.0, 0.3, 1.0])
def test_it_is_that_of_numpy(temperature, weight):
    outputs, teacher, labels = 3 * draw(0, 9, 5), 3 * draw(1, 9, 5), np.arange(9) % 5
    true, own = softmax(teacher / temperature), softmax(outputs / temperature)
    soft = temperature**2 * (true * np.log(true / own)).sum(axis=1).mean()
    hard = -np.log(softmax(outputs)[np.arange(9), labels]).mean()
    found = jax.jit(
        lambda *args: distillation_loss(*args, temperature=temperature, weight=weight)
    )(outputs, labels, teacher)
    np.testing.assert_allclose(found, (1 - weight) * hard + weight * soft, rtol=1e-5)


def test_the_gradient_is_that_of_finite_differences_and_spares_the_teacher():
    outputs, teacher, labels = draw(0, 4, 3), draw(1, 4, 3), jnp.array([0, 2, 1, 1])
    loss = lambda own, other: distillation_loss(own, labels, other)  # noqa: E731
    grad, none = jax.jit(jax.grad(loss, argnums=(0, 1)))(outputs, teacher)
    step = 1e-2 * draw(2, 4, 3)
    slope = (loss(outputs + step, teacher) - loss(outputs - step, teacher)) / 2
    np.testing.assert_allclose((grad * step).sum(), slope, rtol=1e-2, atol=1e-5)
    assert not none.any()


def test_gradients_hardly_depend_on_a_high_temperature():
    """Hinton et al., section 2.1: at high T it is a match of centred logits."""
    outputs, teacher = draw(0, 6, 5), draw(1, 6, 5)
    centred = [x - x.mean(axis=1, keepdims=True) for x in (outputs, teacher)]
    expected = (centred[0] - centred[1]) / 5 / 6
    for temperature in (100.0, 1000.0):
        pull = jax.grad(softened_divergence)(outputs, teacher, temperature=temperature)
        np.testing.assert_allclose(pull, expected, atol=2e-3)


def test_numbers_are_compared_as_they_are():
    outputs, teacher, targets = draw(0, 7, 1), draw(1, 7, 1), draw(2, 7)
    found = distillation_loss(
        outputs,
        targets,
        teacher,
        loss_fn=gp.squared_error,
        temperature=None,
        weight=0.25,
    )
    hard = np.square(outputs[:, 0] - targets).mean()
    soft = np.square(outputs - teacher).mean()
    np.testing.assert_allclose(found, 0.75 * hard + 0.25 * soft, rtol=1e-5)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"temperature": 0.0}, "temperature above 0, got 0"),
        ({"temperature": float("inf")}, "temperature above 0"),
        ({"weight": 1.5}, r"weight of the teacher in \[0, 1\], got 1.5"),
        ({"weight": float("nan")}, "weight of the teacher"),
        ({"teacher": draw(1, 4, 2)}, r"shape \(4, 3\).*got \(4, 2\)"),
        ({"teacher": draw(1, 4, 2), "temperature": None}, "got .4, 2."),
        ({"outputs": draw(0, 4, 1), "teacher": draw(1, 4, 1)}, "temperature=None"),
    ],
)
def test_what_makes_no_sense_is_refused(changes, told):
    args = {"outputs": draw(0, 4, 3), "teacher": draw(1, 4, 3)} | changes
    with pytest.raises(gp.InputError, match=told):
        distillation_loss(labels=np.zeros(4, int), **args)


@pytest.mark.parametrize("batch_size", [1, 4, 10, 64])
def test_the_teacher_is_evaluated_once_in_order(batch_size):
    traces = []

    def apply(params, x, y):
        traces.append(1)
        return x @ params["w"] + y

    inputs = draw(0, 10, 3), draw(1, 10, 1)
    params = {"w": draw(2, 3, 2)}
    said = teacher_outputs(apply, params, inputs, batch_size=batch_size)
    np.testing.assert_allclose(said, inputs[0] @ params["w"] + inputs[1], rtol=1e-5)
    assert len(traces) == 1


def test_a_teacher_without_numbers_is_refused():
    inputs = draw(0, 10, 2)
    inputs[7] = np.nan
    with pytest.raises(gp.InputError, match="not finite, first for example 7"):
        teacher_outputs(lambda w, x: x * w, 1.0, inputs)


def test_a_teacher_may_mask_classes_out():
    inputs = draw(0, 10, 3)

    def apply(w, x):
        return (x * w).at[:, 1].set(-jnp.inf)

    said = teacher_outputs(apply, 1.0, inputs)
    assert np.isneginf(said[:, 1]).all()


def test_what_is_not_one_array_of_outputs_is_told():
    inputs = draw(0, 10, 3)
    for batch_size in (4, 100):
        with pytest.raises(gp.InputError, match="one array of outputs, got a tuple"):
            teacher_outputs(lambda w, x: (x, w), 1.0, inputs, batch_size=batch_size)
    with pytest.raises(gp.InputError, match="batch_size=0: expected at least 1"):
        teacher_outputs(lambda w, x: x * w, 1.0, inputs, batch_size=0)


@pytest.mark.parametrize("temperature", [4.0, None])
def test_a_term_whose_factor_is_0_is_not_computed(temperature):
    outputs, teacher = draw(0, 4, 3), draw(1, 4, 3)

    def fails(outputs, labels):
        return jnp.nan if labels is None else gp.squared_error(outputs, labels)

    told = {"loss_fn": fails, "temperature": temperature}
    assert jnp.isfinite(distillation_loss(outputs, None, teacher, weight=1.0, **told))
    labels = draw(2, 4, 3)
    loss = distillation_loss(outputs, labels, teacher * np.nan, weight=0, **told)
    assert loss == gp.squared_error(outputs, labels)


def test_numbers_may_be_traced():
    outputs, teacher, labels = draw(0, 4, 3), draw(1, 4, 3), np.arange(4) % 3

    def loss(weight, temperature):
        return distillation_loss(
            outputs, labels, teacher, weight=weight, temperature=temperature
        )

    found = jax.jit(loss)(0.3, 2.0)
    np.testing.assert_allclose(found, loss(0.3, 2.0), rtol=1e-6)


def test_the_same_teacher_is_not_compiled_again():
    traces = []

    def apply(params, x):
        traces.append(1)
        return params["act"](x @ params["w"])

    inputs = draw(0, 10, 3)
    for number in range(3):
        params = {"w": draw(number, 3, 2), "act": jnp.tanh}
        said = teacher_outputs(apply, params, inputs, batch_size=4)
        np.testing.assert_allclose(said, np.tanh(inputs @ params["w"]), rtol=1e-5)
    assert len(traces) == 1
    said = teacher_outputs(apply, params | {"act": jnp.sin}, inputs, batch_size=4)
    np.testing.assert_allclose(said, np.sin(inputs @ params["w"]), rtol=1e-5)
