"""About how much work a selection is, before it is played."""

import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from gamepruning.coalitions.games import (
    coalition_values,
    count_players,
    toggle_values,
)
from gamepruning.selection.settings import Pace
from gamepruning.types import ValueFn

ATTEMPTS = 6  # exchanges that a round tries where it may make some


class Work(NamedTuple):
    """About what a selection costs.

    Attributes:
      evaluations: coalitions evaluated, or pulls.
      toggles: coalitions with each of their N players toggled.
      operations: floating-point operations of regressions, beside the evaluations.
    """

    evaluations: int
    toggles: int
    operations: float


class Speed(NamedTuple):
    """How fast a game is played on this machine, in seconds.

    Attributes:
      evaluation: of a coalition.
      toggles: of a coalition with each player toggled.
    """

    evaluation: float
    toggles: float


def players_scored(
    num_players: int, n: int, step: int | float, *, is_building: bool
) -> list[int]:
    """How many players each round of an iterated selection scores.

    Args:
      num_players: N.
      n: players in at the end.
      step: players decided on in a round, or a fraction of those who are in.
      is_building: True if players come, False if they leave.

    Example:
      >>> players_scored(8, 5, 1, is_building=False)
      [8, 7, 6]
      >>> players_scored(8, 3, 1, is_building=True)
      [8, 7, 6]
    """
    pace, scored, inside = Pace(n, step), [], 0 if is_building else num_players
    while inside != n:
        scored.append(num_players - inside if is_building else inside)
        inside += pace.count(inside) if is_building else -pace.count(inside)
    return scored


def expected_work(
    scored: Sequence[int],
    budgets: Sequence[int],
    *,
    solves: bool = True,
    has_swaps: bool = False,
) -> Work:
    """About what rounds cost that score so many players with such budgets.

    Regressions take 4 R M^2 + 30 M^3 operations for R coalitions of M players. An
    exchange takes two times all toggles; a round tries some.

    Args:
      scored: players that each round scores.
      budgets: evaluations or pulls of each round, as many.
      solves: True if each round ends in a regression.
      has_swaps: True if rounds may exchange players.

    Example:
      >>> expected_work([3, 2], [30, 20], solves=False)
      Work(evaluations=50, toggles=0, operations=0.0)
      >>> expected_work([10], [100], has_swaps=True)
      Work(evaluations=100, toggles=12, operations=70000.0)
    """
    toggles = 2 * ATTEMPTS * len(scored) if has_swaps else 0
    rounds = zip(scored, budgets, strict=True)
    operations = float(sum(4 * r * m**2 + 30 * m**3 for m, r in rounds))
    return Work(sum(budgets), toggles, operations if solves else 0.0)


def measure_speed(value_fn: ValueFn, *, num_players: int | None = None) -> Speed:
    """How fast a game is played once everything is compiled: the best of two calls.

    Args:
      value_fn: coalitions, bool [S, N] -> values [S].
      num_players: N, where `value_fn` does not say.

    Cost: three calls with 64 coalitions, and three with the toggles of one.
    """
    total = count_players(value_fn, num_players)
    masks = np.asarray(jax.random.bernoulli(jax.random.key(0), 0.5, (64, total)))
    one = _seconds(lambda: coalition_values(value_fn, masks)) / len(masks)
    return Speed(one, _seconds(lambda: toggle_values(value_fn, masks[:1])))


def _seconds(call: Callable[[], Any]) -> float:
    taken = []
    for _ in range(3):
        start = time.perf_counter()
        call()
        taken.append(time.perf_counter() - start)
    return min(taken[1:])
