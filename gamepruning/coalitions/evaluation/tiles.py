"""Examples in tiles of equal size, and the value of a metric over them."""

import hashlib
import math
from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import chex
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, PyTree

from gamepruning.trees.examples import count_rows
from gamepruning.types import InputError, Metric

TILE_BYTES = 2**17  # of running results: a quarter of a usual L2 cache
MIN_ROWS = 64
TILES_BY = 8  # their number is a multiple of this where there are enough rows
SHUFFLED = 2311  # seed of the order in which rows are cut for samples of tiles


class Tiles(NamedTuple):
    """Examples in tiles of T rows; the last tiles are filled with copies of row 0.

    Attributes:
      inputs: leaves [tiles, T, ...].
      labels: leaves [tiles, T, ...].
      counts: bool [tiles, T], False for the copies.
    """

    inputs: PyTree
    labels: PyTree
    counts: Bool[np.ndarray | jax.Array, "tiles T"]


def tile_shapes(inputs: tuple, tile: int) -> tuple:
    """The shapes of a tile of `inputs`."""

    def shape(array):
        array = jnp.asarray(array)
        return jax.ShapeDtypeStruct((tile, *array.shape[1:]), array.dtype)

    return jax.tree.map(shape, inputs)


def choose_tile(row_tile: int | str, num_rows: int, row_bytes: float) -> int:
    """Examples in a tile: `row_tile`, or for "auto" as many as stay in cache.

    Args:
      row_tile: a number >= 1, or "auto".
      num_rows: examples in all.
      row_bytes: what is kept for each example.

    Raises:
      InputError: `row_tile` is neither.
    """
    if row_tile != "auto":
        if not isinstance(row_tile, int) or row_tile < 1:
            raise InputError(
                f'row_tile={row_tile!r}: expected a number >= 1, "auto" or None'
            )
        return min(row_tile, num_rows)
    most = max(MIN_ROWS, int(TILE_BYTES / max(row_bytes, 1)))
    tiles = math.ceil(num_rows / most)
    evened = TILES_BY * math.ceil(tiles / TILES_BY)
    if num_rows >= evened * MIN_ROWS:
        tiles = evened
    return math.ceil(num_rows / tiles)


def cut_in_tiles(
    inputs: tuple, labels: Any, tile: int, num_devices: int, *, shuffled: bool = False
) -> Tiles:
    """Inputs and labels in tiles, as many on each device.

    If `shuffled`, each tile is a random sample of the rows.
    """
    num_rows = count_rows((inputs, labels))
    tiles = num_devices * math.ceil(num_rows / (tile * num_devices))
    index = np.zeros(tiles * tile, np.int64)
    order = np.arange(num_rows)
    index[:num_rows] = (
        np.random.default_rng(SHUFFLED).permutation(order) if shuffled else order
    )

    def cut(array):
        array = np.asarray(array)[index]
        return array.reshape(tiles, tile, *array.shape[1:])

    inputs, labels = jax.tree.map(cut, (inputs, labels))
    counts = (np.arange(tiles * tile) < num_rows).reshape(tiles, tile)
    return Tiles(inputs, labels, counts)


class RowSample(NamedTuple):
    """Which tiles a walk looks at: as many of each of some groups of tiles.

    Attributes:
      tile: examples in a tile.
      num_tiles: tiles in all.
      each: tiles of each group that a walk looks at.
    """

    tile: int
    num_tiles: int
    each: int

    def draw(self, *of: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Tiles, and their weights in the sum over all: a function of the arrays.

        So the value of a walk does not depend on the walks before it.
        """
        content = b"".join(np.ascontiguousarray(array).tobytes() for array in of)
        digest = hashlib.blake2b(content, digest_size=16).digest()
        rng = np.random.default_rng(int.from_bytes(digest, "little"))
        tiles, weights = [], []
        for group in np.array_split(np.arange(self.num_tiles), TILES_BY):
            some = rng.permutation(group)[: self.each]
            tiles.append(some)
            weights.append(np.full(len(some), len(group) / len(some)))
        return np.concatenate(tiles), np.concatenate(weights)


def plan_sample(sample_rows: int, num_rows: int) -> RowSample | None:
    """Tiles for walks over about `sample_rows` of the examples each.

    Returns:
      The `RowSample`; None if it would take most examples: then all are looked at.

    Raises:
      InputError: `sample_rows` is below 1.

    Example:
      >>> plan_sample(500, 10_000)
      RowSample(tile=63, num_tiles=159, each=1)
    """
    if sample_rows < 1:
        raise InputError(f"expected sample_rows >= 1, got {sample_rows}")
    tile = max(1, min(MIN_ROWS, math.ceil(sample_rows / TILES_BY)))
    each = max(1, round(sample_rows / (TILES_BY * tile)))
    num_tiles = math.ceil(num_rows / tile)
    if 2 * each * TILES_BY > num_tiles:
        return None
    return RowSample(tile, num_tiles, each)


# score(outputs, labels, counts) of one tile, a scalar.
TileScore: TypeAlias = Callable[[Any, Any, jax.Array], jax.Array]


def sum_over_rows(metric: Metric) -> TileScore:
    """The sum of a metric over the rows that count.

    Args:
      metric: a mean over examples; it is called with one example at a time.
    """

    def score(outputs, labels, counts):
        one = jax.tree.map(lambda x: x[:, None], (outputs, labels))
        values = jnp.asarray(jax.vmap(metric)(*one))
        chex.assert_equal_shape([values, counts])
        return jnp.where(counts, values, jnp.zeros((), values.dtype)).sum()

    return score


def metric_of_all(metric: Metric) -> TileScore:
    """The metric of all rows at once."""
    return lambda outputs, labels, counts: jnp.asarray(metric(outputs, labels))
