"""What an estimator is: pure functions over a state that a file can hold."""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Array, Float
from scipy.special import ndtri, stdtrit

from gamepruning.coalitions.games import brings_ends, is_deterministic
from gamepruning.coalitions.semivalues import Semivalue
from gamepruning.types import InputError, ValueFn

State = dict[str, np.ndarray]
_LEVEL = 0.975
SKEW = 4.0  # of rows that are coalitions; measured, see experiments/gtap


class Problem(NamedTuple):
    """What to estimate, and the source of the samples.

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


class SampleCost(NamedTuple):
    """What samples cost, in evaluations.

    Attributes:
      fixed: evaluations that are made once.
      each: evaluations for each sample: a coalition, a pair, an order.
      least: how many samples the estimator needs at least.
      repeat_every: samples after which nobody and everybody are valued again, before
        the next one, at 2 evaluations; 0 for never.
      own_ends: evaluations more for each sample where the game values prefixes, whose
        orders bring nobody and everybody along.
      whole: of how many samples their number is a multiple, where so many tell all of a
        deterministic game; 0 if none do.
      most: how many samples there is use for; 0 for any number.
    """

    fixed: int
    each: int
    least: int
    repeat_every: int = 0
    own_ends: int = 0
    whole: int = 0
    most: int = 0

    def without_noise(self) -> "SampleCost":
        """The cost where a coalition always has the same value."""
        least = min(self.least, self.whole) or self.least
        return self._replace(repeat_every=0, least=least, most=self.whole)

    @property
    def least_evaluations(self) -> int:
        """The smallest budget that the estimator takes."""
        return self.evaluations(self.least)

    def evaluations(self, num_samples: int) -> int:
        """What so many samples cost."""
        return self.fixed + self.each * num_samples + 2 * self.num_repeats(num_samples)

    def num_repeats(self, num_samples: int) -> int:
        """How often nobody and everybody are valued again."""
        every = self.repeat_every
        return max(0, num_samples - 1) // every if every else 0

    def affordable(self, num_evaluations: int) -> int:
        """How many samples a budget pays for."""
        if not self.each:
            return self.least
        least = (num_evaluations - self.fixed) // (self.each + 2)
        most = (num_evaluations - self.fixed) // self.each
        while least < most:
            middle = (least + most + 1) // 2
            fits = self.evaluations(middle) <= num_evaluations
            least, most = (middle, most) if fits else (least, middle - 1)
        least -= least % self.whole if self.whole else 0
        return min(least, self.most) if self.most else least


class OwnWork(NamedTuple):
    """What an estimator does by itself, besides evaluations.

    Attributes:
      operations: floating-point operations.
      memory: bytes at once.
    """

    operations: float
    memory: float


class Estimate(NamedTuple):
    """An estimate from all samples, and from each half of them.

    Attributes:
      value: float [N].
      stderr: float [N], widened where samples are few: see `widening`.
      halves: from the samples with even and odd numbers, float [2, N].
      support: how many samples carry the stderr of each player, float [N]: see
        `effective_number`; 0 where no two samples differ.
      noise: the standard deviation of a value that is computed again; nan if none was.
      is_shrunk: True if a penalty draws the values towards their mean.
    """

    value: Float[np.ndarray, " N"]
    stderr: Float[np.ndarray, " N"]
    halves: Float[np.ndarray, "2 N"]
    support: Float[np.ndarray, " N"]
    noise: float = math.nan
    is_shrunk: bool = False


class Estimator(NamedTuple):
    """One way to estimate a power index: all that the engine knows of it.

    A new one is one file with a factory, and one line in `ESTIMATORS`.

    Attributes:
      misfit: semivalue -> why it cannot be estimated in this way, or None if it can.
      cost: semivalue -> `SampleCost`.
      init: (problem, value_fn, num_samples) -> state; refuses draws that leave a
        player out.
      update: (problem, value_fn, state, start, stop) -> state with these samples.
      finish: (problem, state) -> `Estimate`; evaluates nothing.
      preference: method "auto" tries the estimators that fit by rising preference;
        None to be used by name only.
      is_incremental: True if it only asks for prefixes or toggles, which an
        incremental game makes cheap.
      work: (N, evaluations) -> `OwnWork`; None if it is less than drawing coalitions.
      learns: True if it fits a model to the game, which takes seconds.
      format: of its checkpoints; raised where the samples become others.
    """

    misfit: Callable[[Semivalue], str | None]
    cost: Callable[[Semivalue], SampleCost]
    init: Callable[[Problem, ValueFn, int], State]
    update: Callable[[Problem, ValueFn, State, int, int], State]
    finish: Callable[[Problem, State], Estimate]
    preference: int | None = None
    is_incremental: bool = False
    work: Callable[[int, int], OwnWork] | None = None
    learns: bool = False
    format: int = 2

    def __repr__(self) -> str:
        kind = "incremental" if self.is_incremental else "by coalitions"
        return f"Estimator({kind}, preference={self.preference})"

    def cost_for(self, semivalue: Semivalue, value_fn: ValueFn) -> SampleCost:
        """The cost with this game: no repeats where they are not needed."""
        cost = self.cost(semivalue)
        if self.is_incremental and brings_ends(value_fn):
            cost = cost._replace(each=cost.each + cost.own_ends)
        if is_deterministic(value_fn):
            return cost.without_noise()
        if are_repeated(value_fn, is_incremental=self.is_incremental):
            return cost
        return cost._replace(repeat_every=0)


def are_repeated(value_fn: ValueFn, *, is_incremental: bool) -> bool:
    """Return True if nobody and everybody are valued again now and then.

    Not where the game is deterministic, nor where each order brings its own.

    Args:
      value_fn: the game.
      is_incremental: True if the estimator asks for prefixes where it can.
    """
    if is_deterministic(value_fn):
        return False
    return not (is_incremental and brings_ends(value_fn))


def widening(degrees_of_freedom: float | np.ndarray) -> np.ndarray:
    """How much to widen a standard error that was itself estimated.

    The ratio of the 0.975 quantiles of Student's t and the normal distribution, so that
    value +- 1.96 stderr is a 95 % interval with few samples too.

    Example:
      >>> float(widening(10).round(3)), float(widening(1000).round(3))
      (1.137, 1.001)
    """
    return np.asarray(
        stdtrit(np.maximum(degrees_of_freedom, 1), _LEVEL) / ndtri(_LEVEL)
    )


def effective_number(
    total: float | np.ndarray, total_square: float | np.ndarray
) -> np.ndarray:
    """How many equal terms have a sum and a sum of squares as these; 0 for no term.

    Example: nine small terms and a large one count as little more than one.
      >>> terms = np.array([100.0] + [1.0] * 9)
      >>> float(effective_number(terms.sum(), (terms**2).sum()).round(2))
      1.19
    """
    total, total_square = np.asarray(total), np.asarray(total_square)
    scale = np.where(total_square > 0, total_square, 1.0)
    return np.where(total_square > 0, total**2 / scale, 0.0)


def observed_freedom(
    support: float | np.ndarray,
    num_samples: float | np.ndarray,
    *,
    skew: float = 0.0,
) -> Float[np.ndarray, "..."]:
    """Satterthwaite's degrees of freedom of a variance, as its terms are spread.

    2 / (1 / support - 1 / K): about K for normal errors, about two for each term where
    a few carry it all, and at least one. Few large terms are skewed, too, which costs
    more: with `skew`, times support / (support + skew).

    Example:
      >>> observed_freedom(np.array([30.0, 2.0]), 90).round(1).tolist()
      [90.0, 4.1]
    """
    apart = 1 / np.maximum(support, 0.5) - 1 / num_samples
    share = np.maximum(support, 0.5) / (np.maximum(support, 0.5) + skew)
    return np.maximum(2 * share / np.maximum(apart, 1e-9), 1.0)


def nothing_seen(estimate: Estimate) -> Estimate:
    """The estimate where every value was the same: nothing is known of its error."""
    return estimate._replace(
        stderr=np.full_like(estimate.stderr, math.inf),
        support=np.zeros_like(estimate.support),
    )


def append(state: State, name: str, rows: np.ndarray) -> State:
    """The state with more rows under a name."""
    return {**state, name: np.concatenate([state[name], rows])}


def fits_any(semivalue: Semivalue) -> str | None:
    """None: the estimator takes every semivalue."""
    del semivalue
    return None


def only_shapley(semivalue: Semivalue) -> str | None:
    """Why an estimator of Shapley values does not fit; None where it does."""
    return None if semivalue.name == "shapley" else "it estimates Shapley values only"


def only_banzhaf(semivalue: Semivalue) -> str | None:
    """Why an estimator of Banzhaf indices does not fit; None where it does."""
    return None if semivalue.bias is not None else "it estimates Banzhaf indices only"


def bias_of(semivalue: Semivalue) -> float:
    """The bias of a Banzhaf index."""
    bias = semivalue.bias
    assert bias is not None
    return bias


def least_seen(semivalue: Semivalue, times: int) -> int:
    """Coalitions after which every player was in and out so often, almost surely."""
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
