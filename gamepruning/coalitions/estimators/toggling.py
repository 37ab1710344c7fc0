"""Toggling: v with player i minus v without it, over random coalitions of the others.

Unbiased for every semivalue. A null player gets exactly 0, with a standard error of 0.
So does a player whose marginals happen to be equal in all samples, such as a voter who
is seldom decisive: `IndexEstimate.support` is 0 for both. Where nobody adds anything in
any sample, the standard errors are infinite.
"""

import functools

import numpy as np

from gamepruning.coalitions.estimators import moments, sampling
from gamepruning.coalitions.estimators.base import (
    Estimate,
    Estimator,
    Problem,
    SampleCost,
    State,
    fits_any,
    nothing_seen,
)
from gamepruning.coalitions.games import (
    coalition_values,
    coalitions_at_once,
    toggle_values,
)
from gamepruning.types import ValueFn


def toggle() -> Estimator:
    """Paired toggling: own coalitions for every player, 2 evaluations each.

    phi_i = mean_k v(S_ik + i) - v(S_ik - i), S_ik independent; a sample is one
    coalition for every player. Unbiased; Var_i = 2 N Var(Delta_i) / m. Cost: 2 N
    evaluations a sample.

    References:
      Diaz-Ortiz et al., arXiv 2311.10468, Algorithm 2.
    """
    return Estimator(
        misfit=fits_any,
        cost=lambda semivalue: SampleCost(0, 2 * semivalue.num_players, 2),
        init=lambda problem, value_fn, num: moments.init(problem.num_players),
        update=functools.partial(_update, _own_bases),
        finish=_finish,
        preference=4,
    )


def toggle_all() -> Estimator:
    """All single toggles of one coalition: N + 1 evaluations for N marginals.

    phi_i = mean_k +-(v(S_k) - v(S_k with i toggled)), + where i is in. Unbiased;
    Var_i = (N + 1) Var(Delta_i) / m; the players' errors are correlated. Cost: N + 1
    evaluations a sample, which an incremental value function makes cheap.
    """
    return Estimator(
        misfit=fits_any,
        cost=lambda semivalue: SampleCost(0, semivalue.num_players + 1, 2),
        init=lambda problem, value_fn, num: moments.init(problem.num_players),
        update=functools.partial(_update, _shared_base),
        finish=_finish,
        preference=3,
        is_incremental=True,
    )


def _update(
    marginals, problem: Problem, value_fn: ValueFn, state: State, start: int, stop: int
) -> State:
    rows = marginals(problem, value_fn, start, stop)
    return moments.fold(state, rows, start)


def _finish(problem: Problem, state: State) -> Estimate:
    del problem
    found = moments.finish(state)
    return found if found.value.any() or found.stderr.any() else nothing_seen(found)


def _own_bases(problem: Problem, value_fn: ValueFn, start: int, stop: int):
    n = problem.num_players
    added, at_once = [], -(-coalitions_at_once(value_fn) // 2)
    for first, last in sampling.pieces(start * n, stop * n, n, at_once):
        masks = sampling.coalitions(*problem, first, last)
        both = np.concatenate([masks, masks])
        rows, itself = np.arange(last - first), np.arange(first, last) % n
        both[rows, itself], both[len(rows) + rows, itself] = True, False
        having, lacking = np.split(coalition_values(value_fn, both), 2)
        added.append(having - lacking)
    return np.concatenate(added).reshape(stop - start, n)


def _shared_base(problem: Problem, value_fn: ValueFn, start: int, stop: int):
    masks = sampling.coalitions(*problem, start, stop)
    base, toggled = toggle_values(value_fn, masks)
    return np.where(masks, 1, -1) * (base[:, None] - toggled)
