"""How few players of each family must stay, while players come and leave one by one."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from gamepruning.players import Players
from gamepruning.selection.alike import Group
from gamepruning.selection.top_n import family_counts, make_groups
from gamepruning.types import InputError, ValueFn


class Floors:
    """The least number of players of each family, for decisions a player at a time.

    Attributes:
      names: of the families.
      family: the family of each player, int [N].
      least: the fewest that may be in, of each family, int [F].
    """

    def __init__(self, names: Sequence[str], family: np.ndarray, least: np.ndarray):
        self.names = tuple(names)
        self.family = family
        self.least = least

    def exactly(self, counts: Any) -> "Floors":
        """Floors that leave one way to end: with these counts of each family.

        Args:
          counts: in the order of the families, or by their names.

        Raises:
          InputError: they do not fit the families.
        """
        sizes = np.bincount(self.family, minlength=len(self.names))
        groups = [
            Group(name, 0, int(size), 0)
            for name, size in zip(self.names, sizes, strict=True)
        ]
        least = family_counts(counts, groups, len(self.family))
        return Floors(self.names, self.family, np.array(least))

    def check(self, n: int) -> None:
        """Check that n players can hold all floors.

        Raises:
          InputError: they cannot.
        """
        if n < self.least.sum():
            floors = ", ".join(
                f"{a} {b}" for a, b in zip(self.names, self.least, strict=True)
            )
            raise InputError(
                f"cannot end with {n} players: min_units and protect already keep "
                f"{self.least.sum()} ({floors}); ask for more or lower them"
            )

    def choose_in(self, kept: np.ndarray, ranked: np.ndarray, count: int) -> np.ndarray:
        """The first `count` of the ranked, those of families below their floor before.

        Args:
          kept: who is in, bool [N].
          ranked: who may come, best first, int [M].
          count: how many come.
        """
        missing = self.least - self._counts(kept)
        first, rest = [], []
        for player in ranked:
            family = self.family[player]
            (first if missing[family] > 0 else rest).append(player)
            missing[family] -= 1
        return np.array((first + rest)[:count], int)

    def choose_out(self, kept: np.ndarray, ranked: np.ndarray, count: int):
        """The first `count` of the ranked whose families are above their floor.

        Args:
          kept: who is in, bool [N].
          ranked: who may leave, worst first, int [M].
          count: how many leave.
        """
        spare = self._counts(kept) - self.least
        chosen = []
        for player in ranked:
            family = self.family[player]
            if spare[family] > 0 and len(chosen) < count:
                chosen.append(player)
                spare[family] -= 1
        return np.array(chosen, int)

    def may_exchange(self, kept: np.ndarray, out: int) -> np.ndarray:
        """Who may take the place of player `out`; with -1, who may leave; bool [N]."""
        spare = self._counts(kept) - self.least
        if out < 0:  # somebody of the same family may always come instead
            outside = np.bincount(self.family[~kept], minlength=len(self.least))
            return (spare[self.family] > 0) | (outside[self.family] > 0)
        if spare[self.family[out]] > 0:
            return np.ones(len(kept), bool)
        return self.family == self.family[out]

    def _counts(self, kept: np.ndarray) -> np.ndarray:
        return np.bincount(self.family[kept], minlength=len(self.least))


def make_floors(
    value_fn: ValueFn,
    num_players: int,
    players: Players | None,
    min_units: int,
    protect: Sequence[str],
) -> Floors:
    """Floors of the players of a game; players who are always in count for theirs.

    Args:
      value_fn: the game; with `free` and `expand` it may be one among some of the
        players.
      num_players: of the game, N.
      players: the `Players`, or None for one family without a floor.
      min_units: players that every family keeps at least (all of a smaller one).
      protect: names of families that keep everybody.

    Raises:
      InputError: a name is unknown, or the game has other players.
    """
    groups = make_groups(players, num_players, min_units, 1, protect)
    if players is None:
        return Floors(("all",), np.zeros(num_players, int), np.zeros(1, int))
    free = np.asarray(getattr(value_fn, "free", np.arange(num_players)))
    base = np.zeros(players.num_players, bool)
    if len(free) != num_players or free.max(initial=0) >= players.num_players:
        raise InputError(
            f"the game has {num_players} players and the network "
            f"{players.num_players}: pass the players that the value function is of"
        )
    expand = getattr(value_fn, "expand", None)
    if num_players < players.num_players and expand is not None:
        base = np.asarray(expand(np.zeros((1, num_players), bool)))[0]
    elif num_players < players.num_players:
        raise InputError(
            f"the game has {num_players} players and the network "
            f"{players.num_players}: a floor needs a value function that says which "
            "of them play, such as gp.value_function"
        )
    family = np.asarray(players.family_of)[free]
    free_of = np.bincount(family, minlength=len(groups))
    fixed = np.bincount(players.family_of[base], minlength=len(groups))
    least = np.array([group.floor for group in groups])
    least = np.clip(least - fixed, 0, free_of)
    return Floors([group.name for group in groups], family, least)
