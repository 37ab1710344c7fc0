"""Softmax: an arm the likelier, the better its mean reward."""

import math

import jax
from jaxtyping import Array

from gamepruning.bandits.policy import (
    Policy,
    PolicyState,
    means,
    one_each,
    policy_by_index,
    remembered,
)
from gamepruning.types import InputError


@remembered
def softmax(temperature: float = 0.1) -> Policy:
    """An arm with probability proportional to exp(mean reward / temperature).

    Args:
      temperature: tau > 0; small ones are greedy.

    Returns:
      The `Policy`. Regret: linear in T for a fixed temperature, since every arm keeps
      a positive probability.

    Raises:
      InputError: the temperature is not positive.

    References:
      Luce, Individual Choice Behavior (1959). Sutton and Barto (1998), section 2.3.
    """
    if not 0 < temperature < math.inf:
        raise InputError(f"expected a temperature above 0, got {temperature}")

    def index(state: PolicyState, noise: Array) -> Array:
        return means(state) / state.rate + noise

    return policy_by_index(
        "softmax", one_each(jax.random.gumbel), index, rate=temperature
    )
