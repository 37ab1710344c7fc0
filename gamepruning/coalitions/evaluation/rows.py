"""The examples in tiles of rows, where that changes nothing."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gamepruning.coalitions.evaluation.model import ScoredModel
from gamepruning.coalitions.measures import is_mean
from gamepruning.trees.examples import rows_are_independent, same_length
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


def cut_rows(model: ScoredModel, rows_at_once: int | None, platform: str) -> RowTiles:
    """Tiles of rows where the metric is a mean and examples do not meet; else one.

    Args:
      model: the network, its data and the metric.
      rows_at_once: examples in a tile; None chooses.
      platform: of the device, such as "cpu".

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
        return RowTiles(*_full(min(rows_at_once, num_rows), num_rows))
    if num_rows is None:
        return RowTiles(1, 1, 0)
    most = ROWS.get(platform, MANY_ROWS)
    if not is_mean(model.metric) or num_rows <= most:
        return RowTiles(num_rows, 1, 0)
    if not rows_are_independent(model.players.apply, model.params, model.inputs):
        return RowTiles(num_rows, 1, 0)
    even = [size for size in range(most, most // 2, -1) if num_rows % size == 0]
    return RowTiles(*_full(even[0] if even else most, num_rows))


def _full(size: int, num_rows: int) -> tuple[int, int, int]:
    return size, *divmod(num_rows, size)


def cut(data: Any, rows: RowTiles) -> list[tuple[bool, Any]]:
    """(stacked, data) of the full tiles, and of the rest."""
    if rows.num_full == 1 and not rows.rest:
        return [(False, data)]
    size, num, rest = rows
    data = jax.tree.map(jnp.asarray, data)
    full = jax.tree.map(
        lambda leaf: leaf[: num * size].reshape(num, size, *leaf.shape[1:]), data
    )
    last = jax.tree.map(lambda leaf: leaf[num * size :], data)
    return [(True, full)] + [(False, last)] * bool(rest)
