"""Llama-7B, layers unrolled, by its shapes alone: hundreds of thousands of players."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

SIZES = {"layers": 32, "width": 4096, "heads": 32, "hidden": 11_008}
VOCABULARY = 32_000


def llama(params: Any, tokens: Int[Array, "B T"]) -> Float[Array, "B T V"]:
    """Touvron et al., LLaMA, arXiv 2302.13971: RMS norms, rotary pairs, gated units."""
    x = params["embedding"][tokens]
    for layer in params["layers"]:
        x = x + _attention(_norm(x, layer["norm_attention"]), layer)
        y = _norm(x, layer["norm_hidden"])
        x = x + (jax.nn.silu(y @ layer["gate"]) * (y @ layer["up"])) @ layer["down"]
    return _norm(x, params["norm"]) @ params["head"]


def llama_shapes(
    *, layers: int, width: int, heads: int, hidden: int, vocabulary: int = VOCABULARY
) -> dict[str, Any]:
    """Its parameters as shapes, bfloat16."""

    def shape(*sizes: int) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(sizes, jnp.bfloat16)

    each = width // heads
    layer = {
        **{name: shape(width) for name in ("norm_attention", "norm_hidden")},
        **{name: shape(width, heads, each) for name in ("query", "key", "value")},
        "out": shape(heads, each, width),
        **{name: shape(width, hidden) for name in ("gate", "up")},
        "down": shape(hidden, width),
    }
    return {
        "embedding": shape(vocabulary, width),
        "layers": [dict(layer) for _ in range(layers)],
        "norm": shape(width),
        "head": shape(width, vocabulary),
    }


def _norm(x: Array, scale: Array) -> Array:
    return (
        x * jax.lax.rsqrt(jnp.mean(x * x, -1, keepdims=True) + 1e-5) * scale[None, None]
    )


def _attention(x: Array, layer: Any) -> Array:
    query, key, value = (
        jnp.einsum("btd,dhk->bthk", x, layer[name])
        for name in ("query", "key", "value")
    )
    scores = jnp.einsum("bthk,bshk->bhts", _turned(query), _turned(key))
    scores = scores / query.shape[-1] ** 0.5
    past = jnp.tril(jnp.ones(scores.shape[-2:], bool))
    weights = jax.nn.softmax(jnp.where(past[None, None], scores, -1e9), -1)
    return jnp.einsum("bhts,bshk,hkd->btd", weights, value, layer["out"])


def _turned(x: Array) -> Array:
    """Rotary embedding: the first half of the dimensions pairs with the second."""
    half = x.shape[-1] // 2
    speed = 1e4 ** (-jnp.arange(half) / half)
    angle = jnp.arange(x.shape[1])[None, :, None, None] * speed[None, None, None]
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    a, b = x[..., :half], x[..., half:]
    return jnp.concatenate([a * cos - b * sin, a * sin + b * cos], -1)
