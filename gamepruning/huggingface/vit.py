"""ViT: images in patches, read by an encoder that normalises first."""

from collections.abc import Collection
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from gamepruning.huggingface.architecture import (
    Architecture,
    Config,
    Sizes,
    dims,
    prefix_of,
)
from gamepruning.huggingface.fields import with_defaults
from gamepruning.huggingface.layers import (
    Tensors,
    activation,
    attend,
    layer_norm,
    linear,
)
from gamepruning.types import InputError

DEFAULTS = {
    "hidden_act": "gelu",
    "image_size": 224,
    "layer_norm_eps": 1e-12,
    "num_channels": 3,
    "num_labels": 2,
    "patch_size": 16,
    "qkv_bias": True,
}
_OUTSIDE = {
    "embeddings.cls_token": "1 1 hidden",
    "embeddings.position_embeddings": "1 positions hidden",
    "embeddings.patch_embeddings.projection.weight": "hidden channels height width",
    "embeddings.patch_embeddings.projection.bias": "hidden",
    "layernorm.weight": "hidden",
    "layernorm.bias": "hidden",
}
_LAYER = {
    "layernorm_before.weight": "hidden",
    "layernorm_before.bias": "hidden",
    "attention.attention.query.weight": "heads*head hidden",
    "attention.attention.query.bias": "heads*head",
    "attention.attention.key.weight": "heads*head hidden",
    "attention.attention.key.bias": "heads*head",
    "attention.attention.value.weight": "heads*head hidden",
    "attention.attention.value.bias": "heads*head",
    "attention.output.dense.weight": "hidden heads*head",
    "attention.output.dense.bias": "hidden",
    "layernorm_after.weight": "hidden",
    "layernorm_after.bias": "hidden",
    "intermediate.dense.weight": "neurons hidden",
    "intermediate.dense.bias": "neurons",
    "output.dense.weight": "hidden neurons",
    "output.dense.bias": "hidden",
}
_QKV_BIAS = tuple(f"attention.attention.{x}.bias" for x in ("query", "key", "value"))


def vit(config: Config, names: Collection[str]) -> Architecture:
    """The architecture of a configuration.

    Raises:
      InputError: the configuration asks for what is not supported.
    """
    config = with_defaults(DEFAULTS, config)
    activation(config["hidden_act"])
    prefix = prefix_of(names, "vit.")
    image, patch = _pair(config["image_size"]), _pair(config["patch_size"])
    hidden, heads = config["hidden_size"], config["num_attention_heads"]
    if min(*patch, heads) < 1:
        raise InputError(
            f"expected patch_size and num_attention_heads of at least 1, got {patch} "
            f"and {heads}"
        )
    head = config.get("head_dim") or hidden // heads
    sizes = {
        "positions": (image[0] // patch[0]) * (image[1] // patch[1]) + 1,
        "channels": config["num_channels"],
        "height": patch[0],
        "width": patch[1],
        "hidden": hidden,
        "layers": config["num_hidden_layers"],
        "neurons": config["intermediate_size"],
        "heads": heads,
        "head": head,
    }
    outside = {prefix + name: dims(text) for name, text in _OUTSIDE.items()}
    layer = {name: dims(text) for name, text in _LAYER.items()}
    if not config["qkv_bias"]:
        layer = {name: text for name, text in layer.items() if name not in _QKV_BIAS}
    is_classifier = "classifier.weight" in names
    if is_classifier:
        sizes["labels"] = len(config.get("id2label") or range(config["num_labels"]))
        outside["classifier.weight"] = dims("labels hidden")
        outside["classifier.bias"] = dims("labels")

    def fields(new: Sizes) -> dict[str, Any]:
        is_implied = not config.get("head_dim") and head * new["heads"] == new["hidden"]
        return {
            "hidden_size": new["hidden"],
            "num_hidden_layers": new["layers"],
            "intermediate_size": new["neurons"],
            "num_attention_heads": new["heads"],
            **({} if is_implied else {"head_dim": head}),
        }

    def apply(
        params: Tensors, pixel_values: Float[Array, "B C H W"]
    ) -> Float[Array, "B *T D"]:
        if np.shape(pixel_values)[1:] != (config["num_channels"], *image):
            raise InputError(
                f"expected images of {(config['num_channels'], *image)}, channels "
                f"first, in a batch, got the shape {np.shape(pixel_values)}"
            )
        x = _embed(prefix, sizes, params, pixel_values)
        for k in range(sizes["layers"]):
            x = _layer(config, sizes, f"{prefix}encoder.layer.{k}.", params, x)
        x = _norm(config, params, f"{prefix}layernorm", x)
        return linear(params, "classifier", x[:, 0]) if is_classifier else x

    return Architecture(
        apply=apply,
        sizes=sizes,
        outside=outside,
        layer=layer,
        stem=f"{prefix}encoder.layer.",
        widths=("hidden", "neurons", "heads"),
        fields=fields,
        problem=lambda new: "",
        grows=("heads",),
        heads=(r"(vit\.)?pooler\..*", r".*\.mask_token", r"decoder\..*"),
    )


def _pair(size: Any) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else (size[0], size[1])


def _norm(config: Config, params: Tensors, name: str, x: Array) -> Array:
    scale, shift = params[f"{name}.weight"], params[f"{name}.bias"]
    return layer_norm(scale, shift, x, config["layer_norm_eps"])


def _embed(
    prefix: str, sizes: Sizes, params: Tensors, images: Float[Array, "B C H W"]
) -> Float[Array, "B T D"]:
    """Patches, each a linear map of its pixels, behind the token of the class."""
    at, (batch, channels, height, width) = f"{prefix}embeddings.", images.shape
    high, wide = sizes["height"], sizes["width"]
    patches = images.reshape(batch, channels, height // high, high, width // wide, wide)
    kernel = params[f"{at}patch_embeddings.projection.weight"]
    x = jnp.einsum("bchpwq,dcpq->bhwd", patches, kernel)
    x = x.reshape(batch, -1, x.shape[-1])
    x = x + params[f"{at}patch_embeddings.projection.bias"][None, None]
    token = params[f"{at}cls_token"]
    x = jnp.concatenate([jnp.broadcast_to(token, (batch, 1, x.shape[-1])), x], 1)
    return x + params[f"{at}position_embeddings"]


def _layer(
    config: Config, sizes: Sizes, at: str, params: Tensors, x: Float[Array, "B T D"]
) -> Float[Array, "B T D"]:
    shape = (*x.shape[:2], sizes["heads"], sizes["head"])
    h = _norm(config, params, f"{at}layernorm_before", x)
    q, key, value = (
        linear(params, f"{at}attention.attention.{name}", h).reshape(shape)
        for name in ("query", "key", "value")
    )
    mixed = attend(q[:, :, :, None], key, value, None, sizes["head"] ** -0.5)
    x = x + linear(params, f"{at}attention.output.dense", mixed)
    h = _norm(config, params, f"{at}layernorm_after", x)
    h = activation(config["hidden_act"])(linear(params, f"{at}intermediate.dense", h))
    return x + linear(params, f"{at}output.dense", h)
