"""Games that are sums of conjunctions, whose power indices are known exactly."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.special import betaln

from gamepruning.coalitions.semivalues import Semivalue


class Conjunctions(NamedTuple):
    """A game: each term is worth its weight where some are in and others are out.

    Literals name a term, a player and on which side it has to be; a player stands at
    most once in a term, and a term without literals is a constant.

    Attributes:
      weight: float [K], of the terms.
      term: int [L], the number of the literal's term.
      player: int [L].
      is_in: bool [L], True where the player has to be in.

    Example: 2 if player 0 is in and player 1 is out.
      >>> terms = Conjunctions(
      ...     np.array([2.0]),
      ...     np.array([0, 0]),
      ...     np.array([0, 1]),
      ...     np.array([True, False]),
      ... )
      >>> terms.values(np.array([[True, False], [True, True]])).tolist()
      [2.0, 0.0]
    """

    weight: Float[np.ndarray, " K"]
    term: Int[np.ndarray, " L"]
    player: Int[np.ndarray, " L"]
    is_in: Bool[np.ndarray, " L"]

    def values(self, masks: Bool[np.ndarray, "S N"]) -> Float[np.ndarray, " S"]:
        """The game's values. Cost: S N K operations."""
        signs = np.zeros((masks.shape[1], len(self.weight)), np.float32)
        signs[self.player, self.term] = np.where(self.is_in, 1.0, -1.0)
        needed, _ = self._sizes()
        return (masks.astype(np.float32) @ signs == needed) @ self.weight

    def semivalues(self, semivalue: Semivalue) -> Float[np.ndarray, " N"]:
        """The power index of every player, exactly. Cost: of order L.

        A term of a players in and b out gives each player that has to be in
        E[t^(a-1) (1-t)^b], and each that has to be out -E[t^a (1-t)^(b-1)].

        Example: a vote that two of three players have to carry, by Banzhaf.
          >>> from gamepruning.coalitions.semivalues import banzhaf
          >>> both = Conjunctions(
          ...     np.ones(1), np.zeros(2, int), np.arange(2), np.ones(2, bool)
          ... )
          >>> both.semivalues(banzhaf(3)).tolist()
          [0.5, 0.5, 0.0]
        """
        inside, outside = self._sizes()
        joins = _moment(semivalue, np.maximum(inside - 1, 0), outside)
        stays = _moment(semivalue, inside, np.maximum(outside - 1, 0))
        each = np.where(self.is_in, joins[self.term], -stays[self.term])
        return np.bincount(
            self.player, self.weight[self.term] * each, minlength=semivalue.num_players
        )

    def mean(self, semivalue: Semivalue) -> float:
        """E v(S), where every player joins with probability t of the semivalue."""
        return float(self.weight @ _moment(semivalue, *self._sizes()))

    def _sizes(self) -> tuple[np.ndarray, np.ndarray]:
        """How many players have to be in, and out, for each term."""
        num = len(self.weight)
        inside = np.bincount(self.term[self.is_in], minlength=num)
        return inside, np.bincount(self.term[~self.is_in], minlength=num)


def _moment(semivalue: Semivalue, inside: np.ndarray, outside: np.ndarray):
    """E[t^a (1 - t)^b] under the law of t."""
    if semivalue.bias is not None:
        return semivalue.bias**inside * (1 - semivalue.bias) ** outside
    alpha, beta = semivalue.parameters or (1.0, 1.0)
    return np.exp(betaln(inside + beta, outside + alpha) - betaln(beta, alpha))
