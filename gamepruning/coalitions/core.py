"""Solutions by excess: nobody's coalition should have much reason to leave.

The excess of a coalition, e(S, x) = v(S) - v(nobody) - x(S), is what it would gain by
leaving an allocation x of v(all) - v(nobody). The core has no positive excess; the
least core has the smallest largest one; the nucleolus makes the largest excess as small
as can be, then the second largest, and so on.
"""

from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Bool, Float
from scipy.optimize import linprog, nnls

from gamepruning.coalitions.exact import all_coalitions, all_values
from gamepruning.coalitions.games import (
    coalition_values,
    count_players,
    end_values,
)
from gamepruning.trees.keys import as_key
from gamepruning.types import InputError, KeyLike, Scores, ValueFn

MAX_PLAYERS = 15  # 32,767 constraints a linear program
CHUNK = 4096  # coalitions in a call
SETTLED = 1e-9  # a dual price, or a distance, below it is 0
SLACK = 1e-9  # of the largest value: what a constraint may be missed by
MISSED = 1e-6  # of the largest value: more is told
TOLERANCES = ("primal_feasibility_tolerance", "dual_feasibility_tolerance")


class LeastCore(NamedTuple):
    """An allocation of the least core.

    Attributes:
      scores: the allocation of the least core whose squares sum to least; `stderr` is
        0.
      excess: the largest excess, the same for all allocations of the least core; at
        most 0 if and only if the core is not empty.
    """

    scores: Scores
    excess: float

    def __repr__(self) -> str:
        return f"LeastCore({self.scores!r}, excess={self.excess:.6g})"


class _Game(NamedTuple):
    """Coalitions, neither nobody nor everybody, and what they are worth."""

    masks: Bool[np.ndarray, "S N"]
    values: Float[np.ndarray, " S"]  # above nobody's
    whole: float  # everybody's, above nobody's
    num_evaluations: int


def least_core(
    value_fn: ValueFn,
    num_players: int | None = None,
    *,
    num_coalitions: int | None = None,
    key: KeyLike | None = None,
    max_players: int = MAX_PLAYERS,
) -> LeastCore:
    """The egalitarian least core: the smallest largest excess, shared out evenly.

    min e subject to x(S) + e >= v(S) for every coalition S, x(all) = v(all); of these
    x the one of the least sum of squares.

    Args:
      value_fn: bool [S, N] -> float [S].
      num_players: N; needed only where `value_fn` has no `num_players`.
      num_coalitions: how many coalitions to draw, each player in with probability 1/2,
        beside those of one player; all 2^N if None. With O((N + log(1/p)) / d^2) of
        them, with probability 1 - p no more than a share d of all coalitions has a
        larger excess than stated.
      key: random key, or a seed; needed with `num_coalitions`.
      max_players: the largest N that is accepted without `num_coalitions`.

    Returns:
      `LeastCore`.

    Raises:
      InputError: too many players to try all coalitions, no key for a drawn part, a
        number below 1, or values that are not finite.

    Cost: 2^N evaluations, or `num_coalitions` + N + 2; a linear program with a row for
    each, and non-negative least squares.

    Example: two gloves for the right hand, one for the left, which gets everything.
      >>> def pairs(masks):
      ...     return np.minimum(masks[:, 0], masks[:, 1] | masks[:, 2])
      >>> found = least_core(pairs, 3)
      >>> found.scores.value.round(6).tolist(), abs(round(found.excess, 6))
      ([1.0, 0.0, 0.0], 0.0)

    References:
      Maschler, Peleg and Shapley, Mathematics of Operations Research 4 (1979), for the
      least core; Yan and Procaccia, If You Like Shapley Then You Will Love the Core,
      AAAI 2021, for the drawn coalitions and the least squares.
    """
    num = count_players(value_fn, num_players)
    if num_coalitions is None:
        game = _all(value_fn, num, max_players)
    else:
        game = _drawn(value_fn, num, num_coalitions, key)
    if num == 1:
        only = np.array([game.whole])
        return LeastCore(Scores(only, np.zeros(1), game.num_evaluations), 0.0)
    excess = _smallest_excess(game, np.ones((1, num)), np.array([game.whole]))[0]
    value = _least_squares(game, excess)
    return LeastCore(Scores(value, np.zeros(num), game.num_evaluations), excess)


