"""Semivalues: Shapley, Banzhaf, beta_d and the Beta family by one description.

A semivalue is a mean marginal contribution. Two views of the same law serve all
estimators: weights over coalition sizes, and one random number t for each coalition,
which every player then joins with probability t.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from jaxtyping import Float

from gamepruning.coalitions.games import check_num_players, count_players
from gamepruning.types import InputError, ValueFn


class Semivalue(NamedTuple):
    """phi_i = sum_k w_k E[v(S + i) - v(S) : |S| = k, i not in S]; hashable, static.

    Made by `shapley`, `banzhaf` and `beta_semivalue`; the same semivalue for fewer
    players is `semivalue._replace(num_players=m)`.

    Attributes:
      name: "shapley", "banzhaf" or "beta".
      num_players: N >= 1.
      parameters: () for Shapley, (bias,) for Banzhaf, (alpha, beta) for Beta.

    References:
      Dubey, Neyman and Weber, Value theory without efficiency (1981): every semivalue
      is such a mixture over t. Kwon and Zou, Beta Shapley, arXiv 2110.14049.
    """

    name: str
    num_players: int
    parameters: tuple[float, ...] = ()

    def __repr__(self) -> str:
        function = "beta_semivalue" if self.name == "beta" else self.name
        arguments = ", ".join(map(str, (self.num_players, *self.parameters)))
        return f"{function}({arguments})"

    @property
    def bias(self) -> float | None:
        """The probability that a player is in, of a Banzhaf index; None for others."""
        return self.parameters[0] if self.name == "banzhaf" else None

    @property
    def is_symmetric(self) -> bool:
        """True if a coalition and its complement are equally likely."""
        if self.name == "banzhaf":
            return self.bias == 0.5
        return self.name == "shapley" or self.parameters[0] == self.parameters[1]

    def log_weights(self) -> Float[np.ndarray, " N"]:
        """The logarithms of `weights()`, finite for any number of players."""
        k = np.arange(self.num_players - 1, dtype=float)
        after = self.num_players - 2 - k  # players left once the next one is in
        log_ratio = np.log((after + 1) / (k + 1)) + self._log_odds(k, after)
        logs = np.concatenate([np.zeros(1), np.cumsum(log_ratio)])
        return logs - np.logaddexp.reduce(logs)

    def weights(self) -> Float[np.ndarray, " N"]:
        """w_k for k = 0..N-1, the weight of coalitions of k others; they sum to one.

        Shapley: w_k = 1/N. Banzhaf: C(N-1, k) p^k (1-p)^(N-1-k). Beta:
        C(N-1, k) B(k + beta, N-1-k + alpha) / B(alpha, beta).
        """
        if self.name == "shapley":
            return np.full(self.num_players, 1 / self.num_players)
        weights = np.exp(self.log_weights())
        return weights / weights.sum()

    def _log_odds(self, k: np.ndarray, after: np.ndarray) -> np.ndarray:
        """log E[t^(k+1) (1-t)^after] - log E[t^k (1-t)^(after+1)]."""
        if self.name == "banzhaf":
            (bias,) = self.parameters
            return np.full(k.shape, math.log(bias) - math.log1p(-bias))
        alpha, beta = self.parameters or (1.0, 1.0)
        return np.log(k + beta) - np.log(after + alpha)


def shapley(num_players: int) -> Semivalue:
    """The Shapley value: all coalition sizes have the same weight, w_k = 1/N.

    Args:
      num_players: N >= 1.

    Returns:
      The `Semivalue`.

    Raises:
      InputError: N is not a whole number >= 1.

    Example:
      >>> shapley(4), shapley(4).weights().tolist()
      (shapley(4), [0.25, 0.25, 0.25, 0.25])

    References:
      Shapley, A value for n-person games (1953).
    """
    return Semivalue("shapley", check_num_players(num_players))


def banzhaf(num_players: int, bias: float = 0.5) -> Semivalue:
    """The Banzhaf index beta_p: every other player is in with probability p.

    w_k = C(N-1, k) p^k (1-p)^(N-1-k).

    Args:
      num_players: N >= 1.
      bias: p, 0 < p < 1; 0.5 is the Banzhaf index.

    Returns:
      The `Semivalue`.

    Raises:
      InputError: N is not a whole number >= 1, or `bias` is outside (0, 1).

    Example:
      >>> banzhaf(3), banzhaf(3).weights().round(3).tolist()
      (banzhaf(3, 0.5), [0.25, 0.5, 0.25])

    References:
      Banzhaf, Rutgers Law Review 19 (1965). Diaz-Ortiz et al., arXiv 2311.10468, where
      it is beta_d.
    """
    num_players = check_num_players(num_players)
    if not 0 < bias < 1:
        raise InputError(
            f"expected bias inside (0, 1), the probability that a player is in, got "
            f"{bias}: 0.5 is the Banzhaf index"
        )
    return Semivalue("banzhaf", num_players, (float(bias),))


def beta_semivalue(num_players: int, alpha: float, beta: float) -> Semivalue:
    """The Beta semivalue: t ~ Beta(beta, alpha).

    w_k = C(N-1, k) B(k + beta, N-1-k + alpha) / B(alpha, beta): a large alpha favours
    small coalitions, a large beta large ones; alpha = beta = 1 is the Shapley value and
    comes back as such.

    Args:
      num_players: N >= 1.
      alpha: > 0.
      beta: > 0.

    Returns:
      The `Semivalue`.

    Raises:
      InputError: N is not a whole number >= 1, or a parameter is not positive.

    Example: for two players w_0 = alpha / (alpha + beta).
      >>> beta_semivalue(2, 3.0, 1.0).weights().round(3).tolist()
      [0.75, 0.25]

    References:
      Kwon and Zou, Beta Shapley, arXiv 2110.14049, equation 5.
    """
    num_players = check_num_players(num_players)
    if not (0 < alpha < math.inf and 0 < beta < math.inf):
        raise InputError(
            f"expected alpha and beta above 0, got {alpha} and {beta}: 1 and 1 is the "
            "Shapley value"
        )
    if alpha == beta == 1:
        return shapley(num_players)
    return Semivalue("beta", num_players, (float(alpha), float(beta)))


# A power index, or how to make it for a number of players.
SemivalueLike: TypeAlias = Semivalue | Callable[[int], Semivalue]


def semivalue_for(semivalue: SemivalueLike, value_fn: ValueFn) -> Semivalue:
    """The power index for the players of a game.

    Args:
      semivalue: for as many players; or a function of the number of players, such as
        `shapley` and `banzhaf`, where the game knows that number.
      value_fn: the game.

    Raises:
      InputError: it is not a power index, or for another number of players.

    Example:
      >>> from gamepruning.coalitions.voting import voting_game
      >>> semivalue_for(banzhaf, voting_game(3, [2, 1, 1]))
      banzhaf(3, 0.5)
    """
    if isinstance(semivalue, Semivalue):
        count_players(value_fn, semivalue.num_players)
        return semivalue
    return as_semivalue(semivalue, lambda: count_players(value_fn))


def as_semivalue(
    semivalue: SemivalueLike, num_players: int | Callable[[], int]
) -> Semivalue:
    """A power index as it is, or made for a number of players.

    Raises:
      InputError: it is neither a power index nor a function that makes one.
    """
    found: Any = semivalue
    if not isinstance(semivalue, Semivalue) and callable(semivalue):
        found = semivalue(num_players() if callable(num_players) else num_players)
    if not isinstance(found, Semivalue):
        raise InputError(
            "expected a Semivalue, made by shapley, banzhaf or beta_semivalue, got "
            f"{type(found).__name__}"
        )
    return found
