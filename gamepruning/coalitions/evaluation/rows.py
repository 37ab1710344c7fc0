"""The examples in tiles of rows, where that changes nothing."""

from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from gamepruning.coalitions.evaluation.model import ScoredModel
from gamepruning.coalitions.measures import is_mean
from gamepruning.players.examples import examples_are_apart
from gamepruning.trees.examples import same_length
from gamepruning.trees.layout import Layout
from gamepruning.types import InputError

# Rows of a tile, about: small enough for a cache, large enough for a product.
ROWS = {"cpu": 256}
MANY_ROWS = 4096  # where memory is fast


class RowTiles(NamedTuple):
    """How the examples are cut: `num_full` tiles of `size`, and `rest` more."""

    size: int
    num_full: int
    rest: int

    @property
    def weights(self) -> np.ndarray:
        """The share of each tile in a mean over all examples."""
        counts = np.array([self.size] * self.num_full + [self.rest] * bool(self.rest))
        return counts / counts.sum()


def cut_rows(
    model: ScoredModel,
    rows_at_once: int | None,
    platform: str,
    parts: int = 1,
    times: int = 1,
) -> RowTiles:
    """Tiles of rows where the metric is a mean and examples do not meet; else one.

    Args:
      model: the network, its data and the metric.
      rows_at_once: examples in a tile; None chooses.
      platform: of the device, such as "cpu".
      parts: devices that the rows are split over; a tile has as many on each.
      times: how many of the usual tiles one is to hold.

    Raises:
      InputError: there is no example, or `rows_at_once` does not fit them.
    """
    num_rows = same_length(model.examples)
    if num_rows == 0:
        raise InputError("expected at least one example, got none")
    if rows_at_once is not None:
        if rows_at_once < 1 or num_rows is None:
            shapes = [np.shape(leaf) for leaf in jax.tree.leaves(model.examples)]
            raise InputError(
                "expected rows_at_once >= 1, and inputs and labels with one leading "
                f"axis of examples; got rows_at_once={rows_at_once} and shapes {shapes}"
            )
        return _tiles(max(1, rows_at_once // parts), num_rows, parts)
    if num_rows is None:
        return RowTiles(1, 1, 0)
    most = ROWS.get(platform, MANY_ROWS) * parts * times
    if not is_mean(model.metric) or num_rows <= most:
        return RowTiles(num_rows, 1, 0)
    if not examples_are_apart(model.players, model.params, model.inputs):
        return RowTiles(num_rows, 1, 0)
    most, own = most // parts, num_rows // parts
    even = [size for size in range(most, most // 2, -1) if own % size == 0]
    return _tiles(even[0] if even else most, num_rows, parts)


def _tiles(size: int, num_rows: int, parts: int) -> RowTiles:
    """Tiles of so many rows on each of the parts, or of all of them."""
    own = num_rows // parts
    size = min(size, own)
    num, rest = divmod(own, size)
    return RowTiles(size * parts, num, rest * parts)


def cut(data: Any, rows: RowTiles, layout: Layout) -> list[tuple[bool, Any]]:
    """(stacked, data) of the full tiles, and of the rest.

    Where rows are split over devices, a tile takes some of each: none is moved.
    """
    if rows.num_full == 1 and not rows.rest:
        return [(False, data)]
    axes, parts = layout.row_axes(data), layout.row_parts(data)
    size, num = rows.size // parts, rows.num_full

    data = jax.tree.map(jnp.asarray, data)
    full = partial(_full_tiles, parts, num, size)
    found = [(True, _each(full, data, layout, (None, axes)))]
    if rows.rest:
        rest = partial(_last_rows, parts, num, size)
        found.append((False, _each(rest, data, layout, (axes,))))
    return found


def _full_tiles(parts: int, num: int, size: int, leaf: jax.Array) -> jax.Array:
    """Rows as tiles, [num, parts * size, ...]."""
    own = _by_part(leaf, parts)[:, : num * size]
    tiles = own.reshape(parts, num, size, *leaf.shape[1:]).swapaxes(0, 1)
    return tiles.reshape(num, parts * size, *leaf.shape[1:])


def _last_rows(parts: int, num: int, size: int, leaf: jax.Array) -> jax.Array:
    """The rows behind the full tiles."""
    own = _by_part(leaf, parts)[:, num * size :]
    return own.reshape(parts * own.shape[1], *leaf.shape[1:])


def _each(fn: partial, data: Any, layout: Layout, rows: tuple) -> Any:
    """fn of every leaf; over a mesh its rows are split so, and the rest as before."""
    if not layout.is_given:
        return jax.tree.map(fn, data)
    shardings = jax.tree.map(
        lambda leaf: NamedSharding(
            layout.mesh, PartitionSpec(*rows, *layout.spec_of(leaf)[1:])
        ),
        data,
    )
    leaves, treedef = jax.tree.flatten(data)
    run = _cutting(fn.func, fn.args, tuple(jax.tree.leaves(shardings)))
    return jax.tree.unflatten(treedef, run(leaves))


@lru_cache(maxsize=64)
def _cutting(
    fn: Callable[..., jax.Array], args: tuple, shardings: tuple
) -> jax.stages.Wrapped:
    """fn(*args, leaf) of every leaf; compiled once for all value functions alike."""

    def run(leaves: list[jax.Array]) -> list[jax.Array]:
        return [fn(*args, leaf) for leaf in leaves]

    return jax.jit(run, out_shardings=list(shardings))


def _by_part(leaf: jax.Array, parts: int) -> jax.Array:
    return leaf.reshape(parts, len(leaf) // parts, *leaf.shape[1:])
