"""Attention in its many spellings."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.nn import relu, silu, softmax

from tests.zoo.case import Draw, Model, case, dense, linen, nnx_model, standardise


class EncoderBlock(nn.Module):
    width: int
    hidden: int
    heads: int

    @nn.compact
    def __call__(self, x):
        y = nn.LayerNorm()(x)
        x = x + nn.MultiHeadDotProductAttention(self.heads)(y)
        y = nn.gelu(nn.Dense(self.hidden)(nn.LayerNorm()(x)))
        return x + nn.Dense(self.width)(y)


class Transformer(nn.Module):
    @nn.compact
    def __call__(self, tokens):
        x = nn.Embed(40, 32)(tokens)
        normal = nn.initializers.normal()
        first = self.param("cls", normal, (1, 1, 32))
        x = jnp.concatenate([jnp.tile(first, (len(x), 1, 1)), x], 1)
        x = x + self.param("position", normal, (1, 7, 32))
        for _ in range(2):
            x = EncoderBlock(32, 64, 4)(x)
        return nn.Dense(5)(nn.LayerNorm()(x)[:, 0])


# in each of 2 blocks: 4 heads, 8 dimensions that queries and keys share, 8 of the
# values, 64 hidden units
TRANSFORMER = (4, 8, 8, 64) * 2


@case(
    TRANSFORMER,
    frozen=(("params/Embed_0/embedding", 1), ("params/LayerNorm_0/scale", 0)),
)
def transformer_linen(draw: Draw) -> Model:
    """The residual stream is frozen by the sums of LayerNorm."""
    return linen(draw, Transformer(), draw.integers(40, 3, 6))


@case((4, 8, 8, 64), frozen=(("embed/embedding/value", 1),), smooth=False)
def transformer_nnx(draw: Draw) -> Model:
    """The module takes its softmax in float32 whatever the inputs, so not smooth."""
    from flax import nnx

    class Net(nnx.Module):
        def __init__(self, rngs):
            self.embed = nnx.Embed(40, 32, rngs=rngs)
            self.norm1 = nnx.LayerNorm(32, rngs=rngs)
            self.attention = nnx.MultiHeadAttention(4, 32, decode=False, rngs=rngs)
            self.norm2 = nnx.LayerNorm(32, rngs=rngs)
            self.up = nnx.Linear(32, 64, rngs=rngs)
            self.down = nnx.Linear(64, 32, rngs=rngs)

        def __call__(self, tokens):
            x = self.embed(tokens)
            x = x + self.attention(self.norm1(x))
            return x + self.down(nnx.gelu(self.up(self.norm2(x))))

    return nnx_model(draw, Net, draw.integers(40, 2, 5))


def rotate(x):
    """Rotary position embedding of [batch, time, heads, dimensions]."""
    half = x.shape[-1] // 2
    rate = 1e2 ** (-jnp.arange(half) / half)
    angle = jnp.arange(x.shape[1])[:, None] * rate[None]
    cos = jnp.cos(angle)[None, :, None].astype(x.dtype)
    sin = jnp.sin(angle)[None, :, None].astype(x.dtype)
    a, b = x[..., :half], x[..., half:]
    return jnp.concatenate([a * cos - b * sin, a * sin + b * cos], -1)


def attend(q, k, v, causal=False):
    """Softmax attention of [batch, time, heads, dimensions]."""
    logits = jnp.einsum("bqhd,bkhd->bhqk", q, k) * q.shape[-1] ** -0.5
    if causal:
        visible = jnp.tril(jnp.ones(logits.shape[-2:], bool))
        logits = jnp.where(visible[None, None], logits, -1e9)
    return jnp.einsum("bhqk,bkhd->bqhd", softmax(logits), v)


@case((4, 4, 40), frozen=(("qkv", 0), ("out", 1), ("down", 1)))
def fused_qkv_rotary_swiglu(draw: Draw) -> Model:
    """4 heads; 4 rotary pairs of dimensions, which queries, keys and values share
    because one kernel makes all three; 40 gate-up pairs."""

    def apply(params, x):
        qkv = (standardise(x) @ params["qkv"]).reshape(*x.shape[:2], 3, 4, 8)
        q, k, v = qkv[:, :, 0], qkv[:, :, 1], qkv[:, :, 2]
        y = attend(rotate(q), rotate(k), v, causal=True)
        x = x + y.reshape(*x.shape[:2], 32) @ params["out"]
        y = standardise(x)
        return x + (silu(y @ params["gate"]) * (y @ params["up"])) @ params["down"]

    params = {"qkv": draw.weight(32, 96), "out": draw.weight(32, 32)}
    params |= {"gate": draw.weight(32, 40), "up": draw.weight(32, 40)}
    params |= {"down": draw.weight(40, 32)}
    return Model(apply, params, (draw.normal(2, 6, 32),))


@case((2, 2, 8, 6))
def grouped_query_attention(draw: Draw) -> Model:
    """2 key-value heads, each with 2 query heads; 8 dimensions of the queries and
    keys, 6 of the values."""

    def apply(params, x):
        b, t, _ = x.shape
        q = (x @ params["q"]).reshape(b, t, 2, 2, 8)
        k = (x @ params["k"]).reshape(b, t, 2, 8)
        v = (x @ params["v"]).reshape(b, t, 2, 6)
        weights = softmax(jnp.einsum("bqhgd,bkhd->bhgqk", q, k))
        y = jnp.einsum("bhgqk,bkhd->bqhgd", weights, v)
        return y.reshape(b, t, 24) @ params["o"]

    params = {"q": draw.weight(10, 32), "k": draw.weight(10, 16)}
    params |= {"v": draw.weight(10, 12), "o": draw.weight(24, 10)}
    return Model(apply, params, (draw.normal(2, 5, 10),))


@case((2, 2, 8, 6), frozen=(("q", 0), ("o", 1)))
def repeated_key_value_heads(draw: Draw) -> Model:
    """The same with copied keys and values: 4 query heads are 2 x 2, a key-value head
    and a copy of it."""

    def copy(heads):
        b, t, h, d = heads.shape
        wide = jnp.broadcast_to(heads[:, :, :, None], (b, t, h, 2, d))
        return wide.reshape(b, t, 2 * h, d)

    def apply(params, x):
        b, t, _ = x.shape
        q = (x @ params["q"]).reshape(b, t, 4, 8)
        k, v = (x @ params["k"]).reshape(b, t, 2, 8), x @ params["v"]
        v = v.reshape(b, t, 2, 6)
        y = attend(q, copy(k), copy(v))
        return y.reshape(b, t, 24) @ params["o"]

    params = {"q": draw.weight(10, 32), "k": draw.weight(10, 16)}
    params |= {"v": draw.weight(10, 12), "o": draw.weight(24, 10)}
    return Model(apply, params, (draw.normal(2, 5, 10),))


@case((12, 2, 4, 3, 10), frozen=(("latents", 0),))
def perceiver(draw: Draw) -> Model:
    """Five latent vectors look at the input. Without a norm their 12 dimensions are
    players, beside 2 heads, 4 + 3 dimensions and 10 hidden units."""

    def apply(params, x):
        latents = jnp.tile(params["latents"][None], (len(x), 1, 1))
        q = jnp.einsum("bli,ihd->blhd", latents, params["q"])
        k = jnp.einsum("bti,ihd->bthd", x, params["k"])
        v = jnp.einsum("bti,ihd->bthd", x, params["v"])
        z = latents + jnp.einsum("blhd,hdo->blo", attend(q, k, v), params["o"])
        up, down = params["mlp"]
        return dense(params["head"], (z + dense(down, relu(dense(up, z)))).mean(1))

    params = {"latents": draw.weight(5, 12), "q": draw.weight(12, 2, 4)}
    params |= {"k": draw.weight(7, 2, 4), "v": draw.weight(7, 2, 3)}
    params |= {"o": draw.weight(2, 3, 12), "mlp": draw.dense(12, 10, 12)}
    params |= {"head": draw.dense(12, 3)[0]}
    return Model(apply, params, (draw.normal(2, 6, 7),))


class WindowAttention(nn.Module):
    """Shifted windows of 4 positions with a learnt bias for every distance."""

    @nn.compact
    def __call__(self, x):
        b, t, width = x.shape
        windows = jnp.roll(x, -2, axis=1).reshape(b, t // 4, 4, width)
        q, k = (nn.DenseGeneral((3, 5))(windows) for _ in range(2))
        v = nn.DenseGeneral((3, 6))(windows)
        table = self.param("distance", nn.initializers.normal(), (7, 3))
        offset = jnp.arange(4)[:, None] - jnp.arange(4)[None] + 3
        bias = table[offset].transpose(2, 0, 1)[None, None]
        logits = jnp.einsum("bwqhd,bwkhd->bwhqk", q, k) + bias
        y = jnp.einsum("bwhqk,bwkhd->bwqhd", nn.softmax(logits), v)
        y = nn.DenseGeneral(width, axis=(-2, -1))(y).reshape(b, t, width)
        return x + jnp.roll(y, 2, axis=1)


@case((3, 5, 6), frozen=(("params/distance", 0),))
def shifted_window_attention(draw: Draw) -> Model:
    """A head takes its column of the bias table along."""
    return linen(draw, WindowAttention(), draw.normal(2, 12, 8))


@case((3, 5, 6, 9), frozen=(("patch/w", 1),))
def vision_transformer_rms(draw: Draw) -> Model:
    """Patches by reshape; RMS norms, which freeze the residual stream."""

    def rms(x, scale):
        scale = scale.reshape((1,) * (x.ndim - 1) + (-1,))
        return x * jax.lax.rsqrt((x**2).mean(-1, keepdims=True) + 1e-6) * scale

    def apply(params, x):
        b, h, w, c = x.shape
        x = x.reshape(b, h // 2, 2, w // 2, 2, c).transpose(0, 1, 3, 2, 4, 5)
        x = dense(params["patch"], x.reshape(b, h * w // 4, 4 * c))
        x = x + params["position"][None]
        y = rms(x, params["norm1"])
        q, k, v = (jnp.einsum("bti,ihd->bthd", y, params[name]) for name in "qkv")
        x = x + jnp.einsum("bthd,hdo->bto", attend(q, k, v), params["o"])
        up, down = params["mlp"]
        x = x + dense(down, jax.nn.gelu(dense(up, rms(x, params["norm2"]))))
        return dense(params["head"], x.mean(1))

    params = {"patch": draw.dense(12, 16)[0], "position": draw.bias(4, 16)}
    params |= {"q": draw.weight(16, 3, 5), "k": draw.weight(16, 3, 5)}
    params |= {"v": draw.weight(16, 3, 6), "o": draw.weight(3, 6, 16)}
    params |= {"norm1": draw.positive(16), "norm2": draw.positive(16)}
    params |= {"mlp": draw.dense(16, 9, 16), "head": draw.dense(16, 3)[0]}
    return Model(apply, params, (draw.normal(2, 4, 4, 3),))


@case((3, 6), frozen=(("q", 2), ("k", 2)))
def normalised_queries(draw: Draw) -> Model:
    """Queries and keys standardised within a head: their dimensions are frozen, the
    3 heads and the values' 6 dimensions are not."""

    def apply(params, x):
        q, k, v = (jnp.einsum("bti,ihd->bthd", x, params[name]) for name in "qkv")
        y = attend(standardise(q), standardise(k), v)
        return jnp.einsum("bthd,hdo->bto", y, params["o"])

    params = {"q": draw.weight(7, 3, 5), "k": draw.weight(7, 3, 5)}
    params |= {"v": draw.weight(7, 3, 6), "o": draw.weight(3, 6, 7)}
    return Model(apply, params, (draw.normal(2, 5, 7),))


