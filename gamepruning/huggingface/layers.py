"""What the architectures share: linear maps, norms, attention, rotary positions.

Weights lie as Hugging Face stores them: [out, in] in a linear map. Heads are an axis of
their own, so that they are found as players.
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.core
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from gamepruning.metrics import check_range
from gamepruning.types import InputError

Tensors = Mapping[str, Array]  # by the checkpoint's own names

ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "gelu": lambda x: jax.nn.gelu(x, approximate=False),
    "gelu_new": jax.nn.gelu,
    "gelu_pytorch_tanh": jax.nn.gelu,
    "gelu_fast": jax.nn.gelu,
    "quick_gelu": lambda x: x * jax.nn.sigmoid(1.702 * x),
    "relu": jax.nn.relu,
    "silu": jax.nn.silu,
    "swish": jax.nn.silu,
    "tanh": jnp.tanh,
}


def check_tokens(
    sizes: Mapping[str, int], input_ids: Any, attention_mask: Any = None
) -> None:
    """Check what a model that reads tokens is given.

    Args:
      sizes: those of the model: `vocab`, and `positions` where they are limited.
      input_ids: their values are checked where they are known, outside `jit`.
      attention_mask: None if there is no padding; likewise.

    Raises:
      InputError: no token of a text is left, or the type, a shape or a token does not
        fit the model.
    """
    is_array = isinstance(input_ids, jax.Array | np.ndarray)
    if not is_array or not jnp.issubdtype(input_ids.dtype, jnp.integer):
        kind = input_ids.dtype if is_array else type(input_ids).__name__
        raise InputError(f"expected input_ids as an array of integers, got {kind}")
    shape, masked = input_ids.shape, np.shape(attention_mask)
    if len(shape) != 2 or 0 in shape:
        raise InputError(
            f"expected input_ids of shape (batch, length), got {shape}: one text is a "
            "batch of 1"
        )
    if attention_mask is not None and masked not in (shape, (1, shape[1])):
        raise InputError(
            f"expected attention_mask of the shape of input_ids, {shape}, got {masked}"
        )
    if shape[1] > (most := sizes.get("positions", shape[1])):
        raise InputError(
            f"{shape[1]} tokens are more than the {most} positions of the model: give "
            "shorter sequences"
        )
    check_range(
        input_ids,
        sizes["vocab"],
        "tokens",
        f" (vocab_size {sizes['vocab']})",
        ": use the tokenizer of this checkpoint",
    )
    if attention_mask is not None and not isinstance(attention_mask, jax.core.Tracer):
        empty = np.flatnonzero(~np.asarray(attention_mask).any(axis=1))
        if empty.size:
            raise InputError(
                f"attention_mask leaves no token of text {empty[0]} (and "
                f"{empty.size - 1} more): leave such texts out"
            )


def decoder(
    sizes: Mapping[str, int], run: Callable[..., Array], head: str | None
) -> Callable[..., Array]:
    """The forward of a language model, its tokens checked.

    Args:
      sizes: those of the model; see `check_tokens`.
      run: (params, input_ids, attention_mask) -> the last hidden states, [B, T, D].
      head: the matrix [V, D] that makes logits of them; None if there is none.

    Returns:
      (params, input_ids [B, T], attention_mask [B, T] or None) -> logits [B, T, V], or
      the hidden states.
    """

    def apply(
        params: Tensors,
        input_ids: Int[Array, "B T"],
        attention_mask: Int[Array, "B T"] | None = None,
    ) -> Float[Array, "B T _"]:
        check_tokens(sizes, input_ids, attention_mask)
        x = run(params, input_ids, attention_mask)
        return x if head is None else jnp.einsum("btd,vd->btv", x, params[head])

    return apply


def activation(name: str) -> Callable[[Array], Array]:
    """The activation of this name.

    Raises:
      InputError: it is not supported.
    """
    if not isinstance(name, str) or name not in ACTIVATIONS:
        known = ", ".join(ACTIVATIONS)
        raise InputError(f"the activation {name!r} is not supported: expected {known}")
    return ACTIVATIONS[name]


def along_last(vector: Array, ndim: int) -> Array:
    """A vector as an array of `ndim` axes, along the last one."""
    return vector.reshape((1,) * (ndim - 1) + vector.shape)


def add_bias(x: Array, params: Tensors, name: str) -> Array:
    """`x` plus the bias of a layer, where it has one."""
    bias = params.get(f"{name}.bias")
    return x if bias is None else x + along_last(bias, x.ndim)


def linear(params: Tensors, name: str, x: Float[Array, "*B I"]) -> Float[Array, "*B O"]:
    """A linear map whose weight is [out, in]."""
    y = jnp.einsum("...i,oi->...o", x, params[f"{name}.weight"])
    return add_bias(y, params, name)


def layer_norm(
    scale: Float[Array, " D"],
    shift: Float[Array, " D"],
    x: Float[Array, "*B D"],
    eps: float,
) -> Float[Array, "*B D"]:
    """Layer normalisation over the last axis, in float32 at least."""
    wide = x.astype(jnp.promote_types(x.dtype, jnp.float32))
    centred = wide - wide.mean(-1, keepdims=True)
    variance = jnp.square(centred).mean(-1, keepdims=True)
    normed = centred * jax.lax.rsqrt(variance + eps)
    found = normed * along_last(scale, x.ndim) + along_last(shift, x.ndim)
    return found.astype(x.dtype)


def rms_norm(
    weight: Float[Array, " D"], x: Float[Array, "*B D"], eps: float
) -> Float[Array, "*B D"]:
    """Division by the root of the mean square, in float32 at least, times a weight."""
    wide = x.astype(jnp.promote_types(x.dtype, jnp.float32))
    mean = jnp.square(wide).mean(-1, keepdims=True)
    normed = (wide * jax.lax.rsqrt(mean + eps)).astype(x.dtype)
    return normed * along_last(weight, x.ndim)


def rotations(
    length: int, frequencies: np.ndarray
) -> tuple[Float[Array, "T hd"], Float[Array, "T hd"]]:
    """The cosines and sines that turn each pair (i, i + hd/2) at each position.

    Args:
      length: T.
      frequencies: the angle of each pair for one position, [hd/2].
    """
    angles = jnp.arange(length, dtype=jnp.float32)[:, None] * jnp.asarray(
        frequencies, jnp.float32
    ).reshape(1, -1)
    both = jnp.concatenate([angles, angles], -1)
    return jnp.cos(both), jnp.sin(both)


def rotate(
    x: Float[Array, "B T *H hd"], cos: Float[Array, "T hd"], sin: Float[Array, "T hd"]
) -> Float[Array, "B T *H hd"]:
    """Rotary positions: the two halves of a head are the parts of its pairs."""
    one, two = jnp.split(x, 2, -1)
    shape = (1, x.shape[1], *(1,) * (x.ndim - 3), x.shape[-1])
    cos, sin = cos.reshape(shape).astype(x.dtype), sin.reshape(shape).astype(x.dtype)
    return x * cos + jnp.concatenate([-two, one], -1) * sin


def attend(
    q: Float[Array, "B T G R hd"],
    k: Float[Array, "B S G hd"],
    v: Float[Array, "B S G hd"],
    mask: Bool[Array, "#B #T #S"] | None,
    scale: float,
) -> Float[Array, "B T D"]:
    """Softmax attention of R queries to each of G keys, the heads side by side.

    Args:
      q: queries.
      k: keys.
      v: values.
      mask: True where a query sees a key; None if each sees all.
      scale: of the products.

    Returns:
      D = G R hd.
    """
    wide = jnp.promote_types(q.dtype, jnp.float32)
    scores = jnp.einsum("btgrd,bsgd->bgrts", q, k).astype(wide) * scale
    if mask is not None:
        scores = jnp.where(mask[:, None, None], scores, -1e30)
    weights = jax.nn.softmax(scores, -1).astype(v.dtype)
    mixed = jnp.einsum("bgrts,bsgd->btgrd", weights, v)
    return mixed.reshape(*mixed.shape[:2], -1)


def causal_mask(
    length: int, attention_mask: Int[Array, "B T"] | None
) -> Bool[Array, "#B T T"]:
    """True where a position sees another: itself, and earlier ones that are no padding.

    Args:
      length: T.
      attention_mask: 1 for tokens, 0 for padding.
    """
    at = jnp.arange(length)
    seen = (at[:, None] >= at[None])[None]
    if attention_mask is None:
        return seen
    return seen & (attention_mask[:, None] != 0)
