"""Fully connected networks."""

import jax
import jax.numpy as jnp
from jax.nn import relu, sigmoid

from tests.zoo.case import Draw, Model, case, dense


@case((32, 24, 16), frozen=(("0/w", 0), ("3/w", 1), ("3/b", 0)))
def mlp(draw: Draw) -> Model:
    def apply(params, x):
        x = relu(dense(params[0], x))
        x = sigmoid(dense(params[1], x))
        x = jnp.cos(dense(params[2], x))
        return dense(params[3], x)

    return Model(apply, draw.dense(20, 32, 24, 16, 10), (draw.normal(5, 20),))


@case((5, 12, 8), frozen=(("2/w", 1),))
def mlp_with_input_players(draw: Draw) -> Model:
    """The five features are players too."""

    def apply(params, x):
        for layer in params[:-1]:
            x = relu(dense(layer, x))
        return dense(params[-1], x)

    options = {"input_axes": {0: 1}}
    return Model(apply, draw.dense(5, 12, 8, 3), (draw.normal(4, 5),), options)


@case((24, 16), frozen=(("embed", 0),))
def embedding_masked_mean(draw: Draw) -> Model:
    """24 embedding columns are one family; the vocabulary is looked up, so frozen."""

    def apply(params, tokens):
        vectors = jnp.take(params["embed"], tokens, axis=0)
        mask = (tokens > 0).astype(vectors.dtype)[..., None]
        mean = (vectors * mask).sum(1) / (mask.sum(1) + 1e-3)
        return dense(params["out"], relu(dense(params["hidden"], mean)))

    hidden, out = draw.dense(24, 16, 6)
    params = {"embed": draw.weight(50, 24), "hidden": hidden, "out": out}
    return Model(apply, params, (draw.integers(50, 3, 7),))


@case((14,), frozen=(("w", 0),))
def tied_autoencoder(draw: Draw) -> Model:
    """W, a square matrix used twice, and W.T: all hidden layers are one family."""

    def apply(params, x):
        x = relu(x @ params["w"])
        x = relu(x @ params["square"])
        x = relu(x @ params["square"])
        return x @ params["w"].T

    params = {"w": draw.weight(20, 14), "square": draw.weight(14, 14)}
    return Model(apply, params, (draw.normal(4, 20),))


@case((16, 4, 12, 3))
def low_rank_adapters(draw: Draw) -> Model:
    """LoRA: x (W + A B). The ranks, where there are several, are players too."""

    def layer(params, x):
        return x @ (params["w"] + params["a"] @ params["b"])

    def apply(params, x):
        return layer(params[2], relu(layer(params[1], relu(layer(params[0], x)))))

    def make(i, r, o):
        return {"w": draw.weight(i, o), "a": draw.weight(i, r), "b": draw.weight(r, o)}

    params = [make(10, 4, 16), make(16, 3, 12), make(12, 1, 5)]
    return Model(apply, params, (draw.normal(4, 10),))


@case((16, 8), frozen=(("1/w", 1),))
def gated_linear_unit(draw: Draw) -> Model:
    """h, g = split(x W): unit i of the first half and unit i of the second leave
    together; then a second unit of the same kind through `jax.nn.glu`."""

    def apply(params, x):
        value, gate = jnp.split(dense(params[0], x), 2, axis=-1)
        x = value * sigmoid(gate)
        x = jax.nn.glu(dense(params[2], x))
        return dense(params[1], x)

    first, out, second = draw.dense(7, 32)[0], draw.dense(8, 3)[0], draw.dense(16, 16)
    return Model(apply, [first, out, *second], (draw.normal(4, 7),))


@case((16,))
def concatenated_relu(draw: Draw) -> Model:
    """CReLU: one unit feeds two rows of the next kernel."""

    def apply(params, x):
        x = dense(params[0], x)
        return dense(params[1], jnp.concatenate([relu(x), relu(-x)], -1))

    params = [*draw.dense(7, 16), *draw.dense(32, 3)]
    return Model(apply, params, (draw.normal(4, 7),))


@case((12,))
def maxout(draw: Draw) -> Model:
    """24 linear pieces, 12 units of two: a whole unit leaves."""

    def apply(params, x):
        x = dense(params[0], x)
        return dense(params[1], x.reshape(len(x), 12, 2).max(-1))

    params = [*draw.dense(7, 24), *draw.dense(12, 3)]
    return Model(apply, params, (draw.normal(4, 7),))


@case((16,))
def highway(draw: Draw) -> Model:
    """t h + (1 - t) x: carry, transform and gate of a unit are one player."""

    def apply(params, x):
        x = dense(params[0], x)
        t = sigmoid(dense(params[1], x))
        x = t * jnp.tanh(dense(params[2], x)) + (1 - t) * x
        return dense(params[3], x)

    params = [*draw.dense(7, 16, 16), *draw.dense(16, 16, 3)]
    return Model(apply, params, (draw.normal(4, 7),))


