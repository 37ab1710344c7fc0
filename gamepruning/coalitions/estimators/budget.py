"""What an estimate will do: samples, rounds, and when to look at the ranking."""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gamepruning.coalitions.estimators import ESTIMATORS, Problem
from gamepruning.coalitions.estimators.base import State, ValueFn
from gamepruning.coalitions.estimators.choose import least_evaluations
from gamepruning.coalitions.semivalues import Semivalue
from gamepruning.types import InputError

_FIRST_CHECK = 8  # samples, and twice the least of the method
_CHECK_GROWTH = 1.25


class Plan(NamedTuple):
    """How many samples of which estimator, in which rounds.

    Attributes:
      method: the estimator's name.
      num_samples: how many samples the budget pays for.
      round_samples: how many are drawn between two checkpoints.
      fixed: evaluations once.
      each: evaluations a sample.
      least: samples that the estimator needs.
      target: the predicted agreement at which to stop, or None.
      cut: how many lowest players it is about, or None for all ranks.
    """

    method: str
    num_samples: int
    round_samples: int
    fixed: int
    each: int
    least: int
    target: float | None
    cut: int | None

    @property
    def estimator(self):
        """The `Estimator`."""
        return ESTIMATORS[self.method]

    def evaluations(self, samples: int) -> int:
        """What so many samples cost."""
        return self.fixed + self.each * samples

    def init(self, problem: Problem, value_fn: ValueFn) -> State:
        """The estimator's state before the first sample."""
        return self.estimator.init(problem, value_fn, self.num_samples)

    def next_check(self, done: int) -> int:
        """The first number of samples above `done` at which to look at the ranking."""
        at = max(2 * self.least, _FIRST_CHECK)
        while at <= done:
            at = math.ceil(_CHECK_GROWTH * at)
        return at

    def next_stop(self, done: int) -> int:
        """Where the round after `done` samples ends."""
        stop = min(done + self.round_samples, self.num_samples)
        return stop if self.target is None else min(stop, self.next_check(done))

    def is_check(self, done: int) -> bool:
        """Whether to look at the ranking after `done` samples."""
        return self.target is not None and self.next_check(done - 1) == done


def make_plan(
    method: str,
    semivalue: Semivalue,
    num_evaluations: int,
    round_size: int,
    target: float | None,
    cut: int | None,
) -> Plan:
    """The plan for a budget, or a clear error if it is too small or does not fit."""
    if method not in ESTIMATORS:
        raise InputError(
            f"method: expected 'auto' or one of {', '.join(ESTIMATORS)}, got {method!r}"
        )
    misfit = ESTIMATORS[method].misfit(semivalue)
    if misfit is not None:
        wanted = f"{semivalue.name}{semivalue.parameters or ''}"
        raise InputError(f"method {method!r} does not fit {wanted}: {misfit}")
    fixed, each, least = ESTIMATORS[method].cost(semivalue)
    needed = least_evaluations(method, semivalue)
    if num_evaluations < needed:
        raise InputError(
            f"budget too small: method {method!r} needs at least {needed} evaluations "
            f"for {semivalue.num_players} players, got {num_evaluations}"
        )
    num_samples = (num_evaluations - fixed) // each if each else least
    rounds = max(1, round_size // max(each, 1))
    return Plan(method, num_samples, rounds, fixed, each, least, target, cut)


def check_arguments(
    value_fn: Any,
    semivalue: Any,
    num_evaluations: Any,
    target: float | None,
    cut: int | None,
) -> None:
    """Refuse arguments that make no sense, whatever the method."""
    if not isinstance(semivalue, Semivalue):
        raise InputError(
            f"expected a Semivalue, made by shapley, banzhaf or beta_semivalue, got "
            f"{type(semivalue).__name__}"
        )
    n = semivalue.num_players
    own = getattr(value_fn, "num_players", n)
    if own != n:
        raise InputError(
            f"the value function has {own} players, got num_players = {n}: pass "
            "value_fn.num_players"
        )
    if not isinstance(num_evaluations, int | np.integer):
        raise InputError(
            f"expected a whole number of evaluations, got {num_evaluations!r}"
        )
    if target is not None and not 0 < target < 1:
        raise InputError(f"expected target_agreement in (0, 1), got {target}")
    if cut is not None and not 1 <= cut < n:
        raise InputError(f"expected cut in [1, {n - 1}], players below it, got {cut}")


def settings_of(problem: Problem, plan: Plan) -> dict[str, Any]:
    """What has to be the same for a checkpoint to be gone on from."""
    key = problem.key
    typed = isinstance(key, jax.Array) and jnp.issubdtype(
        key.dtype, jax.dtypes.prng_key
    )
    numbers = np.asarray(jax.random.key_data(key) if typed else key).tolist()
    return {
        "method": plan.method,
        "key": numbers,
        "index": problem.semivalue.name,
        "num_players": problem.num_players,
        "parameters": list(problem.semivalue.parameters),
        "target_agreement": plan.target,
        "cut": plan.cut,
    }
