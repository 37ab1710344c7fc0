"""Llama and those built like it: Mistral, Qwen2, Qwen3, Gemma."""

from collections.abc import Collection
from functools import partial
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from gamepruning.huggingface.architecture import (
    Architecture,
    Config,
    Sizes,
    dims,
    has_language_head,
    prefix_of,
)
from gamepruning.huggingface.fields import with_defaults
from gamepruning.huggingface.layers import (
    Tensors,
    activation,
    attend,
    causal_mask,
    decoder,
    linear,
    rms_norm,
    rotate,
    rotations,
)
from gamepruning.huggingface.rotary import frequencies
from gamepruning.types import InputError

_COMMON = {
    "attention_bias": False,
    "hidden_act": "silu",
    "mlp_bias": False,
    "rms_norm_eps": 1e-6,
    "rope_theta": 10000.0,
    "tie_word_embeddings": False,
}
# What transformers takes where config.json is silent, by `model_type`.
DEFAULTS: dict[str, dict[str, Any]] = {
    "llama": _COMMON,
    "mistral": _COMMON | {"num_key_value_heads": 8, "sliding_window": 4096},
    "qwen2": _COMMON | {"num_key_value_heads": 32},
    "qwen3": _COMMON | {"num_key_value_heads": 32, "head_dim": 128},
    "gemma": _COMMON
    | {
        "num_key_value_heads": 16,
        "head_dim": 256,
        "hidden_act": "gelu_pytorch_tanh",
        "tie_word_embeddings": True,
    },
}


def llama(config: Config, names: Collection[str]) -> Architecture:
    """The architecture of a configuration.

    Args:
      config: its fields.
      names: the names of the tensors.

    Raises:
      InputError: the configuration asks for what is not supported.
    """
    kind = config["model_type"]
    config = with_defaults(DEFAULTS[kind], config)
    _check(config)
    prefix = prefix_of(names, "model.")
    heads = config["num_attention_heads"]
    groups = config.get("num_key_value_heads") or heads
    head_dim = config.get("head_dim") or config["hidden_size"] // heads
    frequencies(config, head_dim)  # refuses what is not supported
    if head_dim % 2:
        raise InputError(
            f"heads have {head_dim} entries, expected an even number for rotary "
            "positions"
        )
    if heads % groups:
        raise InputError(
            f"num_attention_heads {heads} is not a multiple of num_key_value_heads "
            f"{groups}"
        )
    sizes = {
        "vocab": config["vocab_size"],
        "hidden": config["hidden_size"],
        "layers": config["num_hidden_layers"],
        "neurons": config["intermediate_size"],
        "groups": groups,
        "queries": heads // groups,
        "head": head_dim,
    }
    outside = {"embed_tokens.weight": "vocab hidden", "norm.weight": "hidden"}
    outside = {prefix + name: dims(text) for name, text in outside.items()}
    has_head = has_language_head(config, prefix)
    is_tied = has_head and config["tie_word_embeddings"]
    head = f"{prefix}embed_tokens.weight" if is_tied else "lm_head.weight"
    if has_head and not is_tied:
        outside[head] = dims("vocab hidden")

    def fields(new: Sizes) -> dict[str, Any]:
        heads = new["groups"] * new["queries"]
        is_implied = not config.get("head_dim") and head_dim * heads == new["hidden"]
        return {
            "vocab_size": new["vocab"],
            "hidden_size": new["hidden"],
            "num_hidden_layers": new["layers"],
            "intermediate_size": new["neurons"],
            "num_attention_heads": heads,
            "num_key_value_heads": new["groups"],
            **({} if is_implied else {"head_dim": head_dim}),
        }

    run = partial(_run, config, sizes, prefix)
    return Architecture(
        apply=decoder(sizes, run, head if has_head else None),
        sizes=sizes,
        outside=outside,
        layer=_layer(config),
        stem=f"{prefix}layers.",
        widths=("vocab", "hidden", "neurons", "groups", "queries"),
        fields=fields,
        problem=lambda new: _problem(kind, new),
        grows=("groups", "queries"),
        left_out=(r".*rotary_emb\.inv_freq", r"lm_head\.weight"),
        heads=(r"score\.weight",),
        tied={"lm_head.weight": head} if is_tied else {},
    )


def _problem(kind: str, sizes: Sizes) -> str:
    """Why transformers does not take a configuration of these sizes."""
    hidden, heads = sizes["hidden"], sizes["groups"] * sizes["queries"]
    if kind != "llama" or hidden % heads == 0:
        return ""
    return (
        f"a llama configuration wants hidden_size {hidden} to be a multiple of "
        f"num_attention_heads, which would be {heads}"
    )


