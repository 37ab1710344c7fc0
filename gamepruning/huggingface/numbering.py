"""Whole layers leave: tensors and configuration of the layers that stay."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from gamepruning.huggingface.architecture import Architecture, Config, Sizes
from gamepruning.huggingface.checkpoint import Checkpoint, architecture_of
from gamepruning.types import InputError


def drop_layers(checkpoint: Checkpoint, layers: Iterable[int]) -> Checkpoint:
    """The model without some of its layers; the others are numbered anew.

    Args:
      checkpoint: the model.
      layers: numbers of layers, from 0.

    Returns:
      A checkpoint with fewer layers, in its names and its configuration.

    Raises:
      InputError: there is no such layer, none would stay, or layers compute something
        from their number.
    """
    if not isinstance(checkpoint, Checkpoint):
        raise InputError(
            f"expected a checkpoint, as load returns, got a "
            f"{type(checkpoint).__name__}: drop layers before compact"
        )
    architecture = architecture_of(checkpoint.config, checkpoint.params)
    count = architecture.sizes["layers"]
    gone = _numbers(layers)
    if wrong := sorted(gone - set(range(count))):
        raise InputError(f"no layer {wrong[0]}: there are {count}, from 0")
    if len(gone) == count:
        raise InputError(f"expected a layer to stay, got all {count} of them to drop")
    stays = [k for k in range(count) if k not in gone]
    by_number = checkpoint.config.get("scale_attn_by_inverse_layer_idx")
    if by_number and stays != list(range(len(stays))):
        raise InputError(
            "scale_attn_by_inverse_layer_idx: attention is scaled by the number of its "
            "layer, which would change: drop the last layers alone"
        )
    params = renumber(checkpoint.params, architecture.stem, stays)
    sizes = {**architecture.sizes, "layers": len(stays)}
    config = new_config(checkpoint.config, architecture, sizes, stays)
    apply = architecture_of(config, params).apply
    return checkpoint._replace(apply=apply, params=params, config=config)


def _numbers(layers: Any) -> set[int]:
    try:
        found = [np.asarray(layer) for layer in layers]
    except TypeError:
        found = []
    else:
        if all(x.ndim == 0 and np.issubdtype(x.dtype, np.integer) for x in found):
            return {int(x) for x in found}
    raise InputError(f"expected numbers of layers, such as [3, 7], got {layers!r}")


def renumber(
    params: Mapping[str, Any], stem: str, stays: Sequence[int]
) -> dict[str, Any]:
    """The tensors of the layers that stay, under their new numbers, and all others.

    Example:
      >>> renumber({"h.0.w": "a", "h.2.w": "b", "e": "c"}, "h.", [2])
      {'h.0.w': 'b', 'e': 'c'}
    """
    new = {old: k for k, old in enumerate(stays)}
    found = {}
    for name, tensor in params.items():
        number, rest = split_name(name, stem)
        if number is None:
            found[name] = tensor
        elif number in new:
            found[f"{stem}{new[number]}.{rest}"] = tensor
    return found


def split_name(name: str, stem: str) -> tuple[int | None, str]:
    """The number of the layer that a tensor is in, and its name there.

    Example:
      >>> split_name("h.12.mlp.weight", "h."), split_name("norm", "h.")
      ((12, 'mlp.weight'), (None, 'norm'))
    """
    match = re.fullmatch(re.escape(stem) + r"(\d+)\.(.+)", name)
    return (None, name) if match is None else (int(match[1]), match[2])


def new_config(
    config: Config, architecture: Architecture, sizes: Sizes, stays: Sequence[int]
) -> dict[str, Any]:
    """A configuration of other sizes: only fields whose sizes change are written."""
    old, new = architecture.fields(architecture.sizes), architecture.fields(sizes)
    changed = {k: v for k, v in new.items() if k not in old or v != old[k]}
    result = {**config, **changed}
    kinds = config.get("layer_types")
    if isinstance(kinds, list) and np.max(stays, initial=-1) < len(kinds):
        result["layer_types"] = [kinds[k] for k in stays]
    return result
