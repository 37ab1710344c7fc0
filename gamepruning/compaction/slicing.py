"""Keep some indices of some axes of a tree of arrays, and put them back.

`kept` says what stays: {(path, axis): sorted indices}. Axes that it does not name stay
whole. An optimizer's state is sliced along with the parameters that it belongs to.
"""

import functools
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gamepruning.compaction.trees import (
    Axes,
    Kept,
    check_kept,
    named_leaves,
    named_shapes,
    path_name,
)
from gamepruning.types import InputError

Keys = tuple[str, ...]


def slice_tree(tree: Any, kept: Kept) -> Any:
    """Keep the given indices of the given axes.

    Args:
      tree: any tree of arrays. NumPy arrays stay NumPy arrays.
      kept: {(path, axis): sorted indices that stay}.

    Returns:
      The same tree with smaller leaves.

    Raises:
      InputError: if `kept` names a path, an axis or an index that is not there.

    Example:
      >>> tree = {"w": np.arange(6).reshape(2, 3)}
      >>> slice_tree(tree, {("w", 1): np.array([0, 2])})["w"]
      array([[0, 2],
             [3, 5]])
    """
    check_kept(named_shapes(tree), kept)
    by_path = _by_path(kept)
    return jax.tree_util.tree_map_with_path(
        lambda path, leaf: _take(leaf, by_path.get(path_name(path), {})), tree
    )


def unslice_tree(small_tree: Any, full_tree: Any, kept: Kept) -> Any:
    """Write a sliced tree back into a full one: the inverse of `slice_tree`.

    Args:
      small_tree: what `slice_tree` returned, or a tree of its shapes.
      full_tree: the tree to write into: its values stay where nothing was kept. Leaves
        may be `jax.ShapeDtypeStruct`, which stand for zeros.
      kept: what was kept.

    Returns:
      A tree of `full_tree`'s shapes. `full_tree` itself is not changed.

    Raises:
      InputError: if the shapes of the two trees and `kept` disagree.

    Example:
      >>> kept = {("w", 0): np.array([0, 2])}
      >>> unslice_tree({"w": np.ones(2)}, {"w": np.zeros(3)}, kept)["w"]
      array([1., 0., 1.])
    """
    full_leaves = named_leaves(full_tree)
    check_kept(named_shapes(full_tree), kept)
    by_path = _by_path(kept)
    small_leaves = named_leaves(small_tree)
    missing = sorted(full_leaves.keys() ^ small_leaves.keys())
    if missing:
        raise InputError(f"only one of the two trees has a leaf {missing[0]!r}")

    def put(path, full):
        name = path_name(path)
        return _put(name, small_leaves[name], full, by_path.get(name, {}))

    return jax.tree_util.tree_map_with_path(put, full_tree)


def slice_opt_state(opt_state: Any, params: Any, kept: Kept) -> Any:
    """Slice an optimizer's state along with the parameters it belongs to.

    A leaf of the state belongs to the parameter whose path ends its own path (the
    longest such) and whose shape ends its own shape: so for the moments of Adam, for
    momentum, accumulated gradients, L-BFGS's memory, in whatever they are wrapped. The
    weights of L-BFGS's memory are computed anew from what is left of it. The vectors of
    `optax.flatten` are sliced like the concatenated parameters. Everything else
    (counters, learning rates, keys) is left alone.

    Args:
      opt_state: the state of an optax optimizer, or any tree made like one.
      params: the parameters BEFORE slicing; only paths and shapes are read.
      kept: {(path, axis): sorted indices that stay} of the parameters.

    Returns:
      The state for `slice_tree(params, kept)`.

    Raises:
      InputError: if a leaf follows a sliced parameter in a shape of its own, as in
        factored Adafactor, SM3 or GaLore: no slice of it is exact.

    Example:
      >>> import optax
      >>> params = {"w": jnp.zeros((2, 3))}
      >>> state = optax.adam(1e-3).init(params)
      >>> slice_opt_state(state, params, {("w", 1): np.array([0])})[0].mu["w"].shape
      (2, 1)
    """
    check_kept(named_shapes(params), kept)
    if not kept:
        return opt_state
    owners = _Owners(params, kept)
    small = jax.tree_util.tree_map_with_path(owners.slice_leaf, opt_state)
    return _renew_lbfgs_weights(small)


def _by_path(kept: Kept) -> dict[str, Axes]:
    by_path: dict[str, Axes] = {}
    for (path, axis), indices in kept.items():
        by_path.setdefault(path, {})[axis] = np.asarray(indices, np.int64)
    return by_path


def _take(leaf: Any, axes: Axes) -> Any:
    for axis, indices in axes.items():
        if isinstance(leaf, np.ndarray):
            leaf = np.take(leaf, indices, axis=axis)
        else:
            # The indices are checked: "clip" spares the fill of out-of-range ones.
            leaf = jnp.take(leaf, indices, axis=axis, mode="clip")
    return leaf


