"""Shapley values from orders: what each player adds as it enters."""

import functools
import math
from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import numpy as np
from jaxtyping import Float, Int

from gamepruning.coalitions.estimators import ends, moments, sampling
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
from gamepruning.coalitions.games import prefix_values
from gamepruning.coalitions.semivalues import Semivalue
from gamepruning.types import ValueFn

_DEGREE = 6
_FIRST_FIT = 4


class OrderMarginals(NamedTuple):
    """What each player adds in some samples of orders.

    Attributes:
      rows: the mean marginal of each player, float [S, N].
      position: where each player enters, int [S, N].
      by_position: the marginals by position, float [S, N].
    """

    rows: Float[np.ndarray, "S N"]
    position: Int[np.ndarray, "S N"]
    by_position: Float[np.ndarray, "S N"]


Marginals: TypeAlias = Callable[
    [Problem, ValueFn, State, int, int], tuple[State, OrderMarginals]
]


def permutation() -> Estimator:
    """Random orders.

    phi_i = mean over orders of v(before i, and i) - v(before i). Unbiased; the values
    sum to v(N) - v(nobody). Cost: N - 1 evaluations an order, N + 1 where the game has
    `prefixes`, and 2; in other games, unless they are deterministic, 2 more after every
    sqrt(2 N) orders, which tell the noise of v(N) and v(nobody).

    References:
      Castro, Gomez and Tejada, Computers & Operations Research 36 (2009), section 3.
    """
    return _by_orders(1, _marginals)._replace(preference=2)


def antithetic() -> Estimator:
    """Random orders, each also backwards; a sample is the mean of the two.

    Unbiased, and exact from one pair where no more than two players interact. Cost:
    2 (N - 1) evaluations a sample, 2 (N + 1) where the game has `prefixes`, and 2.

    References:
      Mitchell et al., Sampling permutations for Shapley value estimation, JMLR 23
      (2022), section 4.1.
    """
    return _by_orders(2, _pair_marginals)


def antithetic_centred() -> Estimator:
    """`antithetic`, less what the position explains.

    From a player's marginal at position k the mean marginal g(k) is taken, and its
    mean (v(N) - v(nobody)) / N added. g is a smooth fit to the samples before this
    one, so that the estimate stays unbiased. Helps where v follows the size of the
    coalition smoothly. Cost: as `antithetic`.
    """
    return _by_orders(2, _pair_marginals)._replace(update=_update_centred, preference=1)


def _by_orders(directions: int, marginals: Marginals) -> Estimator:
    return Estimator(
        misfit=only_shapley,
        cost=functools.partial(_cost, directions),
        init=_init,
        update=functools.partial(_update, marginals),
        finish=_finish,
        is_incremental=True,
    )


def _cost(directions: int, semivalue: Semivalue) -> SampleCost:
    n = semivalue.num_players
    every = _repeat_every(directions, n)
    return SampleCost(2, directions * (n - 1), 2, every, own_ends=2 * directions)


def _repeat_every(directions: int, num_players: int) -> int:
    """Samples that share the values of the ends: the best choice where all is noise."""
    if num_players == 1:  # nothing else is valued
        return 1
    return math.ceil(math.sqrt(2 * num_players) / directions)


def _init(problem: Problem, value_fn: ValueFn, num_samples: int) -> State:
    del num_samples
    n = problem.num_players
    profile = {"profile_sum": np.zeros(n), "profile": np.full(n, np.nan)}
    return {**moments.init(n), "ends": ends.init(value_fn, n), **profile}


def _finish(problem: Problem, state: State) -> Estimate:
    del problem
    rise, found = ends.rise(state["ends"]), moments.finish(state)
    noisy = ends.add_noise(found, rise, moments.freedom(state))
    is_flat = not (found.value.any() or found.stderr.any() or np.ptp(state["ends"]))
    return nothing_seen(noisy) if is_flat else noisy


def _update(
    marginals: Marginals,
    problem: Problem,
    value_fn: ValueFn,
    state: State,
    start: int,
    stop: int,
) -> State:
    state, found = marginals(problem, value_fn, state, start, stop)
    return moments.fold(state, found.rows, start)


def _update_centred(
    problem: Problem, value_fn: ValueFn, state: State, start: int, stop: int
) -> State:
    state, found = _pair_marginals(problem, value_fn, state, start, stop)
    share = _first_rise(state) / problem.num_players
    samples = zip(found.rows, found.position, found.by_position, strict=True)
    for number, (row, position, by_position) in enumerate(samples, start):
        if number >= _FIRST_FIT and number & (number - 1) == 0:  # a power of two
            state = {**state, "profile": _smooth(state, number)}
        if number >= _FIRST_FIT:
            profile = state["profile"]
            backwards = profile[::-1]
            row = row - (profile[position] + backwards[position]) / 2 + share
        state = {**state, "profile_sum": state["profile_sum"] + by_position}
        state = moments.fold(state, row[None], number)
    return state


def _marginals(
    problem: Problem, value_fn: ValueFn, state: State, start: int, stop: int
) -> tuple[State, OrderMarginals]:
    state, own = _own_ends(1, problem, value_fn, state, start, stop)
    orders = sampling.orders(problem.key, problem.num_players, start, stop)
    position = np.argsort(orders, axis=1)
    values = prefix_values(value_fn, orders, ends=own)
    by_position = np.diff(values, axis=1)
    rows = np.take_along_axis(by_position, position, axis=1)
    return state, OrderMarginals(rows, position, by_position)


def _pair_marginals(
    problem: Problem, value_fn: ValueFn, state: State, start: int, stop: int
) -> tuple[State, OrderMarginals]:
    state, own = _own_ends(2, problem, value_fn, state, start, stop)
    orders = sampling.orders(problem.key, problem.num_players, start, stop)
    both = np.concatenate([orders, orders[:, ::-1]])
    values = prefix_values(value_fn, both, ends=np.concatenate([own, own]))
    forth, back = np.split(np.diff(values, axis=1), 2)
    position = np.argsort(orders, axis=1)
    mean = (forth + back[:, ::-1]) / 2
    rows = np.take_along_axis(mean, position, axis=1)
    return state, OrderMarginals(rows, position, (forth + back) / 2)


def _own_ends(
    directions: int,
    problem: Problem,
    value_fn: ValueFn,
    state: State,
    start: int,
    stop: int,
) -> tuple[State, Float[np.ndarray, "S 2"]]:
    """v(nobody) and v(N) for each sample; neighbours share them."""
    if are_repeated(value_fn, is_incremental=True):
        cost = _cost(directions, problem.semivalue)
        n, repeats = problem.num_players, cost.num_repeats(stop)
        state = {**state, "ends": ends.repeat(state["ends"], value_fn, n, repeats)}
    every = _repeat_every(directions, problem.num_players)
    rows = np.minimum(np.arange(start, stop) // every, len(state["ends"]) - 1)
    return state, state["ends"][rows]


def _first_rise(state: State) -> float:
    """Of the first values of the ends: it does not change from round to round."""
    nobody, everybody = state["ends"][0]
    return everybody - nobody


def _smooth(state: State, num_samples: int) -> np.ndarray:
    """The mean marginal by position, as a polynomial that sums to v(N) - v(nobody)."""
    mean = state["profile_sum"] / num_samples
    n, rise = len(mean), _first_rise(state)
    degree = min(_DEGREE, n - 1)
    fit = np.polynomial.Legendre.fit(np.arange(n), mean, degree, domain=[-0.5, n - 0.5])
    smooth = fit(np.arange(n))
    return smooth + (rise - smooth.sum()) / n
