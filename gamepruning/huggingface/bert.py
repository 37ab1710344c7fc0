"""BERT, and small encoders distilled from it, such as MiniLM."""

from collections.abc import Collection
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from gamepruning.huggingface.architecture import (
    Architecture,
    Config,
    Sizes,
    dims,
    prefix_of,
    whole_heads,
)
from gamepruning.huggingface.fields import with_defaults
from gamepruning.huggingface.layers import (
    Tensors,
    activation,
    attend,
    check_tokens,
    layer_norm,
    linear,
)
from gamepruning.metrics import check_range
from gamepruning.types import InputError

DEFAULTS = {"hidden_act": "gelu", "layer_norm_eps": 1e-12, "type_vocab_size": 2}
_OUTSIDE = {
    "embeddings.word_embeddings.weight": "vocab hidden",
    "embeddings.position_embeddings.weight": "positions hidden",
    "embeddings.token_type_embeddings.weight": "types hidden",
    "embeddings.LayerNorm.weight": "hidden",
    "embeddings.LayerNorm.bias": "hidden",
}
_LAYER = {
    "attention.self.query.weight": "heads*head hidden",
    "attention.self.query.bias": "heads*head",
    "attention.self.key.weight": "heads*head hidden",
    "attention.self.key.bias": "heads*head",
    "attention.self.value.weight": "heads*head hidden",
    "attention.self.value.bias": "heads*head",
    "attention.output.dense.weight": "hidden heads*head",
    "attention.output.dense.bias": "hidden",
    "attention.output.LayerNorm.weight": "hidden",
    "attention.output.LayerNorm.bias": "hidden",
    "intermediate.dense.weight": "neurons hidden",
    "intermediate.dense.bias": "neurons",
    "output.dense.weight": "hidden neurons",
    "output.dense.bias": "hidden",
    "output.LayerNorm.weight": "hidden",
    "output.LayerNorm.bias": "hidden",
}
_OLD = {"LayerNorm.weight": "LayerNorm.gamma", "LayerNorm.bias": "LayerNorm.beta"}


def bert(config: Config, names: Collection[str]) -> Architecture:
    """The architecture of a configuration.

    Args:
      config: its fields.
      names: the names of the tensors; norms may have their names from TensorFlow.

    Raises:
      InputError: the configuration asks for what is not supported.
    """
    config = with_defaults(DEFAULTS, config)
    _check(config)
    prefix = prefix_of(names, "bert.")
    is_old = any(name.endswith("LayerNorm.gamma") for name in names)
    hidden, heads = config["hidden_size"], config["num_attention_heads"]
    sizes = {
        "vocab": config["vocab_size"],
        "positions": config["max_position_embeddings"],
        "types": config["type_vocab_size"],
        "hidden": hidden,
        "layers": config["num_hidden_layers"],
        "neurons": config["intermediate_size"],
        "heads": heads,
        "head": hidden // heads,
    }

    def fields(new: Sizes) -> dict[str, Any]:
        return {
            "vocab_size": new["vocab"],
            "max_position_embeddings": new["positions"],
            "type_vocab_size": new["types"],
            "hidden_size": new["hidden"],
            "num_hidden_layers": new["layers"],
            "intermediate_size": new["neurons"],
            "num_attention_heads": new["heads"],
        }

    def apply(
        params: Tensors,
        input_ids: Int[Array, "B T"],
        attention_mask: Int[Array, "B T"] | None = None,
        token_type_ids: Int[Array, "B T"] | None = None,
    ) -> Float[Array, "B T D"]:
        check_tokens(sizes, input_ids, attention_mask)
        if token_type_ids is not None:
            check_range(token_type_ids, sizes["types"], "token types")
        if is_old:
            params = {_named(name, back=True): x for name, x in params.items()}
        x = _embed(config, prefix, params, input_ids, token_type_ids)
        mask = None if attention_mask is None else attention_mask[:, None] != 0
        for k in range(sizes["layers"]):
            x = _layer(config, sizes, f"{prefix}encoder.layer.{k}.", params, x, mask)
        return x

    outside = {prefix + name: dims(text) for name, text in _OUTSIDE.items()}
    layer = {name: dims(text) for name, text in _LAYER.items()}
    if is_old:
        outside = {_named(name): text for name, text in outside.items()}
        layer = {_named(name): text for name, text in layer.items()}
    return Architecture(
        apply=apply,
        sizes=sizes,
        outside=outside,
        layer=layer,
        stem=f"{prefix}encoder.layer.",
        widths=("vocab", "positions", "types", "hidden", "neurons", "heads"),
        fields=fields,
        problem=whole_heads,
        grows=("heads",),
        left_out=(r".*embeddings\.(position_ids|token_type_ids)",),
        heads=(r"(bert\.)?pooler\..*", r"(cls|classifier|qa_outputs)\..*"),
    )


def _named(name: str, back: bool = False) -> str:
    """A tensor's name as TensorFlow had it, or back."""
    for new, old in _OLD.items():
        name = name.replace(old, new) if back else name.replace(new, old)
    return name


def _check(config: Config) -> None:
    """Raise InputError for what is not supported."""
    activation(config["hidden_act"])
    if config.get("is_decoder") or config.get("add_cross_attention"):
        raise InputError("a BERT that is a decoder is not supported")
    kind = config.get("position_embedding_type") or "absolute"
    if kind != "absolute":
        raise InputError(f"position_embedding_type {kind!r} is not supported")


def _norm(config: Config, params: Tensors, name: str, x: Array) -> Array:
    scale, shift = params[f"{name}.weight"], params[f"{name}.bias"]
    return layer_norm(scale, shift, x, config["layer_norm_eps"])


def _embed(
    config: Config,
    prefix: str,
    params: Tensors,
    input_ids: Int[Array, "B T"],
    token_type_ids: Int[Array, "B T"] | None,
) -> Float[Array, "B T D"]:
    at, length = f"{prefix}embeddings.", input_ids.shape[1]
    positions = params[f"{at}position_embeddings.weight"]
    types = jnp.zeros_like(input_ids) if token_type_ids is None else token_type_ids
    x = params[f"{at}word_embeddings.weight"][input_ids]
    x = x + params[f"{at}token_type_embeddings.weight"][types]
    return _norm(config, params, f"{at}LayerNorm", x + positions[:length][None])


def _layer(
    config: Config,
    sizes: Sizes,
    at: str,
    params: Tensors,
    x: Float[Array, "B T D"],
    mask: Array | None,
) -> Float[Array, "B T D"]:
    shape = (*x.shape[:2], sizes["heads"], sizes["head"])
    q, key, value = (
        linear(params, f"{at}attention.self.{name}", x).reshape(shape)
        for name in ("query", "key", "value")
    )
    mixed = attend(q[:, :, :, None], key, value, mask, sizes["head"] ** -0.5)
    h = linear(params, f"{at}attention.output.dense", mixed)
    x = _norm(config, params, f"{at}attention.output.LayerNorm", x + h)
    h = activation(config["hidden_act"])(linear(params, f"{at}intermediate.dense", x))
    h = linear(params, f"{at}output.dense", h)
    return _norm(config, params, f"{at}output.LayerNorm", x + h)
