"""Uniform pulls: the reference that a policy has to beat."""

import jax
from jaxtyping import Array

from gamepruning.bandits.policy import (
    Policy,
    PolicyState,
    one_each,
    policy_by_index,
    remembered,
)


@remembered
def uniform() -> Policy:
    """Any arm, each as likely: the reference that a policy has to beat.

    Returns:
      The `Policy`. Regret: T times the mean gap.
    """

    def index(state: PolicyState, noise: Array) -> Array:
        del state
        return noise

    return policy_by_index("uniform", one_each(jax.random.uniform), index)
