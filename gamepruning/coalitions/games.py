"""Questions to a game: its players, and values of coalitions, prefixes and toggles.

A game that can value many related coalitions at once has methods `prefixes` and
`toggles`. Any other values them one by one.
"""

import functools
import operator
from collections.abc import Callable
from typing import Any, TypeGuard

import numpy as np
from jaxtyping import Bool, Float, Int

from gamepruning.trees.processes import Processes
from gamepruning.types import Game, HasPrefixes, HasToggles, InputError, ValueFn

_PIECE_BYTES = 2**26


def count_players(value_fn: ValueFn, num_players: int | None = None) -> int:
    """The number of players, from the game or from whoever calls.

    Args:
      value_fn: the game; it may have `num_players`.
      num_players: N; needed only where `value_fn` does not have it.

    Returns:
      N.

    Raises:
      InputError: neither says it, they differ, or it is not a whole number above 0.

    Example:
      >>> from gamepruning.coalitions.voting import voting_game
      >>> count_players(voting_game(3, [2, 1, 1])), count_players(len, 5)
      (3, 5)
    """
    if not callable(value_fn):
        raise InputError(
            f"expected a value function, bool [S, N] -> float [S], got a "
            f"{type(value_fn).__name__}: gp.value_function(players, params, metric, "
            "inputs, labels) makes one"
        )
    known = getattr(value_fn, "num_players", None)
    if num_players is None and known is None:
        raise InputError(
            "expected num_players, because this value function does not say how many "
            "players it has: pass num_players=N, or a value function with num_players"
        )
    count = check_num_players(known if num_players is None else num_players)
    if known is not None and known != count:
        raise InputError(
            f"the value function has {known} players, got num_players = {count}: leave "
            "num_players out"
        )
    return count


def check_num_players(num_players: Any) -> int:
    """N as an int, or a clear error."""
    try:
        count = operator.index(num_players)
    except TypeError:
        count = 0
    if count < 1:
        raise InputError(
            f"expected a whole number of players, at least 1, got {num_players!r}"
        )
    return count


def has_prefixes(value_fn: ValueFn) -> TypeGuard[HasPrefixes]:
    """Return True if the game values all prefixes of an order at once."""
    return hasattr(value_fn, "prefixes")


def brings_ends(value_fn: ValueFn) -> bool:
    """Return True if orders are valued by `prefixes`, with nobody and everybody.

    Not where the game says that full passes cost no more: the ends are known by then.
    """
    is_worth_it = getattr(value_fn, "is_incremental", True)
    return bool(is_worth_it) and has_prefixes(value_fn)


def has_toggles(value_fn: ValueFn) -> TypeGuard[HasToggles]:
    """Return True if the game values all single toggles of a coalition at once."""
    return hasattr(value_fn, "toggles")


def can_restrict(value_fn: ValueFn) -> TypeGuard[Game]:
    """Return True if the game makes the game among fewer players itself."""
    return hasattr(value_fn, "restrict")


def is_incremental(value_fn: ValueFn) -> bool:
    """Return True if prefixes and toggles cost a small fraction of full evaluations."""
    return bool(getattr(value_fn, "is_incremental", False))


def is_deterministic(value_fn: ValueFn) -> bool:
    """Return True if the game says that a coalition always has the same value."""
    return bool(getattr(value_fn, "is_deterministic", False))


def evaluation_seconds(value_fn: ValueFn) -> float | None:
    """About how long an evaluation takes; None if the game does not say it."""
    found = getattr(value_fn, "evaluation_seconds", None)
    return None if found is None else float(found)


def coalitions_at_once(value_fn: ValueFn) -> int:
    """How many coalitions the game's devices value side by side; fewer take as long."""
    return int(getattr(value_fn, "num_at_once", 1))


def processes_of(value_fn: ValueFn) -> Processes | None:
    """The processes that share the game's work; None where it is one's own."""
    return getattr(value_fn, "processes", None)


def coalition_values(
    value_fn: ValueFn, masks: Bool[np.ndarray, "S N"]
) -> Float[np.ndarray, " S"]:
    """v(S) for each coalition, checked.

    Args:
      value_fn: coalitions bool [S, N] -> values [S].
      masks: the coalitions.

    Returns:
      float64 [S].

    Raises:
      InputError: the values have another shape, or are not finite.

    Cost: S evaluations.

    Example:
      >>> import numpy as np
      >>> coalition_values(lambda masks: masks.sum(axis=1), np.eye(3, dtype=bool))
      array([1., 1., 1.])
    """
    return _checked(value_fn(masks), (len(masks),), "value_fn(masks [S, N])", masks)


def prefix_values(
    value_fn: ValueFn,
    orders: Int[np.ndarray, "S N"],
    *,
    ends: Float[np.ndarray, "S 2"] | None = None,
) -> Float[np.ndarray, "S N+1"]:
    """v of the empty coalition and of every prefix of each order.

    Args:
      value_fn: coalitions -> values; its method `prefixes(orders) -> [S, N + 1]` is
        used where it has one and does not say `is_incremental = False`.
      orders: the players as they enter, each row a permutation of 0..N-1.
      ends: v of nobody and of everybody for each order, if they are known.

    Returns:
      float64 [S, N + 1].

    Raises:
      InputError: the values have another shape, or are not finite.

    Cost: S (N - 1) evaluations, and 2 for the ends where they are not known; S (N + 1)
    by `prefixes`, and a small fraction of that where the value function is incremental.

    Example:
      >>> import numpy as np
      >>> prefix_values(lambda masks: masks @ [1.0, 10.0], np.array([[1, 0]]))
      array([[ 0., 10., 11.]])
    """
    num, n = orders.shape
    if brings_ends(value_fn):
        assert has_prefixes(value_fn)
        found = value_fn.prefixes(orders)
        return _checked(found, (num, n + 1), "value_fn.prefixes(orders)", orders)
    position = np.argsort(orders, axis=1)
    values = np.empty((num, n + 1))
    values[:, [0, n]] = end_values(value_fn, n) if ends is None else ends
    if n > 1:

        def prefixes(start: int, stop: int) -> np.ndarray:
            order, length = np.divmod(np.arange(start, stop), n - 1)
            return position[order] <= length[:, None]

        inner = values_in_pieces(value_fn, num * (n - 1), n, prefixes)
        values[:, 1:n] = inner.reshape(num, n - 1)
    return values


