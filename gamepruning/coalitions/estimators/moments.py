"""Running means of rows, one row a sample, apart for even and odd samples."""

import numpy as np

from gamepruning.coalitions.estimators.base import Estimate, State, widening


def init(num_players: int) -> State:
    """No rows yet."""
    return {
        "count": np.zeros(2),
        "mean": np.zeros((2, num_players)),
        "square": np.zeros((2, num_players)),
    }


def fold(state: State, rows: np.ndarray, start: int) -> State:
    """Add rows one by one (Welford): the result is the same however they are cut.

    Args:
      state: as `init` makes it.
      rows: float [S, N], an unbiased estimate each.
      start: the number of the first row's sample.
    """
    count, mean, square = (state[k].copy() for k in ("count", "mean", "square"))
    for number, row in enumerate(rows, start):
        half = number % 2
        count[half] += 1
        change = row - mean[half]
        mean[half] += change / count[half]
        square[half] += change * (row - mean[half])
    return {**state, "count": count, "mean": mean, "square": square}


def finish(state: State) -> Estimate:
    """Mean and standard error of the mean; rows are independent of each other."""
    count, mean = state["count"], state["mean"]
    total = count.sum()
    apart = mean[1] - mean[0]
    value = mean[0] + apart * (count[1] / total)
    square = state["square"].sum(axis=0) + apart**2 * count.prod() / total
    stderr = np.sqrt(square / (total - 1) / total) * widening(total - 1)
    return Estimate(value, stderr, mean)
