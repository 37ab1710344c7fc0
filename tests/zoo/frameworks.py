"""Models of other libraries: what matters is only the function and its arrays."""

from functools import partial
from typing import Any

import equinox as eqx
import haiku as hk
import jax
import jax.numpy as jnp
from jax.nn import relu

from tests.zoo.case import Draw, Model, case, nnx_model


def equinox_model(draw: Draw, make: Any, x: jax.Array) -> Model:
    """Arrays and the rest apart; the module itself is the tree of parameters."""
    shapes = eqx.filter_eval_shape(make, draw.key)
    shapes, static = eqx.partition(
        shapes, lambda a: isinstance(a, jax.ShapeDtypeStruct)
    )

    def apply(params, x):
        return jax.vmap(eqx.combine(params, static))(x)

    return Model(apply, draw.like(shapes), (x,))


class ConvNet(eqx.Module):
    convs: list
    linears: list

    def __init__(self, key):
        keys = jax.random.split(key, 4)
        self.convs = [
            eqx.nn.Conv2d(1, 6, 3, key=keys[0]),
            eqx.nn.Conv2d(6, 16, 3, key=keys[1]),
        ]
        self.linears = [
            eqx.nn.Linear(16 * 2 * 2, 60, key=keys[2]),
            eqx.nn.Linear(60, 10, key=keys[3]),
        ]

    def __call__(self, x):
        pool = eqx.nn.MaxPool2d(2, 2)
        for conv in self.convs:
            x = pool(relu(conv(x)))
        return self.linears[1](relu(self.linears[0](x.reshape(-1))))


@case((6, 16, 60), frozen=(("convs/0/weight", 2), ("linears/1/weight", 0)))
def equinox_conv(draw: Draw) -> Model:
    return equinox_model(draw, ConvNet, draw.normal(2, 1, 14, 14))


class SelfAttention(eqx.Module):
    attention: eqx.nn.MultiheadAttention

    def __init__(self, key):
        make = eqx.nn.MultiheadAttention
        self.attention = make(4, 10, qk_size=4, vo_size=4, key=key)

    def __call__(self, x):
        return self.attention(x, x, x)


@case((4, 4, 4))
def equinox_attention(draw: Draw) -> Model:
    """4 heads, 4 dimensions of queries and keys, 4 of values."""
    return equinox_model(draw, SelfAttention, draw.normal(2, 5, 10))


def haiku_model(draw: Draw, forward: Any, x: jax.Array) -> Model:
    network = hk.without_apply_rng(hk.transform_with_state(forward))
    shapes = jax.eval_shape(partial(network.init, is_training=True), draw.key, x)
    params, state = draw.like(shapes)

    def apply(variables, x):
        return network.apply(
            *(variables["params"], variables["state"], x), is_training=False
        )[0]

    return Model(apply, {"params": params, "state": state}, (x,))


@case((12, 16))
def haiku_conv_batch_norm(draw: Draw) -> Model:
    """The state holds moving averages; each channel owns its own."""

    def forward(x, is_training):
        x = hk.Conv2D(12, 3)(x)
        x = relu(hk.BatchNorm(True, True, 0.9)(x, is_training))
        x = hk.AvgPool((2, 2, 1), (2, 2, 1), "VALID")(x)
        return hk.Linear(5)(relu(hk.Linear(16)(hk.Flatten()(x))))

    return haiku_model(draw, forward, draw.normal(2, 6, 6, 2))


@case((4, 8, 8))
def haiku_attention(draw: Draw) -> Model:
    """4 heads, 8 dimensions of queries and keys, 8 of values."""

    def forward(x, is_training):
        attention = hk.MultiHeadAttention(
            num_heads=4, key_size=8, model_size=12, w_init=hk.initializers.Constant(0)
        )
        return attention(x, x, x)

    return haiku_model(draw, forward, draw.normal(2, 5, 12))


@case((14, 9))
def nnx_batch_norm_dropout(draw: Draw) -> Model:
    """The state holds weights, statistics and dropout's random key and count."""
    from flax import nnx

    class Net(nnx.Module):
        def __init__(self, rngs):
            self.first = nnx.Linear(6, 14, rngs=rngs)
            self.norm = nnx.BatchNorm(14, use_running_average=True, rngs=rngs)
            self.drop = nnx.Dropout(0.4, deterministic=True, rngs=rngs)
            self.second = nnx.Linear(14, 9, rngs=rngs)
            self.slope = nnx.Param(jnp.ones(9))
            self.out = nnx.Linear(9, 3, use_bias=False, rngs=rngs)

        def __call__(self, x):
            x = self.drop(nnx.relu(self.norm(self.first(x))))
            x = self.second(x)
            return self.out(jnp.where(x > 0, x, x * self.slope[...][None]))

    return nnx_model(draw, Net, draw.normal(4, 6))


@case((12, 10), frozen=(("4/1", 0),))
def stax_style(draw: Draw) -> Model:
    """Layers as tuples, activations as empty ones, as jax.example_libraries does."""

    def apply(params, x):
        for index, layer in enumerate(params):
            if layer:
                x = x @ layer[0] + layer[1][None]
            elif index < len(params) - 1:
                x = relu(x)
        return x

    layers = [(d["w"], d["b"]) for d in draw.dense(6, 12, 10, 3)]
    params = [layers[0], (), layers[1], (), layers[2]]
    return Model(apply, params, (draw.normal(4, 6),))


@case((12,))
def bare_arrays(draw: Draw) -> Model:
    """A tuple of matrices, and nothing else."""

    def apply(params, x):
        return jnp.sin(x @ params[0]) @ params[1]

    return Model(apply, (draw.weight(6, 12), draw.weight(12, 3)), (draw.normal(4, 6),))