def toggle_values(
    value_fn: ValueFn, masks: Bool[np.ndarray, "S N"]
) -> tuple[Float[np.ndarray, " S"], Float[np.ndarray, "S N"]]:
    """v of each coalition, and with the membership of each player changed.

    Args:
      value_fn: coalitions -> values; its method `toggles(masks) -> ([S], [S, N])` is
        used where it has one.
      masks: the coalitions.

    Returns:
      (float64 [S], float64 [S, N]).

    Raises:
      InputError: the values have another shape, or are not finite.

    Cost: S (N + 1) evaluations; a small fraction of that where the value function is
    incremental.

    Example:
      >>> import numpy as np
      >>> toggle_values(lambda masks: masks @ [1.0, 10.0], np.array([[True, False]]))
      (array([1.]), array([[ 0., 11.]]))
    """
    num, n = masks.shape
    if has_toggles(value_fn):
        base, toggled = value_fn.toggles(masks)
        name = "value_fn.toggles(masks)"
        return (
            _checked(base, (num,), name, masks),
            _checked(toggled, (num, n), name, masks),
        )

    toggled_masks = functools.partial(toggled_rows, masks)
    values = values_in_pieces(value_fn, num * (n + 1), n, toggled_masks)
    values = values.reshape(num, n + 1)
    return values[:, 0], values[:, 1:]


def toggled_rows(
    masks: Bool[np.ndarray, "S N"], start: int, stop: int
) -> Bool[np.ndarray, "K N"]:
    """Some of the S (N + 1) coalitions: each one, then with each player changed.

    Example:
      >>> toggled_rows(np.array([[True, False]]), 1, 3).tolist()
      [[False, False], [True, True]]
    """
    base, player = np.divmod(np.arange(start, stop), masks.shape[1] + 1)
    return flipped(masks[base], player - 1)  # the first of each is as it is


def flipped(
    mask: Bool[np.ndarray, "*K N"], players: Int[np.ndarray, " K"]
) -> Bool[np.ndarray, "K N"]:
    """Coalitions, or one again and again, each with one player changed; -1 for none.

    Example:
      >>> flipped(np.array([True, False]), np.array([-1, 1])).tolist()
      [[True, False], [True, True]]
    """
    made = np.broadcast_to(mask, (len(players), mask.shape[-1])).copy()
    row = np.flatnonzero(players >= 0)
    made[row, players[row]] ^= True
    return made


def values_in_pieces(
    value_fn: ValueFn,
    num: int,
    num_players: int,
    masks_of: Callable[[int, int], np.ndarray],
) -> Float[np.ndarray, " S"]:
    """Values of coalitions that are made as they are needed, in order.

    Args:
      value_fn: coalitions -> values.
      num: how many.
      num_players: N.
      masks_of: (start, stop) -> coalitions, bool [stop - start, N].

    Returns:
      float64 [num]; in one call where all coalitions are at most 64 MB.

    Example:
      >>> size = lambda masks: masks.sum(axis=1)
      >>> values_in_pieces(size, 3, 2, lambda a, b: np.ones((b - a, 2), bool))
      array([2., 2., 2.])
    """
    size = max(1, _PIECE_BYTES // num_players)
    parts = [
        coalition_values(value_fn, masks_of(first, min(first + size, num)))
        for first in range(0, num, size)
    ]
    return np.concatenate([np.zeros(0), *parts])


def end_values(value_fn: ValueFn, num_players: int) -> tuple[float, float]:
    """v of nobody and v of everybody. Cost: 2 evaluations.

    Example:
      >>> end_values(lambda masks: masks.sum(axis=1), 5)
      (0.0, 5.0)
    """
    masks = np.array([[False], [True]]).repeat(num_players, axis=1)
    nobody, everybody = coalition_values(value_fn, masks)
    return float(nobody), float(everybody)


def _checked(values: Any, shape: tuple, what: str, given: np.ndarray) -> np.ndarray:
    values = np.asarray(values)
    if values.shape != shape:
        raise InputError(
            f"expected {what} to give values of shape {list(shape)} for an argument of "
            f"shape {list(given.shape)}, got {list(values.shape)}: one value for each"
        )
    values = as_real(values, what)
    if not np.isfinite(values).all():
        bad = int((~np.isfinite(values)).sum())
        raise InputError(
            f"{what} gave NaN or infinity for {bad} of {values.size} coalitions: make "
            "it finite for every coalition, also for nobody (clip a loss, for example)"
        )
    return values


def as_real(values: np.ndarray, what: str) -> Float[np.ndarray, "..."]:
    """Values as float64.

    Raises:
      InputError: they are complex, text or dates; `what` says whose they are.
    """
    if values.dtype.kind in "cSUMm":
        raise InputError(f"expected {what} to give real numbers, got {values.dtype}")
    return values.astype(np.float64)
