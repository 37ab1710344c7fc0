"""Shapley values from orders: what each player adds as it enters."""

import functools
from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import numpy as np
from jaxtyping import Float, Int

from gamepruning.coalitions.estimators import moments, sampling
from gamepruning.coalitions.estimators.base import (
    Estimator,
    Problem,
    SampleCost,
    State,
    only_shapley,
)
from gamepruning.coalitions.games import end_values, prefix_values
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


Marginals: TypeAlias = Callable[[Problem, ValueFn, State, int, int], OrderMarginals]


def permutation() -> Estimator:
    """Random orders.

    phi_i = mean over orders of v(before i, and i) - v(before i). Unbiased; the values
    sum to v(N) - v(nobody). Cost: N - 1 evaluations an order, and 2.

    References:
      Castro, Gomez and Tejada, Computers & Operations Research 36 (2009), section 3.
    """
    return _by_orders(1, _marginals)._replace(preference=2)


def antithetic() -> Estimator:
    """Random orders, each also backwards; a sample is the mean of the two.

    Unbiased, and exact from one pair where no more than two players interact. Cost:
    2 (N - 1) evaluations a sample, and 2.

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
        cost=lambda semivalue: SampleCost(
            2, directions * (semivalue.num_players - 1), 2
        ),
        init=_init,
        update=functools.partial(_update, marginals),
        finish=lambda problem, state: moments.finish(state),
        is_incremental=True,
    )


def _init(problem: Problem, value_fn: ValueFn, num_samples: int) -> State:
    del num_samples
    n = problem.num_players
    ends = np.array(end_values(value_fn, n))
    profile = {"profile_sum": np.zeros(n), "profile": np.full(n, np.nan)}
    return {**moments.init(n), "ends": ends, **profile}


def _update(
    marginals: Marginals,
    problem: Problem,
    value_fn: ValueFn,
    state: State,
    start: int,
    stop: int,
) -> State:
    found = marginals(problem, value_fn, state, start, stop)
    return moments.fold(state, found.rows, start)


def _update_centred(
    problem: Problem, value_fn: ValueFn, state: State, start: int, stop: int
) -> State:
    found = _pair_marginals(problem, value_fn, state, start, stop)
    samples = zip(found.rows, found.position, found.by_position, strict=True)
    for number, (row, position, by_position) in enumerate(samples, start):
        if number >= _FIRST_FIT and number & (number - 1) == 0:  # a power of two
            state = {**state, "profile": _smooth(state, number)}
        if number >= _FIRST_FIT:
            rise = state["ends"][1] - state["ends"][0]
            profile = state["profile"]
            backwards = profile[::-1]
            row = row - (profile[position] + backwards[position]) / 2 + rise / len(row)
        state = {**state, "profile_sum": state["profile_sum"] + by_position}
        state = moments.fold(state, row[None], number)
    return state


def _marginals(
    problem: Problem, value_fn: ValueFn, state: State, start: int, stop: int
) -> OrderMarginals:
    orders = sampling.orders(problem.key, problem.num_players, start, stop)
    position = np.argsort(orders, axis=1)
    values = prefix_values(value_fn, orders, ends=tuple(state["ends"]))
    by_position = np.diff(values, axis=1)
    rows = np.take_along_axis(by_position, position, axis=1)
    return OrderMarginals(rows, position, by_position)


def _pair_marginals(
    problem: Problem, value_fn: ValueFn, state: State, start: int, stop: int
) -> OrderMarginals:
    orders = sampling.orders(problem.key, problem.num_players, start, stop)
    both = np.concatenate([orders, orders[:, ::-1]])
    values = prefix_values(value_fn, both, ends=tuple(state["ends"]))
    forth, back = np.split(np.diff(values, axis=1), 2)
    position = np.argsort(orders, axis=1)
    mean = (forth + back[:, ::-1]) / 2
    rows = np.take_along_axis(mean, position, axis=1)
    return OrderMarginals(rows, position, (forth + back) / 2)


def _smooth(state: State, num_samples: int) -> np.ndarray:
    """The mean marginal by position, as a polynomial that sums to v(N) - v(nobody)."""
    mean = state["profile_sum"] / num_samples
    n, rise = len(mean), state["ends"][1] - state["ends"][0]
    degree = min(_DEGREE, n - 1)
    fit = np.polynomial.Legendre.fit(np.arange(n), mean, degree, domain=[-0.5, n - 0.5])
    smooth = fit(np.arange(n))
    return smooth + (rise - smooth.sum()) / n
