"""Maximum sample reuse for Shapley values and their like, centred by size."""

import math

import numpy as np
from jaxtyping import Bool
from scipy.special import betaln, gammaln

from gamepruning.coalitions.estimators import ends, sampling
from gamepruning.coalitions.estimators.base import (
    SKEW,
    Estimate,
    Estimator,
    Problem,
    SampleCost,
    State,
    append,
    are_repeated,
    effective_number,
    nothing_seen,
    observed_freedom,
    widening,
)
from gamepruning.coalitions.estimators.draws import Draws
from gamepruning.coalitions.games import coalition_values, coalitions_at_once
from gamepruning.coalitions.semivalues import Semivalue
from gamepruning.types import ValueFn

_LEAST = 16  # samples
_TERMS = 12  # of the profile, at most
_SAMPLES_A_TERM = 16


def centred_reuse() -> Estimator:
    """Every coalition tells something about every player, whatever their number.

    phi_i = sum_s h(s) (w_{s-1} - w_s) + mean of (v(S) - h(s)) (A_s z_i - B_s (1 -
    z_i)), A_s = N w_{s-1} / (s q_s), B_s = N w_s / ((N - s) q_s), where w are the
    weights of the semivalue and q the law of the sizes. h is a polynomial of the size
    that is right at both ends, fitted for each half of the samples to the other half.
    So the estimate is unbiased; Shapley values sum to v(N) - v(nobody) in the mean.
    Var_i ~ pi^2 Var(v - h) / m for Shapley values: less than regressions need only
    where there is no budget for these, below 2 evaluations a player. Sizes are drawn by
    t ~ Beta(beta - 1/2, alpha - 1/2), nearly the best law. Cost: 1 evaluation a sample,
    and 2; unless the game is deterministic, 2 more after every 2 N samples. Memory:
    of order N + m.

    References:
      Li and Yu, One sample fits all, arXiv 2410.23808, for the law of the sizes;
      Covert and Lee, arXiv 2012.01536, section 3.1, for Shapley values without h.
    """
    return Estimator(
        misfit=_misfit,
        cost=_cost,
        init=_init,
        update=_update,
        finish=_finish,
        preference=5,
    )


def _misfit(semivalue: Semivalue) -> str | None:
    if semivalue.bias is None:
        return None
    return "Banzhaf indices have sample_reuse, whose coalitions have equal weights"


def _cost(semivalue: Semivalue) -> SampleCost:
    if semivalue.num_players == 1:
        return SampleCost(2, 0, 2, 1)
    return SampleCost(2, 1, _LEAST, 2 * semivalue.num_players)


def _init(problem: Problem, value_fn: ValueFn, num_samples: int) -> State:
    del num_samples
    return {
        "ends": ends.init(value_fn, problem.num_players),
        "values": np.zeros((0, 2)),
    }


def _law(semivalue: Semivalue) -> Semivalue:
    """Of t: that of the semivalue over sqrt(t (1 - t)), where that is a law."""
    alpha, beta = semivalue.parameters or (1.0, 1.0)
    flatter = max(alpha - 0.5, 0.25), max(beta - 0.5, 0.25)
    return Semivalue("beta", semivalue.num_players, flatter)


def _update(
    problem: Problem, value_fn: ValueFn, state: State, start: int, stop: int
) -> State:
    n = problem.num_players
    if are_repeated(value_fn, is_incremental=False):
        repeats = _cost(problem.semivalue).num_repeats(stop)
        known = ends.repeat(state["ends"], value_fn, n, repeats)
        state = {**state, "ends": known}
    if n == 1:
        return state
    draws = Draws(problem.key, _law(problem.semivalue))
    for first, last in sampling.pieces(start, stop, n, coalitions_at_once(value_fn)):
        masks = draws.masks(first, last)
        rows = np.stack([coalition_values(value_fn, masks), masks.sum(axis=1)], axis=1)
        state = append(state, "values", rows)
    return state


