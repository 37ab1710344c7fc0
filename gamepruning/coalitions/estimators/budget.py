"""What an estimate will do: how many samples, in which rounds, when to stop."""

import dataclasses
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, TypedDict

import jax
import jax.numpy as jnp
import numpy as np

from gamepruning.coalitions.estimators import ESTIMATORS, Estimator, Problem, SampleCost
from gamepruning.coalitions.estimators.sampling import is_wide
from gamepruning.coalitions.games import coalitions_at_once, is_incremental
from gamepruning.spelling import closest
from gamepruning.types import InputError, ValueFn

_FIRST_CHECK = 8  # samples, and twice the least of the method
_CHECK_GROWTH = 1.25
_SELDOM = 1.6  # the growth where each look fits a model anew
_WIDE_FORMAT = 3  # of checkpoints of very many players


class SamplingOptions(TypedDict, total=False):
    """The keywords of `SamplingConfig`."""

    target_agreement: float | None
    cut: int | None
    checkpoint: str | Path | None
    round_size: int
    progress: Callable[[int, int], Any] | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class SamplingConfig:
    """When an estimate stops, and what it leaves on the way.

    Attributes:
      target_agreement: stop before the budget is used up when the predicted rank
        correlation with the exact index (or, with `cut`, the predicted overlap of the
        lowest players) is at least this, at two checks in a row, and the spread of the
        scores exceeds what their standard errors explain.
      cut: how many of the lowest players are to be told from the rest.
      checkpoint: a file to write after every round and to resume from if it exists.
        A few values of the game are on file, so that another game is refused where its
        values are other ones.
      round_size: evaluations between two checkpoints, rounded up to a multiple of what
        the devices of a network value side by side; it does not change the result.
      progress: called after every round with the evaluations so far and their maximum.

    Example:
      >>> SamplingConfig(target_agreement=0.95).round_size
      1024
    """

    target_agreement: float | None = None
    cut: int | None = None
    checkpoint: str | Path | None = None
    round_size: int = 1024
    progress: Callable[[int, int], Any] | None = None

    def __post_init__(self):
        target = self.target_agreement
        if target is not None and not 0 < target < 1:
            raise InputError(f"expected target_agreement in (0, 1), got {target}")
        if self.round_size < 1:
            raise InputError(f"expected round_size >= 1, got {self.round_size}")


class Schedule(NamedTuple):
    """How many samples of which estimator, in which rounds.

    Attributes:
      method: the estimator's name.
      num_samples: how many samples the budget pays for.
      round_samples: how many are drawn between two checkpoints.
      cost: what samples cost.
      target: the predicted agreement at which to stop, or None.
      cut: how many lowest players it is about, or None for all ranks.
    """

    method: str
    num_samples: int
    round_samples: int
    cost: SampleCost
    target: float | None
    cut: int | None

    @property
    def estimator(self) -> Estimator:
        """The `Estimator`."""
        return ESTIMATORS[self.method]

    @property
    def num_evaluations(self) -> int:
        """What all samples cost."""
        return self.cost.evaluations(self.num_samples)

    def next_check(self, done: int) -> int:
        """The first number of samples above `done` at which to look at the ranking."""
        growth = _SELDOM if self.estimator.learns else _CHECK_GROWTH
        at = max(2 * self.cost.least, _FIRST_CHECK)
        while at <= done:
            at = math.ceil(growth * at)
        return at

    def next_stop(self, done: int) -> int:
        """Where the round after `done` samples ends."""
        stop = min(done + self.round_samples, self.num_samples)
        return stop if self.target is None else min(stop, self.next_check(done))

    def is_check(self, done: int) -> bool:
        """Return True if the ranking is to be looked at after `done` samples."""
        return self.target is not None and self.next_check(done - 1) == done


def make_schedule(
    method: str,
    problem: Problem,
    value_fn: ValueFn,
    num_evaluations: int,
    config: SamplingConfig,
) -> Schedule:
    """The schedule for a budget.

    Raises:
      InputError: the budget is too small, there is no such method, or it does not fit
        the index.
    """
    if method not in ESTIMATORS:
        raise InputError(
            f"method: expected 'auto' or a name of an estimator, got {method!r}"
            f"{closest(method, ESTIMATORS)}"
        )
    estimator, semivalue = ESTIMATORS[method], problem.semivalue
    misfit = estimator.misfit(semivalue)
    if misfit is not None:
        raise InputError(f"method {method!r} does not fit {semivalue!r}: {misfit}")
    n, cut = semivalue.num_players, config.cut
    if cut is not None and not 1 <= cut < n:
        raise InputError(f"expected cut in [1, {n - 1}], players below it, got {cut}")
    cost = estimator.cost_for(semivalue, value_fn)
    if num_evaluations < cost.least_evaluations:
        raise InputError(
            f"budget too small: method {method!r} needs at least "
            f"{cost.least_evaluations} evaluations for {n} players, got "
            f"{num_evaluations}"
        )
    num_samples = cost.affordable(num_evaluations)
    rounds = max(1, _round_size(estimator, value_fn, config) // max(cost.each, 1))
    target = config.target_agreement
    return Schedule(method, num_samples, rounds, cost, target, cut)


def _round_size(estimator: Estimator, value_fn: ValueFn, config: SamplingConfig) -> int:
    """Evaluations of a round: no device waits for others, or works for nothing."""
    if estimator.is_incremental and is_incremental(value_fn):
        return config.round_size  # walks, one by one
    at_once = coalitions_at_once(value_fn)
    return -(-config.round_size // at_once) * at_once


def check_budget(num_evaluations: Any) -> None:
    """Check that the budget is a whole number.

    Raises:
      InputError: it is not.
    """
    if not isinstance(num_evaluations, int | np.integer):
        raise InputError(
            f"expected a whole number of evaluations, got {num_evaluations!r}"
        )


def settings_of(problem: Problem, schedule: Schedule) -> dict[str, Any]:
    """What has to be the same for a checkpoint to be resumed."""
    key = problem.key
    typed = isinstance(key, jax.Array) and jnp.issubdtype(
        key.dtype, jax.dtypes.prng_key
    )
    numbers = np.asarray(jax.random.key_data(key) if typed else key).tolist()
    return {
        "format": _WIDE_FORMAT if is_wide(problem) else schedule.estimator.format,
        "method": schedule.method,
        "key": numbers,
        "index": problem.semivalue.name,
        "num_players": problem.num_players,
        "parameters": list(problem.semivalue.parameters),
        "target_agreement": schedule.target,
        "cut": schedule.cut,
    }
