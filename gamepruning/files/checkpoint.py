"""Checkpoints of training: a pytree in one file of `files.npz`, leaf by leaf."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gamepruning.files import npz
from gamepruning.trees.paths import named_leaves
from gamepruning.types import InputError

_TYPES = "__types__"  # among the facts of a file


def save_checkpoint(path: Path, tree: Any, *, meta: dict[str, Any]) -> None:
    """Write a pytree of arrays, random keys included, and a few JSON-able facts."""
    arrays = {
        name: np.asarray(_data(leaf)) for name, leaf in named_leaves(tree).items()
    }
    # bfloat16 and its like have no type in an npz file, which keeps their bytes.
    names = {k: str(x.dtype) for k, x in arrays.items() if x.dtype.kind == "V"}
    npz.save(path, {**meta, _TYPES: names} if names else meta, arrays)


def load_checkpoint(path: Path, like: Any) -> tuple[Any, dict[str, Any]]:
    """Read (tree, meta) of `save_checkpoint`; `like` has the structure and shapes."""
    meta, arrays = npz.load(path)
    types = meta.pop(_TYPES, {})
    wanted = named_leaves(like)
    if arrays.keys() != wanted.keys():
        first = sorted(arrays.keys() ^ wanted.keys())[0]
        side = "only in the file" if first in arrays else "missing in the file"
        raise InputError(f"checkpoint {path} is for another model: {first!r} is {side}")
    leaves = [
        _restore(path, name, arrays[name], types.get(name), leaf)
        for name, leaf in wanted.items()
    ]
    return jax.tree.unflatten(jax.tree.structure(like), leaves), meta


def _is_key(leaf: Any) -> bool:
    kind = getattr(leaf, "dtype", None)
    return kind is not None and jnp.issubdtype(kind, jax.dtypes.prng_key)


def _data(leaf: Any) -> Any:
    return jax.random.key_data(leaf) if _is_key(leaf) else leaf


def _restore(
    path: Path, name: str, array: np.ndarray, kind: str | None, like: Any
) -> jax.Array:
    """One leaf; `kind` is the type of what the file has as bytes alone."""
    target = jnp.asarray(_data(like))
    type_of = jnp.dtype(kind or target.dtype)  # older files do not name it
    if array.dtype.kind == "V" and array.dtype.itemsize == type_of.itemsize:
        array = array.view(type_of)
    if array.shape != target.shape or array.dtype != target.dtype:
        raise InputError(
            f"checkpoint {path} is for another model: expected {name!r} as "
            f"{target.dtype}{list(target.shape)}, got {array.dtype}{list(array.shape)}"
        )
    value = jnp.asarray(array)
    if _is_key(like):
        return jax.random.wrap_key_data(value, impl=jax.random.key_impl(like))
    return value
