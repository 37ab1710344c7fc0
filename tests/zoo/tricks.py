"""What people do to a network besides layers: constants, noise, types, gradients."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.nn import relu

from tests.zoo.case import Draw, Model, case, dense, linen, standardise


@case((16, 12))
def closed_over_constants(draw: Draw) -> Model:
    """A fixed scale, a fixed matrix and a table made by iota, none of them params."""
    scale, fixed = draw.positive(16), draw.weight(16, 12)

    def apply(params, x):
        x = relu(dense(params[0], x)) * scale[None]
        x = jnp.tanh(x @ fixed) + jnp.arange(12, dtype=x.dtype)[None] / 12
        return dense(params[1], x)

    params = [*draw.dense(7, 16), *draw.dense(12, 3)]
    return Model(apply, params, (draw.normal(4, 7),))


@case((24,), batched=())
def dropout_with_key(draw: Draw) -> Model:
    """The key is an input; the smaller model draws the same bits."""

    def apply(params, x, key):
        x = relu(dense(params[0], x))
        kept = jax.random.bernoulli(key, 0.8, x.shape)
        return dense(params[1], jnp.where(kept, x / 0.8, 0.0))

    return Model(apply, draw.dense(7, 24, 3), (draw.normal(4, 7), jax.random.key(7)))


@case((20, 18), batched=())
def linen_dropout_with_key(draw: Draw) -> Model:
    """The same with a Flax layer and an old-style key, two layers deep."""

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            for units in (20, 18):
                x = nn.Dropout(0.3, deterministic=False)(nn.relu(nn.Dense(units)(x)))
            return nn.Dense(3)(x)

    def apply(params, x, key):
        return Net().apply(params, x, rngs={"dropout": key})

    x, rngs = draw.normal(4, 7), {"params": draw.key, "dropout": draw.key}
    shapes = jax.eval_shape(Net().init, rngs, x)
    return Model(apply, draw.like(shapes), (x, jax.random.PRNGKey(3)))


@case((5, 12, 5), batched=())
def variational_autoencoder(draw: Draw) -> Model:
    """Mean and log variance of a code (5) share its noise; 12 and 5 hidden units.
    The two losses are outputs: a sum over the code would freeze it, so it is given
    per dimension of the data only."""

    def apply(params, x, key):
        hidden = relu(dense(params["up"], x))
        mean, spread = dense(params["mean"], hidden), dense(params["spread"], hidden)
        noise = jax.random.normal(key, mean.shape, mean.dtype)
        code = mean + jnp.exp(0.5 * spread) * noise
        return dense(params["out"], relu(dense(params["down"], code)))

    up, mean = draw.dense(8, 12, 5)
    down, out = draw.dense(5, 5, 8)
    params = {"up": up, "mean": mean, "spread": draw.dense(12, 5)[0]}
    params |= {"down": down, "out": out}
    return Model(apply, params, (draw.normal(4, 8), jax.random.key(1)))


@case((24, 16), dtypes=("float32",), tolerance={"float32": 3e-2})
def half_precision(draw: Draw) -> Model:
    """bfloat16 throughout: equal up to its own rounding."""

    def apply(params, x):
        for layer in params[:-1]:
            x = jnp.tanh(dense(layer, x))
        return dense(params[-1], x)

    half = lambda tree: jax.tree.map(lambda a: a.astype(jnp.bfloat16), tree)  # noqa: E731
    return Model(apply, half(draw.dense(9, 24, 16, 3)), half((draw.normal(4, 9),)))


@case((24, 16), dtypes=("float32",), tolerance={"float32": 3e-2})
def mixed_precision(draw: Draw) -> Model:
    """float32 parameters, bfloat16 arithmetic, float32 outputs."""

    def apply(params, x):
        small = jax.tree.map(lambda a: a.astype(jnp.bfloat16), params)
        x = x.astype(jnp.bfloat16)
        for layer in small[:-1]:
            x = jax.nn.gelu(dense(layer, x))
        return dense(small[-1], x).astype(jnp.float32)

    return Model(apply, draw.dense(9, 24, 16, 3), (draw.normal(4, 9),))


@case((16,), frozen=(("v", 0),))
def weight_normalisation(draw: Draw) -> Model:
    """w = g v / |v|, the norm taken over the input: zeroing v would divide 0 by 0."""

    def apply(params, x):
        norm = jnp.sqrt((params["v"] ** 2).sum(0, keepdims=True))
        x = relu(x @ (params["v"] / norm) * params["g"][None])
        return dense(params["out"], x)

    params = {"v": draw.weight(7, 16), "g": draw.positive(16)}
    params |= {"out": draw.dense(16, 3)[0]}
    return Model(apply, params, (draw.normal(4, 7),))


@case((14, 10), refuses=None)
def weight_normalisation_gated(draw: Draw) -> Model:
    """In every layer, by Flax. A norm over a layer's inputs would freeze them;
    `reductions="gate"` takes the norm over those that are left."""

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            x = nn.relu(nn.WeightNorm(nn.Dense(14))(x))
            x = nn.relu(nn.WeightNorm(nn.Dense(10))(x))
            return nn.WeightNorm(nn.Dense(3))(x)

    return linen(draw, Net(), draw.normal(4, 7), reductions="gate")


@case((12,), frozen=(("0/w", 0),), refuses=True)
def gram_of_exponentials(draw: Draw) -> Model:
    """exp(h) exp(h)': a unit with zeroed parameters still adds exp(0)^2."""

    def apply(params, x):
        x = jnp.exp(dense(params[0], x) / 4)
        return x @ x.T

    return Model(apply, draw.dense(6, 12), (draw.normal(5, 6),))


