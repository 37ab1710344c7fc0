"""Shapley values by regression on pairs of complements, centred by size."""

import numpy as np

from gamepruning.coalitions.estimators import ends, pairs, ridge, sampling, wide_ridge
from gamepruning.coalitions.estimators.base import (
    Estimate,
    Estimator,
    Problem,
    SampleCost,
    State,
    are_repeated,
    nothing_seen,
    only_shapley,
)
from gamepruning.coalitions.estimators.draws import Draws
from gamepruning.coalitions.semivalues import Semivalue
from gamepruning.types import ValueFn

SIZED_FORMAT = 4  # of checkpoints: since sizes are stratified
_PROFILE_TERMS = 4
_FOR_ALL = 0.4  # of the samples have sizes that are drawn alike
_WIDTH = 0.1  # of smoothing over |2 s / N - 1|
_WORTH = 0.75  # of the variance, or less, has to be left for other shares


def leverage() -> Estimator:
    """KernelSHAP's regression, sizes stratified, in pairs, centred by size.

    Every size s from 1 to N-1 comes once in N - 1 samples at first (above 4096 players
    t is uniform, and each joins with probability t); the half differences of
    complements are regressed on z - s/N and on an odd polynomial of degree 9 in 2s/N -
    1 that is right at both ends, with weights 1 / (s (N - s)); (v(N) - v(nobody)) / N
    is added to every slope, so that the values sum exactly to v(N) - v(nobody). The
    polynomial changes nothing in the mean and much in the variance where v follows the
    size of the coalition. Where nine of ten of the first N + 20 pairs have the same
    sum, as in votes, complements tell nothing new: two coalitions are drawn instead of
    each further pair, with even polynomials as well (up to 4096 players).

    Stratified sizes take away what the values of players vary between sizes, about 1/N
    of the error. Where the same pairs show that values vary much more at some sizes
    than at others, as in votes, whose outcome is open near the quota only, further
    samples have these sizes more often and weigh less: as often as the standard
    deviations (Neyman), mixed with two fifths of equal shares. The standard errors are
    those of drawn sizes, so a little too wide for few players: by a fifth for 5.

    Bias: of order 1/m, as of all least squares, and, below 3 pairs a player, that of
    the penalty, which is part of the standard error (see `ridge.fit`). Cost: 2
    evaluations a sample, and 2; unless the game is deterministic, 2 more after every N
    samples, which tell the noise of v(N) and v(nobody).

    References:
      Lundberg and Lee, arXiv 1705.07874, theorem 2. Musco and Witter, Leverage SHAP,
      arXiv 2410.01917, algorithm 1. Covert and Lee, arXiv 2012.01536 (pairs). Neyman,
      On the two different aspects of the representative method, JRSS 97 (1934).
    """
    return Estimator(
        misfit=only_shapley,
        cost=_cost,
        init=_init,
        update=_update,
        finish=_finish,
        preference=0,
        work=lambda num_players, budget: wide_ridge.work(budget // 2, num_players),
        format=SIZED_FORMAT,
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
        **pairs.may_part(problem),
        **({} if sampling.is_wide(problem) else {"shares": _alike(problem)}),
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
    return BY_SIZE.update(problem, value_fn, state, start, stop)


def _alike(problem: Problem) -> np.ndarray:
    """Equal shares of the sizes 1..N-1."""
    num = max(problem.num_players - 1, 1)
    return np.full(num, 1 / num)


def _draw(problem: Problem, state: State, start: int, stop: int) -> np.ndarray:
    if sampling.is_wide(problem):
        return Draws(*problem).masks(start, stop)
    is_early = start < pairs.num_judged(problem)
    shares = _alike(problem) if is_early else state["shares"]
    return sampling.stratified_coalitions(
        problem.key, problem.num_players, start, stop, shares
    )


def _weight(problem: Problem, state: State, rows: pairs.ValuedCoalitions) -> np.ndarray:
    """By size, and for sizes that are drawn more often than others the less."""
    sizes = rows.masks.sum(axis=1)
    weight = _by_size(sizes, problem.num_players)
    if rows.start < pairs.num_judged(problem):
        return weight
    often = state["shares"] * len(state["shares"])
    return weight / np.sqrt(often[sizes - 1])


def _judge(problem: Problem, state: State, rows: list[pairs.ValuedCoalitions]) -> State:
    """The shares of the sizes that tell most, where that is worth it.

    The best shares are as the standard deviations of what a fit leaves at a size: here
    of what the profile leaves, smoothed over sizes. Two fifths are for all alike.
    """
    known = [BY_SIZE.equations(problem, state, one) for one in rows]
    t, y = (np.concatenate([getattr(e, name) for e in known]) for name in ("t", "y"))
    left = np.square(y - t @ np.linalg.lstsq(t, y, rcond=None)[0])
    sizes = np.concatenate([one.masks.sum(axis=1) for one in rows])
    n = problem.num_players
    apart = np.abs(2 * sizes / n - 1), np.abs(2 * np.arange(1, n) / n - 1)
    near = np.exp(-np.square((apart[1][:, None] - apart[0]) / _WIDTH) / 2)
    square = near @ left / near.sum(axis=1)
    if not square.any():
        return {}
    spread = np.sqrt(square)
    often = _FOR_ALL + (1 - _FOR_ALL) * spread / spread.mean()
    if (square / often).mean() > _WORTH * square.mean():
        return {}
    return {"shares": often / often.sum()}


def _by_size(sizes: np.ndarray, n: int) -> np.ndarray:
    inside = np.clip(sizes, 1, n - 1)  # of very many players a few rows are ends
    return np.sqrt(n / (inside * (n - inside))) * (sizes == inside)


def _equations(
    problem: Problem, state: State, rows: pairs.ValuedCoalitions
) -> ridge.Equations:
    n, sizes = problem.num_players, rows.masks.sum(axis=1)
    weight, place = _weight(problem, state, rows), 2 * sizes / n - 1
    nobody, everybody = state["ends"].mean(axis=0)
    y, t = rows.values - place * (everybody - nobody) / 2, _profile(place, n)
    if pairs.is_single(state):  # what follows the size need not be odd
        y = y - rows.is_single * (nobody + everybody) / 2
        t = np.column_stack([t, rows.is_single * _even_profile(place, n)])
    x = rows.masks - sizes[:, None] / n
    return ridge.Equations(
        weight[:, None] * x, weight[:, None] * t, weight * y, rows.start
    )


BY_SIZE = pairs.Pairing(_draw, _weight, _equations, _judge)


def _finish(problem: Problem, state: State) -> Estimate:
    n, found = problem.num_players, ends.rise(state["ends"])
    if n == 1:
        return ends.alone(found)
    if sampling.is_wide(problem):
        fit = _fit_wide(problem, state, found.value)
    else:
        fit = BY_SIZE.fit(problem, state, has_total=False)
    share = found.value / n
    whole = fit.estimate._replace(
        value=fit.estimate.value + share, halves=fit.estimate.halves + share
    )
    noisy = ends.add_noise(whole, found, fit.freedom)
    seen = np.concatenate([state["values"][:, :2].ravel(), state["ends"].ravel()])
    return noisy if np.ptp(seen) else nothing_seen(noisy)


def _fit_wide(problem: Problem, state: State, rise: float) -> ridge.RidgeFit:
    n, values, sizes = problem.num_players, state["values"], state["values"][:, 2]
    weight, place = _by_size(sizes, n), 2 * sizes / n - 1
    odd = (values[:, 0] - values[:, 1]) / 2 - place * rise / 2
    profile = weight[:, None] * _profile(place, n)
    wide = wide_ridge.RegressionRows(sizes / n, weight, sizes, profile, weight * odd)
    return wide_ridge.fit(Draws(*problem), wide, has_total=False)


def _profile(place: np.ndarray, n: int) -> np.ndarray:
    """Odd polynomials of the size, from -1 (nobody) to 1 (everybody), 0 at both."""
    return place[:, None] * _even_profile(place, n)


def _even_profile(place: np.ndarray, n: int) -> np.ndarray:
    """Even ones."""
    even = np.polynomial.legendre.legvander(2 * place**2 - 1, _num_terms(n))
    return (1 - place**2)[:, None] * even[:, : _num_terms(n)]
