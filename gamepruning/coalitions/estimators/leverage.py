"""Shapley values by regression on pairs of complements, centred by size."""

from collections.abc import Iterator

import numpy as np

from gamepruning.coalitions.estimators import ends, ridge, sampling, wide_ridge
from gamepruning.coalitions.estimators.base import (
    Estimate,
    Estimator,
    Problem,
    SampleCost,
    State,
    append,
    are_repeated,
    only_shapley,
)
from gamepruning.coalitions.estimators.draws import Draws
from gamepruning.coalitions.estimators.pairs import pair_values
from gamepruning.coalitions.semivalues import Semivalue
from gamepruning.types import ValueFn

_PROFILE_TERMS = 4


def leverage() -> Estimator:
    """KernelSHAP's regression, sizes drawn uniformly, in pairs, centred by size.

    Sizes s are uniform on 1..N-1 (above 4096 players t is, and each joins with
    probability t); the half differences of complements are regressed on z - s/N and on
    an odd polynomial of degree 9 in 2s/N - 1 that is right at both ends, with weights
    1 / (s (N - s)); (v(N) - v(nobody)) / N is added to every slope, so that the values
    sum exactly to v(N) - v(nobody). The polynomial changes nothing in the mean and much
    in the variance where v follows the size of the coalition.
    Bias: of order 1/m, as of all least squares, and, below 3 pairs a player, that of
    the penalty, which is part of the standard error (see `ridge.fit`). Cost: 2
    evaluations a sample, and 2; unless the game is deterministic, 2 more after every N
    samples, which tell the noise of v(N) and v(nobody).

    References:
      Lundberg and Lee, arXiv 1705.07874, theorem 2. Musco and Witter, Leverage SHAP,
      arXiv 2410.01917, algorithm 1. Covert and Lee, arXiv 2012.01536 (pairs).
    """
    return Estimator(
        misfit=only_shapley,
        cost=_cost,
        init=_init,
        update=_update,
        finish=_finish,
        preference=0,
        work=lambda num_players, budget: wide_ridge.work(budget // 2, num_players),
    )


def _cost(semivalue: Semivalue) -> SampleCost:
    n = semivalue.num_players
    if n == 1:
        return SampleCost(2, 0, 2, 1)
    return SampleCost(2, 2, n + 1 + _num_terms(n), n)


def _num_terms(n: int) -> int:
    """Terms of the profile: fewer than there are sizes above N / 2."""
    return max(0, min(_PROFILE_TERMS, (n - 1) // 2 - 1))


def _init(problem: Problem, value_fn: ValueFn, num_samples: int) -> State:
    del num_samples
    return {
        "ends": ends.init(value_fn, problem.num_players),
        "values": np.zeros((0, 3)),
    }


def _update(
    problem: Problem, value_fn: ValueFn, state: State, start: int, stop: int
) -> State:
    if are_repeated(value_fn, is_incremental=False):
        repeats = _cost(problem.semivalue).num_repeats(stop)
        known = ends.repeat(state["ends"], value_fn, problem.num_players, repeats)
        state = {**state, "ends": known}
    if problem.num_players == 1:
        return state
    for first, last in sampling.pieces(start, stop, problem.num_players):
        if sampling.is_wide(problem):
            masks = Draws(*problem).masks(first, last)
        else:
            own = problem.key, problem.num_players
            masks = sampling.sized_coalitions(*own, first, last)
        state = append(state, "values", pair_values(value_fn, masks))
    return state


def _finish(problem: Problem, state: State) -> Estimate:
    n, found = problem.num_players, ends.rise(state["ends"])
    if n == 1:
        return ends.alone(found)
    values, sizes = state["values"][:, :2], state["values"][:, 2]
    inside = np.clip(sizes, 1, n - 1)  # of very many players a few rows are ends
    weight = np.sqrt(n / (inside * (n - inside))) * (sizes == inside)
    place = 2 * sizes / n - 1
    odd = (values[:, 0] - values[:, 1]) / 2 - place * found.value / 2
    odd, profile = weight * odd, weight[:, None] * _profile(place, n)

    def rows() -> Iterator[ridge.Equations]:
        for start, stop in sampling.blocks(len(values), n):
            these = slice(start, stop)
            masks = sampling.sized_coalitions(problem.key, n, start, stop)
            x = weight[these, None] * (masks - sizes[these, None] / n)
            yield ridge.Equations(x, profile[these], odd[these], start)

    if sampling.is_wide(problem):
        wide = wide_ridge.Rows(sizes / n, weight, sizes, profile, odd)
        fit = wide_ridge.fit(Draws(*problem), wide, has_total=False)
    else:
        fit = ridge.fit(rows, n, profile.shape[1], has_total=False)
    share = found.value / n
    whole = fit.estimate._replace(
        value=fit.estimate.value + share, halves=fit.estimate.halves + share
    )
    return ends.add_noise(whole, found, fit.freedom)


def _profile(place: np.ndarray, n: int) -> np.ndarray:
    """Odd polynomials of the size, from -1 (nobody) to 1 (everybody), 0 at both."""
    even = np.polynomial.legendre.legvander(2 * place**2 - 1, _num_terms(n))
    return (place * (1 - place**2))[:, None] * even[:, : _num_terms(n)]
