"""Thompson sampling: the best arm of a draw from what is believed of all."""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array

from gamepruning.bandits.policy import (
    Policy,
    PolicyState,
    one_each,
    policy_by_index,
    remembered,
)
from gamepruning.types import InputError


@remembered
def thompson(scale: float = 1.0) -> Policy:
    """The arm of the largest draw from N(sum of rewards / (n + 1), scale^2 / (n + 1)).

    Args:
      scale: the standard deviation of one reward, > 0; 1 covers any in [0, 1].

    Returns:
      The `Policy`. Regret: O(sqrt(T K ln K)) for the scale of 1.

    Raises:
      InputError: the scale is not positive.

    References:
      Thompson, Biometrika 25 (1933). Agrawal and Goyal, Further optimal regret bounds
      for Thompson sampling (2013), algorithm 2.
    """
    if not 0 < scale < math.inf:
        raise InputError(f"expected a scale above 0, got {scale}")

    def index(state: PolicyState, noise: Array) -> Array:
        center = state.totals / (state.counts + 1)
        return center + noise * state.rate / jnp.sqrt(state.counts + 1)

    return policy_by_index("thompson", one_each(jax.random.normal), index, rate=scale)


@remembered
def thompson_beta() -> Policy:
    """The arm of the largest draw from Beta(1 + sum of rewards, 1 + sum of 1 - reward).

    A draw is G / (G + H) of two gamma variables, each the cube of a normal one after
    Wilson and Hilferty: a (1 - 1 / (9 a) + z / (3 sqrt(a)))^3 for the shape a. The
    normals do not depend on what was seen, so that they are drawn for many turns at
    once. The distribution function is within 0.0123 of Beta's for all shapes of 1 and
    more, and within 0.004 where both are at least 2.

    Returns:
      The `Policy`. Regret: O(log T) for rewards that are 0 or 1 and exact draws;
      fractional ones are counted as they are, a common practice without that proof.

    References:
      Thompson, Biometrika 25 (1933). Agrawal and Goyal, Analysis of Thompson sampling
      for the multi-armed bandit problem (2012). Wilson and Hilferty, The distribution
      of chi-square, PNAS 17 (1931).
    """

    def draw(key: Array, num_arms: int) -> Array:
        return jax.random.normal(key, (2, num_arms))

    def index(state: PolicyState, normals: Array) -> Array:
        failures = jnp.maximum(state.counts - state.totals, 0)
        won = _near_gamma(1 + state.totals, normals[0])
        return won / (won + _near_gamma(1 + failures, normals[1]))

    return policy_by_index("thompson_beta", draw, index)


def _near_gamma(shape: Array, normal: Array) -> Array:
    """Gamma variables of shapes >= 1, near enough, from normal ones."""
    root = 1 - 1 / (9 * shape) + normal / (3 * jnp.sqrt(shape))
    return shape * jnp.maximum(root, 1e-3) ** 3
