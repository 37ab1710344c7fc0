"""Epsilon-greedy: mostly the best arm so far, now and then any arm."""

import jax
import jax.numpy as jnp
from jaxtyping import Array

from gamepruning.bandits.policy import (
    Policy,
    PolicyState,
    means,
    policy_by_index,
    remembered,
)
from gamepruning.types import InputError


@remembered
def epsilon_greedy(epsilon: float = 0.1, *, decay: bool = False) -> Policy:
    """The arm of the best mean reward, but with probability epsilon any arm.

    Args:
      epsilon: the share of uniform pulls, in [0, 1].
      decay: pull n is uniform with probability min(1, epsilon K / n) instead; epsilon
        is then c / d^2 of the paper, with c > 5 and d the gap of the best arm, and may
        be above 1.

    Returns:
      The `Policy`. Regret: linear in T, at least epsilon T times the mean gap; with
      decay, O(log T) for a large enough epsilon.

    Raises:
      InputError: epsilon is below 0, or above 1 without decay.

    References:
      Sutton and Barto, Reinforcement Learning (1998), section 2.2. Auer, Cesa-Bianchi
      and Fischer, Machine Learning 47 (2002), theorem 3 (decay).
    """
    if not 0 <= epsilon <= (1e9 if decay else 1):
        raise InputError(
            f"expected epsilon in [0, 1], or above it with decay, got {epsilon}"
        )

    def draw(key: Array, num_arms: int) -> tuple[Array, Array]:
        explore_key, noise_key = jax.random.split(key)
        noise = jax.random.uniform(noise_key, (num_arms,))
        return jax.random.uniform(explore_key), noise

    def index(state: PolicyState, drawn: tuple[Array, Array]) -> Array:
        coin, noise = drawn
        share = state.rate
        if decay:
            pulls = jnp.maximum(state.counts.sum(), 1)
            share = jnp.minimum(1.0, share * state.is_open.sum() / pulls)
        return jnp.where(coin < share, noise, means(state))

    name = "epsilon_greedy, decaying" if decay else "epsilon_greedy"
    return policy_by_index(name, draw, index, rate=epsilon)
