"""Exact power indices: the value of every coalition of a small game."""

import numpy as np
from jaxtyping import ArrayLike, Float

from gamepruning.coalitions.games import as_real, count_players
from gamepruning.coalitions.semivalues import (
    Semivalue,
    SemivalueLike,
    banzhaf,
    semivalue_for,
    shapley,
)
from gamepruning.types import InputError, Scores, ValueFn

MAX_PLAYERS = 20  # 2^20 coalitions: a million evaluations


def exact_shapley(
    value_fn: ValueFn,
    num_players: int | None = None,
    *,
    max_players: int = MAX_PLAYERS,
) -> Scores:
    """The Shapley value from all 2^N coalitions.

    phi_i = sum_S |S|! (N-1-|S|)! / N! (v(S + i) - v(S)), over S without i.

    Args:
      value_fn: bool [S, N] -> float [S]; called on at most 16384 coalitions at a time.
      num_players: N; needed only where `value_fn` has no `num_players`.
      max_players: the largest N that is accepted.

    Returns:
      `Scores`, float64 and exact; they sum to v(all) - v(nobody). Cost: 2^N
      evaluations.

    Raises:
      InputError: N is unknown, below 1 or above `max_players`, or `value_fn` does not
        give one finite number for each coalition.

    Example: two gloves for the right hand, one for the left.
      >>> def pairs(masks):
      ...     return np.minimum(masks[:, 0], masks[:, 1] | masks[:, 2])
      >>> exact_shapley(pairs, 3).value.round(3).tolist()
      [0.667, 0.167, 0.167]

    References:
      Shapley, A value for n-person games (1953), equation 12.
    """
    semivalue = shapley(count_players(value_fn, num_players))
    return exact_semivalue(value_fn, semivalue, max_players=max_players)


def exact_banzhaf(
    value_fn: ValueFn,
    num_players: int | None = None,
    bias: float = 0.5,
    *,
    max_players: int = MAX_PLAYERS,
) -> Scores:
    """The Banzhaf index beta_p from all 2^N coalitions.

    beta_i = sum_S p^|S| (1-p)^(N-1-|S|) (v(S + i) - v(S)), over S without i.

    Args:
      value_fn: bool [S, N] -> float [S]; called on at most 16384 coalitions at a time.
      num_players: N; needed only where `value_fn` has no `num_players`.
      bias: p, the probability that a player is in, 0 < p < 1.
      max_players: the largest N that is accepted.

    Returns:
      `Scores`, float64 and exact; not scaled to sum to anything. Cost: 2^N evaluations.

    Raises:
      InputError: as in `exact_shapley`, or `bias` is outside (0, 1).

    Example: two gloves for the right hand, one for the left.
      >>> def pairs(masks):
      ...     return np.minimum(masks[:, 0], masks[:, 1] | masks[:, 2])
      >>> exact_banzhaf(pairs, 3).value.tolist()
      [0.75, 0.25, 0.25]

    References:
      Banzhaf, Rutgers Law Review 19 (1965). Diaz-Ortiz et al., arXiv 2311.10468
      (beta_d).
    """
    semivalue = banzhaf(count_players(value_fn, num_players), bias)
    return exact_semivalue(value_fn, semivalue, max_players=max_players)


def exact_semivalue(
    value_fn: ValueFn, semivalue: SemivalueLike, *, max_players: int = MAX_PLAYERS
) -> Scores:
    """Any semivalue from all 2^N coalitions.

    phi_i = sum_S w_|S| / C(N-1, |S|) (v(S + i) - v(S)), over S without i.

    Args:
      value_fn: bool [S, N] -> float [S]; called on at most 16384 coalitions at a time.
      semivalue: from `shapley`, `banzhaf` or `beta_semivalue`; or a function of the
        number of players, where the value function knows it.
      max_players: the largest N that is accepted.

    Returns:
      `Scores`, float64 and exact. Cost: 2^N evaluations.

    Raises:
      InputError: as in `exact_shapley`.

    Example: both are needed, and 3/4 of the weight is on the empty coalition.
      >>> from gamepruning.coalitions.semivalues import beta_semivalue
      >>> both = lambda masks: masks.all(1)
      >>> exact_semivalue(both, beta_semivalue(2, 3, 1)).value.round(9).tolist()
      [0.25, 0.25]

    References:
      Dubey, Neyman and Weber, Value theory without efficiency (1981).
    """
    semivalue = semivalue_for(semivalue, value_fn)
    values = all_values(value_fn, semivalue.num_players, max_players=max_players)
    value = semivalue_of(values, semivalue)
    return Scores(value, np.zeros_like(value), len(values))


