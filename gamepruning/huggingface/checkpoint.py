"""`load`: a folder of Hugging Face as a pure function and its parameters."""

import os
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike, DTypeLike

from gamepruning.huggingface.architecture import Architecture, Config, Dims, size_of
from gamepruning.huggingface.bert import bert
from gamepruning.huggingface.fields import check_fields
from gamepruning.huggingface.files import read_config, read_tensors
from gamepruning.huggingface.gpt2 import gpt2
from gamepruning.huggingface.llama import DEFAULTS, llama
from gamepruning.huggingface.vit import vit
from gamepruning.types import InputError

ARCHITECTURES: dict[str, Callable[[Config, Collection[str]], Architecture]] = {
    **dict.fromkeys(DEFAULTS, llama),
    "gpt2": gpt2,
    "bert": bert,
    "vit": vit,
}
_SHOWN = 3  # names in an error


class Checkpoint(NamedTuple):
    """A model of Hugging Face.

    Attributes:
      apply: apply(params, input_ids, attention_mask=None) -> logits [B, T, V], or the
        last hidden state [B, T, D] of a model without a head; a ViT takes
        apply(params, pixel_values [B, C, H, W]).
      params: the arrays by the checkpoint's own names, in its own layout.
      config: what config.json says.
      folder: where it was read from; None if from nowhere.
      rest: tensors that `apply` does not read and `save` writes as they are.
    """

    apply: Callable[..., jax.Array]
    params: dict[str, jax.Array]
    config: dict[str, Any]
    folder: Path | None = None
    rest: Mapping[str, ArrayLike] = {}

    def __repr__(self) -> str:
        count = sum(int(array.size) for array in self.params.values())
        layers = architecture_of(self.config, self.params).sizes["layers"]
        kind = self.config["model_type"]
        return f"Checkpoint({kind}, {layers} layers, {count:,} parameters)"


def load(
    folder: str | os.PathLike[str], *, dtype: DTypeLike | None = None
) -> Checkpoint:
    """Read a folder of Hugging Face.

    Args:
      folder: it holds `config.json` and `model.safetensors`, or shards of it with
        `model.safetensors.index.json`, of a Llama, Mistral, Qwen2, Qwen3, Gemma,
        GPT-2, BERT or ViT.
      dtype: a floating-point type to cast the weights to; None leaves them.

    Returns:
      The checkpoint: `apply` and `params` are what `gp.find_players` takes.

    Raises:
      InputError: a file is missing or damaged, the architecture or a field of the
        configuration is not supported, the tensors are not those of the configuration,
        or `dtype` is not a floating-point type.
    """
    folder, dtype = Path(folder), _floating(dtype)
    config = read_config(folder)
    tensors = read_tensors(folder)
    architecture = architecture_of(config, tensors)
    wanted = architecture.tensors()
    found, rest = {}, {}
    for name, tensor in tensors.items():
        if name not in wanted and _matches(name, architecture.heads):
            rest[name] = np.array(tensor)
        elif name in wanted or not _matches(name, architecture.left_out):
            found[name] = tensor
    check_shapes(architecture, {name: t.shape for name, t in found.items()}, folder)
    _check_values(architecture, tensors)
    # Copies: files may change.
    params = {name: jnp.array(tensor, dtype) for name, tensor in found.items()}
    return Checkpoint(architecture.apply, params, config, folder, rest)


def architecture_of(config: Config, names: Iterable[str]) -> Architecture:
    """The architecture of a configuration.

    Raises:
      InputError: it is not known here.
    """
    check_fields(config)
    kind = config.get("model_type")
    if kind not in ARCHITECTURES:
        known = ", ".join(ARCHITECTURES)
        raise InputError(
            f"model_type {kind!r} is not supported: expected {known}; "
            "gp.find_players takes any other model as a JAX function"
        )
    if config.get("quantization_config"):
        method = config["quantization_config"].get("quant_method", "unknown")
        raise InputError(
            f"the checkpoint is quantised ({method}): give the one in floating point "
            "that it was made of"
        )
    try:
        return ARCHITECTURES[kind](config, set(names))
    except InputError:
        raise
    except KeyError as error:
        raise InputError(f"config.json lacks {error.args[0]!r}") from error
    except (TypeError, ValueError, AttributeError, IndexError) as error:
        raise InputError(f"config.json has a field of a wrong type: {error}") from error


def check_shapes(
    architecture: Architecture, shapes: Mapping[str, tuple[int, ...]], where: Any
) -> None:
    """Check that tensors are those of a configuration.

    Raises:
      InputError: one is missing, one is too many, or one has another shape.
    """
    wanted = architecture.tensors()
    if missing := [name for name in wanted if name not in shapes]:
        raise InputError(f"{where} lacks {_some(missing)}")
    if extra := [name for name in shapes if name not in wanted]:
        raise InputError(
            f"{where} has {_some(extra)}, which config.json does not call for"
        )
    for name, symbols in wanted.items():
        shape = tuple(size_of(dim, architecture.sizes) for dim in symbols)
        if shapes[name] != shape:
            raise InputError(
                f"{name!r} has the shape {list(shapes[name])}, but config.json calls "
                f"for {_told(symbols)} = {list(shape)}"
            )


def _told(symbols: Dims) -> str:
    """A shape in words: "[groups*head, hidden]"."""
    return "[" + ", ".join("*".join(map(str, dim)) for dim in symbols) + "]"


def _floating(dtype: DTypeLike | None) -> np.dtype | None:
    """The type that tensors become; None leaves them."""
    if dtype is None:
        return None
    try:
        found = jnp.dtype(dtype)
    except TypeError:
        found = None
    if found is None or not jnp.issubdtype(found, jnp.floating):
        raise InputError(f"expected dtype as a floating-point type, got {dtype!r}")
    if found.itemsize > 4 and not jax.config.jax_enable_x64:  # pyright: ignore[reportAttributeAccessIssue]
        raise InputError(
            f"dtype {found} needs jax.config.update('jax_enable_x64', True) first"
        )
    return found


def _check_values(architecture: Architecture, tensors: Mapping[str, Any]) -> None:
    """Check that parameters are floating-point numbers, and repeated ones equal."""
    for name in architecture.tensors():
        if not jnp.issubdtype(tensors[name].dtype, jnp.floating):
            raise InputError(
                f"{name!r} has the type {tensors[name].dtype}, expected a "
                "floating-point type: give a checkpoint that is not quantised"
            )
    for name, other in architecture.tied.items():
        if name in tensors and not np.array_equal(tensors[name], tensors[other]):
            raise InputError(
                f"{name!r} differs from {other!r}, to which config.json ties it: set "
                "tie_word_embeddings to false in config.json"
            )


def _matches(name: str, patterns: Iterable[str]) -> bool:
    return any(re.fullmatch(pattern, name) for pattern in patterns)


def _some(names: list[str]) -> str:
    shown = ", ".join(repr(name) for name in names[:_SHOWN])
    return shown + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
