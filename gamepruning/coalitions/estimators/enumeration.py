"""Small games: all coalitions, as often as the budget allows."""

import numpy as np

from gamepruning.coalitions.estimators import sampling
from gamepruning.coalitions.estimators.base import (
    Estimate,
    Estimator,
    Problem,
    SampleCost,
    State,
    append,
    widening,
)
from gamepruning.coalitions.exact import (
    all_coalitions,
    coalition_weights,
    semivalue_of,
)
from gamepruning.coalitions.games import coalition_values, coalitions_at_once
from gamepruning.coalitions.semivalues import Semivalue
from gamepruning.types import ValueFn

_MOST = 16  # players: 65,536 coalitions


def enumeration() -> Estimator:
    """The exact index from all 2^N coalitions, where the budget pays for them.

    A deterministic game is valued once, any other at least twice: what its values
    differ by is noise, of one size for all coalitions, and the only error. Where a
    settled ranking ends it early, whole turns count. Cost: 1 evaluation a sample;
    memory of order m. Up to 16 players.
    """
    return Estimator(
        misfit=_misfit,
        cost=_cost,
        init=lambda problem, value_fn, num_samples: {"values": np.zeros(0)},
        update=_update,
        finish=_finish,
        preference=-2,
    )


def _misfit(semivalue: Semivalue) -> str | None:
    if semivalue.num_players <= _MOST:
        return None
    return f"it values all 2^N coalitions, of up to {_MOST} players"


def _cost(semivalue: Semivalue) -> SampleCost:
    if _misfit(semivalue):
        return SampleCost(0, 1, 2**62)
    count = 2**semivalue.num_players
    return SampleCost(0, 1, 2 * count, whole=count)


def _update(
    problem: Problem, value_fn: ValueFn, state: State, start: int, stop: int
) -> State:
    n, at_once = problem.num_players, coalitions_at_once(value_fn)
    every = all_coalitions(n, 0, 2**n)
    for first, last in sampling.pieces(start, stop, n, at_once):
        masks = every[np.arange(first, last) % len(every)]
        state = append(state, "values", coalition_values(value_fn, masks))
    return state


def _finish(problem: Problem, state: State) -> Estimate:
    semivalue, count = problem.semivalue, 2**problem.num_players
    values = state["values"]
    turns = values[: len(values) // count * count].reshape(-1, count)
    halves = turns if len(turns) == 1 else (turns[::2], turns[1::2])
    value, *both = (
        semivalue_of(np.atleast_2d(part).mean(axis=0), semivalue)
        for part in (turns, halves[0], halves[-1])
    )
    freedom = (len(turns) - 1) * count
    noise = np.nan
    stderr = np.zeros(problem.num_players)
    if freedom:
        noise = float(np.sqrt(turns.var(axis=0).sum() * len(turns) / freedom))
        squares = 2 * np.square(coalition_weights(semivalue)).sum()
        stderr += noise * np.sqrt(squares / len(turns)) * widening(freedom)
    support = np.full(problem.num_players, float(turns.size))
    return Estimate(value, stderr, np.array(both), support, noise)
