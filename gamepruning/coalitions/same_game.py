"""A game known again by a few of its values: whether a checkpoint is of it."""

from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float

from gamepruning.coalitions.estimators.base import Problem
from gamepruning.coalitions.estimators.sampling import orders
from gamepruning.coalitions.games import coalition_values, is_deterministic
from gamepruning.types import InputError, ValueFn

_COALITIONS = 8
_APART = 0.05  # of the range of the values: what another device may make of it
_TIMES_NOISE = 10


def first_values(problem: Problem, value_fn: ValueFn) -> Float[np.ndarray, " 8"]:
    """Values that tell a game from others: of coalitions that follow from the key.

    Cost: 8 evaluations.
    """
    return coalition_values(value_fn, _coalitions(problem))


def check_game(
    path: Path,
    problem: Problem,
    value_fn: ValueFn,
    before: Float[np.ndarray, " 8"],
) -> None:
    """Refuse a checkpoint of another game.

    Half of the values or more have to be other ones, by more than the noise of the game
    and a twentieth of their range.

    Args:
      path: the checkpoint.
      problem: the key and the index.
      value_fn: the game.
      before: `first_values` of the checkpoint's game.

    Raises:
      InputError: it is another game.

    Cost: 8 evaluations, 16 unless the game says that it is deterministic.
    """
    now, noise = first_values(problem, value_fn), 0.0
    if not is_deterministic(value_fn):
        noise = np.median(np.abs(now - first_values(problem, value_fn)))
    spread = np.ptp(np.concatenate([before, now]))
    apart = np.abs(now - before)
    if np.median(apart) > max(_APART * spread, _TIMES_NOISE * noise):
        worst = int(apart.argmax())
        raise InputError(
            f"checkpoint {path} is of another game: a coalition is worth "
            f"{before[worst]:.6g} there and {now[worst]:.6g} here; give each game a "
            "file of its own"
        )


def _coalitions(problem: Problem) -> Bool[np.ndarray, "8 N"]:
    """From nobody to everybody, players in random orders."""
    num = problem.num_players
    place = np.argsort(orders(problem.key, num, 0, _COALITIONS), axis=1)
    sizes = np.round(np.linspace(0, num, _COALITIONS)).astype(int)
    return place < sizes[:, None]