@case((36, 12, 4, 3, 3))
def decoder_with_tied_embedding(draw: Draw) -> Model:
    """A language model whose embedding (12, no norm) is also its output layer."""

    def apply(params, tokens):
        x = params["embed"][tokens]
        q, k, v = (jnp.einsum("bti,ihd->bthd", x, params[name]) for name in "qkv")
        y = attend(q, k, v, causal=True)
        x = x + jnp.einsum("bthd,hdo->bto", y, params["o"])
        up, down = params["mlp"]
        return (x + dense(down, relu(dense(up, x)))) @ params["embed"].T

    params = {"embed": draw.weight(20, 12), "q": draw.weight(12, 4, 3)}
    params |= {"k": draw.weight(12, 4, 3), "v": draw.weight(12, 4, 3)}
    params |= {"o": draw.weight(4, 3, 12), "mlp": draw.dense(12, 36, 12)}
    return Model(apply, params, (draw.integers(20, 2, 6),))


class Attend(nn.Module):
    @nn.compact
    def __call__(self, tokens):
        embed = nn.Embed(30, 12)
        x = nn.relu(nn.Dense(24)(embed(tokens)))
        return embed.attend(nn.Dense(12)(x))


@case((12, 24), frozen=(("params/Embed_0/embedding", 0),))
def tied_embed_attend(draw: Draw) -> Model:
    return linen(draw, Attend(), draw.integers(30, 2, 5))


