"""Power by who wins: the indices of Deegan and Packel, and of Johnston.

Both share out the power of each coalition that matters among those who matter in it.
They need a simple game, in which a coalition wins or does not; `threshold_game` makes
one of any performance.
"""

import numpy as np
from jaxtyping import ArrayLike, Bool, Float

from gamepruning.coalitions.exact import MAX_PLAYERS, all_coalitions, all_values
from gamepruning.coalitions.games import (
    coalition_values,
    count_players,
    evaluation_seconds,
    is_deterministic,
    processes_of,
)
from gamepruning.types import InputError, Scores, ValueFn


class ThresholdGame:
    """A simple game, made by `threshold_game`.

    Attributes:
      num_players: N.
      quota: the value that wins.
      is_deterministic, evaluation_seconds, processes: those of the performance.
    """

    def __init__(self, value_fn: ValueFn, quota: float, num_players: int):
        self._value_fn, self.quota, self.num_players = value_fn, quota, num_players
        self.is_deterministic = is_deterministic(value_fn)
        self.evaluation_seconds = evaluation_seconds(value_fn)
        self.processes = processes_of(value_fn)

    def __repr__(self) -> str:
        return f"ThresholdGame({self.num_players} players, quota {self.quota:g})"

    def __call__(self, masks: ArrayLike) -> Float[np.ndarray, " S"]:
        """1 for each coalition, bool [S, N], whose value is the quota or more.

        Raises:
          InputError: a value is not a number.
        """
        values = coalition_values(self._value_fn, np.asarray(masks))
        return (values >= self.quota).astype(float)


def threshold_game(
    value_fn: ValueFn, quota: float, num_players: int | None = None
) -> ThresholdGame:
    """The simple game in which a coalition wins with a value of at least a quota.

    Args:
      value_fn: bool [S, N] -> float [S], such as an accuracy.
      quota: the value that wins.
      num_players: N; needed only where `value_fn` has no `num_players`.

    Raises:
      InputError: N is unknown, or the quota is not finite.

    Example:
      >>> wins = threshold_game(lambda masks: masks @ [0.5, 0.3, 0.3], 0.6, 3)
      >>> wins(np.array([[True, True, False], [True, False, False]])).tolist()
      [1.0, 0.0]
    """
    if not np.isfinite(quota):
        raise InputError(f"expected a finite quota, got {quota}")
    return ThresholdGame(value_fn, quota, count_players(value_fn, num_players))


def deegan_packel(
    value_fn: ValueFn,
    num_players: int | None = None,
    *,
    max_players: int = MAX_PLAYERS,
) -> Scores:
    """The Deegan-Packel index: minimal winning coalitions share their power equally.

    DP_i = 1/|M| sum of 1/|S| over the S in M with i, where M are the coalitions that
    win and in which everybody is needed.

    Args:
      value_fn: a simple game, bool [S, N] -> 0 or 1 [S].
      num_players: N; needed only where `value_fn` has no `num_players`.
      max_players: the largest N that is accepted.

    Returns:
      `Scores`, exact; they sum to 1. Cost: 2^N evaluations.

    Raises:
      InputError: N is unknown or above `max_players`, or the game is not simple: other
        values than 0 and 1, nobody wins, or a player turns a win into a loss.

    Example: the Security Council of the United Nations, 5 permanent members and 10.
      >>> from gamepruning.coalitions.voting import voting_game
      >>> council = voting_game(39, [7] * 5 + [1] * 10)
      >>> deegan_packel(council).value[[0, 5]].round(4).tolist()
      [0.1111, 0.0444]

    References:
      Deegan and Packel, International Journal of Game Theory 7 (1978).
    """
    game = _needed(value_fn, num_players, max_players)
    is_minimal = game.wins & ~(game.critical ^ game.masks).any(axis=1)
    return _shared_out(game, is_minimal)


def johnston(
    value_fn: ValueFn,
    num_players: int | None = None,
    *,
    max_players: int = MAX_PLAYERS,
) -> Scores:
    """The Johnston index: vulnerable coalitions share among those they cannot spare.

    J_i = 1/|V| sum of 1/c(S) over the S in V for which i is critical, where V are the
    winning coalitions with somebody critical, and c(S) says how many are.

    Args:
      value_fn: a simple game, bool [S, N] -> 0 or 1 [S].
      num_players: N; needed only where `value_fn` has no `num_players`.
      max_players: the largest N that is accepted.

    Returns:
      `Scores`, exact; they sum to 1. Cost: 2^N evaluations.

    Raises:
      InputError: as in `deegan_packel`.

    Example: the Security Council of the United Nations, 5 permanent members and 10.
      >>> from gamepruning.coalitions.voting import voting_game
      >>> council = voting_game(39, [7] * 5 + [1] * 10)
      >>> johnston(council).value[[0, 5]].round(4).tolist()
      [0.178, 0.011]

    References:
      Johnston, Environment and Planning A 10 (1978).
    """
    game = _needed(value_fn, num_players, max_players)
    return _shared_out(game, game.critical.sum(axis=1) > 0)


class _Needed:
    """All coalitions of a simple game, which of them win, and who is critical."""

    def __init__(self, values: Float[np.ndarray, " S"], num: int):
        self.masks: Bool[np.ndarray, "S N"] = all_coalitions(num, 0, len(values))
        self.wins: Bool[np.ndarray, " S"] = values == 1
        self.critical = np.zeros_like(self.masks)
        for player in range(num):
            without, within = np.moveaxis(self.wins.reshape(2**player, 2, -1), 1, 0)
            if (without & ~within).any():
                raise InputError(
                    f"expected a simple game: player {player} turns a winning "
                    "coalition into a losing one, and an index of power says nothing "
                    "where joining can do harm"
                )
            critical = self.critical[:, player].reshape(2**player, 2, -1)
            critical[:, 1] = within & ~without


def _needed(value_fn: ValueFn, num_players: int | None, max_players: int) -> _Needed:
    num = count_players(value_fn, num_players)
    values = all_values(value_fn, num, max_players=max_players)
    others = values[(values != 0) & (values != 1)]
    if others.size:
        raise InputError(
            f"expected a simple game, whose coalitions are worth 0 or 1, got "
            f"{others[0]:g}: threshold_game(value_fn, quota) makes one of a performance"
        )
    if values[0] or not values[-1]:
        raise InputError(
            "expected a simple game in which everybody together wins and nobody alone "
            f"does not, got {values[-1]:g} and {values[0]:g}: choose another quota"
        )
    return _Needed(values, num)


def _shared_out(game: _Needed, counts: Bool[np.ndarray, " S"]) -> Scores:
    """Each coalition that counts is shared out evenly among those critical in it."""
    critical = game.critical[counts]
    shares = critical / critical.sum(axis=1, keepdims=True)
    return Scores(shares.mean(axis=0), np.zeros(shares.shape[1]), len(game.masks))
