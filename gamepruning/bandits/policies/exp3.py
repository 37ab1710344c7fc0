"""EXP3: exponential weights mixed with uniform pulls."""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike

from gamepruning.bandits import policy
from gamepruning.types import InputError


@policy.remembered
def exp3(mixing: float | None = None) -> policy.Policy:
    """p = (1 - gamma) w / sum(w) + gamma / K, and w *= exp(gamma reward / (p K)).

    Args:
      mixing: gamma in (0, 1], the share of uniform pulls;
        min(1, sqrt(K ln K / ((e - 1) T))) if None.

    Returns:
      The `Policy`. Regret: at most 2.63 sqrt(T K ln K) in expectation, whatever the
      rewards.

    Raises:
      InputError: gamma is outside (0, 1].

    References:
      Auer, Cesa-Bianchi, Freund and Schapire, The nonstochastic multiarmed bandit
      problem, SIAM J. Comput. 32 (2002), figure 1, corollary 3.2.
    """
    if mixing is not None and not 0 < mixing <= 1:
        raise InputError(f"expected mixing in (0, 1], got {mixing}")

    def rate(num_open: Array, num_pulls: ArrayLike) -> ArrayLike:
        best = num_open * jnp.log(num_open) / ((math.e - 1) * num_pulls)
        return jnp.minimum(1.0, jnp.sqrt(best)) if mixing is None else mixing

    def log_probs(state: policy.PolicyState) -> Array:
        weights = jax.nn.softmax(jnp.where(state.is_open, state.log_weights, -jnp.inf))
        mixed = (1 - state.rate) * weights + state.rate / state.is_open.sum()
        return jnp.where(state.is_open, jnp.log(jnp.maximum(mixed, 1e-38)), -jnp.inf)

    def gain(state: policy.PolicyState, arm: Array, reward: Array) -> Array:
        inverse = jnp.exp(-log_probs(state)[arm])
        return state.rate * reward * inverse / state.is_open.sum()

    return policy.policy_by_probability("exp3", log_probs, gain, rate)