@case((3, 5, 6), frozen=(("k", 0), ("v", 0)), batched=(0, 1, 2))
def cached_decoding_step(draw: Draw) -> Model:
    """The caches are made from a prompt, and the new token is written behind it.
    (Caches that were inputs would freeze the heads and dimensions that they hold.)"""

    def apply(params, prompt, token, scale):
        k, v = (jnp.einsum("bti,ihd->bthd", prompt, params[n]) for n in "kv")
        room = ((0, 0), (0, 3), (0, 0), (0, 0))
        k, v, last = jnp.pad(k, room), jnp.pad(v, room), prompt.shape[1]
        new = [jnp.einsum("bti,ihd->bthd", token, params[n]) for n in "qkv"]
        k = jax.lax.dynamic_update_slice(k, new[1], (0, last, 0, 0))
        v = jax.lax.dynamic_update_slice(v, new[2], (0, last, 0, 0))
        logits = jnp.einsum("bqhd,bkhd->bhqk", new[0], k) * scale[:, None, None, None]
        seen = (jnp.arange(k.shape[1]) <= last)[None, None, None]
        weights = softmax(jnp.where(seen, logits, -1e9))
        y = jnp.einsum("bhqk,bkhd->bqhd", weights, v)
        return jnp.einsum("bqhd,hdo->bqo", y, params["o"])

    params = {"q": draw.weight(7, 3, 5), "k": draw.weight(7, 3, 5)}
    params |= {"v": draw.weight(7, 3, 6), "o": draw.weight(3, 6, 7)}
    prompt, token = draw.normal(2, 4, 7), draw.normal(2, 1, 7)
    return Model(apply, params, (prompt, token, draw.positive(2)))


@case((8, 5, 3), refuses=True)
def linear_attention(draw: Draw) -> Model:
    """No softmax over the keys: phi(q) (phi(k)' v), with phi = elu + 1, which is 1
    where the unit is removed; zeroed parameters do not remove it."""

    def apply(params, x):
        q, k = (jax.nn.elu(x @ params[n]) + 1 for n in "qk")
        memory = jnp.einsum("btd,bte->bde", k, x @ params["v"])
        y = jnp.einsum("btd,bde->bte", q, memory)
        return dense(params["out"], relu(dense(params["hidden"], y)))

    params = {"q": draw.weight(7, 8), "k": draw.weight(7, 8), "v": draw.weight(7, 5)}
    hidden, out = draw.dense(5, 3, 2)
    params |= {"hidden": hidden, "out": out}
    return Model(apply, params, (draw.normal(2, 6, 7),))
