"""Banzhaf indices as the slopes of the best linear fit to the value function.

Under S ~ Bernoulli(p)^N the population slope of player i is exactly beta_p(i), and the
variance is only that of what the fit leaves over.
"""

from collections.abc import Iterator

import numpy as np

from gamepruning.coalitions.estimators import pairs, ridge, sampling, wide_ridge
from gamepruning.coalitions.estimators.base import (
    Estimate,
    Estimator,
    Problem,
    SampleCost,
    State,
    bias_of,
    nothing_seen,
    only_banzhaf,
)
from gamepruning.coalitions.estimators.draws import Draws
from gamepruning.coalitions.estimators.reuse import (
    nothing_drawn,
    require_seen,
    value_more,
)
from gamepruning.coalitions.semivalues import Semivalue
from gamepruning.types import ValueFn


def regression() -> Estimator:
    """Ridge regression of v on membership, coalitions drawn independently.

    Var_i ~ sigma_r^2 / ((m - N - 1) p (1 - p)), sigma_r^2 = what a linear fit leaves.
    Bias: below 3 coalitions a player a penalty draws the players towards their mean;
    its expected square is part of the standard error (see `ridge.fit`), which is then
    right on average over players and games only. Above, none but that of least
    squares, of order 1/m. Where all values are equal the standard error is infinite:
    that much is known of swings that no coalition drawn has shown. An additive game
    comes out exactly from N + 2 coalitions that tell all players apart. Cost: 1
    evaluation a sample.

    References:
      Liu et al., Kernel Banzhaf, arXiv 2410.08336, for p = 1/2; Marichal and Mathonet,
      Weighted Banzhaf power and interaction indexes, EJOR 211 (2011), for any p.
    """
    return Estimator(
        misfit=only_banzhaf,
        cost=lambda semivalue: SampleCost(0, 1, semivalue.num_players + 2),
        init=_init,
        update=value_more,
        finish=_finish,
        preference=1,
        work=lambda num_players, budget: wide_ridge.work(budget, num_players),
    )


def paired_regression() -> Estimator:
    """Ridge regression of half differences of complements; p = 1/2 only.

    (v(S) - v(not S)) / 2 on z - 1/2: interactions of even order cancel. Where nine of
    ten of the first N + 20 pairs have the same sum, as in votes, two coalitions are
    drawn instead of each further pair (up to 4096 players). Bias and standard errors as
    for `regression`. Cost: 2 evaluations a sample.

    References:
      Covert and Lee, arXiv 2012.01536, section 3.2 (pairs); Liu et al., Kernel Banzhaf,
      arXiv 2410.08336.
    """
    return Estimator(
        misfit=_paired_misfit,
        cost=lambda semivalue: SampleCost(0, 2, semivalue.num_players + 1),
        init=_init_pairs,
        update=_update_pairs,
        finish=_finish_pairs,
        preference=0,
        work=lambda num_players, budget: wide_ridge.work(budget // 2, num_players),
        format=4,  # since pairs may be given up
    )


def _init(problem: Problem, value_fn: ValueFn, num_samples: int) -> State:
    del value_fn
    require_seen(problem, num_samples, 1)
    return nothing_drawn(problem)


def _finish(problem: Problem, state: State) -> Estimate:
    values, bias = state["values"], bias_of(problem.semivalue)
    level = values.mean()
    if sampling.is_wide(problem):
        wide = wide_ridge.RegressionRows(
            centre=np.full(len(values), bias),
            weight=np.ones(len(values)),
            sizes=state["sizes"],
            t=np.ones((len(values), 1)),
            y=values - level,
        )
        found = wide_ridge.fit(Draws(*problem), wide, has_total=True).estimate
        return found if np.ptp(values) else nothing_seen(found)

    def rows() -> Iterator[ridge.Equations]:
        for one in single_rows(problem, state):
            yield equations(problem, state, one)

    found = ridge.fit(rows, problem.num_players, 1, has_total=True).estimate
    return found if np.ptp(values) else nothing_seen(found)


def single_rows(problem: Problem, state: State) -> Iterator[pairs.ValuedCoalitions]:
    """All coalitions, drawn again, a block at a time."""
    for start, stop in sampling.blocks(len(state["values"]), problem.num_players):
        masks = sampling.coalitions(*problem, start, stop)
        yield pairs.ValuedCoalitions(masks, state["values"][start:stop], start)


def equations(
    problem: Problem, state: State, rows: pairs.ValuedCoalitions
) -> ridge.Equations:
    """Of coalitions that are drawn one by one."""
    y, one = rows.values - state["values"].mean(), np.ones((len(rows.values), 1))
    return ridge.Equations(rows.masks - bias_of(problem.semivalue), one, y, rows.start)


def _paired_misfit(semivalue: Semivalue) -> str | None:
    if semivalue.bias == 0.5:
        return None
    return "complements are equally likely for the Banzhaf index with bias 0.5 only"


def _init_pairs(problem: Problem, value_fn: ValueFn, num_samples: int) -> State:
    del value_fn, num_samples
    values = np.zeros((0, 3 if sampling.is_wide(problem) else 2))
    return {"values": values, **pairs.may_part(problem)}


def _update_pairs(
    problem: Problem, value_fn: ValueFn, state: State, start: int, stop: int
) -> State:
    return ALIKE.update(problem, value_fn, state, start, stop)


def _draw(problem: Problem, state: State, start: int, stop: int) -> np.ndarray:
    del state
    return sampling.coalitions(*problem, start, stop)


def alike(problem: Problem, state: State, rows: pairs.ValuedCoalitions) -> np.ndarray:
    """Weights of equations that count alike."""
    del problem, state
    return np.ones(len(rows.values))


def _equations(
    problem: Problem, state: State, rows: pairs.ValuedCoalitions
) -> ridge.Equations:
    """Of coalitions without their complements the level is not known."""
    y, t = rows.values, np.zeros((len(rows.values), 0))
    if pairs.is_single(state):
        y = y - rows.is_single * pairs.centre(problem, state)
        t = np.full((len(y), 1), float(rows.is_single))
    return ridge.Equations(rows.masks - 0.5, t, y, rows.start)


ALIKE = pairs.Pairing(_draw, alike, _equations)


def _finish_pairs(problem: Problem, state: State) -> Estimate:
    values = state["values"]
    if sampling.is_wide(problem):
        wide = wide_ridge.RegressionRows(
            centre=np.full(len(values), 0.5),
            weight=np.ones(len(values)),
            sizes=values[:, 2],
            t=np.zeros((len(values), 0)),
            y=(values[:, 0] - values[:, 1]) / 2,
        )
        found = wide_ridge.fit(Draws(*problem), wide, has_total=True).estimate
    else:
        found = ALIKE.fit(problem, state, has_total=True).estimate
    return found if np.ptp(values[:, :2]) else nothing_seen(found)
