"""A small language model learns from the full one."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gamepruning as gp
from experiments.language import bfloat16, distil, learning
from experiments.language.learning import Course, Learning, Model, learn
from experiments.language.smollm2 import tokens_of
from gamepruning.huggingface.checkpoint import Checkpoint
from tests.huggingface.tiny import CONFIGS, tensors

LEARNING = Learning(tokens=144, rate=1e-2, at_once=3)
TEXTS = jnp.asarray(np.arange(24).reshape(3, 8) * 7 % 50, jnp.int32)


@pytest.fixture(scope="module")
def checkpoint() -> Checkpoint:
    config = CONFIGS["llama"] | {"attention_bias": False, "mlp_bias": False}
    config["num_hidden_layers"] = 1
    names = {
        name: jnp.asarray(array)
        for name, array in tensors("llama").items()
        if ".1." not in name and not name.endswith("bias")
    }
    return Checkpoint(distil.states_of(Checkpoint(len, names, config)), names, config)


@pytest.fixture(scope="module")
def models(checkpoint: Checkpoint) -> tuple[Model, Model]:
    """A student with noise in one matrix, and its teacher."""
    name = "model.layers.0.mlp.down_proj.weight"
    noise = np.random.default_rng(0).normal(size=checkpoint.params[name].shape)
    blunt = checkpoint.params | {name: checkpoint.params[name] + np.float32(noise)}
    teacher = Model(checkpoint.apply, checkpoint.params, distil.EMBEDDING)
    return teacher._replace(params=blunt), teacher


def course_of(models: tuple[Model, Model], how: Learning = LEARNING) -> Course:
    return Course(*models, TEXTS, how)


def run(course, file, say=lambda line: None) -> learning.Learned:
    return learn(course, file, validate=lambda params: 1.0, say=say, save_seconds=0.0)


@pytest.mark.parametrize(("weight", "temperature"), [(0.3, 2.0), (0.6, 1.0)])
def test_the_loss_and_its_gradient_are_those_of_distillation(
    weight, temperature, monkeypatch
):
    random = np.random.default_rng(1)
    own, said = random.normal(size=(2, 12, 4)).astype(np.float32)
    head, labels = random.normal(size=(7, 4)).astype(np.float32), np.arange(12) % 7
    how = Learning(tokens=1, weight=weight, temperature=temperature)

    def whole(own):
        return gp.distillation.distillation_loss(
            own @ head.T,
            labels,
            said @ head.T,
            weight=weight,
            temperature=temperature,
        )

    monkeypatch.setattr(learning, "POSITIONS", 5)  # three chunks of four
    by_chunks = jax.jit(learning.loss_and_pull, static_argnums=4)
    loss, pull = by_chunks(own, said, labels, head, how)
    wanted, slope = jax.jit(jax.value_and_grad(whole))(own)
    np.testing.assert_allclose(loss, wanted, rtol=1e-6)
    np.testing.assert_allclose(pull, slope, atol=1e-7)


def test_products_of_matrices_are_rounded_and_no_others(monkeypatch):
    monkeypatch.setattr(bfloat16, "LEAST", 1)
    random = np.random.default_rng(2)
    one, two = (random.normal(size=(5, 5)).astype(np.float32) for _ in range(2))

    def loss(one, two):
        return jax.lax.map(lambda row: jnp.tanh(row[None] @ two) @ two, one).sum()

    def cut(x):
        return np.asarray(jnp.asarray(x, jnp.bfloat16), np.float32)

    slope = bfloat16.in_bfloat16(jax.grad(loss, argnums=1))
    program = str(jax.make_jaxpr(slope)(one, two))
    assert program.count("dot_general[") == 5
    assert program.count("new_dtype=bfloat16") == 2 * 3  # two ahead, one back
    found = bfloat16.in_bfloat16(lambda one, two: one @ two)(one, two)
    np.testing.assert_allclose(found, cut(one) @ cut(two), rtol=1e-5)


def test_it_learns_and_resumes_bit_identically(models, tmp_path):
    course = course_of(models)
    whole = run(course, tmp_path / "whole.npz")
    losses = [point["loss"] for point in whole.curve[1:]]
    assert len(losses) == 6 and losses == sorted(losses, reverse=True)
    file = tmp_path / "parts.npz"

    def stop(line):
        if " 4/6 " in line:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(course, file, say=stop)
    rest = run(course_of(models), file)
    assert rest.curve == whole.curve
    for name, array in whole.params.items():
        np.testing.assert_array_equal(rest.params[name], array, err_msg=name)
    with pytest.raises(gp.InputError, match="made with rate 0.01, not 0.1: take that"):
        run(course_of(models, replace(LEARNING, rate=0.1)), file)


def test_thin_factors_start_from_the_same_network(models):
    student, how = models[0], replace(LEARNING, lora=2)
    trained = jax.jit(lambda: learning.trained_of(student, how))()
    params = jax.jit(lambda x: learning.params_of(x, student.params, how))(trained)
    for name, array in student.params.items():
        np.testing.assert_array_equal(params[name], array)
    shapes = jax.tree.map(jnp.shape, trained)
    wanted = {"down": (2, 24), "up": (20, 2)}
    assert shapes["model.layers.0.mlp.up_proj.weight"] == wanted


def test_a_cut_is_the_same_network_without_its_head(checkpoint):
    names = {"model.layers.0.mlp.gate_proj": 20}
    mask = np.arange(20) % 3 > 0
    cut = distil.Cut(mask, checkpoint.params, {"kept": names})
    small = distil.small_model(checkpoint, cut, TEXTS[:1])
    assert small.params["model.layers.0.mlp.up_proj.weight"].shape == (mask.sum(), 24)
    gone = dict(checkpoint.params)
    down = "model.layers.0.mlp.down_proj.weight"
    gone[down] = gone[down] * mask[None]
    found = jax.jit(small.states)(small.params, TEXTS)
    wanted = jax.jit(checkpoint.apply)(gone, TEXTS)
    np.testing.assert_allclose(found, wanted, atol=1e-5)
    with pytest.raises(gp.InputError, match="other players than this model has"):
        distil.small_model(checkpoint, cut._replace(mask=mask[1:]), TEXTS[:1])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tokens": 0}, "expected tokens of at least 1, got 0"),
        ({"rate": 0.0}, "expected a rate between 0 and 1, got 0.0"),
        ({"weight": 1.5}, "expected a weight of the teacher in [0, 1], got 1.5"),
        ({"temperature": 0.0}, "expected a temperature above 0, got 0.0"),
        (
            {"products": "int8"},
            "expected products as one of bfloat16, float32, got 'int8'",
        ),
        ({"together": 3}, "expected at_once as a multiple of together, got 8 and 3"),
    ],
)
def test_bad_settings(changes, message):
    with pytest.raises(gp.InputError) as error:
        Learning(**({"tokens": 9} | changes))
    assert str(error.value) == message


def test_what_is_missing_is_one_line(checkpoint, tmp_path, monkeypatch):
    with pytest.raises(gp.InputError, match="less than one step of 8 sequences of 512"):
        Learning(tokens=4095).steps(512)
    monkeypatch.setenv("GAMEPRUNING_DATA", str(tmp_path))
    with pytest.raises(gp.InputError, match=r"no wiki.train.raw in .*: put it there"):
        tokens_of(tmp_path, "train")
    untied = checkpoint._replace(config={"tie_word_embeddings": False})
    with pytest.raises(gp.InputError, match="needs it to be tied"):
        distil.states_of(untied)