def nucleolus(
    value_fn: ValueFn,
    num_players: int | None = None,
    *,
    max_players: int = MAX_PLAYERS,
) -> Scores:
    """The nucleolus: the excesses, sorted from the largest, are smallest in order.

    Among all allocations of v(all), not only those that give each player at least what
    it has alone: the prenucleolus. The two are the same where nobody lowers what others
    are worth (in zero-monotonic games).

    Args:
      value_fn: bool [S, N] -> float [S].
      num_players: N; needed only where `value_fn` has no `num_players`.
      max_players: the largest N that is accepted.

    Returns:
      `Scores`, exact to about 1e-9 of the largest value; the sum is v(all) - v(nobody).

    Raises:
      InputError: N is unknown or above `max_players`, or values are not finite.

    Cost: 2^N evaluations, and at most N linear programs with a row for each coalition.

    Example: the Talmud's creditors of 100, 200 and 300 share an estate of 200.
      >>> def estate(masks):
      ...     return np.maximum(200 - ~masks @ np.array([100, 200, 300]), 0)
      >>> nucleolus(estate, 3).value.round(6).tolist()
      [50.0, 75.0, 75.0]

    References:
      Schmeidler, SIAM Journal on Applied Mathematics 17 (1969). Kopelowitz, 1967, for
      the sequence of linear programs. Aumann and Maschler, Journal of Economic Theory
      36 (1985), for the example.
    """
    num = count_players(value_fn, num_players)
    game = _all(value_fn, num, max_players)
    rows, sides = np.ones((1, num)), np.array([game.whole])
    while len(rows) < num:
        game = _unsettled(game, rows)
        excess, tight = _smallest_excess(game, rows, sides)
        for k in np.flatnonzero(tight):
            more = np.vstack([rows, game.masks[k]])
            if np.linalg.matrix_rank(more) > len(rows):
                rows, sides = more, np.append(sides, game.values[k] - excess)
    value = np.linalg.solve(rows, sides)
    return Scores(value, np.zeros(num), game.num_evaluations)


def _all(value_fn: ValueFn, num: int, max_players: int) -> _Game:
    values = all_values(value_fn, num, max_players=max_players)
    masks = all_coalitions(num, 1, len(values) - 1)
    above = values - values[0]
    return _Game(masks, above[1:-1], float(above[-1]), len(values))


def _drawn(value_fn: ValueFn, num: int, count: int, key: KeyLike | None) -> _Game:
    if count < 1 or key is None:
        raise InputError(
            "expected num_coalitions of at least 1 and a random key to draw them with, "
            f"got {count} and key={key}"
        )
    nobody, everybody = end_values(value_fn, num)
    drawn = np.asarray(jax.random.bernoulli(as_key(key), 0.5, (count, num)))
    masks = np.unique(np.concatenate([np.eye(num, dtype=bool), drawn]), axis=0)
    masks = masks[masks.any(axis=1) & ~masks.all(axis=1)]
    parts = [
        coalition_values(value_fn, masks[start : start + CHUNK])
        for start in range(0, len(masks), CHUNK)
    ]
    values = np.concatenate([*parts, np.zeros(0)]) - nobody
    return _Game(masks, values, everybody - nobody, len(masks) + 2)


def _smallest_excess(
    game: _Game, rows: Float[np.ndarray, "E N"], sides: Float[np.ndarray, " E"]
) -> tuple[float, Bool[np.ndarray, " S"]]:
    """The smallest largest excess where rows @ x = sides.

    Returns:
      It, and which coalitions have it in every allocation that has no larger one.
    """
    num, scale = game.masks.shape[1], _scale(game)
    found = linprog(
        np.append(np.zeros(num), 1.0),
        A_ub=-np.hstack([game.masks, np.ones((len(game.masks), 1))]),
        b_ub=-game.values / scale,
        A_eq=np.hstack([rows, np.zeros((len(rows), 1))]),
        b_eq=sides / scale,
        bounds=(None, None),
        method="highs",
        options=dict.fromkeys(TOLERANCES, 1e-10),
    )
    if not found.success:
        raise InputError(f"the linear program of the core failed: {found.message}")
    tight = -found.ineqlin.marginals > SETTLED
    return float(scale * found.x[-1]), tight


def _scale(game: _Game) -> float:
    """The largest value: solvers know absolute errors alone."""
    largest = float(np.abs(game.values).max(initial=0))
    return max(largest, abs(game.whole)) or 1.0


def _unsettled(game: _Game, rows: Float[np.ndarray, "E N"]) -> _Game:
    """The coalitions whose excess is not known from the rows that are settled."""
    basis = np.linalg.qr(rows.T)[0]
    masks = game.masks.astype(float)
    rest = masks - (masks @ basis) @ basis.T
    is_open = np.abs(rest).max(axis=1) > SETTLED
    return game._replace(masks=game.masks[is_open], values=game.values[is_open])


def _least_squares(game: _Game, excess: float) -> Float[np.ndarray, " N"]:
    """The shortest x with x(S) >= v(S) - excess for all S, and x(all) as it is.

    References:
      Lawson and Hanson, Solving Least Squares Problems (1974), chapter 23 (LDP).
    """
    num, scale = game.masks.shape[1], _scale(game)
    equal = np.full(num, game.whole / num)
    limits = (game.values - excess - game.masks @ equal) / scale - SLACK
    directions = np.linalg.svd(np.ones((1, num)))[2][1:].T  # they sum to 0
    near = game.masks @ directions
    system = np.vstack([near.T, limits])
    target = np.append(np.zeros(num - 1), 1.0)
    weights = nnls(system, target, maxiter=30 * system.shape[1])[0]
    residual = system @ weights - target
    value = equal - scale * directions @ (residual[:-1] / residual[-1])
    missed = float((game.values - excess - game.masks @ value).max(initial=0))
    if not missed <= MISSED * scale:
        raise InputError(
            f"the least squares of the least core miss a coalition by {missed:.1e}: "
            "its allocations are too far from equal shares; take nucleolus instead"
        )
    return value
