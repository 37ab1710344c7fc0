"""A game with some players always in and others always out."""

from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import ArrayLike, Bool

from gamepruning.trees.masks import as_mask
from gamepruning.types import InputError


def restrict(
    value_fn: Callable[..., Any],
    num_players: int,
    *,
    always_in: ArrayLike | None = None,
    always_out: ArrayLike | None = None,
) -> Callable[..., Any]:
    """The same game among the players that are neither always in nor always out.

    w(C) = v(C + always in), for C among the rest. A value function that restricts
    itself does so, and keeps what it has compiled and its fast ways.

    Args:
      value_fn: coalitions, bool [S, N] -> values [S].
      num_players: N.
      always_in: bool [N], or None for nobody.
      always_out: bool [N], or None for nobody.

    Returns:
      A value function of the free players, in rising order of their numbers; its
      `free`, int [M], holds those numbers where `value_fn` plays with everybody.

    Raises:
      InputError: a mask has another shape, a player is both, or nobody is free.

    Example: everybody brings one; player 0 is always there, player 3 never.
      >>> game = restrict(
      ...     lambda masks: masks.sum(axis=1),
      ...     4,
      ...     always_in=np.arange(4) == 0,
      ...     always_out=np.arange(4) == 3,
      ... )
      >>> game.free.tolist(), game(np.array([[False, False], [True, True]])).tolist()
      ([1, 2], [1, 3])
    """
    inside = _mask(always_in, num_players, "always_in")
    outside = _mask(always_out, num_players, "always_out")
    both = np.flatnonzero(inside & outside)
    if both.size:
        raise InputError(
            f"player {both[0]} (and {both.size - 1} more) is both always in and always "
            "out: decide on one"
        )
    if (inside | outside).all():
        raise InputError("nobody is free: every player is always in or always out")
    if not hasattr(value_fn, "restrict"):
        return Restricted(value_fn, np.flatnonzero(~inside & ~outside), inside)
    numbers = np.asarray(getattr(value_fn, "free", np.arange(num_players)))
    return value_fn.restrict(  # type: ignore[attr-defined]
        always_in=numbers[inside], always_out=numbers[outside]
    )


class Restricted:
    """A value function on the free players of another.

    Attributes:
      num_players: M, the number of free players.
      free: their numbers, int [M].
    """

    def __init__(
        self, value_fn: Callable[..., Any], free: np.ndarray, always_in: np.ndarray
    ):
        self.num_players = len(free)
        self.free = free
        self._value_fn = value_fn
        self._always_in = always_in

    def __call__(self, masks: ArrayLike) -> Any:
        """Values [S] of coalitions of free players, bool [S, M]."""
        return self._value_fn(self.expand(masks))

    def expand(self, masks: ArrayLike) -> Bool[np.ndarray, "S N"]:
        """The coalitions, bool [S, M], with everybody in his place, bool [S, N]."""
        masks = np.asarray(masks, bool)
        full = np.tile(self._always_in, (len(masks), 1))
        full[:, self.free] = masks
        return full

    def restrict(
        self, always_in: ArrayLike | None = None, always_out: ArrayLike | None = None
    ) -> "Restricted":
        """The game among fewer; players by the numbers of `free`, int [K]."""
        inside = self._always_in.copy()
        inside[np.asarray([] if always_in is None else always_in, int)] = True
        gone = np.asarray([] if always_out is None else always_out, int)
        free = self.free[~inside[self.free] & ~np.isin(self.free, gone)]
        return Restricted(self._value_fn, free, inside)


def _mask(value: ArrayLike | None, num_players: int, name: str) -> np.ndarray:
    if value is None:
        return np.zeros(num_players, bool)
    return as_mask(value, num_players, name=name)