def _layer(config: Config) -> dict:
    """The tensors of a layer."""
    shapes = {
        "input_layernorm.weight": "hidden",
        "self_attn.k_proj.weight": "groups*head hidden",
        "self_attn.q_proj.weight": "groups*queries*head hidden",
        "self_attn.v_proj.weight": "groups*head hidden",
        "self_attn.o_proj.weight": "hidden groups*queries*head",
        "post_attention_layernorm.weight": "hidden",
        "mlp.gate_proj.weight": "neurons hidden",
        "mlp.up_proj.weight": "neurons hidden",
        "mlp.down_proj.weight": "hidden neurons",
    }
    letters = "qkvo" if config["attention_bias"] else ""
    letters = "qkv" if config["model_type"] == "qwen2" else letters
    biased = [f"self_attn.{x}_proj" for x in letters]
    if config["mlp_bias"]:
        biased += [f"mlp.{x}_proj" for x in ("gate", "up", "down")]
    for name in biased:
        shapes[f"{name}.bias"] = shapes[f"{name}.weight"].split()[0]
    if config["model_type"] == "qwen3":
        shapes |= {f"self_attn.{x}_norm.weight": "head" for x in "qk"}
    return {name: dims(text) for name, text in shapes.items()}


def _check(config: Config) -> None:
    """Raise InputError for what is not supported."""
    activation(_act(config))
    kinds = set(config.get("layer_types") or ()) - {"full_attention"}
    if kinds or config.get("use_sliding_window"):
        raise InputError(
            "config.json asks for layers with a sliding window: only full attention "
            "is supported"
        )
    if config.get("use_bidirectional_attention"):
        raise InputError("use_bidirectional_attention is not supported")


def _act(config: Config) -> str:
    name = config.get("hidden_activation") or config["hidden_act"]
    if config["model_type"] == "gemma" and name == "gelu":
        return "gelu_pytorch_tanh"  # the first releases wrote "gelu" for it
    return name


def _run(
    config: Config,
    sizes: Sizes,
    prefix: str,
    params: Tensors,
    input_ids: Int[Array, "B T"],
    attention_mask: Int[Array, "B T"] | None,
) -> Float[Array, "B T D"]:
    """The last hidden state."""
    length, window = input_ids.shape[1], config.get("sliding_window")
    if window and length > window and config["model_type"] == "mistral":
        raise InputError(
            f"{length} tokens are more than the sliding window of {window}, which is "
            "not supported: give shorter sequences"
        )
    is_gemma = config["model_type"] == "gemma"
    speeds = frequencies(config, sizes["head"])

    def norm(name: str, x: Array) -> Array:
        weight = params[f"{name}.weight"]
        return rms_norm(weight + 1 if is_gemma else weight, x, config["rms_norm_eps"])

    x = params[f"{prefix}embed_tokens.weight"][input_ids]
    if is_gemma:
        x = x * jnp.asarray(config["hidden_size"] ** 0.5, x.dtype)
    mask = causal_mask(length, attention_mask)
    act = activation(_act(config))
    shape = (*input_ids.shape, sizes["groups"], sizes["head"])
    for k in range(sizes["layers"]):
        at = f"{prefix}layers.{k}."
        h = norm(f"{at}input_layernorm", x)
        q = linear(params, f"{at}self_attn.q_proj", h)
        q = q.reshape(*shape[:3], sizes["queries"], sizes["head"])
        key = linear(params, f"{at}self_attn.k_proj", h).reshape(shape)
        value = linear(params, f"{at}self_attn.v_proj", h).reshape(shape)
        if f"{at}self_attn.q_norm.weight" in params:
            q = norm(f"{at}self_attn.q_norm", q)
            key = norm(f"{at}self_attn.k_norm", key)
        turns = rotations(length, speeds)  # of its own, as its players are
        q, key = rotate(q, *turns), rotate(key, *turns)
        mixed = attend(q, key, value, mask, sizes["head"] ** -0.5)
        x = x + linear(params, f"{at}self_attn.o_proj", mixed)
        h = norm(f"{at}post_attention_layernorm", x)
        h = act(linear(params, f"{at}mlp.gate_proj", h)) * linear(
            params, f"{at}mlp.up_proj", h
        )
        x = x + linear(params, f"{at}mlp.down_proj", h)
    return norm(f"{prefix}norm", x)
