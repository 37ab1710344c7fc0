"""Coalitions of very many players: drawn and multiplied inside one program.

Coalition j follows from the key and j alone. What a fit needs of the matrix Z [m, N] of
all coalitions is Z^T A and Z B for a few columns; both are summed over blocks of rows
that are drawn again for each product, in compensated float32 on the device and in
float64 from block to block. So memory is of order N + m, whatever N and m.

Each player has one random bit where it joins with probability 1/2. Else two players
share a word of 32 bits, which one reads from the middle: each joins with the right
probability to 2^-32, and the two are correlated by 3e-5 at most.
"""

import functools
from collections.abc import Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float
from scipy.special import betaincinv

from gamepruning.coalitions.semivalues import Semivalue

ENTRIES_AT_ONCE = 2**22  # of a block of rows
ROWS_A_CALL = 512
MASK_ENTRIES = 2**25
_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))


class Draws(NamedTuple):
    """The coalitions of a key: rows of 0 and 1.

    Attributes:
      key: the random key.
      semivalue: the law of t; every player joins with probability t.
    """

    key: Array
    semivalue: Semivalue

    def masks(self, start: int, stop: int) -> Bool[np.ndarray, "S N"]:
        """Coalitions number start..stop-1."""
        n = self.semivalue.num_players
        width = _width(n)
        size = int(np.clip(MASK_ENTRIES // width, 1, ROWS_A_CALL))
        size = min(size, 1 << (stop - start - 1).bit_length())
        found = np.empty((stop - start, n), bool)
        for first in range(start, stop, size):
            block = _masks(width, self._is_fair, *self._rows(first, size))
            some = found[first - start : first - start + size]
            some[:] = np.asarray(block)[: len(some), :n]
        return found

    def transposed(
        self,
        columns: Float[np.ndarray, "m q"],
        centre: Float[np.ndarray, " m"] | float = 0.0,
    ) -> Float[np.ndarray, "N q"]:
        """(Z - c 1^T)^T A: for each player sums over the coalitions 0..m-1.

        Args:
          columns: A.
          centre: c, a number for each row.
        """
        num, width = len(columns), self._width
        scale = np.maximum(np.abs(columns).max(axis=0, initial=0.0), 1e-300)
        columns = columns / scale
        centre = np.broadcast_to(centre, num)
        total = np.zeros((width, columns.shape[1]))
        for first, stop in self._calls(num):
            parts = self._padded(first, stop, columns, centre)
            rows = self._cut(first)
            high, low = _transposed(width, self._is_fair, *rows, *parts)
            total += np.asarray(high, np.float64).T + np.asarray(low, np.float64).T
        return total[: self.semivalue.num_players] * scale

    def times(
        self,
        matrix: Float[np.ndarray, "N q"],
        num_rows: int,
        centre: Float[np.ndarray, " m"] | float = 0.0,
    ) -> Float[np.ndarray, "m q"]:
        """(Z - c 1^T) B, for the coalitions 0..m-1.

        Args:
          matrix: B.
          num_rows: m.
          centre: c, a number for each row.
        """
        matrix, scale = self._wide(matrix)
        centre = np.broadcast_to(centre, num_rows)
        found = np.empty((num_rows, matrix.shape[1]))
        for first, stop in self._calls(num_rows):
            (inside,) = self._padded(first, stop, centre)
            rows = self._cut(first)
            part = _times(self._width, self._is_fair, *rows, inside, matrix)
            part = np.asarray(part, np.float64).reshape(-1, matrix.shape[1])
            found[first:stop] = part[: stop - first]
        return found * scale

    def gram_times(
        self,
        matrix: Float[np.ndarray, "N q"],
        centre: Float[np.ndarray, " m"],
        weight: Float[np.ndarray, " m"],
    ) -> Float[np.ndarray, "N q"]:
        """X^T X B with the rows w (z - c): both products from one drawing.

        Args:
          matrix: B.
          centre: c, a number for each row.
          weight: w^2.
        """
        matrix, scale = self._wide(matrix)
        total = np.zeros(matrix.shape)
        for first, stop in self._calls(len(centre)):
            parts = self._padded(first, stop, centre, weight)
            rows = self._cut(first)
            high, low = _gram(self._width, self._is_fair, *rows, *parts, matrix)
            total += np.asarray(high, np.float64).T + np.asarray(low, np.float64).T
        return total[: self.semivalue.num_players] * scale

    @property
    def _is_fair(self) -> bool:
        return self.semivalue.bias == 0.5

    @property
    def _width(self) -> int:
        return _width(self.semivalue.num_players)

    @property
    def _block(self) -> tuple[int, int]:
        """Blocks of a call, and rows of a block."""
        rows = int(np.clip(ENTRIES_AT_ONCE // self._width, 1, ROWS_A_CALL))
        return max(1, ROWS_A_CALL // rows), rows

    def _calls(self, num: int) -> Iterator[tuple[int, int]]:
        blocks, rows = self._block
        for first in range(0, num, blocks * rows):
            yield first, min(first + blocks * rows, num)

    def _rows(self, first: int, size: int) -> tuple[Array, Array]:
        """What rows are drawn from: a key each, and below which word players join."""
        words = _row_words(self.key, np.arange(first, first + size, dtype=np.uint32))
        fate = (np.asarray(words[:, 2]) + 0.5) * 2.0**-32
        below = np.ceil(inclusion(self.semivalue, fate) * 2.0**32)
        return words[:, :2], jnp.asarray(np.minimum(below, 2**32 - 1), jnp.uint32)

    def _cut(self, first: int) -> tuple[Array, Array]:
        """`_rows` of a call, [blocks, rows, ...]."""
        blocks, rows = self._block
        keys, below = self._rows(first, blocks * rows)
        return keys.reshape(blocks, rows, 2), below.reshape(blocks, rows)

    def _padded(self, first: int, stop: int, *arrays: np.ndarray) -> list[np.ndarray]:
        """Rows first..stop-1 of arrays [m, ...], zeros after them, cut into blocks."""
        blocks, rows = self._block
        found = []
        for array in arrays:
            padded = np.zeros((blocks * rows, *array.shape[1:]), np.float32)
            padded[: stop - first] = array[first:stop]
            found.append(padded.reshape(blocks, rows, *array.shape[1:]))
        return found

    def _wide(self, matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """A matrix [N, q] filled up to the width, its columns scaled; their scales."""
        scale = np.maximum(np.abs(matrix).max(axis=0), 1e-300)
        wide = np.zeros((self._width, matrix.shape[1]), np.float32)
        wide[: len(matrix)] = matrix / scale
        return wide, scale


def inclusion(semivalue: Semivalue, fate: np.ndarray) -> np.ndarray:
    """The probability t with which each player joins, from uniform numbers."""
    if semivalue.name == "banzhaf":
        return np.full(len(fate), semivalue.parameters[0])
    if semivalue.name == "shapley":
        return fate
    alpha, beta = semivalue.parameters
    return betaincinv(beta, alpha, fate)


def _width(num_players: int) -> int:
    """Players that are drawn: so many sizes share a program."""
    step = 1024 if num_players > 1024 else 64
    return -(-num_players // step) * step


@jax.jit
def _row_words(key: Array, numbers: Array) -> Array:
    def draw(number):
        return jax.random.bits(jax.random.fold_in(key, number), (3,))

    with jax.threefry_partitionable(True):
        return jax.vmap(draw)(numbers)


def _threefry(key_a: Array, key_b: Array, count_a: Array, count_b: Array):
    """Threefry-2x32 with 20 rounds.

    As jax.random's own, whose loop is not unrolled on a CPU.

    References:
      Salmon et al., Parallel random numbers: as easy as 1, 2, 3 (2011).
    """
    keys = key_a, key_b, key_a ^ key_b ^ jnp.uint32(0x1BD11BDA)
    a, b = count_a + keys[0], count_b + keys[1]
    for four in range(5):
        for rotation in _ROTATIONS[four % 2]:
            a = a + b
            b = a ^ ((b << rotation) | (b >> (32 - rotation)))
        a = a + keys[(four + 1) % 3]
        b = b + keys[(four + 2) % 3] + jnp.uint32(four + 1)
    return a, b


def _draw(width: int, is_fair: bool, keys: Array, below: Array) -> Bool[Array, "B W"]:
    """Rows of coalitions, from a key each."""
    pairs = width // (64 if is_fair else 4)
    count = jnp.arange(pairs, dtype=jnp.uint32)[None]
    words = jnp.concatenate(
        _threefry(keys[:, :1], keys[:, 1:], count, jnp.zeros_like(count)), axis=1
    )
    if is_fair:
        place = jnp.arange(32, dtype=jnp.uint32)[None, :, None]
        joins = (words[:, None, :] >> place) & 1 == 1
    else:
        swapped = (words << 16) | (words >> 16)
        joins = jnp.stack([words, swapped], axis=1) < below[:, None, None]
    return joins.reshape(len(keys), width)


_masks = jax.jit(_draw, static_argnums=(0, 1))


@functools.partial(jax.jit, static_argnums=(0, 1))
def _transposed(width, is_fair, keys, below, columns, centre):
    def block(keys, below, columns, centre):
        z = _draw(width, is_fair, keys, below) - centre[:, None]
        return _product(columns.T, z)

    shape = columns.shape[-1], width
    return _sum_over_blocks(block, shape, keys, below, columns, centre)


@functools.partial(jax.jit, static_argnums=(0, 1))
def _times(width, is_fair, keys, below, centre, matrix):
    def block(row):
        keys, below, centre = row
        z = _draw(width, is_fair, keys, below) - centre[:, None]
        return _product(z, matrix)

    return jax.lax.map(block, (keys, below, centre))


@functools.partial(jax.jit, static_argnums=(0, 1))
def _gram(width, is_fair, keys, below, centre, weight, matrix):
    def block(keys, below, centre, weight):
        z = _draw(width, is_fair, keys, below) - centre[:, None]
        z = jax.lax.optimization_barrier(z)
        return _product((_product(z, matrix) * weight[:, None]).T, z)

    shape = matrix.shape[1], width
    return _sum_over_blocks(block, shape, keys, below, centre, weight)


def _product(a: Array, b: Array) -> Array:
    return jnp.dot(a, b, precision=jax.lax.Precision.HIGHEST)


def _sum_over_blocks(block, shape: tuple[int, int], *arrays: Array):
    """The sum of block(...) over the first axis, and what rounding took from it."""

    def add(carry, row):
        total, lost = carry
        new = block(*row) + lost
        bigger = total + new
        return (bigger, new - (bigger - total)), None

    zero = jnp.zeros(shape, jnp.float32)
    return jax.lax.scan(add, (zero, zero), arrays)[0]
