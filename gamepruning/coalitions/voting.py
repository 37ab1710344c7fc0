"""Weighted voting games: their exact power indices by dynamic programming.

A coalition wins when its weight reaches the quota, so a voter is decisive when the
others weigh less than the quota, but not by more than the voter's weight. The law of
the others' weight is built voter by voter. The arithmetic adds and multiplies positive
numbers only, so that even the smallest index is good to rounding.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import ArrayLike, Float

from gamepruning.coalitions.restrict import RestrictedGame
from gamepruning.coalitions.semivalues import banzhaf
from gamepruning.types import InputError, Scores

_MAX_QUOTA = 10**8  # a law has one float for every weight below the quota
_CELLS_AT_ONCE = 2**16  # the laws of a few biases, small enough for the cache


def weighted_voting_shapley(quota: int, weights: Sequence[int] | ArrayLike) -> Scores:
    """The Shapley-Shubik index of a weighted voting game, without enumeration.

    phi_i = integral of beta_p(i) over p from 0 to 1. The integrand is a polynomial of
    degree N - 1 in p, for which N/2 points of Gauss and Legendre are exact.

    Args:
      quota: the weight that wins, 1 <= quota <= sum of the weights.
      weights: whole numbers >= 0, [N].

    Returns:
      `Scores`, float64, exact to rounding; they sum to 1. Cost: no evaluation; about
      N^2 log(N) quota / 2 operations.

    Raises:
      InputError: weights or quota are not as described.

    Example: one voter with 2 votes and two with 1, a majority of 3.
      >>> weighted_voting_shapley(3, [2, 1, 1]).value.round(4).tolist()
      [0.6667, 0.1667, 0.1667]

    References:
      Shapley and Shubik, APSR 48 (1954). Owen, Multilinear extensions of games,
      Management Science 18 (1972), for the integral. Mann and Shapley, RAND RM-3158
      (1962), for the recursion.
    """
    quota, weights = check_voting(quota, weights)
    points, shares = np.polynomial.legendre.leggauss(len(weights) // 2 + 1)
    return _scores((points + 1) / 2, shares / 2, quota, weights)


def weighted_voting_banzhaf(
    quota: int, weights: Sequence[int] | ArrayLike, bias: float = 0.5
) -> Scores:
    """The Banzhaf index beta_p of a weighted voting game, without enumeration.

    beta_i = P(quota - weight_i <= weight of the others < quota), where every other
    voter says yes with probability p. This is the absolute index: divide by the sum for
    the normalised one.

    Args:
      quota: the weight that wins, 1 <= quota <= sum of the weights.
      weights: whole numbers >= 0, [N].
      bias: p, 0 < p < 1; 0.5 is the Banzhaf index.

    Returns:
      `Scores`, float64, exact to rounding. Cost: no evaluation; about N log(N) quota
      operations.

    Raises:
      InputError: weights or quota are not as described, or `bias` is outside (0, 1).

    Example: one voter with 2 votes and two with 1, a majority of 3.
      >>> weighted_voting_banzhaf(3, [2, 1, 1]).value.tolist()
      [0.75, 0.25, 0.25]

    References:
      Banzhaf, Rutgers Law Review 19 (1965).
    """
    quota, weights = check_voting(quota, weights)
    points = np.array(banzhaf(len(weights), bias).parameters)
    return _scores(points, np.ones(1), quota, weights)


class VotingGame:
    """A weighted voting game, made by `voting_game`.

    Attributes:
      quota: the weight that wins.
      weights: of the voters, int [N].
      num_players: N.
      is_deterministic: True: a coalition always has the same value.
    """

    is_deterministic = True

    def __init__(self, quota: int, weights: np.ndarray):
        self.quota = quota
        self.weights = weights
        self.num_players = len(weights)

    def __repr__(self) -> str:
        return f"VotingGame({self.num_players} voters, quota {self.quota})"

    def __call__(self, masks: ArrayLike) -> Float[np.ndarray, " S"]:
        """1 for each coalition, bool [S, N], that wins, else 0."""
        return (np.asarray(masks) @ self.weights >= self.quota).astype(float)

    def restrict(self, always_in: Any = None, always_out: Any = None) -> RestrictedGame:
        """The game among fewer voters; voters by their numbers, int [K]."""
        whole = RestrictedGame(
            self, np.arange(self.num_players), np.zeros(self.num_players, bool)
        )
        return whole.restrict(always_in, always_out)


def voting_game(quota: int, weights: Sequence[int] | ArrayLike) -> VotingGame:
    """The value function of a weighted voting game: 1 for coalitions that win.

    v(S) = 1 if sum_{i in S} weight_i >= quota, else 0.

    Args:
      quota: the weight that wins, 1 <= quota <= sum of the weights.
      weights: whole numbers >= 0, [N].

    Returns:
      A `Game`: masks bool [S, N] -> float64 [S].

    Raises:
      InputError: weights or quota are not as described.

    Example:
      >>> wins = voting_game(3, [2, 1, 1])
      >>> wins
      VotingGame(3 voters, quota 3)
      >>> wins(np.array([[True, True, False], [False, True, True]])).tolist()
      [1.0, 0.0]
    """
    return VotingGame(*check_voting(quota, weights))


def check_voting(
    quota: int, weights: Sequence[int] | ArrayLike
) -> tuple[int, np.ndarray]:
    """The game as whole numbers, or a clear error."""
    given = np.asarray(weights)
    if given.ndim != 1 or given.size < 1:
        raise InputError(
            f"expected weights of shape (N,), one a voter, got shape {given.shape}"
        )
    bad = [w for w in given.tolist() if not (0 <= w < 2**53 and w == int(w))]
    if bad:
        raise InputError(
            f"expected weights that are whole numbers >= 0, got {bad[0]}: multiply "
            "weights and quota by what makes them whole"
        )
    total = sum(map(int, given.tolist()))
    if not (1 <= quota <= total and quota == int(quota)):
        raise InputError(
            f"expected a whole quota from 1 to {total}, the sum of the weights, got "
            f"{quota}"
        )
    return int(quota), given.astype(np.int64)


def _scores(
    points: np.ndarray, shares: np.ndarray, quota: int, weights: np.ndarray
) -> Scores:
    """Each voter's chance to be decisive, averaged over biases `points` [P]."""
    unit = int(np.gcd.reduce(weights))
    quota, weights = -(-quota // unit), weights // unit
    if quota > _MAX_QUOTA:
        raise InputError(
            f"expected a quota of at most {_MAX_QUOTA} for dynamic programming, got "
            f"{quota}: sample with shapley_values or banzhaf_values on voting_game, or "
            "round the weights to fewer digits"
        )
    value = np.zeros(len(weights))
    at_once = max(1, _CELLS_AT_ONCE // quota)
    for start in range(0, len(points), at_once):
        block = slice(start, start + at_once)
        swings = _swings(points[block, None], quota, weights)
        value += shares[block] @ swings
    return Scores(value, np.zeros_like(value), 0)


def _swings(bias: np.ndarray, quota: int, weights: np.ndarray) -> np.ndarray:
    """The chance of each voter to be decisive, [P, N], for `bias` [P, 1].

    Voters are halved again and again: before one half is looked at, the other joins the
    law. So the law without a voter comes about without taking anybody out.
    """
    distinct, counts = np.unique(weights, return_counts=True)
    alone = np.zeros((len(bias), quota))
    alone[:, 0] = 1.0
    swings = {}
    todo = [(alone, list(zip(distinct.tolist(), counts.tolist(), strict=True)))]
    while todo:
        law, voters = todo.pop()
        if len(voters) == 1:
            [(weight, count)] = voters
            law = _join(law, bias, [(weight, count - 1)])
            swings[weight] = law[:, max(quota - weight, 0) :].sum(1)
        else:
            middle = len(voters) // 2
            one, other = voters[:middle], voters[middle:]
            todo.append((_join(law, bias, other), one))
            todo.append((_join(law, bias, one), other))
    return np.stack([swings[weight] for weight in weights.tolist()], 1)


def _join(law: np.ndarray, bias: np.ndarray, voters: list) -> np.ndarray:
    """The law of the weight, below the quota, with more voters: (weight, how many)."""
    for weight, count in voters:
        for _ in range(count if weight else 0):
            joined = law * (1 - bias)
            joined[:, weight:] += law[:, :-weight] * bias
            law = joined
    return law
