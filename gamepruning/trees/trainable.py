"""Parameters that are not numbers to train: counters, random keys, functions."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import PyTree


def is_trainable(leaf: Any) -> bool:
    """Is the leaf an array of real or complex numbers, such as can be differentiated?

    Args:
      leaf: a leaf of a tree of parameters.

    Returns:
      False for integers, random keys and whatever is not an array.
    """
    return hasattr(leaf, "dtype") and jnp.issubdtype(leaf.dtype, jnp.inexact)


def take_trainable(params: PyTree) -> PyTree:
    """The tree with None, which optax and `jax.grad` skip, for all other leaves."""
    return jax.tree.map(lambda leaf: leaf if is_trainable(leaf) else None, params)


def put_trainable(trained: PyTree, params: PyTree) -> PyTree:
    """The other way round: `params` with the leaves that are not None in `trained`."""
    return jax.tree.map(
        lambda new, old: old if new is None else new,
        trained,
        params,
        is_leaf=lambda leaf: leaf is None,
    )
