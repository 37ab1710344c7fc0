"""Who is always in, who is always out, and who is free."""

from typing import Any

import numpy as np
from jaxtyping import Int

from gamepruning.players import Players
from gamepruning.types import InputError


def chosen(players: Players, which: Any, name: str) -> np.ndarray:
    """bool [N] from a mask, numbers, names of families, or None for nobody.

    Raises:
      InputError: no such player or family; `name` says which argument it was.
    """
    if which is None:
        return np.zeros(players.num_players, bool)
    names = [which] if isinstance(which, str) else which
    if isinstance(names, (list, tuple)) and any(isinstance(x, str) for x in names):
        return players.select(names)
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


def describe(numbers: np.ndarray) -> str:
    """A coalition in words, from the numbers of its players."""
    if not numbers.size:
        return "nobody in it"
    shown = ", ".join(map(str, numbers[:8]))
    return f"{numbers.size} players ({shown}{', ...' if numbers.size > 8 else ''})"
