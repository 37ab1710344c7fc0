"""Parameters that are not numbers to train: counters, random keys, functions."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import PyTree

from gamepruning.trees.arrays import is_array


def is_trainable(leaf: Any) -> bool:
    """Is the leaf an array of real or complex numbers, such as can be differentiated?

    Args:
      leaf: a leaf of a tree of parameters.

    Returns:
      False for integers, random keys and whatever is not an array.
    """
    return hasattr(leaf, "dtype") and jnp.issubdtype(leaf.dtype, jnp.inexact)


def is_numeric(leaf: Any) -> bool:
    """Is the leaf an array of numbers, whole ones and truth values among them?"""
    kinds = (jnp.number, jnp.bool_)
    return hasattr(leaf, "dtype") and any(
        jnp.issubdtype(leaf.dtype, kind) for kind in kinds
    )


def widen(leaf: Any) -> jax.Array:
    """Numbers that can be squared and added up: float32, or wider as they are.

    Squares of int8 overflow above 11, those of float16 above 255.

    Example:
      >>> float(widen(jnp.full(2, 100, jnp.int8))[0] ** 2)
      10000.0
    """
    leaf = jnp.asarray(leaf)
    return leaf.astype(jnp.promote_types(leaf.dtype, jnp.float32))


def take_trainable(params: PyTree) -> PyTree:
    """The tree with None, which optax and `jax.grad` skip, for all other leaves."""
    return jax.tree.map(lambda leaf: leaf if is_trainable(leaf) else None, params)


def take_arrays(params: PyTree) -> PyTree:
    """The tree with None for what is not an array, which jit would not take."""
    return jax.tree.map(lambda leaf: leaf if is_array(leaf) else None, params)


def put_trainable(trained: PyTree, params: PyTree) -> PyTree:
    """The other way round: `params` with the leaves that are not None in `trained`."""
    return jax.tree.map(
        lambda new, old: old if new is None else new,
        trained,
        params,
        is_leaf=lambda leaf: leaf is None,
    )
