"""`fit`: the configuration that pruned tensors have, and tensors as it wants them."""

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from gamepruning.huggingface.architecture import (
    Architecture,
    Config,
    Dims,
    Shape,
    Sizes,
    size_of,
    solve,
)
from gamepruning.huggingface.checkpoint import architecture_of, check_shapes
from gamepruning.huggingface.numbering import new_config, renumber, split_name
from gamepruning.types import InputError


def fit(
    params: Mapping[str, Any], config: Config, *, pad: bool = False
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The configuration that tensors have, and the tensors as it wants them.

    Args:
      params: tensors by the checkpoint's names; layers may be missing.
      config: the configuration before the model was made smaller.
      pad: fill up with zeros where layers differ, or no configuration has their sizes.

    Returns:
      The tensors, the layers numbered from 0, and the configuration.

    Raises:
      InputError: there is no such configuration.
    """
    architecture = architecture_of(config, params)
    stem = architecture.stem
    numbers = {split_name(name, stem)[0] for name in params}
    stays = sorted(number for number in numbers if number is not None)
    if not stays:
        raise InputError(f"expected layers, tensors named {stem}0 and so on, got none")
    other = next((k for k, x in params.items() if not hasattr(x, "nbytes")), None)
    if other is not None:
        kind = type(params[other]).__name__
        raise InputError(f"expected arrays by name, got a {kind} for {other!r}")
    params = renumber(params, stem, stays)
    try:
        outside, layers = _read_sizes(params, len(stays), architecture)
    except InputError as error:
        raise InputError(
            f"{error}: players left that no configuration can do without, such as "
            "dimensions of heads; let them stay, by gp.huggingface.find_players"
        ) from error
    sizes = outside | {"layers": len(stays)} | _shared(layers, stays, architecture, pad)
    if pad:
        sizes = _grown(sizes, architecture)
        params = _padded(params, outside, layers, sizes, architecture)
    elif problem := architecture.problem(sizes):
        helps = isinstance(_grown_or_why(sizes, architecture), dict)
        hint = ", or give pad=True" if helps else "; pad=True does not help here"
        raise InputError(f"{problem}: keep another number{hint}")
    found = new_config(config, architecture, sizes, stays)
    for field in ("dtype", "torch_dtype"):
        if config.get(field) is not None:
            found[field] = str(next(iter(params.values())).dtype)
    check_shapes(architecture_of(found, params), _shapes(params), "the model")
    return params, found


def _shapes(params: Mapping[str, Any]) -> dict[str, Shape]:
    return {name: tuple(np.shape(tensor)) for name, tensor in params.items()}


def _read_sizes(
    params: Mapping[str, Any], count: int, architecture: Architecture
) -> tuple[dict[str, int], list[dict[str, int]]]:
    """The sizes outside the layers, and those of each layer."""
    shapes = _shapes(params)
    fixed = {
        name: size
        for name, size in architecture.sizes.items()
        if name not in architecture.widths
    }
    outside = solve(shapes, architecture.outside, fixed)
    outside = {**architecture.sizes, **outside}
    known = {k: v for k, v in outside.items() if k not in _in_layers(architecture)}
    return outside, [
        solve(shapes, _of_layer(architecture, k), known) for k in range(count)
    ]


def _of_layer(architecture: Architecture, number: int) -> dict[str, Dims]:
    stem = architecture.stem
    return {f"{stem}{number}.{name}": d for name, d in architecture.layer.items()}


def _in_layers(architecture: Architecture) -> list[str]:
    """The sizes that a layer has for itself."""
    outside = {
        part for dims in architecture.outside.values() for dim in dims for part in dim
    }
    return [name for name in architecture.widths if name not in outside]


def _shared(
    layers: Sequence[Sizes], stays: Sequence[int], architecture: Architecture, pad: bool
) -> dict[str, int]:
    """The sizes of all layers: those that they share, or the largest."""
    shared = {}
    for name in _in_layers(architecture):
        # A layer from which all of it left tells no size.
        sizes = [layer.get(name, 0) for layer in layers]
        shared[name] = max(sizes)
        if len(set(sizes)) > 1 and not pad:
            other = next(k for k, size in enumerate(sizes) if size != sizes[0])
            raise InputError(
                f"no configuration has layers of different sizes: layer {stays[0]} has "
                f"{sizes[0]} {name}, layer {stays[other]} has {sizes[other]}; keep "
                'equally many in each, by top_n(..., scope="family"), or give pad=True'
            )
        if not any(sizes) and not pad:
            raise InputError(
                f"no configuration has layers without {name}: keep one in each, or "
                "give pad=True"
            )
    return {name: max(size, 1) for name, size in shared.items()}


def _grown(sizes: Sizes, architecture: Architecture) -> dict[str, int]:
    """The sizes of a configuration, the fewest heads that are no fewer than these."""
    found = _grown_or_why(sizes, architecture)
    if isinstance(found, str):
        raise InputError(f"{found}, and zeros do not help")
    return found


def _grown_or_why(sizes: Sizes, architecture: Architecture) -> dict[str, int] | str:
    """The sizes of a configuration after padding, or why there are none."""
    names, full = architecture.grows, architecture.sizes
    ranges = [range(sizes[name], full[name] + 1) for name in names]
    for values in sorted(itertools.product(*ranges), key=math.prod):
        found = {**sizes, **dict(zip(names, values, strict=True))}
        if not architecture.problem(found):
            return found
    return architecture.problem(sizes)


def _padded(
    params: Mapping[str, Any],
    outside: Sizes,
    layers: Sequence[Sizes],
    sizes: Sizes,
    architecture: Architecture,
) -> dict[str, Any]:
    """Tensors with zeros up to the given sizes; those that are missing are zero."""
    dtype = next(iter(params.values())).dtype
    found = {name: params[name] for name in params if name in architecture.outside}
    for k, layer in enumerate(layers):
        old = {**dict.fromkeys(sizes, 0), **outside, **layer}
        for name, symbols in _of_layer(architecture, k).items():
            if name in params:
                found[name] = _fill_up(np.asarray(params[name]), symbols, old, sizes)
            else:
                shape = [size_of(dim, sizes) for dim in symbols]
                found[name] = np.zeros(shape, dtype)
    return found


def _fill_up(array: np.ndarray, symbols: Dims, old: Sizes, new: Sizes) -> np.ndarray:
    """An array with zeros behind the entries of each factor of each axis.

    Example:
      >>> heads = np.arange(4).reshape(4, 1)  # two for each of q and k
      >>> _fill_up(heads, ((2, "h"), (1,)), {"h": 2}, {"h": 3}).ravel()
      array([0, 1, 0, 2, 3, 0])
    """
    factors = [part for dim in symbols for part in dim]
    before = [size_of((part,), old) for part in factors]
    after = [size_of((part,), new) for part in factors]
    wider = np.zeros(after, array.dtype)
    wider[tuple(slice(n) for n in before)] = array.reshape(before)
    return wider.reshape([size_of(dim, new) for dim in symbols])