@case((12,), refuses=False)
def gram_of_relu(draw: Draw) -> Model:
    """relu(h) relu(h)': zeroed parameters are enough, relu(0) being 0."""

    def apply(params, x):
        x = relu(dense(params[0], x))
        return x @ x.T

    return Model(apply, draw.dense(6, 12), (draw.normal(5, 6),))


@case((12,), refuses=True)
def layer_norm_gated(draw: Draw) -> Model:
    """Hidden LayerNorm whose sums are gated; its 1/N stays the full network's."""

    def apply(params, x):
        x = standardise(jnp.tanh(dense(params["in"], x))) * params["scale"][None]
        return dense(params["out"], x)

    params = {"in": draw.dense(6, 12)[0], "scale": draw.positive(12)}
    params["out"] = draw.dense(12, 3)[0]
    return Model(apply, params, (draw.normal(5, 6),), {"reductions": "gate"})


@case((12,), frozen=(("0/w", 1), ("1/w", 0)))
def layer_norm_frozen(draw: Draw) -> Model:
    """The default: a layer under a norm stays whole, the next one (12) plays."""

    def apply(params, x):
        x = standardise(jnp.tanh(dense(params[0], x)))
        return dense(params[2], relu(dense(params[1], x)))

    return Model(apply, draw.dense(6, 9, 12, 3), (draw.normal(5, 6),))


@case((22,), frozen=(("1/w", 1), ("2/w", 0)), opaque=("fft",))
def fourier_transform(draw: Draw) -> Model:
    """What is not understood (fft) freezes the layer that it touches, no other."""

    def apply(params, x):
        x = relu(dense(params[0], x))
        x = jnp.fft.fft(dense(params[1], x), axis=-1)
        return dense(params[2], x.real)

    return Model(apply, draw.dense(6, 22, 8, 3), (draw.normal(4, 6),))


@case((5, 18))
def fourier_over_time(draw: Draw) -> Model:
    """fft along time: the channels that enter it pass."""

    def apply(params, x):
        x = jnp.fft.rfft(dense(params[0], x), axis=1).real
        return dense(params[2], relu(dense(params[1], x)))

    return Model(apply, draw.dense(6, 5, 18, 3), (draw.normal(2, 8, 6),))


@jax.custom_vjp
def quantise(x):
    return jnp.round(x * 8) / 8


quantise.defvjp(lambda x: (quantise(x), None), lambda _, g: (g,))


@case((20, 14), smooth=False, refuses=None)
def straight_through_quantiser(draw: Draw) -> Model:
    """Weights rounded to eighths on the way in, with a gradient that ignores it."""

    def apply(params, x):
        for layer in params[:-1]:
            x = relu(dense(jax.tree.map(quantise, layer), x))
        return dense(params[-1], quantise(x))

    return Model(apply, draw.dense(7, 20, 14, 3), (draw.normal(4, 7),))


@jax.custom_vjp
def quantised_product(x, w):
    return quantise(x) @ quantise(w)


quantised_product.defvjp(
    lambda x, w: (quantised_product(x, w), (x, w)),
    lambda saved, g: (g @ saved[1].T, saved[0].T @ g),
)


@case((9, 8), smooth=False)
def quantised_products(draw: Draw) -> Model:
    """Contractions inside a function with a derivative of its own."""

    def apply(params, x):
        for w in params[:-1]:
            x = relu(quantised_product(x, w))
        return x @ params[-1]

    params = [draw.weight(7, 9), draw.weight(9, 8), draw.weight(8, 3)]
    return Model(apply, params, (draw.normal(4, 7),))


@case((12,))
def masked_weights(draw: Draw) -> Model:
    """Some weights are 0 for good: MADE, lottery tickets."""
    first = np.random.default_rng(0).integers(0, 2, (7, 12)).astype(draw.dtype)
    second = np.random.default_rng(1).integers(0, 2, (12, 3)).astype(draw.dtype)

    def apply(params, x):
        x = relu(x @ (params[0]["w"] * first) + params[0]["b"][None])
        return x @ (params[1]["w"] * second) + params[1]["b"][None]

    return Model(apply, draw.dense(7, 12, 3), (draw.normal(4, 7),))


