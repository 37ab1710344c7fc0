"""Each player's own parameters theta_i: scaled, and summed over."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import ArrayLike, Float

from gamepruning.run.gated import entry_gates
from gamepruning.trace.model import TracedModel
from gamepruning.trees.arrays import map_arrays
from gamepruning.trees.placement import replicated
from gamepruning.trees.trainable import is_numeric, put_trainable, widen
from gamepruning.types import Params


def participate(model: TracedModel, params: Params, gates: ArrayLike) -> Params:
    """theta_i -> s_i theta_i, equation 3 of arXiv 2512.22106."""
    model.check_params(params)
    gates = model.gates(gates)
    leaves, treedef = jax.tree_util.tree_flatten(params)
    for owned in model.owned_axes():
        leaf = leaves[owned.leaf]
        scale = entry_gates(gates, owned.columns).astype(factor_type(gates, leaf))
        chex.assert_shape(scale, (np.shape(leaf)[owned.axis],))
        leaves[owned.leaf] = leaf * jnp.expand_dims(scale, _others(leaf, owned.axis))
    return jax.tree_util.tree_unflatten(treedef, leaves)


def sum_owned(model: TracedModel, tree: Params) -> Float[jax.Array, " N"]:
    """For each player the sum over its own parameters of the entries of a tree."""
    tree = without_gaps(model, tree)
    model.check_params(tree)
    leaves = jax.tree_util.tree_leaves(tree)
    dtype = jnp.result_type(jnp.float32, *filter(is_numeric, leaves))
    total = jnp.zeros(model.num_players + 1, dtype)  # 0: entries that nobody owns
    for owned in model.owned_axes():
        leaf = leaves[owned.leaf]
        entries = jnp.sum(widen(leaf), axis=_others(leaf, owned.axis)).astype(dtype)
        total = add_entries(total, replicated(entries), owned.columns)
    return total[1:]


def without_gaps(model: TracedModel, tree: Params) -> Params:
    """A gradient that has None for what is not trained, with zeros there."""
    like = model.example.rebuild(model.example.arrays)[0]
    is_none = lambda leaf: leaf is None  # noqa: E731
    gaps = jax.tree.structure(tree, is_leaf=is_none)
    if jax.tree.structure(tree) == gaps or gaps != jax.tree.structure(like):
        return tree
    empty = map_arrays(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), like)
    return put_trainable(tree, empty)


def factor_type(gates: jax.Array, leaf: jax.Array) -> jnp.dtype:
    """Fractions of whole numbers are not whole numbers: those become float32."""
    whole = gates.dtype != bool and not jnp.issubdtype(leaf.dtype, jnp.inexact)
    return jnp.dtype(jnp.float32) if whole else leaf.dtype


def add_entries(total: jax.Array, entries: jax.Array, columns: np.ndarray):
    """Add the sum of each entry of an axis to those who own it."""
    first, size = int(columns[0, 0]), len(columns)
    chex.assert_shape(entries, (size,))
    if columns.shape[1] == 1 and np.array_equal(
        columns[:, 0], np.arange(first, first + size)
    ):
        return total.at[first : first + size].add(entries)
    return total.at[columns].add(jnp.broadcast_to(entries[:, None], columns.shape))


def _others(leaf, axis: int) -> tuple[int, ...]:
    return tuple(k for k in range(np.ndim(leaf)) if k != axis)
