"""UCB1: the arm of the largest upper confidence bound."""

import math

import jax.numpy as jnp
from jaxtyping import Array

from gamepruning.bandits import policy
from gamepruning.types import InputError


@policy.remembered
def ucb1(width: float = 2.0) -> policy.Policy:
    """The arm of the largest mean + sqrt(width ln t / n), after one pull of each.

    Args:
      width: 2 is UCB1; a smaller one explores less.

    Returns:
      The `Policy`. Regret: at most sum over i of 8 ln T / gap_i, plus a constant, for
      the width of 2.

    Raises:
      InputError: the width is negative.

    References:
      Auer, Cesa-Bianchi and Fischer, Machine Learning 47 (2002), figure 1, theorem 1.
    """
    if not 0 <= width < math.inf:
        raise InputError(f"expected a width of at least 0, got {width}")

    def index(state: policy.PolicyState, drawn: None) -> Array:
        del drawn
        counts = jnp.maximum(state.counts, 1)
        log_t = jnp.log(jnp.maximum(state.counts.sum(), 1))
        bound = policy.means(state) + jnp.sqrt(state.rate * log_t / counts)
        return jnp.where(state.counts > 0, bound, jnp.inf)

    return policy.policy_by_index("ucb1", lambda key, num_arms: None, index, rate=width)
