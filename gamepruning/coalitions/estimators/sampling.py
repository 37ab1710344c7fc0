"""Coalitions and orders by number: sample j follows from (key, j) alone.

So nothing drawn has to be kept: whoever needs the coalitions again draws them again,
and a checkpoint holds the key, a count and a few sums.
"""

import functools
import math
from collections.abc import Iterator

import jax
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from gamepruning.coalitions.estimators.draws import Draws, inclusion
from gamepruning.coalitions.semivalues import Semivalue

WIDE = 4096  # players; more are drawn by `Draws`, and never meet an N x N matrix
_ENTRIES_AT_ONCE = 2**21
_LARGEST_BLOCK = 1024
_WIDE_ENTRIES = 2**25
_ENTRIES_A_DRAW = 2**15
_TURNS = 2**32 - 2  # no sample has this number
_GOLDEN = (math.sqrt(5) - 1) / 2


def coalitions(
    key: Array, semivalue: Semivalue, start: int, stop: int
) -> Bool[np.ndarray, "S N"]:
    """Coalitions number start..stop-1: t is drawn, then every player joins with it.

    E[v(S + i) - v(S - i)] over these is the semivalue of player i.

    Args:
      key: the random key.
      semivalue: its law of t; a fixed t for Banzhaf, U(0, 1) for Shapley.
      start: the first number.
      stop: one after the last.

    Returns:
      bool [stop - start, N], True = in.

    Example: the same numbers are the same coalitions.
      >>> import jax
      >>> from gamepruning.coalitions.semivalues import banzhaf
      >>> key, half = jax.random.key(0), banzhaf(4, 0.5)
      >>> few, more = coalitions(key, half, 5, 7), coalitions(key, half, 0, 100)
      >>> bool((few == more[5:7]).all())
      True
    """
    if semivalue.num_players > WIDE:
        return Draws(key, semivalue).masks(start, stop)
    fate, marks = _words(key, semivalue.num_players, start, stop)
    return marks < np.ceil(inclusion(semivalue, fate) * 2.0**32)[:, None]


def sized_coalitions(
    key: Array,
    num_players: int,
    start: int,
    stop: int,
    shares: Float[np.ndarray, " sizes"] | None = None,
) -> Bool[np.ndarray, "S N"]:
    """Coalitions whose sizes are uniform on 1..N-1, every one of a size alike.

    Args:
      key: the random key.
      num_players: N >= 2.
      start: the first number.
      stop: one after the last.
      shares: the probabilities of the N - 1 sizes, where they are not alike.

    Returns:
      bool [stop - start, N], True = in.

    Example:
      >>> import jax
      >>> sized_coalitions(jax.random.key(0), 2, 0, 50).sum(axis=1).tolist() == [1] * 50
      True
    """
    fate, marks = _words(key, num_players, start, stop)
    if shares is None:
        shares = np.full(num_players - 1, 1 / (num_players - 1))
    return _of_sizes(marks, _sizes(shares, fate))


def stratified_coalitions(
    key: Array,
    num_players: int,
    start: int,
    stop: int,
    shares: Float[np.ndarray, " sizes"],
) -> Bool[np.ndarray, "S N"]:
    """Coalitions of sizes 1..N-1, as many of each size as there should be.

    Of N - 1 successive ones from a multiple of N - 1 on, each size has its share of N -
    1, rounded up or down. Each coalition by itself has the same law as those of
    `sized_coalitions`.

    Args:
      key: the random key.
      num_players: N >= 2.
      start: the first number.
      stop: one after the last.
      shares: the probabilities of the N - 1 sizes.

    Returns:
      bool [stop - start, N], True = in.

    Example:
      >>> import jax
      >>> key, shares = jax.random.key(0), np.full(3, 1 / 3)
      >>> sizes = stratified_coalitions(key, 4, 0, 9, shares).sum(axis=1)
      >>> sorted(sizes.tolist())
      [1, 1, 1, 2, 2, 2, 3, 3, 3]
    """
    fate, marks = _words(key, num_players, start, stop)
    strata = _strata(key, num_players - 1, np.arange(start, stop))
    return _of_sizes(marks, _sizes(shares, (strata + fate) / (num_players - 1)))


def _sizes(shares: np.ndarray, fate: np.ndarray) -> np.ndarray:
    return 1 + np.searchsorted(np.cumsum(shares)[:-1], fate, side="right")


