"""A tree as named NumPy arrays, as files hold them, and back."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gamepruning.trees.arrays import is_array
from gamepruning.trees.paths import named_leaves, path_name
from gamepruning.trees.processes import to_host
from gamepruning.types import InputError

BARE = "array"  # the name of a model's only parameter, where it is a bare array


def _is_key(leaf: Any) -> bool:
    return jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def to_arrays(params: Any) -> dict[str, np.ndarray]:
    """The arrays of a tree by path; random keys as their data.

    All processes have to ask, where parts of the arrays lie with several.
    """
    leaves = {
        name: leaf for name, leaf in named_leaves(params).items() if is_array(leaf)
    }
    if any(isinstance(leaf, jax.ShapeDtypeStruct) for leaf in leaves.values()):
        raise InputError("expected parameters, got only their shapes")
    if "" in leaves:
        leaves = {BARE: leaves[""]}
    return {
        name: to_host(jax.random.key_data(leaf) if _is_key(leaf) else leaf)
        for name, leaf in leaves.items()
    }


def with_arrays(tree: Any, arrays: Mapping[str, Any]) -> Any:
    """The tree with these arrays, and without its other leaves."""
    return jax.tree_util.tree_map_with_path(
        lambda path, _: arrays.get(path_name(path)), tree
    )


def to_tree(path: Any, arrays: dict[str, np.ndarray], like: Any) -> Any:
    """The inverse of `to_arrays`.

    Args:
      path: where the arrays come from, for the error.
      arrays: {path: array}.
      like: a tree of the same paths, shapes and types to put them into, or None for
        nested dictionaries.

    Raises:
      InputError: if the arrays do not fit `like`.
    """
    if like is None:
        return _nested(path, arrays)
    leaves = {name: leaf for name, leaf in named_leaves(like).items() if is_array(leaf)}
    if "" in leaves and arrays.keys() == {BARE}:
        arrays = {"": arrays[BARE]}
    for name in (*leaves, *sorted(arrays)):
        if name not in arrays or name not in leaves:
            where = "the file" if name not in arrays else "the tree to fill"
            raise InputError(f"{path}: {where} has no parameter {name!r}")

    def fill(key_path, leaf):
        if not is_array(leaf):
            return leaf
        name = path_name(key_path)
        return _like_leaf(f"{path}: parameter {name!r}", arrays[name], leaf)

    return jax.tree_util.tree_map_with_path(fill, like)


def _like_leaf(what: str, array: np.ndarray, leaf: Any) -> Any:
    if _is_key(leaf):
        impl = (
            None
            if isinstance(leaf, jax.ShapeDtypeStruct)
            else jax.random.key_impl(leaf)
        )
        return jax.random.wrap_key_data(jnp.asarray(array), impl=impl)
    expected, found = (leaf.shape, leaf.dtype), (array.shape, array.dtype)
    if expected != found:
        raise InputError(
            f"{what}: expected {expected[1]} {tuple(expected[0])}, "
            f"got {found[1]} {found[0]}"
        )
    return array if isinstance(leaf, np.ndarray) else jnp.asarray(array)


def _nested(path: Any, arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for name, array in arrays.items():
        *parents, last = name.split("/")
        node: Any = tree
        for key in parents:
            node = node.setdefault(key, {})
            if not isinstance(node, dict):
                raise InputError(f"{path}: {key!r} is a parameter and holds others")
        if last in node:
            raise InputError(f"{path}: {name!r} is a parameter and holds others")
        node[last] = array
    return tree
