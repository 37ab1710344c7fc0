"""The leaves of a tree by path, and what stays of their axes.

A path is text: `jax.tree_util.keystr(path, simple=True, separator="/")`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from gamepruning.trees.arrays import is_array
from gamepruning.types import InputError

Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True, eq=False)
class LayerRows:
    """What stays of an axis of a stacked parameter, layer by layer.

    Attributes:
      axis: the axis of layers.
      indices: for each layer the indices that stay of the other axis, int [L, n]; they
        increase.

    Example:
      >>> LayerRows(0, np.array([[0, 2], [1, 2]]))
      LayerRows(axis=0, indices=array([[0, 2],
             [1, 2]]))
    """

    axis: int
    indices: np.ndarray

    def __len__(self) -> int:
        """How many stay in each layer."""
        return self.indices.shape[1]

    def moved(self, by: int) -> "LayerRows":
        """The same for an array with `by` more axes in front."""
        return LayerRows(self.axis + by, self.indices)


Rows = np.ndarray | LayerRows  # the indices of an axis that stay
Axes = dict[int, Any]  # by axis: `Rows`
Kept = Mapping[tuple[str, int], Any]  # by path and axis: `Rows`
InputKey = int | str  # the position of an input; "1/k" for an array of a tree
InputAxes = Mapping[InputKey, Axes]


def same_rows(one: Any, other: Any) -> bool:
    """Return True if the same indices stay."""
    if isinstance(one, LayerRows) and isinstance(other, LayerRows):
        return one.axis == other.axis and np.array_equal(one.indices, other.indices)
    if isinstance(one, LayerRows) or isinstance(other, LayerRows):
        return False
    return np.array_equal(one, other)


def path_name(path: tuple) -> str:
    """The path of a leaf as text: `"dense_1/kernel"`; `""` for a bare array."""
    return jax.tree_util.keystr(path, simple=True, separator="/")


def input_key(path: tuple) -> InputKey:
    """What a leaf of the inputs `(x, cache)` is called: `0`, `"1/k"`.

    Example:
      >>> inputs = (np.ones(2), {"k": np.ones(3)})
      >>> [input_key(path) for path, _ in jax.tree_util.tree_leaves_with_path(inputs)]
      [0, '1/k']
    """
    name = path_name(path)
    return int(name) if len(path) == 1 else name


def flatten(tree: Any) -> tuple[list, Any]:
    """`jax.tree.flatten`, which sorts the keys of dictionaries.

    Raises:
      InputError: a dictionary has keys that cannot be sorted.

    Example:
      >>> flatten({"dense": {0: 1.0, "bias": 2.0}})  # doctest: +ELLIPSIS
      Traceback (most recent call last):
      gamepruning.types.InputError: keys of one dictionary must be of one type, ...
    """
    try:
        return jax.tree_util.tree_flatten(tree)
    except ValueError:
        _check_keys(tree)
        raise


def _check_keys(tree: Any) -> None:
    if not isinstance(tree, dict | list | tuple):
        return
    kinds = {type(key).__name__: key for key in tree} if isinstance(tree, dict) else {}
    if len(kinds) > 1:
        some = " and ".join(f"{key!r} ({kind})" for kind, key in kinds.items())
        raise InputError(
            "keys of one dictionary must be of one type, since JAX sorts them, got "
            f"{some}: write str(key) for each"
        ) from None
    for child in tree.values() if isinstance(tree, dict) else tree:
        _check_keys(child)


def named_leaves(tree: Any) -> dict[str, Any]:
    """The leaves of a tree by path, in the tree's own order.

    Raises:
      InputError: if two leaves have the same path as text.

    Example:
      >>> named_leaves({"dense": {"bias": 1, "kernel": 2}})
      {'dense/bias': 1, 'dense/kernel': 2}
    """
    leaves = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        name = path_name(path)
        if name in leaves:
            raise InputError(f"two leaves are called {name!r}: rename one of them")
        leaves[name] = leaf
    return leaves


def array_paths(tree: Any) -> list[str]:
    """The paths of those leaves of a tree that are arrays, in the tree's order.

    Example:
      >>> array_paths({"kernel": np.ones(2), "name": "dense"})
      ['kernel']
    """
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return [path_name(path) for path, leaf in leaves if is_array(leaf)]


def named_shapes(tree: Any) -> dict[str, tuple[int, ...]]:
    """The shapes of a tree's leaves by path."""
    return {name: tuple(np.shape(leaf)) for name, leaf in named_leaves(tree).items()}


def check_kept(shapes: Shapes, kept: Kept) -> None:
    """Raise InputError unless `kept` fits leaves of these shapes, {path: shape}."""
    for (path, axis), indices in kept.items():
        if path not in shapes:
            raise InputError(
                f"expected a leaf {path!r} to slice, got a tree with {_some(shapes)}"
            )
        shape = shapes[path]
        if not 0 <= axis < len(shape):
            raise InputError(f"{path!r} has shape {shape}: it has no axis {axis}")
        what = f"axis {axis} of {path!r}"
        if not isinstance(indices, LayerRows):
            check_indices(what, indices, shape[axis])
            continue
        if indices.axis == axis or not 0 <= indices.axis < len(shape):
            raise InputError(f"{what}: its layers cannot be axis {indices.axis}")
        if len(indices.indices) != shape[indices.axis]:
            raise InputError(
                f"{what}: expected a row for each of the {shape[indices.axis]} layers, "
                f"got {len(indices.indices)}"
            )
        for layer, row in enumerate(indices.indices):
            check_indices(f"{what} in layer {layer}", row, shape[axis])


def check_indices(what: str, indices: Any, size: int) -> None:
    """Raise InputError unless `indices` are increasing integers in [0, size)."""
    indices = np.asarray(indices)
    if indices.ndim != 1 or (indices.size and indices.dtype.kind not in "iu"):
        raise InputError(
            f"{what}: expected a list of kept indices, "
            f"got {indices.dtype} of shape {indices.shape}"
        )
    falls = np.flatnonzero(np.diff(indices.astype(np.int64)) <= 0)
    if falls.size:
        before, after = indices[falls[0] : falls[0] + 2]
        raise InputError(
            f"{what}: kept indices must increase, got {after} after {before}"
        )
    if indices.size and (indices[0] < 0 or indices[-1] >= size):
        raise InputError(
            f"{what}: kept indices must lie in 0..{size - 1}, "
            f"got {indices[0]}..{indices[-1]}"
        )


def _some(leaves: Mapping[str, Any]) -> str:
    names = [repr(name) for name in leaves]
    return ", ".join(names[:4]) + (", ..." if len(names) > 4 else "")
