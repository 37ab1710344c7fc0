"""What each player is worth to one coalition, exactly, and exchanges that raise it."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import ArrayLike, Bool

from gamepruning.coalitions.games import coalition_values, toggle_values
from gamepruning.trees.masks import as_mask
from gamepruning.types import InputError, KeyLike, Scores, ValueFn


def marginal_values(value_fn: ValueFn, mask: ArrayLike) -> Scores:
    """What every player adds to one coalition: v(C + i) - v(C - i).

    Args:
      value_fn: coalitions, bool [S, N] -> values [S].
      mask: the coalition C, bool [N].

    Returns:
      `Scores` [N], exact: a game of `sample_rows` is asked about all its examples.
      Cost: N + 1 evaluations, less where `value_fn` toggles players incrementally.

    Raises:
      InputError: the mask is not one coalition, or a value is not finite.

    Example: player 2 counts only where player 0 is.
      >>> v = lambda masks: masks[:, 0] * (1 + masks[:, 2]) + 0.5 * masks[:, 1]
      >>> marginal_values(v, np.arange(3) == 0).value.tolist()
      [1.0, 0.5, 1.0]
    """
    mask = as_mask(mask)
    value, flipped = _toggles(value_fn, mask)
    marginal = np.where(mask, value - flipped, flipped - value)
    return Scores(marginal, np.zeros_like(marginal), len(mask) + 1)


def greedy_scores(
    key: KeyLike,
    value_fn: ValueFn,
    num_players: int,
    *,
    base: str,
) -> Scores:
    """The greedy oracle as a scorer: what each player adds to the coalition at hand.

    In a round of iterated building the coalition at hand is the empty one of the free
    players (the retained are always in); in one of iterated pruning it is the full one.
    With step 1 this is the greedy algorithm.

    Args:
      key: not used; all scorers take one.
      value_fn: coalitions, bool [S, N] -> values [S].
      num_players: N.
      base: "empty": v({i}) - v({}), for building; "full": v(N) - v(N - i), for pruning.

    Returns:
      `Scores` [N], exact. Cost: N + 1 evaluations.

    Raises:
      InputError: another base, or a value is not finite.

    Example:
      >>> import jax
      >>> v = lambda masks: masks.all(axis=1) * 1.0
      >>> greedy_scores(jax.random.key(0), v, 2, base="empty").value.tolist()
      [0.0, 0.0]
      >>> greedy_scores(jax.random.key(0), v, 2, base="full").value.tolist()
      [1.0, 1.0]
    """
    if base not in ("empty", "full"):
        raise InputError(
            f"expected base='empty' (building) or 'full' (pruning), got {base!r}"
        )
    return marginal_values(value_fn, np.full(num_players, base == "full"))


class Searched(NamedTuple):
    """Where local search ended.

    Attributes:
      mask: the coalition, bool [N].
      value: its value.
      exchanges: (who left, who came), in order.
      num_evaluations: coalitions that it evaluated.
    """

    mask: Bool[np.ndarray, " N"]
    value: float
    exchanges: tuple[tuple[int, int], ...]
    num_evaluations: int


def local_search(
    value_fn: ValueFn,
    mask: ArrayLike,
    *,
    max_exchanges: int = 10,
    at_once: int = 1,
    may_exchange: Callable[[np.ndarray, int], np.ndarray] | None = None,
) -> Searched:
    """Exchange players for better ones while that raises the value.

    Each time the k players leave without each of whom the coalition is worth most, and
    of those outside the k come who then add most, each by itself; the exchange is kept
    if the value rises. k begins at `at_once` and halves when it does not: large steps
    first, for they cost as much as small ones.

    Args:
      value_fn: coalitions, bool [S, N] -> values [S].
      mask: the coalition to begin with, bool [N].
      max_exchanges: how many players at most.
      at_once: k, how many of them together to begin with.
      may_exchange: (mask, who leaves) -> bool [N], who may take the place; and
        (mask, -1) -> bool [N], who may leave. None lets everybody.

    Returns:
      The coalition, of the same size and at least the same value: no single exchange
      of the player it can best do without improves it. Cost: 2 (N + 1) evaluations for
      k exchanges, those that fail included, and one more where k > 1.

    Raises:
      InputError: the mask is not one coalition, a number is too small, or a value is
        not finite.

    Example: building by single worth takes 2, whose worth 0 has already.
      >>> worth = np.array([3.0, 1.0, 2.0])
      >>> v = lambda masks: masks @ worth - 2 * (masks[:, 0] & masks[:, 2])
      >>> found = local_search(v, np.array([True, False, True]))
      >>> found.mask.tolist(), found.value, found.exchanges
      ([True, True, False], 4.0, ((2, 1),))
    """
    mask = as_mask(mask).copy()
    if at_once < 1:
        raise InputError(f"expected at_once >= 1, got {at_once}")
    allow = may_exchange or (lambda mask, leaves: np.ones(len(mask), bool))
    exchanges: list[tuple[int, int]] = []
    if max_exchanges < 1:
        return Searched(mask, float(coalition_values(value_fn, mask[None])[0]), (), 1)
    value, without = _toggles(value_fn, mask)
    cost, k = len(mask) + 1, at_once
    while k and (room := max_exchanges - len(exchanges)):
        k = min(k, room)
        leaving = _leave(mask, without, k, allow)
        if not leaving:
            break
        smaller = mask.copy()
        smaller[leaving] = False
        values = _toggles(value_fn, smaller)[1]
        cost += len(mask) + 1
        pairs = _come(mask, values, leaving, allow)
        if not pairs:
            break
        larger = mask.copy()
        for gone, came in pairs:
            larger[gone], larger[came] = False, True
        if k == 1:
            new = float(values[pairs[0][1]])
        else:
            new, cost = float(coalition_values(value_fn, larger[None])[0]), cost + 1
        if not new > value:
            k //= 2
            continue
        mask, exchanges = larger, [*exchanges, *pairs]
        value = new
        if len(exchanges) < max_exchanges:
            value, without = _toggles(value_fn, mask)
            cost += len(mask) + 1
    return Searched(mask, value, tuple(exchanges), cost)


def _leave(mask: np.ndarray, without: np.ndarray, k: int, allow) -> list[int]:
    """The k who may leave and without each of whom the coalition is worth most."""
    if mask.all():
        return []
    left = mask.copy()
    leaving: list[int] = []
    for _ in range(k):
        may = left & allow(left, -1)
        if not may.any():
            break
        leaving.append(int(np.argmax(np.where(may, without, -np.inf))))
        left[leaving[-1]] = False
    return leaving


def _come(
    mask: np.ndarray, values: np.ndarray, leaving: list[int], allow
) -> list[tuple[int, int]]:
    """For each who leaves the best of those outside who may take the place."""
    now = mask.copy()
    pairs = []
    for gone in leaving:
        may = ~now & ~mask & allow(now, gone)
        if not may.any():
            break
        came = int(np.argmax(np.where(may, values, -np.inf)))
        now[gone], now[came] = False, True
        pairs.append((gone, came))
    return pairs


def _toggles(value_fn: ValueFn, mask: np.ndarray) -> tuple[float, np.ndarray]:
    """v(C), and v of C with each player's membership flipped, [N]; on all examples."""
    whole = getattr(value_fn, "all_rows", None)  # examples of other coalitions differ
    value_fn = value_fn if whole is None else whole()
    values, flipped = toggle_values(value_fn, mask[None])
    return float(values[0]), flipped[0]
