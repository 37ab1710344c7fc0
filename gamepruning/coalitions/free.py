"""What the games of a network share: who is free, and how often they were asked."""

from typing import Self

import jax.core
import numpy as np
from jaxtyping import ArrayLike, Bool, Float, Int

from gamepruning.coalitions.restrict import free_players, select_players
from gamepruning.players import Players
from gamepruning.trees.masks import as_mask, as_masks
from gamepruning.trees.processes import Processes
from gamepruning.types import PlayerSet

FINITE = (
    "expected a finite number for every coalition, also for nobody: clip it, or choose "
    "another metric"
)


class NetworkGame:
    """A game among the free players of a network; the others are always in or out.

    Attributes:
      num_players: M, the number of free players.
      free: their numbers among all players, int [M], rising.
      num_evaluations: coalitions valued so far, those of games restricted from this
        one among them.
      is_deterministic: True: a coalition always has the same value.
      processes: those that share the work; None where there is one.
    """

    is_deterministic = True
    processes: Processes | None = None

    def __init__(
        self,
        players: Players,
        free: Int[np.ndarray, " M"],
        inside: Bool[np.ndarray, " N"],
        parent: "NetworkGame | None" = None,
    ):
        self.free = free
        self.num_players = len(free)
        self.num_evaluations = 0
        self._players = players
        self._inside = inside
        self._parent = parent  # counts the evaluations, too

    def __call__(self, masks: ArrayLike) -> Float[np.ndarray, " S"] | np.float64:
        """The value of each coalition.

        Args:
          masks: bool [S, M], True = in; any S. One coalition, bool [M], will do.

        Returns:
          float64 [S]; a scalar for one coalition.

        Raises:
          InputError: masks of another shape or dtype, a value that is not finite, too
            little memory for one coalition, or other masks than another process has.

        Cost: S evaluations; after repair also a solve of [k, k] for each coalition and
        each reader with k inputs left.
        """
        if not isinstance(masks, jax.core.Tracer) and np.ndim(masks) == 1:
            own = as_mask(masks, self.num_players, name="coalition")
            return self._values(own[None])[0]
        return self._values(self._check(masks))

    def _values(self, masks: np.ndarray) -> np.ndarray:
        raise NotImplementedError

    def _count(self, number: int) -> None:
        self.num_evaluations += number
        if self._parent is not None:
            self._parent._count(number)

    def _check(self, masks: ArrayLike) -> np.ndarray:
        return as_masks(masks, self.num_players)

    def expand(self, masks: ArrayLike) -> Bool[np.ndarray, "S N"]:
        """The coalitions with everybody in place: bool [S, M] -> bool [S, N].

        Raises:
          InputError: masks of another shape or dtype.
        """
        masks = self._check(masks)
        if self.num_players == len(self._inside):
            return masks
        full = np.tile(self._inside, (len(masks), 1))
        full[:, self.free] = masks
        return full

    def restrict(
        self, always_in: PlayerSet = None, always_out: PlayerSet = None
    ) -> Self:
        """The game among fewer players; shares what is compiled and computed.

        Args:
          always_in: free players that are in from now on: bool [N], numbers in [0, N),
            or names of families; those that are in already may be among them.
          always_out: players that are out from now on, likewise.

        Returns:
          The game of the players that are left.

        Raises:
          InputError: a player is both in and out, or nobody is left.
        """
        inside = self._inside | select_players(self._players, always_in, "always_in")
        outside = ~self._inside
        outside[self.free] = False
        outside |= select_players(self._players, always_out, "always_out")
        return self._among(free_players(inside, outside), inside)

    def _among(
        self, free: Int[np.ndarray, " M"], inside: Bool[np.ndarray, " N"]
    ) -> Self:
        """The same game among others, whose evaluations are counted here, too."""
        raise NotImplementedError