@case((12, 10))
def dequantised_weights(draw: Draw) -> Model:
    """8-bit weights with a scale for each unit."""

    def apply(params, x):
        for layer in params[:-1]:
            w = layer["q"].astype(x.dtype) * layer["scale"][None]
            x = relu(x @ w + layer["b"][None])
        return x @ (params[-1]["q"].astype(x.dtype) * params[-1]["scale"][None])

    def layer(fan_in, fan_out):
        q = draw.integers(256, fan_in, fan_out) - 128
        scale = draw.positive(fan_out) / 128
        return {"q": q.astype(jnp.int8), "scale": scale, "b": draw.bias(fan_out)}

    params = [layer(7, 12), layer(12, 10), layer(10, 3)]
    return Model(apply, params, (draw.normal(4, 7),))


@case((8, 6), smooth=False)
def physics_informed(draw: Draw) -> Model:
    """The output and its derivative by the input."""

    def potential(params, x):
        x = jnp.tanh(dense(params[0], x[None]))
        return dense(params[2], jnp.tanh(dense(params[1], x)))[0, 0]

    def apply(params, x):
        return jax.vmap(jax.value_and_grad(potential, argnums=1), (None, 0))(params, x)

    return Model(apply, draw.dense(2, 8, 6, 1), (draw.normal(4, 2),))


@jax.custom_jvp
def swish(x):
    return x * jax.nn.sigmoid(x)


@swish.defjvp
def _(primals, tangents):
    (x,), (t,) = primals, tangents
    s = jax.nn.sigmoid(x)
    return x * s, t * (s + x * s * (1 - s))


@case((13,))
def custom_gradient(draw: Draw) -> Model:
    def apply(params, x):
        return dense(params[1], jax.jit(swish)(dense(params[0], x)))

    return Model(apply, draw.dense(7, 13, 3), (draw.normal(4, 7),))


@case((11, 9))
def einsum_chain(draw: Draw) -> Model:
    """One einsum over everything, its path chosen by opt_einsum."""

    def apply(params, x):
        return jnp.einsum("bi,ih,hk,ko->bo", x, *params)

    params = [draw.weight(7, 11), draw.weight(11, 9), draw.weight(9, 3)]
    return Model(apply, params, (draw.normal(4, 7),))


@case((4, 5, 3))
def tensor_train(draw: Draw) -> Model:
    """A kernel kept as a train of small cores: the ranks (4, 5) are players, and so
    is each of the 3 parts of the units' index after the input's own 2 x 4."""

    def apply(params, x):
        a, b, c = params["cores"]
        kernel = jnp.einsum("ir,rjs,sk->ijk", a, b, c).reshape(8, 3)
        return dense(params["out"], relu(x @ kernel))

    cores = [draw.weight(2, 4), draw.weight(4, 4, 5), draw.weight(5, 3)]
    params = {"cores": cores, "out": draw.dense(3, 2)[0]}
    return Model(apply, params, (draw.normal(4, 8),))


@case((10, 9))
def constant_permutation(draw: Draw) -> Model:
    """A look-up by fixed indices only reorders the units: both sides are cut."""
    order = np.random.default_rng(0).permutation(9)

    def apply(params, x):
        x = relu(dense(params[0], x))
        x = relu(dense(params[1], x))[:, order]
        return dense(params[2], x)

    return Model(apply, draw.dense(6, 10, 9, 3), (draw.normal(4, 6),))


@case((8, 7, 6))
def dictionary_of_outputs(draw: Draw) -> Model:
    """Two heads, integer and float outputs, a feature that goes nowhere."""

    def apply(params, x):
        x = relu(dense(params["trunk"], x))
        left = dense(params["left"][1], jnp.tanh(dense(params["left"][0], x)))
        right = dense(params["right"][1], jnp.sin(dense(params["right"][0], x)))
        return {"label": left.argmax(-1), "left": left, "right": (right, x.shape[0])}

    params = {"trunk": draw.dense(5, 8)[0], "unused": draw.weight(4, 4)}
    params |= {"left": draw.dense(8, 7, 3), "right": draw.dense(8, 6, 2)}
    return Model(apply, params, (draw.normal(4, 5),))


@case((15, 9))
def parameters_in_the_loss(draw: Draw) -> Model:
    """A scalar output that sums the squares of all weights freezes every layer it
    sums; here it sums the first layer's only through a learnt weight per unit."""

    def apply(params, x):
        x = relu(dense(params[0], x))
        x = relu(dense(params[1], x))
        penalty = jnp.tanh(params[1]["b"]) @ params[2]["w"]
        return dense(params[2], x).sum(0) + penalty

    return Model(apply, draw.dense(6, 15, 9, 3), (draw.normal(4, 6),))


@case((12, 10))
def spectral_normalisation(draw: Draw) -> Model:
    """A layer divided by a bound that its own parameters give (a learnt scalar)."""

    def apply(params, x):
        for layer, bound in zip(params["layers"][:-1], params["bounds"], strict=True):
            x = relu(dense(layer, x) / jnp.maximum(bound, 1.0))
        return dense(params["layers"][-1], x)

    params = {"layers": draw.dense(6, 12, 10, 3), "bounds": [draw.positive()] * 2}
    return Model(apply, params, (draw.normal(4, 6),))