def _finish(problem: Problem, state: State) -> Estimate:
    n, found = problem.num_players, ends.rise(state["ends"])
    if n == 1:
        return ends.alone(found)
    values, sizes = state["values"].T
    number, half = len(values), np.arange(len(values)) % 2
    inside, outside = _factors(problem.semivalue, sizes.astype(int))
    left, offset = np.empty(number), np.empty(2)
    for own in (0, 1):
        profile = _profile(values[half != own], sizes[half != own], state["ends"], n)
        left[half == own] = (values - profile[sizes.astype(int)])[half == own]
        offset[own] = _mean_of(profile, problem.semivalue)
    joined, absent = left * inside, -left * outside
    columns = [(joined - absent) * (half == own) for own in (0, 1)]
    columns += [joined**2 - absent**2, joined**4 - absent**4]
    sums = _sums(problem, np.stack(columns, axis=1)).T
    counts = np.bincount(half, minlength=2)
    base = np.array([absent[half == own].sum() for own in (0, 1)])
    halves = (sums[:2] + base[:, None]) / counts[:, None] + offset[:, None]
    value = counts @ halves / number
    mean = (sums[:2].sum(axis=0) + base.sum()) / number
    square = np.maximum(sums[2] + (absent**2).sum() - number * mean**2, 0.0)
    fourth = sums[3] + (absent**4).sum()
    support = np.minimum(effective_number(square, fourth), number)
    freedom = np.minimum(number - 1, observed_freedom(support, number, skew=SKEW))
    stderr = np.sqrt(square / (number - 1) / number) * widening(freedom)
    estimate = Estimate(value, stderr, halves, support)
    estimate = ends.add_noise(estimate, found, freedom)
    return estimate if np.ptp(values) else nothing_seen(estimate)


def reused(problem: Problem, start: int, stop: int) -> Bool[np.ndarray, "S N"]:
    """The coalitions number start..stop-1."""
    return Draws(problem.key, _law(problem.semivalue)).masks(start, stop)


def _sums(problem: Problem, columns: np.ndarray) -> np.ndarray:
    """For each player the sum of columns [m, q] over its coalitions, [N, q]."""
    draws, n = Draws(problem.key, _law(problem.semivalue)), problem.num_players
    if sampling.is_wide(problem):
        return draws.transposed(columns)
    return sum(
        (
            draws.masks(start, stop).T @ columns[start:stop]
            for start, stop in sampling.blocks(len(columns), n)
        ),
        np.zeros((n, columns.shape[1])),
    )


def _factors(semivalue: Semivalue, sizes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A_s and B_s of each sample; 0 for nobody and everybody, which are known."""
    n = semivalue.num_players
    weights = semivalue.log_weights()
    a, b = _law(semivalue).parameters[::-1]
    s = np.clip(sizes, 1, n - 1)
    law = gammaln(n + 1.0) - gammaln(s + 1.0) - gammaln(n - s + 1.0)
    law += betaln(s + a, n - s + b) - betaln(a, b)
    inside = np.exp(math.log(n) + weights[s - 1] - np.log(s) - law)
    outside = np.exp(math.log(n) + weights[s] - np.log(n - s) - law)
    is_end = (sizes == 0) | (sizes == n)
    return np.where(is_end, 0.0, inside), np.where(is_end, 0.0, outside)


def _profile(
    values: np.ndarray, sizes: np.ndarray, known: np.ndarray, n: int
) -> np.ndarray:
    """The value by size, [N + 1]: a polynomial that is right at both ends."""
    nobody, everybody = known.mean(axis=0)
    place = 2 * np.arange(n + 1) / n - 1
    straight = (nobody + everybody) / 2 + place * (everybody - nobody) / 2
    num_terms = min(_TERMS, len(values) // _SAMPLES_A_TERM, n - 1)
    if num_terms < 1:
        return straight
    at = sizes.astype(int)
    terms = np.polynomial.legendre.legvander(place[at], num_terms - 1)
    terms *= (1 - place[at] ** 2)[:, None]
    weights, *_ = np.linalg.lstsq(terms, values - straight[at], rcond=None)
    return straight + (1 - place**2) * np.polynomial.legendre.legval(place, weights)


def _mean_of(profile: np.ndarray, semivalue: Semivalue) -> float:
    """What each player adds to a value that depends on the size alone."""
    return float(semivalue.weights() @ np.diff(profile))
