"""A game with some players always in and others always out."""

from typing import Any

import numpy as np
from jaxtyping import ArrayLike, Bool, Int

from gamepruning.coalitions.games import (
    can_restrict,
    count_players,
    evaluation_seconds,
    is_deterministic,
    processes_of,
)
from gamepruning.players import Players
from gamepruning.trees.masks import as_mask
from gamepruning.types import Game, InputError, PlayerSet, ValueFn


def restrict(
    value_fn: ValueFn,
    num_players: int | None = None,
    *,
    always_in: ArrayLike | None = None,
    always_out: ArrayLike | None = None,
) -> Game:
    """The same game among the players that are neither always in nor always out.

    w(C) = v(C + always in), for C among the rest. A value function that restricts
    itself does so, and keeps what it has compiled and its fast ways.

    Args:
      value_fn: coalitions, bool [S, N] -> values [S].
      num_players: N; needed only where `value_fn` has no `num_players`.
      always_in: bool [N], or None for nobody.
      always_out: bool [N], or None for nobody.

    Returns:
      A game of the free players, in rising order of their numbers; its `free`, int [M],
      holds those numbers where `value_fn` plays with everybody.

    Raises:
      InputError: a mask has another shape, a player is both, nobody is free, or N is
        unknown.

    Example: everybody brings one; player 0 is always there, player 3 never.
      >>> game = restrict(
      ...     lambda masks: masks.sum(axis=1),
      ...     4,
      ...     always_in=np.arange(4) == 0,
      ...     always_out=np.arange(4) == 3,
      ... )
      >>> game
      RestrictedGame(2 free of 4 players)
      >>> game.free.tolist(), game(np.array([[False, False], [True, True]])).tolist()
      ([1, 2], [1, 3])
    """
    num_players = count_players(value_fn, num_players)
    inside = _mask(always_in, num_players, "always_in")
    outside = _mask(always_out, num_players, "always_out")
    free = free_players(inside, outside)
    if not can_restrict(value_fn):
        return RestrictedGame(value_fn, free, inside)
    numbers = np.asarray(getattr(value_fn, "free", np.arange(num_players)))
    return value_fn.restrict(always_in=numbers[inside], always_out=numbers[outside])


class RestrictedGame:
    """A game of the free players of another.

    Attributes:
      num_players: M, the number of free players.
      free: their numbers, int [M].
      is_deterministic: True if the other says that a coalition always has the same
        value.
      evaluation_seconds: about how long an evaluation of the other takes.
      processes: those that share the work of the other; None where there is one.
    """

    def __init__(self, value_fn: ValueFn, free: np.ndarray, always_in: np.ndarray):
        self.num_players = len(free)
        self.is_deterministic = is_deterministic(value_fn)
        self.evaluation_seconds = evaluation_seconds(value_fn)
        self.processes = processes_of(value_fn)
        self.free = free
        self._value_fn = value_fn
        self._always_in = always_in

    def __repr__(self) -> str:
        total = len(self._always_in)
        return f"RestrictedGame({self.num_players} free of {total} players)"

    def __call__(self, masks: ArrayLike) -> Any:
        """Values [S] of coalitions of free players, bool [S, M]; one of one [M]."""
        if np.ndim(masks) == 1:
            return self._value_fn(self.expand(np.asarray(masks)[None]))[0]
        return self._value_fn(self.expand(masks))

    def expand(self, masks: ArrayLike) -> Bool[np.ndarray, "S N"]:
        """The coalitions, bool [S, M], with everybody in place, bool [S, N]."""
        masks = np.asarray(masks, bool)
        full = np.tile(self._always_in, (len(masks), 1))
        full[:, self.free] = masks
        return full

    def restrict(
        self, always_in: PlayerSet = None, always_out: PlayerSet = None
    ) -> "RestrictedGame":
        """The game among fewer; players by the numbers of `free`, int [K].

        Raises:
          InputError: names of families, which a plain function of masks has not.
        """
        inside = self._always_in.copy()
        come = _numbers(always_in, "always_in", len(inside))
        gone = _numbers(always_out, "always_out", len(inside))
        out = ~inside
        out[self.free] = False
        if (both := [k for k in come if out[k] or k in gone]) or inside[gone].any():
            player = both[0] if both else gone[inside[gone]][0]
            raise InputError(f"player {player} cannot be always in and always out")
        inside[come] = True
        free = self.free[~inside[self.free] & ~np.isin(self.free, gone)]
        if not len(free):
            raise InputError("expected a free player at least, got none")
        return RestrictedGame(self._value_fn, free, inside)


def _numbers(which: PlayerSet, name: str, num_players: int) -> Int[np.ndarray, " K"]:
    given = np.asarray([] if which is None else which)
    if given.dtype == bool and given.shape == (num_players,):
        return np.flatnonzero(given)
    if given.dtype.kind not in "iu" and given.size:
        raise InputError(
            f"expected {name} as numbers of players or a mask, bool [{num_players}], "
            f"got {which!r}: this value function is a plain function of masks and "
            "knows no families"
        )
    given = given.astype(int)
    if given.size and not 0 <= given.min() <= given.max() < num_players:
        raise InputError(
            f"expected {name} between 0 and {num_players - 1}, got {given.tolist()}"
        )
    return given


def select_players(
    players: Players, which: PlayerSet, name: str
) -> Bool[np.ndarray, " N"]:
    """bool [N] from a mask, numbers, names of families, or None for nobody.

    Raises:
      InputError: no such player or family; `name` says which argument it was.
    """
    if which is None:
        return np.zeros(players.num_players, bool)
    names = [which] if isinstance(which, str) else which
    if isinstance(names, list | tuple) and any(isinstance(x, str) for x in names):
        return players.select([str(x) for x in names])
    given = np.asarray(which)
    if given.dtype == bool:
        return players.mask(given)
    if given.size and (
        not np.issubdtype(given.dtype, np.integer)
        or given.min() < 0
        or given.max() >= players.num_players
    ):
        raise InputError(
            f"expected {name} as bool [{players.num_players}], numbers of players in "
            f"[0, {players.num_players}) or names of families, got {which!r}"
        )
    mask = np.zeros(players.num_players, bool)
    mask[given.astype(int)] = True
    return mask


def free_players(inside: np.ndarray, outside: np.ndarray) -> Int[np.ndarray, " M"]:
    """The numbers of the players on neither side.

    Raises:
      InputError: a player is on both, or nobody is free.
    """
    both = np.flatnonzero(inside & outside)
    if both.size:
        more = f" (and {both.size - 1} more)" if both.size > 1 else ""
        raise InputError(
            f"player {both[0]}{more} is both always in and always out: decide on one"
        )
    free = np.flatnonzero(~inside & ~outside)
    if not free.size:
        raise InputError(
            "nobody is free: every player is always in or always out; leave some to "
            "play"
        )
    return free


def describe_coalition(numbers: np.ndarray) -> str:
    """A coalition in words, from the numbers of its players."""
    if not numbers.size:
        return "nobody in it"
    shown = ", ".join(map(str, numbers[:8]))
    return f"{numbers.size} players ({shown}{', ...' if numbers.size > 8 else ''})"


def _mask(value: ArrayLike | None, num_players: int, name: str) -> np.ndarray:
    if value is None:
        return np.zeros(num_players, bool)
    return as_mask(value, num_players, name=name)