def all_values(
    value_fn: ValueFn,
    num_players: int | None = None,
    *,
    max_players: int = MAX_PLAYERS,
    chunk_size: int = 16384,
) -> Float[np.ndarray, " S"]:
    """The values of all S = 2^N coalitions, in the order of `all_coalitions`.

    Args:
      value_fn: bool [S, N] -> float [S].
      num_players: N; needed only where `value_fn` has no `num_players`.
      max_players: the largest N that is accepted.
      chunk_size: coalitions in a call.

    Returns:
      float64 [2^N]. Cost: 2^N evaluations.

    Raises:
      InputError: as in `exact_shapley`.

    Example:
      >>> all_values(lambda masks: masks @ [10, 1], 2).tolist()
      [0.0, 1.0, 10.0, 11.0]
    """
    num_players = count_players(value_fn, num_players)
    if num_players > max_players:
        raise InputError(
            f"expected at most {max_players} players, whose coalitions can all be "
            f"tried, got {num_players} (2^{num_players} evaluations): sample with "
            "shapley_values, banzhaf_values or semivalues, or raise max_players"
        )
    if chunk_size < 1:
        raise InputError(f"expected chunk_size >= 1, got {chunk_size}")
    count = 2**num_players
    values = np.empty(count)
    for start in range(0, count, chunk_size):
        stop = min(start + chunk_size, count)
        masks = all_coalitions(num_players, start, stop)
        values[start:stop] = _checked(value_fn(masks), masks)
    return values


def all_coalitions(num_players: int, start: int, stop: int) -> np.ndarray:
    """Coalitions number start..stop-1 of 2^N, bool [S, N]; player 0 is the high bit."""
    shifts = np.arange(num_players - 1, -1, -1)
    return (np.arange(start, stop)[:, None] >> shifts & 1).astype(bool)


def semivalue_of(
    values: Float[np.ndarray, " S"], semivalue: Semivalue
) -> Float[np.ndarray, " N"]:
    """The semivalue of every player, [N], from the values of all 2^N coalitions.

    Args:
      values: as `all_values` returns them.
      semivalue: for as many players.

    Returns:
      float64 [N]. Cost: no evaluation; N 2^N operations.

    Raises:
      InputError: there are not 2^N values.
    """
    num_players = semivalue.num_players
    if len(values) != 2**num_players:
        raise InputError(
            f"expected the values of all 2^{num_players} coalitions of the semivalue's "
            f"{num_players} players, got {len(values)}"
        )
    weights = coalition_weights(semivalue)
    index = np.empty(num_players)
    for player in range(num_players):
        without, with_player = np.moveaxis(values.reshape(2**player, 2, -1), 1, 0)
        index[player] = weights @ (with_player - without).ravel()
    return index


def coalition_weights(semivalue: Semivalue) -> np.ndarray:
    """w_|S| / C(N-1, |S|) of all 2^(N-1) coalitions of the others, float64."""
    weights = semivalue.weights()
    sizes = np.zeros(1, int)
    for _ in range(semivalue.num_players - 1):
        sizes = np.concatenate([sizes, sizes + 1])
    return (weights / np.bincount(sizes))[sizes]


def _checked(values: ArrayLike, masks: np.ndarray) -> np.ndarray:
    values = np.asarray(values)
    if values.shape != masks.shape[:1]:
        raise InputError(
            f"expected {len(masks)} values for {len(masks)} coalitions from the value "
            f"function, shape ({len(masks)},), got shape {values.shape}"
        )
    values = as_real(values, "the value function")
    bad = np.flatnonzero(~np.isfinite(values))
    if bad.size:
        members = np.flatnonzero(masks[bad[0]]).tolist()
        raise InputError(
            f"expected finite values from the value function, got {values[bad[0]]} for "
            f"the coalition {members}: look at the metric for a logarithm of zero or a "
            "division by zero"
        )
    return values
