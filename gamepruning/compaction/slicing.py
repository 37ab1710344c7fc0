"""Keep some indices of some axes of a tree of arrays, and put them back.

`kept` says what stays: {(path, axis): sorted indices}. Axes that it does not name stay
whole. Where each layer of a stacked parameter keeps others, they are `LayerRows`. An
optimizer's state is sliced along with the parameters that it belongs to.
"""

import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gamepruning.trees.paths import (
    Axes,
    InputAxes,
    Kept,
    LayerRows,
    check_kept,
    named_leaves,
    named_shapes,
    path_name,
    same_rows,
)
from gamepruning.trees.placement import put_axes, take_axes
from gamepruning.types import InputError

Keys = tuple[str, ...]


def slice_tree(tree: Any, kept: Kept) -> Any:
    """Keep the given indices of the given axes.

    Args:
      tree: any tree of arrays. NumPy arrays stay NumPy arrays; arrays over several
        devices stay there, with their shardings and kinds of memory.
      kept: {(path, axis): sorted indices that stay}.

    Returns:
      The same tree with smaller leaves. An axis that its devices do not divide any
      more is replicated on them.

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
        lambda path, leaf: take_axes(leaf, by_path.get(path_name(path), {})), tree
    )


def select_inputs(inputs: Sequence[Any], input_kept: InputAxes) -> tuple:
    """The inputs without the entries that left.

    Args:
      inputs: those of the full model.
      input_kept: {position, or "position/path" in a tree: {axis: sorted indices}}.

    Raises:
      InputError: if `input_kept` names an input, an axis or an index that is not there.

    Example:
      >>> x, cache = np.ones((2, 5)), {"k": np.ones((2, 3))}
      >>> kept = {0: {1: np.array([0, 4])}, "1/k": {1: np.array([2])}}
      >>> x, cache = select_inputs((x, cache), kept)
      >>> x.shape, cache["k"].shape
      ((2, 2), (2, 1))
    """
    kept = {
        (str(key), axis): rows
        for key, axes in input_kept.items()
        for axis, rows in axes.items()
    }
    return slice_tree(tuple(inputs), kept)


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
    state may be that of a part of the parameters, as of `tx.init(variables["params"])`:
    then the parameter that shares the longest end of the path is taken. The
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
        factored Adafactor, SM3 or GaLore: no slice of it is exact; if it may belong to
        parameters that are sliced in different ways; or if the state has arrays, and
        none of them belongs to a parameter.

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
    owners.refuse_if_none_belongs(opt_state)
    return _renew_lbfgs_weights(small)


def _by_path(kept: Kept) -> dict[str, Axes]:
    by_path: dict[str, Axes] = {}
    for (path, axis), indices in kept.items():
        is_by_layer = isinstance(indices, LayerRows)
        rows = indices if is_by_layer else np.asarray(indices, np.int64)
        by_path.setdefault(path, {})[axis] = rows
    return by_path


def _put(name: str, small: Any, full: Any, axes: Axes) -> Any:
    if isinstance(full, jax.ShapeDtypeStruct):
        dtype = jax.dtypes.canonicalize_dtype(full.dtype)
        full = jnp.zeros(full.shape, dtype, device=full.sharding)
    shape = np.shape(full)
    expected = tuple(
        len(axes[axis]) if axis in axes else size for axis, size in enumerate(shape)
    )
    if np.shape(small) != expected:
        raise InputError(
            f"{name!r}: expected the kept shape {expected}, got {np.shape(small)}"
        )
    if not axes:
        return small
    index = _open_index(shape, axes)
    if isinstance(full, np.ndarray):
        full = full.copy()
        full[index] = small
        return full
    return put_axes(full, small, index)


def _open_index(shape: tuple, axes: Axes) -> tuple[np.ndarray, ...]:
    """For each axis the indices that stay, shaped to broadcast, as by `np.ix_`."""
    index = []
    for axis, size in enumerate(shape):
        rows, places = axes.get(axis, np.arange(size)), [axis]
        if isinstance(rows, LayerRows):
            places = sorted([rows.axis, axis])
            rows = rows.indices if rows.axis < axis else rows.indices.T
        others = [k for k in range(len(shape)) if k not in places]
        index.append(np.expand_dims(rows, others))
    return tuple(index)


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
        self.by_ending: dict[Keys, list[Keys]] = {}
        for keys in self.shapes:
            for ending in _endings(keys):
                self.by_ending.setdefault(ending, []).append(keys)
        self.by_ending[()] = [()] if () in self.shapes else []

    def slice_leaf(self, path: tuple, leaf: Any) -> Any:
        shape = tuple(np.shape(leaf))
        if not shape or _keys(path)[-1:] == ("weights_memory",):
            return leaf
        owners = self.find(path, shape)
        if owners:
            self.refuse_if_they_differ(owners, path, shape)
            return take_axes(leaf, self.axes_of(owners[0], shape))
        if np.size(leaf) == 1:  # a placeholder, or one number a parameter
            return leaf
        if self.is_flat(shape):
            return take_axes(leaf, {len(shape) - 1: self.flat_positions})
        self.refuse_if_it_follows_a_sliced_parameter(path, shape)
        return leaf

    def find(self, path: tuple, shape: tuple) -> list[Keys]:
        """The parameters that a leaf of the state may belong to."""
        keys = _keys(path)
        whole = next((end for end in _endings(keys) if end in self.shapes), None)
        end = whole if whole is not None else self.longest_known(keys)
        if not _ends_with(keys, end):
            return []
        owners = [o for o in self.by_ending[end] if _ends_with(shape, self.shapes[o])]
        exact = [owner for owner in owners if shape == self.shapes[owner]]
        if whole in exact:
            return [whole]
        return [whole, *exact] if whole in owners else exact or owners

    def longest_known(self, keys: Keys) -> Keys:
        """The longest part of a path that is a parameter's, or else that ends one's."""
        parts = list(_parts(keys))
        whole = [part for part in parts if part in self.shapes]
        known = whole or [part for part in parts if self.by_ending.get(part)]
        return max(known, key=len, default=())

    def axes_of(self, owner: Keys, shape: tuple) -> Axes:
        """What stays of a leaf of this shape that belongs to a parameter."""
        lead = len(shape) - len(self.shapes[owner])
        return {
            lead + axis: rows.moved(lead) if isinstance(rows, LayerRows) else rows
            for axis, rows in self.axes[owner].items()
        }

    def is_flat(self, shape: tuple) -> bool:
        """True if the last axis runs through all parameters."""
        return shape[-1] == self.num_entries and self.shapes.keys() != {()}

    def refuse_if_they_differ(self, owners: list[Keys], path: tuple, shape: tuple):
        """Raise InputError unless all these parameters are sliced alike."""
        first, *others = (self.axes_of(owner, shape) for owner in owners)
        for owner, other in zip(owners[1:], others, strict=True):
            if first.keys() != other.keys() or any(
                not same_rows(first[axis], other[axis]) for axis in first
            ):
                raise InputError(
                    f"the optimizer state {path_name(path)!r} of shape {shape} may "
                    f"belong to {'/'.join(owners[0])!r} or to {'/'.join(owner)!r}, "
                    "which are not sliced alike: give the state of tx.init(params) "
                    "for all params"
                )

    def refuse_if_it_follows_a_sliced_parameter(self, path: tuple, shape: tuple):
        for owner in self.by_ending[self.longest_known(_keys(path))]:
            sliced = {self.shapes[owner][axis] for axis in self.axes[owner]}
            if sliced & set(shape):
                raise InputError(
                    f"the optimizer state {path_name(path)!r} of shape {shape} follows "
                    f"the parameter {'/'.join(owner)!r} of shape {self.shapes[owner]} "
                    "in a way that cannot be sliced exactly (factored or projected "
                    "statistics): start again with tx.init(small.params)"
                )

    def refuse_if_none_belongs(self, opt_state: Any):
        """Raise InputError if the state has arrays, and none belongs to a parameter."""
        strangers = []
        for path, leaf in jax.tree_util.tree_leaves_with_path(opt_state):
            shape = tuple(np.shape(leaf))
            if np.size(leaf) > 1 and jnp.issubdtype(leaf.dtype, jnp.inexact):
                if self.is_flat(shape) or self.find(path, shape):
                    return
                strangers.append(f"{path_name(path)!r} of shape {shape}")
        if strangers:
            raise InputError(
                f"the optimizer state is not that of these parameters: {strangers[0]} "
                "belongs to none of them; give the state of tx.init(params), both as "
                "they are before slicing"
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
