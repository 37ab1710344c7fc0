"""Maximum sample reuse: every coalition tells something about every player."""

import numpy as np

from gamepruning.coalitions.estimators import sampling
from gamepruning.coalitions.estimators.base import (
    Estimate,
    Estimator,
    Problem,
    SampleCost,
    State,
    append,
    check_seen,
    least_seen,
    only_banzhaf,
    widening,
)
from gamepruning.coalitions.games import coalition_values
from gamepruning.types import ValueFn

_TIMES = 4


def sample_reuse() -> Estimator:
    """Mean value of the coalitions with player i, less that of those without it.

    phi_i = mean(v | i in) - mean(v | i out); S ~ Bernoulli(p)^N. A ratio of sums, so
    that a constant added to v changes nothing; unbiased given how often i is in.
    Var_i = Var(v | in) / m_in + Var(v | out) / m_out. Cost: 1 evaluation a sample.

    References:
      Diaz-Ortiz et al., arXiv 2311.10468, footnote 5. Wang and Jia, Data Banzhaf,
      arXiv 2205.15466, section 4.
    """
    return Estimator(
        misfit=only_banzhaf,
        cost=lambda semivalue: SampleCost(0, 1, 2 * _TIMES),
        init=_init,
        update=_update,
        finish=_finish,
        preference=2,
    )


def _init(problem: Problem, value_fn: ValueFn, num_samples: int) -> State:
    del value_fn
    require_seen(problem, num_samples, _TIMES)
    return {"values": np.zeros(0)}


def require_seen(problem: Problem, num_samples: int, times: int) -> None:
    """Refuse to begin where a player will be in, or out, too seldom."""
    counts, seen = np.zeros(problem.num_players), 0
    for start, stop in sampling.blocks(num_samples, problem.num_players):
        counts += sampling.coalitions(*problem, start, stop).sum(axis=0)
        seen = stop
        if np.minimum(counts, seen - counts).min() >= times:
            return
    check_seen(counts, seen, times, least_seen(problem.semivalue, times))


def _update(
    problem: Problem, value_fn: ValueFn, state: State, start: int, stop: int
) -> State:
    masks = sampling.coalitions(*problem, start, stop)
    return append(state, "values", coalition_values(value_fn, masks))


def _finish(problem: Problem, state: State) -> Estimate:
    values, n = state["values"], problem.num_players
    level = values.mean()
    sums = np.zeros((2, 2, 3, n))  # half, out or in, powers of v, player
    for start, stop in sampling.blocks(len(values), n):
        masks = sampling.coalitions(*problem, start, stop)
        centred = values[start:stop] - level
        powers = np.stack([np.ones_like(centred), centred, centred**2])
        for half in (0, 1):
            own = slice((half - start) % 2, None, 2)
            sums[half, 0] += powers[:, own] @ ~masks[own]
            sums[half, 1] += powers[:, own] @ masks[own]
    value, stderr = _difference(sums.sum(axis=0))
    halves = np.array([_difference(half)[0] for half in sums])
    return Estimate(value, stderr, halves)


def _difference(sums: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Difference of the two means, and its standard error."""
    count, total, square = sums[:, 0], sums[:, 1], sums[:, 2]
    mean = total / np.maximum(count, 1)
    spread = np.maximum(square - count * mean**2, 0.0)
    variance = spread / np.maximum(count - 1, 1) / np.maximum(count, 1)
    stderr = np.sqrt(variance.sum(axis=0)) * widening(count.min(axis=0) - 1)
    return mean[1] - mean[0], stderr
