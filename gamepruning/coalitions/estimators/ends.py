"""Nobody and everybody: two values that every Shapley value rests on.

(v(everybody) - v(nobody)) / N is a part of each Shapley value, so the noise of these
two does not fade with the number of coalitions. Unless the game says that it is
deterministic, both are valued again now and then: their mean gets better with the
budget, and their spread goes into the standard error.
"""

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from gamepruning.coalitions.estimators.base import Estimate, widening
from gamepruning.coalitions.games import end_values
from gamepruning.types import ValueFn


class Rise(NamedTuple):
    """v(everybody) - v(nobody).

    Attributes:
      value: the mean of the repeats.
      variance: of the mean; 0 where there is one value only.
      freedom: degrees of freedom of the variance.
      noise: the standard deviation of a single value; nan if there is one only.
    """

    value: float
    variance: float
    freedom: float
    noise: float


def init(value_fn: ValueFn, num_players: int) -> Float[np.ndarray, "1 2"]:
    """The first values of nobody and of everybody. Cost: 2 evaluations."""
    return np.array([end_values(value_fn, num_players)])


def repeat(
    ends: Float[np.ndarray, "R 2"], value_fn: ValueFn, num_players: int, repeats: int
) -> Float[np.ndarray, "Q 2"]:
    """The values with as many repeats as there should be, each from its own call.

    So a value function that drops duplicates within a call is not taken for one that
    is free of noise.
    """
    missing = max(0, repeats + 1 - len(ends))
    new = [end_values(value_fn, num_players) for _ in range(missing)]
    return np.concatenate([ends, np.reshape(new, (missing, 2))])


def rise(ends: Float[np.ndarray, "R 2"]) -> Rise:
    """What all repeats together say.

    Example:
      >>> rise(np.array([[0.0, 1.0], [0.0, 3.0]]))
      Rise(value=2.0, variance=1.0, freedom=1.0, noise=1.0)
    """
    num = len(ends)
    nobody, everybody = ends.mean(axis=0)
    if num == 1:
        return Rise(float(everybody - nobody), 0.0, 1.0, math.nan)
    each = ends.var(axis=0, ddof=1) / num
    total, squares = float(each.sum()), float((each**2).sum())
    freedom = (num - 1) * total**2 / squares if squares > 0 else 1.0
    noise = math.sqrt(total * num / 2)
    return Rise(float(everybody - nobody), total, freedom, noise)


def add_noise(estimate: Estimate, found: Rise, freedom: np.ndarray) -> Estimate:
    """The estimate with the noise of the two ends in its errors.

    stderr^2 grows by Var(rise) / N^2; the degrees of freedom are those of Welch and
    Satterthwaite.

    Args:
      estimate: with errors that are conditional on the ends, widened for `freedom`.
      found: what is known of the ends.
      freedom: degrees of freedom of the errors, float [N].
    """
    estimate = estimate._replace(noise=found.noise)
    if not found.variance > 0:
        return estimate
    own = np.square(estimate.stderr / widening(freedom))
    ends = found.variance / len(own) ** 2
    together = (own + ends) ** 2 / (own**2 / freedom + ends**2 / found.freedom)
    return estimate._replace(stderr=np.sqrt(own + ends) * widening(together))


def alone(found: Rise) -> Estimate:
    """The estimate for the only player there is, who is worth the whole rise."""
    whole = np.array([found.value])
    estimate = Estimate(whole, np.zeros(1), np.stack([whole, whole]), np.ones(1))
    return add_noise(estimate, found, np.ones(1))
