"""Owen values: Shapley values of players who come in unions, such as layers.

Unions enter one after the other, and the players of a union in a row. So a player is
worth what it adds to whole unions and to some of its own.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jaxtyping import ArrayLike, Int

from gamepruning.coalitions.estimators import moments, sampling
from gamepruning.coalitions.exact import all_coalitions
from gamepruning.coalitions.games import (
    brings_ends,
    coalition_values,
    count_players,
    end_values,
    is_deterministic,
    prefix_values,
)
from gamepruning.trees.keys import as_threefry
from gamepruning.types import InputError, KeyLike, Scores, ValueFn

MAX_COALITIONS = 2**20
ORDERS_AT_ONCE = 64


def exact_owen(value_fn: ValueFn, unions: Sequence[int] | ArrayLike) -> Scores:
    """The Owen value from all coalitions that the unions allow.

    psi_i = sum over sets H of the m - 1 other unions and sets T of the b - 1 others in
    i's own of h! (m-1-h)! / m! t! (b-1-t)! / b! (v(H + T + i) - v(H + T)).

    Args:
      value_fn: bool [S, N] -> float [S].
      unions: the union of each player, int [N], such as `players.family_of`.

    Returns:
      `Scores`, exact; they sum to v(all) - v(nobody), and those of a union to its
      Shapley value in the game among unions. Cost: 2^(m-1) 2^b evaluations for each of
      m unions, with b players.

    Raises:
      InputError: not one union a player, or more than 2^20 coalitions.

    Example: the left glove, and the two right ones, who have joined.
      >>> def pairs(masks):
      ...     return np.minimum(masks[:, 0], masks[:, 1] | masks[:, 2])
      >>> exact_owen(pairs, [0, 1, 1]).value.tolist()
      [0.5, 0.25, 0.25]

    References:
      Owen, Values of games with a priori unions (1977), equation 7.
    """
    unions = _unions(value_fn, unions)
    numbers = np.unique(unions)
    sizes = [int((unions == k).sum()) for k in numbers]
    cost = sum(2 ** (len(numbers) - 1 + size) for size in sizes)
    if cost > MAX_COALITIONS:
        raise InputError(
            f"expected at most {MAX_COALITIONS:,} coalitions, and these unions allow "
            f"{cost:,}: sample with owen_values"
        )
    value = np.zeros(len(unions))
    for number in numbers:
        own, others = np.flatnonzero(unions == number), numbers[numbers != number]
        outside = all_coalitions(len(others), 0, 2 ** len(others))
        inside = all_coalitions(len(own), 0, 2 ** len(own))
        masks = np.zeros((len(outside), len(inside), len(unions)), bool)
        masks[:, :, own] = inside
        for other, flags in zip(others, outside.T, strict=True):
            masks[:, :, unions == other] = flags[:, None, None]
        flat = masks.reshape(-1, len(unions))
        values = coalition_values(value_fn, flat).reshape(masks.shape[:2])
        before = _chances(outside) @ values
        value[own] = _shapley(before, len(own))
    return Scores(value, np.zeros_like(value), cost)


def owen_values(
    key: KeyLike,
    value_fn: ValueFn,
    unions: Sequence[int] | ArrayLike,
    *,
    num_orders: int = 100,
    progress: Callable[[int, int], Any] | None = None,
) -> Scores:
    """Estimate the Owen value from random orders in which unions stay together.

    Args:
      key: random key, or a seed.
      value_fn: bool [S, N] -> float [S]; its `prefixes` are used where it has them.
      unions: the union of each player, int [N], such as `players.family_of`.
      num_orders: how many orders, at least 2.
      progress: called with (orders done, orders in all).

    Returns:
      `Scores` with standard errors. Cost: num_orders (N + 1) + 2 evaluations;
      num_orders (N + 1) where the value function has `prefixes`, a small fraction of
      that where it is incremental, and num_orders (N - 1) + 2 in other games with
      `is_deterministic = True`.

    Raises:
      InputError: not one union a player, fewer than 2 orders, or values that are not
        finite.

    Example: whoever brings one is worth one.
      >>> owen_values(0, lambda masks: masks.sum(axis=1), [0, 0, 1]).value.tolist()
      [1.0, 1.0, 1.0]

    References:
      Owen, Values of games with a priori unions (1977). Saavedra-Nieves, Garcia-Jurado
      and Fiestras-Janeiro, Estimation of the Owen value based on sampling (2018).
    """
    unions = _unions(value_fn, unions)
    if num_orders < 2:
        raise InputError(f"expected num_orders of at least 2, got {num_orders}")
    num = len(unions)
    numbers, place = np.unique(unions, return_inverse=True)
    own, among = jax.random.split(as_threefry(key))
    brings = brings_ends(value_fn)  # each order its own values of the ends
    knows = is_deterministic(value_fn) or brings  # else they have noise of their own
    ends = np.zeros((1, 2)) if brings else np.array([end_values(value_fn, num)])
    state = moments.init(num)
    for start in range(0, num_orders, ORDERS_AT_ONCE):
        stop = min(start + ORDERS_AT_ONCE, num_orders)
        players = np.argsort(sampling.orders(own, num, start, stop), axis=1)
        turns = np.argsort(sampling.orders(among, len(numbers), start, stop), axis=1)
        orders = np.argsort(turns[:, place] * num + players, axis=1)
        if not knows:
            ends = np.array([end_values(value_fn, num) for _ in orders])
        own_ends = np.broadcast_to(ends, (len(orders), 2))
        values = prefix_values(value_fn, orders, ends=own_ends)
        position = np.argsort(orders, axis=1)
        rows = np.take_along_axis(np.diff(values, axis=1), position, axis=1)
        state = moments.fold(state, rows, start)
        if progress is not None:
            progress(stop, num_orders)
    found = moments.finish(state)
    cost = num_orders * (num - 1) + 2
    if brings or not knows:
        cost = num_orders * (num + 1) + (0 if brings else 2)
    return Scores(found.value, found.stderr, cost)


def _unions(
    value_fn: ValueFn, unions: Sequence[int] | ArrayLike
) -> Int[np.ndarray, " N"]:
    given = np.asarray(unions)
    if given.ndim != 1 or not np.issubdtype(given.dtype, np.integer):
        raise InputError(
            "expected the union of each player as whole numbers [N], such as "
            f"players.family_of, got {given.dtype} {list(given.shape)}"
        )
    count_players(value_fn, len(given))
    return given


def _chances(masks: np.ndarray) -> np.ndarray:
    """How likely each set of the other unions is before one, in a random order."""
    sizes = masks.sum(axis=1)
    num = masks.shape[1]
    return 1 / (num + 1) / np.bincount(sizes, minlength=num + 1)[sizes]


def _shapley(values: np.ndarray, num: int) -> np.ndarray:
    """The Shapley value of a game of all 2^num coalitions."""
    chances = _chances(all_coalitions(num - 1, 0, 2 ** (num - 1)))
    found = np.empty(num)
    for player in range(num):
        without, within = np.moveaxis(values.reshape(2**player, 2, -1), 1, 0)
        found[player] = chances @ (within - without).ravel()
    return found