def _put(name: str, small: Any, full: Any, axes: Axes) -> Any:
    if isinstance(full, jax.ShapeDtypeStruct):
        full = jnp.zeros(full.shape, jax.dtypes.canonicalize_dtype(full.dtype))
    shape = np.shape(full)
    index = [
        axes[axis] if axis in axes else np.arange(size)
        for axis, size in enumerate(shape)
    ]
    expected = tuple(len(indices) for indices in index)
    if np.shape(small) != expected:
        raise InputError(
            f"{name!r}: expected the kept shape {expected}, got {np.shape(small)}"
        )
    if not axes:
        return small
    if isinstance(full, np.ndarray):
        full = full.copy()
        full[np.ix_(*index)] = small
        return full
    return full.at[np.ix_(*index)].set(small)


def _keys(path: tuple) -> Keys:
    """The path as texts, without the `.value` that nnx puts around a variable."""
    keys = tuple(path_name((key,)) for key in path)
    is_variable = path and path[-1] == jax.tree_util.GetAttrKey("value")
    return keys[:-1] if is_variable else keys


class _Owners:
    """The parameters that leaves of an optimizer's state may belong to."""

    def __init__(self, params: Any, kept: Kept):
        by_path = _by_path(kept)
        leaves = jax.tree_util.tree_leaves_with_path(params)
        self.params, self.kept = params, kept
        self.shapes = {_keys(path): tuple(np.shape(leaf)) for path, leaf in leaves}
        self.axes = {
            _keys(path): by_path.get(path_name(path), {}) for path, _ in leaves
        }
        self.num_entries = sum(int(np.prod(shape)) for shape in self.shapes.values())

    def slice_leaf(self, path: tuple, leaf: Any) -> Any:
        keys, shape = _keys(path), tuple(np.shape(leaf))
        if not shape or keys[-1:] == ("weights_memory",):
            return leaf
        owner = next((end for end in _endings(keys) if end in self.shapes), None)
        if owner is not None and _ends_with(shape, self.shapes[owner]):
            lead = len(shape) - len(self.shapes[owner])
            return _take(leaf, {lead + a: kept for a, kept in self.axes[owner].items()})
        if np.size(leaf) == 1:  # a placeholder, or one number a parameter
            return leaf
        if shape[-1] == self.num_entries and self.shapes.keys() != {()}:
            return _take(leaf, {len(shape) - 1: self.flat_positions})
        self.refuse_if_it_follows_a_sliced_parameter(path, shape)
        return leaf

    def refuse_if_it_follows_a_sliced_parameter(self, path: tuple, shape: tuple):
        for part in _parts(_keys(path)):
            sliced = {self.shapes[part][axis] for axis in self.axes.get(part, ())}
            if sliced & set(shape):
                raise InputError(
                    f"the optimizer state {path_name(path)!r} of shape {shape} follows "
                    f"the parameter {'/'.join(part)!r} of shape {self.shapes[part]} in "
                    "a way that cannot be sliced exactly (factored or projected "
                    "statistics): start again with tx.init(small.params)"
                )

    @functools.cached_property
    def flat_positions(self) -> np.ndarray:
        """Which entries of all parameters, concatenated as by `optax.flatten`, stay."""
        leaves, treedef = jax.tree.flatten(self.params)
        starts = np.cumsum([0, *(np.size(leaf) for leaf in leaves)])
        blocks = [
            start + np.arange(np.size(leaf)).reshape(np.shape(leaf))
            for start, leaf in zip(starts, leaves, strict=False)
        ]
        small = slice_tree(jax.tree.unflatten(treedef, blocks), self.kept)
        return np.concatenate([np.ravel(block) for block in jax.tree.leaves(small)])


def _endings(keys: Keys) -> Iterator[Keys]:
    return (keys[start:] for start in range(len(keys) + 1))


def _parts(keys: Keys) -> Iterator[Keys]:
    stops = range(len(keys), -1, -1)
    return (keys[start:stop] for stop in stops for start in range(stop + 1))


def _ends_with(shape: tuple, ending: tuple) -> bool:
    return len(shape) >= len(ending) and shape[len(shape) - len(ending) :] == ending


def _renew_lbfgs_weights(state: Any) -> Any:
    """rho_k = 1 / <dw_k, du_k> from the memory that is left; 0 where it vanishes."""
    leaves = {
        _keys(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(state)
    }

    def renew(path, leaf):
        *prefix, name = _keys(path) or ("",)
        if name != "weights_memory":
            return leaf
        products = _memory_products(tuple(prefix), leaves)
        if products is None:
            return leaf
        rho = jnp.where(products == 0, 0, 1 / jnp.where(products == 0, 1, products))
        return rho.astype(leaf.dtype)

    return jax.tree_util.tree_map_with_path(renew, state)


def _memory_products(prefix: Keys, leaves: Mapping[Keys, Any]) -> jax.Array | None:
    start, products = (*prefix, "diff_params_memory"), None
    for keys, dw in leaves.items():
        if keys[: len(start)] == start:
            du = leaves[(*prefix, "diff_updates_memory", *keys[len(start) :])]
            product = jnp.real(jnp.conj(dw) * du)
            product = product.sum(axis=tuple(range(1, product.ndim)))
            products = product if products is None else products + product
    return products
