"""Rows in tiles of equal size, cut where they lie: none moves to another device."""

from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any

import jax
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec
from jaxtyping import PyTree

from gamepruning.trees.layout import Layout


def full_tiles(
    data: PyTree,
    layout: Layout,
    num: int,
    size: int,
    order: np.ndarray | None = None,
) -> PyTree:
    """The first rows as tiles, leaves [num, size, ...].

    Where rows are split over devices, a tile takes as many of each part.

    Args:
      data: arrays [B, ...].
      layout: where they lie.
      num: tiles.
      size: rows of a tile, a multiple of the parts that rows are split in.
      order: in which the rows of each part are taken, int; as they come if None.
    """
    axes, parts = layout.row_axes(data), layout.row_parts(data)
    fn = partial(_full, parts, num, size // parts)
    return _each(fn, data, layout, (None, axes), *[] if order is None else [order])


def last_rows(data: PyTree, layout: Layout, num: int, size: int) -> PyTree:
    """The rows behind the tiles of `full_tiles`, leaves [B - num * size, ...]."""
    axes, parts = layout.row_axes(data), layout.row_parts(data)
    return _each(partial(_last, parts, num, size // parts), data, layout, (axes,))


def _full(parts: int, num: int, size: int, leaf: Any, order: Any = None) -> jax.Array:
    own = _by_part(leaf, parts)
    own = own[:, : num * size] if order is None else own[:, order[: num * size]]
    tiles = own.reshape(parts, num, size, *leaf.shape[1:]).swapaxes(0, 1)
    return tiles.reshape(num, parts * size, *leaf.shape[1:])


def _last(parts: int, num: int, size: int, leaf: Any) -> jax.Array:
    own = _by_part(leaf, parts)[:, num * size :]
    return own.reshape(parts * own.shape[1], *leaf.shape[1:])


def _by_part(leaf: Any, parts: int) -> Any:
    return leaf.reshape(parts, len(leaf) // parts, *leaf.shape[1:])


def _each(fn: partial, data: PyTree, layout: Layout, rows: tuple, *more: Any) -> PyTree:
    """fn(leaf, *more) of every leaf.

    Over a mesh its rows are split so, and the other axes as before.
    """
    if not layout.is_given:
        return jax.tree.map(lambda leaf: fn(leaf, *more), data)
    shardings = jax.tree.map(
        lambda leaf: NamedSharding(
            layout.mesh, PartitionSpec(*rows, *layout.spec_of(leaf)[1:])
        ),
        data,
    )
    leaves, treedef = jax.tree.flatten(data)
    run = _cutting(fn.func, fn.args, tuple(jax.tree.leaves(shardings)))
    return jax.tree.unflatten(treedef, run(leaves, *more))


@lru_cache(maxsize=64)
def _cutting(
    fn: Callable[..., jax.Array], args: tuple, shardings: tuple
) -> jax.stages.Wrapped:
    """fn(*args, leaf, *more) of every leaf; compiled once for all data alike."""

    def run(leaves: list[jax.Array], *more: Any) -> list[jax.Array]:
        return [fn(*args, leaf, *more) for leaf in leaves]

    return jax.jit(run, out_shardings=list(shardings))
