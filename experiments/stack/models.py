"""Small models in the shapes of the stack: a decoder in nnx, MaxText's layout in linen.

`ScannedDecoder` has the names, the shapes and the scanned axis of MaxText's parameters
(`params/decoder/layers/self_attention/query/kernel` is [width, layers, heads, size]);
its configuration has MaxText's names. The code is our own.
"""

import dataclasses
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax import nnx


@dataclasses.dataclass(frozen=True)
class Config:
    """Sizes of a decoder, under MaxText's names."""

    vocab_size: int = 96
    base_emb_dim: int = 48
    base_num_query_heads: int = 8
    base_num_kv_heads: int = 4
    head_dim: int = 12
    base_mlp_dim: int = 80
    base_num_decoder_layers: int = 3


def rotate(x):
    """Rotary positions of [batch, time, heads, size], halves of the size as pairs."""
    half = x.shape[-1] // 2
    turns = 10_000.0 ** (-jnp.arange(half) / half)
    angles = jnp.arange(x.shape[1])[:, None, None] * turns[None, None]
    cos, sin = jnp.cos(angles)[None], jnp.sin(angles)[None]
    one, two = x[..., :half], x[..., half:]
    return jnp.concatenate([one * cos - two * sin, two * cos + one * sin], -1)


def attend(query, key, value):
    """Causal attention; each head of keys and values serves several queries."""
    groups = key.shape[2]
    query = query.reshape(*query.shape[:2], groups, -1, query.shape[-1])
    scores = jnp.einsum("btgrk,bsgk->bgrts", query, key) * query.shape[-1] ** -0.5
    time = jnp.arange(query.shape[1])
    causal = (time[:, None] >= time[None])[None, None, None]
    weights = jax.nn.softmax(jnp.where(causal, scores, -1e9), -1)
    out = jnp.einsum("bgrts,bsgk->btgrk", weights, value)
    return out.reshape(*out.shape[:2], -1, out.shape[-1])


# -- linen, scanned --------------------------------------------------------------------


class Attention(nn.Module):
    """Queries, keys, values and the way out, as MaxText names them."""

    config: Config

    @nn.compact
    def __call__(self, x):
        c = self.config
        heads = {"query": c.base_num_query_heads, "key": c.base_num_kv_heads}
        query, key, value = (
            nn.DenseGeneral(
                (heads.get(name, c.base_num_kv_heads), c.head_dim),
                use_bias=False,
                name=name,
            )(x)
            for name in ("query", "key", "value")
        )
        out = attend(rotate(query), rotate(key), value)
        return nn.DenseGeneral(
            c.base_emb_dim, axis=(-2, -1), use_bias=False, name="out"
        )(out)


class Mlp(nn.Module):
    """A gated feed-forward network."""

    config: Config

    @nn.compact
    def __call__(self, x):
        c = self.config
        gate = nn.Dense(c.base_mlp_dim, use_bias=False, name="wi_0")(x)
        up = nn.Dense(c.base_mlp_dim, use_bias=False, name="wi_1")(x)
        return nn.Dense(c.base_emb_dim, use_bias=False, name="wo")(nn.silu(gate) * up)


class Layer(nn.Module):
    """One layer of the scan."""

    config: Config

    @nn.compact
    def __call__(self, x, _):
        norm = nn.RMSNorm(name="pre_self_attention_layer_norm")(x)
        x = x + Attention(self.config, name="self_attention")(norm)
        norm = nn.RMSNorm(name="post_self_attention_layer_norm")(x)
        return x + Mlp(self.config, name="mlp")(norm), None


class Decoder(nn.Module):
    """The layers, scanned along axis 1 of their parameters, and the way out."""

    config: Config

    @nn.compact
    def __call__(self, x):
        layers = nn.scan(
            Layer,
            variable_axes={"params": 1},
            split_rngs={"params": True},
            length=self.config.base_num_decoder_layers,
        )
        x, _ = layers(self.config, name="layers")(x, None)
        x = nn.RMSNorm(name="decoder_norm")(x)
        return nn.Dense(self.config.vocab_size, use_bias=False, name="logits_dense")(x)


class ScannedDecoder(nn.Module):
    """Tokens [batch, time] -> logits, with MaxText's parameters."""

    config: Config = Config()

    @nn.compact
    def __call__(self, tokens):
        c = self.config
        x = nn.Embed(c.vocab_size, c.base_emb_dim, name="token_embedder")(tokens)
        return Decoder(c, name="decoder")(x)


# -- nnx -------------------------------------------------------------------------------


class Block(nnx.Module):
    """A layer of the nnx decoder."""

    def __init__(self, c: Config, rngs: nnx.Rngs):
        width, size = c.base_emb_dim, c.head_dim
        linear = lambda *sizes, **how: nnx.LinearGeneral(  # noqa: E731
            *sizes, use_bias=False, rngs=rngs, **how
        )
        self.before = nnx.RMSNorm(width, rngs=rngs)
        self.query = linear(width, (c.base_num_query_heads, size))
        self.key = linear(width, (c.base_num_kv_heads, size))
        self.value = linear(width, (c.base_num_kv_heads, size))
        self.out = linear((c.base_num_query_heads, size), width, axis=(-2, -1))
        self.between = nnx.RMSNorm(width, rngs=rngs)
        self.gate = linear(width, c.base_mlp_dim)
        self.up = linear(width, c.base_mlp_dim)
        self.down = linear(c.base_mlp_dim, width)

    def __call__(self, x):
        norm = self.before(x)
        query, key = rotate(self.query(norm)), rotate(self.key(norm))
        x = x + self.out(attend(query, key, self.value(norm)))
        norm = self.between(x)
        return x + self.down(nnx.silu(self.gate(norm)) * self.up(norm))


class NnxDecoder(nnx.Module):
    """Tokens [batch, time] -> logits, a module for trainers and quantisers."""

    def __init__(self, c: Config = Config(), rngs: Any = None):
        rngs = nnx.Rngs(0) if rngs is None else rngs
        self.embed = nnx.Embed(c.vocab_size, c.base_emb_dim, rngs=rngs)
        blocks = [Block(c, rngs) for _ in range(c.base_num_decoder_layers)]
        self.blocks = nnx.List(blocks)
        self.norm = nnx.RMSNorm(c.base_emb_dim, rngs=rngs)
        self.head = nnx.Linear(c.base_emb_dim, c.vocab_size, use_bias=False, rngs=rngs)

    def __call__(self, tokens):
        x = self.embed(tokens)
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x))


# -- for the converters ----------------------------------------------------------------


class Dense(nn.Module):
    """Features -> classes."""

    @nn.compact
    def __call__(self, x):
        for width in (64, 48):
            x = nn.gelu(nn.Dense(width)(x))
        return nn.Dense(10)(x)


class Convolutions(nn.Module):
    """Images -> classes, by convolutions, batch norm and means or maxima."""

    pool: str = "mean"

    @nn.compact
    def __call__(self, x):
        pool = nn.max_pool if self.pool == "max" else nn.avg_pool
        for width in (8, 16):
            x = nn.Conv(width, (3, 3))(x)
            x = nn.relu(nn.BatchNorm(use_running_average=True)(x))
            x = pool(x, (2, 2), strides=(2, 2))
        return nn.Dense(10)(x.reshape(len(x), -1))
