"""Models: published sizes, evaluation against training, clear refusals."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gamepruning.images.networks import DEPTHS
from gamepruning.players import find_players
from gamepruning.types import InputError
from gamepruning.workbench.networks.models import MODELS, build_model

SHAPES = {
    "mlp": (28, 28, 1),
    "lenet_300_100": (28, 28, 1),
    "text_mlp": (1000,),
    "lenet_5": (28, 28, 1),
    "alexnet": (64, 64, 3),
    "resnet": (8, 8, 1),
    "transformer": (8, 8, 1),
    "vgg19": (16, 16, 3),
    "resnet20": (8, 8, 3),
    "resnet20_b": (8, 8, 3),
}
SMALL = {
    "resnet": {"filters": (4, 8)},
    "alexnet": {"filters": (4, 4, 4, 4, 4), "widths": (8, 8)},
    "transformer": {"width": 8, "hidden": 8, "layers": 1},
    "vgg19": {"widths": (4, 8), "pools": (1,)},
    "resnet20": {"depth": 8, "widths": (4, 8, 8)},
    "resnet20_b": {"depth": 8, "widths": (4, 8, 8)},
}
# Weights and biases: 535,818 = 536,586 - 768 gates (arXiv 2512.22106, 7.1); 266,610 and
# 61,706 are LeCun's two; text: (1000+1)*256 + 2*(256+1)*256 + 257*6.
NUM_PARAMS = {
    ("mlp", 10): 535_818,
    ("lenet_300_100", 10): 266_610,
    ("lenet_5", 10): 61_706,
    ("text_mlp", 6): 389_382,
    # 0.27 M and 0.85 M (He et al. 2016, Table 6), statistics included
    ("resnet20", 10): 269_722 + 1_376,
    ("resnet56", 10): 853_018 + 4_064,
    ("vgg19", 10): 20_035_018 + 11_008,
}
# One for every hidden unit and filter, and for each axis of the attention heads.
NUM_PLAYERS = {
    "mlp": 512 + 256,
    "lenet_300_100": 300 + 100,
    "text_mlp": 3 * 256,
    "lenet_5": 6 + 16 + 120 + 84,
    "alexnet": 5 * 4 + 2 * 8,
    "resnet": 2 * (4 + 8),
    "transformer": 4 + 2 + 2 + 8,
    "vgg19": 4 + 8,
    "resnet20": 4 + (4 + 8 + 8) + 4,  # zeros around what comes in stay apart
    "resnet20_b": 4 + (4 + 8 + 8) + 8 + 8,
}
TESTED = [name for name in MODELS if name in SHAPES]


@functools.cache
def started(name: str):
    """A small model and its start."""
    options = SMALL.get(name, {})
    model = build_model(name, input_shape=SHAPES[name], num_outputs=10, **options)
    return model, jax.jit(model.init)(jax.random.key(7))


def example(key, name: str, batch: int = 3):
    return jax.random.normal(key, (batch, *SHAPES[name]))


def test_every_model_has_a_test():
    deeper = {f"resnet{depth}{end}" for depth in DEPTHS[1:] for end in ("", "_b")}
    assert set(SHAPES) == set(MODELS) - deeper == set(NUM_PLAYERS)


@pytest.mark.parametrize(("name", "num_outputs"), NUM_PARAMS)
def test_published_number_of_parameters(name, num_outputs):
    shape = SHAPES.get(name, (32, 32, 3))
    model = build_model(name, input_shape=shape, num_outputs=num_outputs)
    shapes = jax.eval_shape(model.init, jax.random.key(0))
    total = sum(leaf.size for leaf in jax.tree.leaves(shapes))
    assert total == NUM_PARAMS[name, num_outputs]


def test_alexnet_ends_in_two_layers_of_4096():
    model = build_model("alexnet", input_shape=(64, 64, 3), num_outputs=200)
    shapes = jax.eval_shape(model.init, jax.random.key(0))
    assert shapes["hidden_1"]["kernel"].shape == (4096, 4096)
    assert shapes["output"]["kernel"].shape == (4096, 200)


def test_dense_part_of_lenet_5_reads_400_features():
    _, params = started("lenet_5")
    assert params["hidden_0"]["kernel"].shape == (400, 120)


@pytest.mark.parametrize("name", TESTED)
def test_shapes_and_structure(name, key):
    model, params = started(name)
    inputs = example(key, name)
    outputs = jax.jit(model.apply)(params, inputs)
    assert outputs.shape == (3, 10) and outputs.dtype == jnp.float32
    trained, fresh = jax.jit(model.train_apply)(params, inputs, key)
    assert trained.shape == (3, 10)
    assert jax.tree.structure(fresh) == jax.tree.structure(params)
    if "resnet" not in name and name != "vgg19":
        np.testing.assert_allclose(trained, outputs, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", TESTED)
@pytest.mark.parametrize("mode", ["evaluation", "training"])
def test_players(name, mode, key):
    model, params = started(name)
    inputs = example(key, name)
    if mode == "evaluation":
        players = find_players(model.apply, params, inputs)
    else:
        players = find_players(
            model.train_apply,
            params,
            inputs,
            key,
            outputs_like=lambda params: (None, params),
        )
    assert players.num_players == NUM_PLAYERS[name]
    assert players.opaque == ()


@pytest.mark.parametrize("name", TESTED)
def test_each_example_is_read_alone(name, key):
    model, params = started(name)
    inputs, apply = example(key, name), jax.jit(model.apply)
    changed = apply(params, inputs.at[0].add(1.0))
    np.testing.assert_allclose(changed[1:], apply(params, inputs)[1:], rtol=1e-5)


def test_batch_statistics_follow_the_batch(key):
    model, params = started("resnet")
    inputs = 3 + example(key, "resnet", 64)
    _, fresh = model.train_apply(params, inputs, key)
    kernel = params["params"]["stem_conv"]["kernel"]
    conv = jax.lax.conv_general_dilated(
        inputs, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    # momentum 0.9 from 0: one tenth of the mean of the batch
    np.testing.assert_allclose(
        fresh["batch_stats"]["stem_norm"]["mean"],
        0.1 * conv.mean((0, 1, 2)),
        rtol=1e-4,
        atol=1e-5,
    )
    assert jax.tree.all(
        jax.tree.map(lambda a, b: (a == b).all(), fresh["params"], params["params"])
    )


@pytest.mark.parametrize("name", ["mlp", "alexnet"])
def test_dropout_is_on_in_training_only(name, key):
    options = SMALL.get(name, {"widths": (32,)})
    model = build_model(
        name, input_shape=SHAPES[name], num_outputs=4, dropout=0.5, **options
    )
    params, inputs = model.init(key), example(key, name)
    first, second = jax.random.split(key)
    once, _ = model.train_apply(params, inputs, first)
    again, _ = model.train_apply(params, inputs, first)
    other, _ = model.train_apply(params, inputs, second)
    assert (once == again).all() and not jnp.allclose(once, other)
    assert (model.apply(params, inputs) == model.apply(params, inputs)).all()


@pytest.mark.parametrize("features", [5, 16, 37])
def test_transformer_reads_vectors_of_any_length(features, key):
    model = build_model(
        "transformer", input_shape=(features,), num_outputs=2, **SMALL["transformer"]
    )
    inputs = jax.random.normal(key, (3, features))
    params, apply = jax.jit(model.init)(key), jax.jit(model.apply)
    outputs = apply(params, inputs)
    assert outputs.shape == (3, 2)
    changed = apply(params, inputs.at[:, -1].add(1.0))
    assert not jnp.allclose(outputs, changed)  # the last feature is read too


def test_average_pooling(key):
    avg = build_model("lenet_5", input_shape=(28, 28, 1), num_outputs=10, pool="avg")
    model, params = started("lenet_5")
    inputs = example(key, "lenet_5")
    largest = model.apply(params, inputs)
    assert not jnp.allclose(avg.apply(params, inputs), largest)


@pytest.mark.parametrize(
    ("name", "input_shape", "options", "said"),
    [
        ("lenet5", (28, 28, 1), {}, "did you mean lenet_5"),
        ("lenet_5", (8, 8, 1), {}, "at least 12x12"),
        ("lenet_5", (14, 14, 1), {"margin": 0}, "cannot be built"),
        ("lenet_5", (784,), {}, "choose another model"),
        ("lenet_5", (28, 28, 1), {"pool": "mean"}, "cannot be built"),
        ("alexnet", (28, 28, 1), {}, "at least 63x63"),
        ("mlp", (4,), {"width": (3,)}, "did you mean widths"),
        ("mlp", (4,), {"widths": (3, 0)}, "positive integers"),
        ("mlp", (4,), {"activation": "rellu"}, "did you mean relu"),
        ("mlp", (), {}, "got inputs of shape ()"),
        ("transformer", (8, 8, 1), {"width": 10, "heads": 4}, "cannot be built"),
    ],
)
def test_clear_refusals(name, input_shape, options, said):
    with pytest.raises(InputError, match="^[^\n]+$") as caught:
        build_model(name, input_shape=input_shape, num_outputs=10, **options)
    assert said in str(caught.value)
