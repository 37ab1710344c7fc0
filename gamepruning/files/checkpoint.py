"""Checkpoints of training: a pytree in one file of `files.npz`, leaf by leaf."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gamepruning.files import npz
from gamepruning.trees.paths import named_leaves
from gamepruning.types import InputError


def save_checkpoint(path: Path, tree: Any, *, meta: dict[str, Any]) -> None:
    """Write a pytree of arrays, random keys included, and a few JSON-able facts."""
    arrays = {
        name: np.asarray(_data(leaf)) for name, leaf in named_leaves(tree).items()
    }
    npz.save(path, meta, arrays)


def load_checkpoint(path: Path, like: Any) -> tuple[Any, dict[str, Any]]:
    """Read (tree, meta) of `save_checkpoint`; `like` has the structure and shapes."""
    meta, arrays = npz.load(path)
    wanted = named_leaves(like)
    if arrays.keys() != wanted.keys():
        first = sorted(arrays.keys() ^ wanted.keys())[0]
        side = "only in the file" if first in arrays else "missing in the file"
        raise InputError(f"checkpoint {path} is for another model: {first!r} is {side}")
    leaves = [_restore(path, name, arrays[name], leaf) for name, leaf in wanted.items()]
    return jax.tree.unflatten(jax.tree.structure(like), leaves), meta


def _is_key(leaf: Any) -> bool:
    kind = getattr(leaf, "dtype", None)
    return kind is not None and jnp.issubdtype(kind, jax.dtypes.prng_key)


def _data(leaf: Any) -> Any:
    return jax.random.key_data(leaf) if _is_key(leaf) else leaf


def _restore(path: Path, name: str, array: np.ndarray, like: Any) -> jax.Array:
    target = jnp.asarray(_data(like))
    if array.dtype.kind == "V" and array.dtype.itemsize == target.dtype.itemsize:
        array = array.view(target.dtype)  # bfloat16 and its like have no npz type
    if array.shape != target.shape or array.dtype != target.dtype:
        raise InputError(
            f"checkpoint {path} is for another model: expected {name!r} as "
            f"{target.dtype}{list(target.shape)}, got {array.dtype}{list(array.shape)}"
        )
    value = jnp.asarray(array)
    if _is_key(like):
        return jax.random.wrap_key_data(value, impl=jax.random.key_impl(like))
    return value
