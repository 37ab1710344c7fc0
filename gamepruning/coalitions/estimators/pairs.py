"""Coalitions and their complements, valued together."""

import numpy as np
from jaxtyping import Bool, Float

from gamepruning.coalitions.games import coalition_values
from gamepruning.types import ValueFn


def pair_values(
    value_fn: ValueFn, masks: Bool[np.ndarray, "S N"]
) -> Float[np.ndarray, "S 3"]:
    """For each coalition its value, that of its complement, and its size.

    Example:
      >>> pair_values(lambda masks: masks @ [1.0, 10.0], np.array([[True, False]]))
      array([[ 1., 10.,  1.]])
    """
    both = coalition_values(value_fn, np.concatenate([masks, ~masks]))
    return np.stack([*np.split(both, 2), masks.sum(axis=1)], axis=1)
