"""Maximum sample reuse: every coalition tells something about every player."""

import numpy as np

from gamepruning.coalitions.estimators import sampling
from gamepruning.coalitions.estimators.base import (
    SKEW,
    Estimate,
    Estimator,
    Problem,
    SampleCost,
    State,
    append,
    check_seen,
    effective_number,
    least_seen,
    nothing_seen,
    observed_freedom,
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
    sums = np.zeros((2, 2, 5, n))  # half, out or in, powers of v, player
    for start, stop in sampling.blocks(len(values), n):
        masks = sampling.coalitions(*problem, start, stop)
        centred = values[start:stop] - level
        powers = np.stack([centred**power for power in range(5)])
        for half in (0, 1):
            own = slice((half - start) % 2, None, 2)
            sums[half, 0] += powers[:, own] @ ~masks[own]
            sums[half, 1] += powers[:, own] @ masks[own]
    value, stderr, support = _difference(sums.sum(axis=0))
    halves = np.array([_difference(half)[0] for half in sums])
    found = Estimate(value, stderr, halves, support)
    return found if np.ptp(values) else nothing_seen(found)


def _difference(sums: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Difference of the two means, its standard error, and what that rests on."""
    count, total, square, cube, fourth = sums.swapaxes(0, 1)
    mean = total / np.maximum(count, 1)
    spread = np.maximum(square - count * mean**2, 0.0)
    higher = fourth - 4 * mean * cube + 6 * mean**2 * square - 3 * count * mean**4
    weight = 1 / np.maximum(count - 1, 1) / np.maximum(count, 1)
    variance = (spread * weight).sum(axis=0)
    higher = (np.maximum(higher, 0.0) * weight**2).sum(axis=0)
    support = effective_number(variance, higher)
    observed = observed_freedom(support, count.sum(axis=0), skew=SKEW)
    freedom = np.minimum(count.min(axis=0) - 1, observed)
    return mean[1] - mean[0], np.sqrt(variance) * widening(freedom), support