@case((10, 14, 9))
def residual_mlp(draw: Draw) -> Model:
    """The residual stream (10) is one family, each block's inside another."""

    def apply(params, x):
        x = dense(params["in"], x)
        for inner, outer in params["blocks"]:
            x = x + dense(outer, relu(dense(inner, x)))
        return dense(params["out"], x)

    blocks = [draw.dense(10, width, 10) for width in (14, 9)]
    params = {"in": draw.dense(6, 10)[0], "blocks": blocks}
    return Model(apply, {**params, "out": draw.dense(10, 4)[0]}, (draw.normal(3, 6),))


@case((6, 5))
def bilinear_pooling(draw: Draw) -> Model:
    """An outer product, flattened: row (i, j) stays while both i and j do."""

    def apply(params, x):
        left, right = relu(dense(params[0], x)), jnp.tanh(dense(params[1], x))
        outer = jnp.einsum("bi,bj->bij", left, right)
        return dense(params[2], outer.reshape(len(x), -1))

    params = [*draw.dense(7, 6), *draw.dense(7, 5), *draw.dense(30, 3)]
    return Model(apply, params, (draw.normal(4, 7),))


@case((8, 10), frozen=(("out/w", 1),))
def hypernetwork(draw: Draw) -> Model:
    """One layer's weights are another's output: column (i, o) of the generator
    belongs to unit o, its input i being fixed."""

    def apply(params, x):
        code = relu(dense(params["code"], x))
        kernel = dense(params["generate"], code).reshape(len(x), 6, 10)
        x = relu(jnp.einsum("bi,bio->bo", x, kernel))
        return dense(params["out"], x)

    code, generate = draw.dense(6, 8, 60)
    params = {"code": code, "generate": generate, "out": draw.dense(10, 3)[0]}
    return Model(apply, params, (draw.normal(4, 6),))


@case((16,), frozen=(("0/w", 0), ("1/w", 0)))
def ensemble(draw: Draw) -> Model:
    """Five networks by vmap, averaged: a player is the same unit in all of them."""

    def member(params, x):
        return dense(params[1], relu(dense(params[0], x)))

    def apply(params, x):
        return jax.vmap(member, in_axes=(0, None))(params, x).mean(0)

    members = [draw.dense(7, 16, 3) for _ in range(5)]
    params = jax.tree.map(lambda *leaves: jnp.stack(leaves), *members)
    return Model(apply, params, (draw.normal(4, 7),))


@case((12, 8))
def deep_sets(draw: Draw) -> Model:
    def apply(params, x):
        x = relu(dense(params[0], x)).sum(1)
        return dense(params[2], relu(dense(params[1], x)))

    return Model(apply, draw.dense(5, 12, 8, 3), (draw.normal(4, 6, 5),))


@case((10,), frozen=(("centres", 1),))
def radial_basis(draw: Draw) -> Model:
    """The centres are the units."""

    def apply(params, x):
        square = ((x[:, None, :] - params["centres"][None]) ** 2).sum(-1)
        return dense(params["out"], jnp.exp(-square * params["sharpness"][None]))

    params = {"centres": draw.normal(10, 3), "sharpness": draw.positive(10)}
    return Model(apply, {**params, "out": draw.dense(10, 2)[0]}, (draw.normal(4, 3),))


@case((4, 8), frozen=(("up", 1), ("down", 2)), refuses=True)
def soft_mixture_of_experts(draw: Draw) -> Model:
    """An expert leaves, and the softmax is over the others; unit h leaves in all."""

    def apply(params, x):
        gate = jax.nn.softmax(x @ params["gate"])
        hidden = relu(jnp.einsum("bi,eih->beh", x, params["up"]))
        outputs = jnp.einsum("beh,eho->beo", hidden, params["down"])
        return jnp.einsum("be,beo->bo", gate, outputs)

    params = {"gate": draw.weight(6, 4), "up": draw.weight(4, 6, 8)}
    return Model(apply, {**params, "down": draw.weight(4, 8, 3)}, (draw.normal(5, 6),))


@case((4, 8), frozen=(("up", 1), ("down", 2)))
def linear_mixture_of_experts(draw: Draw) -> Model:
    """Gates that do not compare the experts: a whole expert may leave."""

    def apply(params, x):
        gate = sigmoid(x @ params["gate"])
        hidden = relu(jnp.einsum("bi,eih->beh", x, params["up"]))
        return jnp.einsum("be,beh,eho->bo", gate, hidden, params["down"])

    params = {"gate": draw.weight(6, 4), "up": draw.weight(4, 6, 8)}
    return Model(apply, {**params, "down": draw.weight(4, 8, 3)}, (draw.normal(5, 6),))


@case((8, 6))
def factorisation_machine(draw: Draw) -> Model:
    """1/2 ((x V)^2 - x^2 V^2) summed over the factors would freeze them; a learnt
    weight for each factor makes them players (8), as the units after (6)."""

    def apply(params, x):
        pairs = (x @ params["v"]) ** 2 - (x**2) @ (params["v"] ** 2)
        return dense(params["out"], relu(dense(params["mix"], 0.5 * pairs)))

    mix, out = draw.dense(8, 6, 1)
    params = {"v": draw.weight(9, 8), "mix": mix, "out": out}
    return Model(apply, params, (draw.normal(4, 9),))
