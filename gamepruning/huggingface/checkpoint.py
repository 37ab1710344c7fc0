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

from gamepruning.huggingface.architecture import Architecture, Config, size_of
from gamepruning.huggingface.bert import bert
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
        last hidden state of a model without a head.
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
        `model.safetensors.index.json`, of a model that is built like Llama (Mistral,
        Qwen2, Qwen3, Gemma).
      dtype: what floating-point tensors become; None leaves them.

    Returns:
      The checkpoint: `apply` and `params` are what `gp.find_players` takes.

    Raises:
      InputError: a file is missing or damaged, the architecture or something that the
        configuration asks for is not known here, or the tensors are not those of the
        configuration.
    """
    folder = Path(folder)
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
    params = {name: _as_jax(tensor, dtype) for name, tensor in found.items()}
    return Checkpoint(architecture.apply, params, config, folder, rest)


def architecture_of(config: Config, names: Iterable[str]) -> Architecture:
    """The architecture of a configuration.

    Raises:
      InputError: it is not known here.
    """
    kind = config.get("model_type")
    if kind not in ARCHITECTURES:
        known = ", ".join(ARCHITECTURES)
        raise InputError(
            f"the architecture {kind!r} is unknown here: known are {known}"
        )
    if config.get("quantization_config"):
        method = config["quantization_config"].get("quant_method", "unknown")
        raise InputError(
            f"the checkpoint is quantised ({method}): give the one that it was made of"
        )
    try:
        return ARCHITECTURES[kind](config, set(names))
    except KeyError as error:
        raise InputError(f"config.json lacks {error.args[0]!r}") from error


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
            f"{where} has {_some(extra)}, for which config.json has no layer"
        )
    for name, symbols in wanted.items():
        shape = tuple(size_of(dim, architecture.sizes) for dim in symbols)
        if shapes[name] != shape:
            raise InputError(
                f"{name!r} has the shape {list(shapes[name])}, and config.json says "
                f"{list(shape)}"
            )


def _as_jax(tensor: Any, dtype: DTypeLike | None) -> jax.Array:
    is_cast = dtype is not None and jnp.issubdtype(tensor.dtype, jnp.floating)
    return jnp.array(tensor, dtype if is_cast else None)  # a copy: files may change


def _matches(name: str, patterns: Iterable[str]) -> bool:
    return any(re.fullmatch(pattern, name) for pattern in patterns)


def _some(names: list[str]) -> str:
    shown = ", ".join(repr(name) for name in names[:_SHOWN])
    return shown + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
