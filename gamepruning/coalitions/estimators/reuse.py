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
from gamepruning.coalitions.estimators.draws import Draws
from gamepruning.coalitions.games import coalition_values, coalitions_at_once
from gamepruning.types import ValueFn

_TIMES = 4


def sample_reuse() -> Estimator:
    """Mean value of the coalitions with player i, less that of those without it.

    phi_i = mean(v | i in) - mean(v | i out); S ~ Bernoulli(p)^N. A ratio of sums, so
    that a constant added to v changes nothing; unbiased given how often i is in.
    Var_i = Var(v | in) / m_in + Var(v | out) / m_out. Above 4096 players v less what
    its size explains is what is compared, v - b |S|, and b added again: in large
    networks that is most of the variance, and the bias is of order 1 / (m N). Cost: 1
    evaluation a sample; memory of order N + m.

    References:
      Diaz-Ortiz et al., arXiv 2311.10468, footnote 5. Wang and Jia, Data Banzhaf,
      arXiv 2205.15466, section 4.
    """
    return Estimator(
        misfit=only_banzhaf,
        cost=lambda semivalue: SampleCost(0, 1, 2 * _TIMES),
        init=_init,
        update=value_more,
        finish=_finish,
        preference=2,
    )


def _init(problem: Problem, value_fn: ValueFn, num_samples: int) -> State:
    del value_fn
    require_seen(problem, num_samples, _TIMES)
    return nothing_drawn(problem)


def nothing_drawn(problem: Problem) -> State:
    """No values yet; of very many players the sizes of coalitions are kept, too."""
    state = {"values": np.zeros(0)}
    return state | {"sizes": np.zeros(0)} if sampling.is_wide(problem) else state


def require_seen(problem: Problem, num_samples: int, times: int) -> None:
    """Refuse to begin where a player will be in, or out, too seldom."""
    counts, seen = np.zeros(problem.num_players), 0
    for start, stop in sampling.blocks(num_samples, problem.num_players):
        counts += sampling.coalitions(*problem, start, stop).sum(axis=0)
        seen = stop
        if np.minimum(counts, seen - counts).min() >= times:
            return
    check_seen(counts, seen, times, least_seen(problem.semivalue, times))


def value_more(
    problem: Problem, value_fn: ValueFn, state: State, start: int, stop: int
) -> State:
    """The state with the values of coalitions number start..stop-1."""
    n, at_once = problem.num_players, coalitions_at_once(value_fn)
    for first, last in sampling.pieces(start, stop, n, at_once):
        masks = sampling.coalitions(*problem, first, last)
        state = append(state, "values", coalition_values(value_fn, masks))
        if "sizes" in state:
            state = append(state, "sizes", masks.sum(axis=1, dtype=float))
    return state


def _finish(problem: Problem, state: State) -> Estimate:
    values, slope = state["values"], 0.0
    if sampling.is_wide(problem):
        slope = _slope(state["sizes"], values)
        sums = _sums_inside(problem, values - slope * state["sizes"])
    else:
        sums = _sums(problem, values)
    value, stderr, support = _difference(sums.sum(axis=0))
    halves = np.array([_difference(half)[0] for half in sums])
    found = Estimate(value + slope, stderr, halves + slope, support)
    return found if np.ptp(values) else nothing_seen(found)


def _slope(sizes: np.ndarray, values: np.ndarray) -> float:
    """What a member adds in the mean, by least squares."""
    apart = sizes - sizes.mean()
    return float(apart @ (values - values.mean()) / max(apart @ apart, 1.0))


def _sums_inside(problem: Problem, values: np.ndarray) -> np.ndarray:
    """`_sums` of very many players: coalitions are drawn where they are summed."""
    centred = values - values.mean()
    scale = np.abs(centred).max() or 1.0
    powers = np.stack([(centred / scale) ** power for power in range(5)])
    own = np.arange(2)[:, None] == np.arange(len(values)) % 2
    terms = own[:, None] * powers  # half, powers of v, sample
    inside = Draws(*problem).transposed(terms.reshape(10, -1).T).T
    inside = inside.reshape(2, 5, problem.num_players)
    outside = terms.sum(axis=2)[:, :, None] - inside
    sums = np.stack([outside, inside], axis=1)
    return sums * scale ** np.arange(5.0)[:, None]


def _sums(problem: Problem, values: np.ndarray) -> np.ndarray:
    """Sums over the samples: half, out or in, powers of v, player."""
    n, level = problem.num_players, values.mean()
    sums = np.zeros((2, 2, 5, n))
    for start, stop in sampling.blocks(len(values), n):
        masks = sampling.coalitions(*problem, start, stop)
        centred = values[start:stop] - level
        powers = np.stack([centred**power for power in range(5)])
        for half in (0, 1):
            own = slice((half - start) % 2, None, 2)
            sums[half, 0] += powers[:, own] @ ~masks[own]
            sums[half, 1] += powers[:, own] @ masks[own]
    return sums


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
    stderr = np.sqrt(variance) * widening(freedom)
    stderr = np.where(count.min(axis=0) < 2, np.inf, stderr)  # one value has no spread
    return mean[1] - mean[0], stderr, support
