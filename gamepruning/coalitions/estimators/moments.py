"""Running moments of rows, one row a sample, apart for even and odd samples."""

from typing import NamedTuple

import numpy as np

from gamepruning.coalitions.estimators.base import (
    Estimate,
    State,
    effective_number,
    observed_freedom,
    widening,
)

_SUMS = ("count", "mean", "square", "cube", "fourth")


class _Moments(NamedTuple):
    """How many rows, their mean, and sums of powers of the deviations from it."""

    num: np.ndarray
    mean: np.ndarray
    square: np.ndarray
    cube: np.ndarray
    fourth: np.ndarray


def init(num_players: int) -> State:
    """No rows yet."""
    count = {"count": np.zeros(2)}
    return count | {name: np.zeros((2, num_players)) for name in _SUMS[1:]}


def fold(state: State, rows: np.ndarray, start: int) -> State:
    """Add rows one by one: the result is the same however they are cut.

    Args:
      state: as `init` makes it.
      rows: float [S, N], an unbiased estimate each.
      start: the number of the first row's sample.

    References:
      Pebay, Sandia report SAND2008-6212, equations 1.5 to 1.7.
    """
    count, mean, square, cube, fourth = (state[k].copy() for k in _SUMS)
    for number, row in enumerate(rows, start):
        half = number % 2
        count[half] += 1
        n, change = count[half], row - mean[half]
        step = change / n
        mean[half] += step
        added = change * (row - mean[half])
        fourth[half] += step * (
            added * step * (n**2 - 3 * n + 3) + 6 * step * square[half] - 4 * cube[half]
        )
        cube[half] += step * (added * (n - 2) - 3 * square[half])
        square[half] += added
    found = count, mean, square, cube, fourth
    return {**state, **dict(zip(_SUMS, found, strict=True))}


def finish(state: State) -> Estimate:
    """Mean and standard error of the mean; rows are independent of each other."""
    count, mean = state["count"], state["mean"]
    total = count.sum()
    value = mean[0] + (mean[1] - mean[0]) * (count[1] / total)
    square, fourth = _together(state)
    support = effective_number(square, fourth)
    stderr = np.sqrt(square / (total - 1) / total) * widening(freedom(state))
    return Estimate(value, stderr, mean, support)


def freedom(state: State) -> np.ndarray:
    """Degrees of freedom of the standard errors, [N]."""
    total = state["count"].sum()
    support = effective_number(*_together(state))
    return np.minimum(total - 1, observed_freedom(support, total))


def _together(state: State) -> tuple[np.ndarray, np.ndarray]:
    """Sums of the second and fourth powers of all rows' deviations."""
    a, b = (_Moments(*(state[name][half] for name in _SUMS)) for half in (0, 1))
    total, apart = a.num + b.num, b.mean - a.mean
    share = a.num * b.num / total
    square = a.square + b.square + apart**2 * share
    fourth = a.fourth + b.fourth
    fourth += apart**4 * share * (a.num**2 - a.num * b.num + b.num**2) / (total**2)
    squares = a.num**2 * b.square + b.num**2 * a.square
    fourth += 6 * apart**2 * squares / total**2
    fourth += 4 * apart * (a.num * b.cube - b.num * a.cube) / total
    return square, np.maximum(fourth, 0.0)
