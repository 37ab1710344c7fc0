"""Hedge: multiplicative weights, with the losses that were not seen estimated."""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike

from gamepruning.bandits.policy import (
    Policy,
    PolicyState,
    policy_by_probability,
    remembered,
)
from gamepruning.types import InputError


@remembered
def hedge(learning_rate: float | None = None) -> Policy:
    """Multiplicative weights: an arm with probability p ~ w, and w *= exp(-eta loss).

    Hedge sees the loss of every arm; a pull shows that of one. It gets the unbiased
    estimate (1 - reward) / p for the arm that was pulled, and 0 for the others.

    Args:
      learning_rate: eta > 0; sqrt(2 ln K / (T K)) if None.

    Returns:
      The `Policy`. Regret: at most sqrt(2 T K ln K) in expectation, whatever the
      rewards.

    Raises:
      InputError: the learning rate is not positive.

    References:
      Freund and Schapire, JCSS 55 (1997), Hedge(beta). Bubeck and Cesa-Bianchi, Regret
      analysis of stochastic and nonstochastic multi-armed bandit problems (2012),
      theorem 3.1.
    """
    if learning_rate is not None and not 0 < learning_rate < math.inf:
        raise InputError(f"expected a learning rate above 0, got {learning_rate}")

    def rate(num_open: Array, num_pulls: ArrayLike) -> ArrayLike:
        best = jnp.sqrt(2 * jnp.log(num_open) / (num_pulls * num_open))
        return best if learning_rate is None else learning_rate

    def gain(state: PolicyState, arm: Array, reward: Array) -> Array:
        return -state.rate * (1 - reward) / jnp.exp(log_probs(state)[arm])

    def log_probs(state: PolicyState) -> Array:
        return jax.nn.log_softmax(jnp.where(state.is_open, state.log_weights, -jnp.inf))

    return policy_by_probability("hedge", log_probs, gain, rate)
