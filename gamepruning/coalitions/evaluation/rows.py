"""The examples in tiles of rows, where that changes nothing."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gamepruning.coalitions.evaluation.model import ScoredModel
from gamepruning.coalitions.measures import is_mean
from gamepruning.players.examples import examples_are_apart
from gamepruning.trees.examples import same_length
from gamepruning.trees.layout import Layout
from gamepruning.trees.row_tiles import full_tiles, last_rows
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
    data = jax.tree.map(jnp.asarray, data)
    found = [(True, full_tiles(data, layout, rows.num_full, rows.size))]
    if rows.rest:
        found.append((False, last_rows(data, layout, rows.num_full, rows.size)))
    return found
