"""GPT-2 small in linen, layers unrolled: a transformer of real size to measure on."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int


class GPT2(nn.Module):
    """Radford et al. 2019, Language models are unsupervised multitask learners.

    The logits are float32 in any precision: a loss of logits in bfloat16 has steps of
    1/16.
    """

    layers: int = 12
    width: int = 768
    heads: int = 12
    vocabulary: int = 50_257
    context: int = 128

    @nn.compact
    def __call__(self, tokens: Int[Array, "B T"]) -> Float[Array, "B T vocabulary"]:
        embedding = nn.Embed(self.vocabulary, self.width, name="tokens")
        places = self.param("places", _small, (1, self.context, self.width))
        x = embedding(tokens) + places[:, : tokens.shape[1]]
        causal = nn.make_causal_mask(tokens)
        for layer in range(self.layers):
            y = nn.LayerNorm(name=f"norm_attention_{layer}")(x)
            attention = nn.MultiHeadDotProductAttention(self.heads, name=f"mix_{layer}")
            x = x + attention(y, mask=causal)
            y = nn.LayerNorm(name=f"norm_hidden_{layer}")(x)
            y = nn.gelu(nn.Dense(4 * self.width, name=f"hidden_{layer}")(y))
            x = x + nn.Dense(self.width, name=f"back_{layer}")(y)
        x = nn.LayerNorm(name="norm")(x)
        return jnp.einsum(
            "btd,vd->btv", x, embedding.embedding, preferred_element_type=jnp.float32
        )


_small = nn.initializers.normal(0.02)


def make_gpt2(key: jax.Array, **sizes: int) -> tuple[Callable[..., Any], Any]:
    """GPT-2 at random weights.

    Args:
      key: random key.
      **sizes: fields of `GPT2`; GPT-2 small by default.

    Returns:
      (apply, params); apply reads tokens, int [B, T].
    """
    module = GPT2(**sizes)
    tokens = jnp.zeros((1, module.context), jnp.int32)
    shapes = jax.eval_shape(module.init, key, tokens)
    leaves, treedef = jax.tree_util.tree_flatten_with_path(shapes)
    keys = jax.random.split(key, len(leaves))

    def draw(key, path, leaf):
        if path[-1].key == "scale":
            return jnp.ones(leaf.shape)
        return _small(key, leaf.shape)

    params = [draw(k, *leaf) for k, leaf in zip(keys, leaves, strict=True)]
    return module.apply, jax.tree.unflatten(treedef, params)
