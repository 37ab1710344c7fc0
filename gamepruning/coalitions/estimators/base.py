"""What an estimator is: four pure functions over a state that a file can hold."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Array, Float
from scipy.special import ndtri, stdtrit

from gamepruning.coalitions.semivalues import Semivalue
from gamepruning.types import InputError

State = dict[str, np.ndarray]
ValueFn = Callable[[Any], Any]
_LEVEL = 0.975


class Problem(NamedTuple):
    """Which numbers are asked for, and with what luck.

    Attributes:
      key: the random key; sample j follows from it and j.
      semivalue: the power index.
    """

    key: Array
    semivalue: Semivalue

    @property
    def num_players(self) -> int:
        """N."""
        return self.semivalue.num_players


class Cost(NamedTuple):
    """What samples cost, in evaluations.

    Attributes:
      fixed: once.
      each: for each sample: a coalition, a pair, a sweep.
      least: how many samples the estimator needs at least.
    """

    fixed: int
    each: int
    least: int


class Estimate(NamedTuple):
    """An estimate from all samples, and from each half of them.

    Attributes:
      value: float [N].
      stderr: float [N], widened where samples are few: see `widening`.
      halves: from the samples with even and odd numbers, float [2, N].
    """

    value: Float[np.ndarray, " N"]
    stderr: Float[np.ndarray, " N"]
    halves: Float[np.ndarray, "2 N"]


class Estimator(NamedTuple):
    """One way to estimate a power index.

    Attributes:
      misfit: semivalue -> why it cannot be estimated so, or None if it can.
      cost: semivalue -> `Cost`.
      init: (problem, value_fn, num_samples) -> state; refuses draws that leave a
        player out.
      update: (problem, value_fn, state, start, stop) -> state with these samples.
      finish: (problem, state) -> `Estimate`; evaluates nothing.
    """

    misfit: Callable[[Semivalue], str | None]
    cost: Callable[[Semivalue], Cost]
    init: Callable[[Problem, ValueFn, int], State]
    update: Callable[[Problem, ValueFn, State, int, int], State]
    finish: Callable[[Problem, State], Estimate]


def widening(degrees_of_freedom: float | np.ndarray) -> np.ndarray:
    """How much to widen a standard error that was itself estimated.

    The ratio of the .975 quantiles of Student's t and the normal distribution, so that
    value +- 1.96 stderr is a 95 % interval with few samples too.

    Example:
      >>> float(widening(10).round(3)), float(widening(1000).round(3))
      (1.137, 1.001)
    """
    return np.asarray(
        stdtrit(np.maximum(degrees_of_freedom, 1), _LEVEL) / ndtri(_LEVEL)
    )


def append(state: State, name: str, rows: np.ndarray) -> State:
    """The state with more rows under a name."""
    return {**state, name: np.concatenate([state[name], rows])}


def fits_any(semivalue: Semivalue) -> None:
    """For estimators of every semivalue."""
    del semivalue


def only_shapley(semivalue: Semivalue) -> str | None:
    """Why it cannot be estimated by an estimator of Shapley values, if it cannot."""
    return None if semivalue.name == "shapley" else "it estimates Shapley values only"


def only_banzhaf(semivalue: Semivalue) -> str | None:
    """Why it cannot be estimated by an estimator of Banzhaf indices, if it cannot."""
    return None if semivalue.bias is not None else "it estimates Banzhaf indices only"


def bias_of(semivalue: Semivalue) -> float:
    """The bias of a Banzhaf index."""
    bias = semivalue.bias
    assert bias is not None
    return bias


def least_seen(semivalue: Semivalue, times: int) -> int:
    """Coalitions after which every player was in and out as often, all but surely."""
    rarer = min(bias_of(semivalue), 1 - bias_of(semivalue))
    return math.ceil((math.log(semivalue.num_players) + times + 3) / rarer)


def check_seen(
    counts: np.ndarray, num_coalitions: int, times: int, advised: int
) -> None:
    """Refuse draws in which a player is in, or out, too seldom.

    Args:
      counts: in how many coalitions each player is.
      num_coalitions: of how many.
      times: how often it has to be in, and out.
      advised: a budget that will do.
    """
    seldom = np.minimum(counts, num_coalitions - counts)
    worst = int(seldom.argmin())
    if seldom[worst] < times:
        raise InputError(
            f"budget too small: of {num_coalitions} coalitions player {worst} is in "
            f"{int(counts[worst])}, expected at least {times} with and {times} "
            f"without it; ask for {max(advised, 2 * num_coalitions)} evaluations"
        )