def _of_sizes(marks: np.ndarray, sizes: np.ndarray) -> Bool[np.ndarray, "S N"]:
    """As many of the lowest marks as the size says."""
    highest = np.take_along_axis(np.sort(marks, axis=1), sizes[:, None] - 1, axis=1)
    return marks <= highest


def _strata(key: Array, num_strata: int, numbers: np.ndarray) -> np.ndarray:
    """Strata 0..L-1 of samples: each stratum once in every L samples.

    A lattice, whose steps are near the golden section so that any range is spread
    evenly, is turned at random for every L samples: each sample by itself is uniform.
    """
    turns, place = np.divmod(numbers, num_strata)
    if not len(numbers):
        return place
    first = int(turns[0])
    fate, _ = _words(jax.random.fold_in(key, _TURNS), 1, first, int(turns[-1]) + 1)
    turned = (fate * num_strata).astype(int)[turns - first]
    return (place * _golden_step(num_strata) + turned) % num_strata


def _golden_step(num: int) -> int:
    """The first number from 0.618 times `num` on that has no divisor in common with it.

    Example:
      >>> _golden_step(49), _golden_step(603)
      (30, 373)
    """
    step = max(1, round(_GOLDEN * num))
    while math.gcd(step, num) > 1:
        step += 1
    return step


def orders(
    key: Array, num_players: int, start: int, stop: int
) -> Int[np.ndarray, "S N"]:
    """Orders of the players, number start..stop-1, each equally likely.

    Args:
      key: the random key.
      num_players: N.
      start: the first number.
      stop: one after the last.

    Returns:
      int [stop - start, N]; row s lists the players as they enter.

    Example:
      >>> import jax
      >>> sorted(orders(jax.random.key(0), 4, 0, 1)[0].tolist())
      [0, 1, 2, 3]
    """
    _, marks = _words(key, num_players, start, stop)
    return np.argsort(marks, axis=1, kind="stable")


def is_wide(problem: tuple[Array, Semivalue]) -> bool:
    """True for so many players that nothing of size N x N may be made."""
    return problem[1].num_players > WIDE


def pieces(
    start: int, stop: int, num_players: int, at_once: int = 1
) -> Iterator[tuple[int, int]]:
    """Ranges that cover start..stop-1, shorter where coalitions are very wide.

    Args:
      start: the first number.
      stop: one after the last.
      num_players: N.
      at_once: what the game values side by side: shorter ranges are multiples of it.

    Example:
      >>> list(pieces(0, 600, 2**17, at_once=200))
      [(0, 200), (200, 400), (400, 600)]
    """
    size = stop - start
    if num_players > WIDE:
        size = max(1, _WIDE_ENTRIES // num_players // at_once) * at_once
    for first in range(start, stop, max(size, 1)):
        yield first, min(first + size, stop)


def blocks(num_samples: int, num_players: int) -> Iterator[tuple[int, int]]:
    """Ranges (start, stop) that cover 0..num_samples-1 and fit into memory."""
    size = max(1, min(_LARGEST_BLOCK, _ENTRIES_AT_ONCE // num_players))
    for start in range(0, num_samples, size):
        yield start, min(start + size, num_samples)


def _words(
    key: Array, num_players: int, start: int, stop: int
) -> tuple[np.ndarray, np.ndarray]:
    """For each sample a number in (0, 1), [S], and 32 random bits a player, [S, N].

    Word i does not depend on how many are drawn, so widths and lengths may be rounded
    up: few programs are compiled.
    """
    step = 256 if num_players >= 256 else 1 << max(3, num_players.bit_length())
    width = -(-(num_players + 1) // step) * step
    length = int(np.clip(_ENTRIES_A_DRAW // width, 8, _LARGEST_BLOCK))
    parts = [
        np.asarray(_bits(width, key, np.arange(first, first + length, dtype=np.uint32)))
        for first in range(start, max(stop, start + 1), length)
    ]
    words = np.concatenate(parts)[: stop - start]
    return (words[:, 0] + 0.5) * 2.0**-32, words[:, 1 : num_players + 1]


@functools.partial(jax.jit, static_argnums=0)
def _bits(width: int, key: Array, numbers: Array) -> Array:
    def draw(number):
        return jax.random.bits(jax.random.fold_in(key, number), (width,))

    with jax.threefry_partitionable(True):
        return jax.vmap(draw)(numbers)
