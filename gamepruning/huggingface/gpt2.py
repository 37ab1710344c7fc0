"""GPT-2: its maps are stored as [in, out], queries, keys and values as one."""

from collections.abc import Collection
from functools import partial
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from gamepruning.huggingface import architecture as arch
from gamepruning.huggingface.fields import with_defaults
from gamepruning.huggingface.layers import (
    Tensors,
    activation,
    add_bias,
    attend,
    causal_mask,
    decoder,
    layer_norm,
)
from gamepruning.types import InputError

DEFAULTS = {
    "activation_function": "gelu_new",
    "layer_norm_epsilon": 1e-5,
    "n_inner": None,
    "scale_attn_by_inverse_layer_idx": False,
    "scale_attn_weights": True,
    "tie_word_embeddings": True,
}


def gpt2(config: arch.Config, names: Collection[str]) -> arch.Architecture:
    """The architecture of a configuration.

    Raises:
      InputError: the configuration asks for what is not supported.
    """
    config = with_defaults(DEFAULTS, config)
    activation(config["activation_function"])
    if config.get("add_cross_attention"):
        raise InputError("add_cross_attention is not supported")
    prefix = arch.prefix_of(names, "transformer.")
    hidden, heads = config["n_embd"], config["n_head"]
    sizes = {
        "vocab": config["vocab_size"],
        "positions": config["n_positions"],
        "hidden": hidden,
        "layers": config["n_layer"],
        "neurons": config["n_inner"] or 4 * hidden,
        "heads": heads,
        "head": hidden // heads,
    }
    shapes = {
        "wte.weight": "vocab hidden",
        "wpe.weight": "positions hidden",
        "ln_f.weight": "hidden",
        "ln_f.bias": "hidden",
    }
    outside = {prefix + name: arch.dims(text) for name, text in shapes.items()}
    has_head = arch.has_language_head(config, prefix)
    is_tied = has_head and config["tie_word_embeddings"]
    head = f"{prefix}wte.weight" if is_tied else "lm_head.weight"
    if has_head and not is_tied:
        outside[head] = arch.dims("vocab hidden")

    def fields(new: arch.Sizes) -> dict[str, Any]:
        is_implied = config["n_inner"] is None and new["neurons"] == 4 * new["hidden"]
        return {
            "vocab_size": new["vocab"],
            "n_positions": new["positions"],
            "n_embd": new["hidden"],
            "n_layer": new["layers"],
            "n_head": new["heads"],
            "n_inner": None if is_implied else new["neurons"],
        }

    run = partial(_run, config, sizes, prefix)
    return arch.Architecture(
        apply=decoder(sizes, run, head if has_head else None),
        sizes=sizes,
        outside=outside,
        layer={name: arch.dims(text) for name, text in _LAYER.items()},
        stem=f"{prefix}h.",
        widths=("vocab", "positions", "hidden", "neurons", "heads"),
        fields=fields,
        problem=arch.whole_heads,
        grows=("heads",),
        left_out=(r".*\.attn\.(bias|masked_bias)", r"lm_head\.weight"),
        heads=(r"score\.weight",),
        tied={"lm_head.weight": head} if is_tied else {},
    )


_LAYER = {
    "ln_1.weight": "hidden",
    "ln_1.bias": "hidden",
    "attn.c_attn.weight": "hidden 3*heads*head",
    "attn.c_attn.bias": "3*heads*head",
    "attn.c_proj.weight": "heads*head hidden",
    "attn.c_proj.bias": "hidden",
    "ln_2.weight": "hidden",
    "ln_2.bias": "hidden",
    "mlp.c_fc.weight": "hidden neurons",
    "mlp.c_fc.bias": "neurons",
    "mlp.c_proj.weight": "neurons hidden",
    "mlp.c_proj.bias": "hidden",
}


def _run(
    config: arch.Config,
    sizes: arch.Sizes,
    prefix: str,
    params: Tensors,
    input_ids: Int[Array, "B T"],
    attention_mask: Int[Array, "B T"] | None,
) -> Float[Array, "B T D"]:
    """The last hidden state."""
    length = input_ids.shape[1]

    def norm(name: str, x: Array) -> Array:
        scale, shift = params[f"{name}.weight"], params[f"{name}.bias"]
        return layer_norm(scale, shift, x, config["layer_norm_epsilon"])

    def linear(name: str, x: Array) -> Array:
        return add_bias(x @ params[f"{name}.weight"], params, name)

    act = activation(config["activation_function"])
    mask = causal_mask(length, attention_mask)
    x = params[f"{prefix}wte.weight"][input_ids]
    x = x + params[f"{prefix}wpe.weight"][:length][None]
    for k in range(sizes["layers"]):
        at = f"{prefix}h.{k}."
        h = linear(f"{at}attn.c_attn", norm(f"{at}ln_1", x))
        q, key, value = jnp.split(h, 3, -1)
        shape = (*input_ids.shape, sizes["heads"], sizes["head"])
        q, key, value = q.reshape(shape), key.reshape(shape), value.reshape(shape)
        scale = sizes["head"] ** -0.5 if config["scale_attn_weights"] else 1.0
        if config["scale_attn_by_inverse_layer_idx"]:
            scale /= k + 1
        mixed = attend(q[:, :, :, None], key, value, mask, scale)
        x = x + linear(f"{at}attn.c_proj", mixed)
        h = act(linear(f"{at}mlp.c_fc", norm(f"{at}ln_2", x)))
        x = x + linear(f"{at}mlp.c_proj", h)
    return norm(f"{prefix}ln_f", x)
