"""Types that every part of the library shares."""

from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Float


class InputError(ValueError):
    """Bad input from a user: one clear line that says what was wrong and how to mend.

    The command line prints the message and exits with code 2.
    """


class Scores(NamedTuple):
    """One number a player, with its quality. Higher means: keep.

    Attributes:
      value: the score of each player, float [N].
      stderr: the standard error of `value`, float [N]; 0 where `value` is exact.
      num_evaluations: how many evaluations of the network over a batch it took.
    """

    value: Float[jax.Array | np.ndarray, " N"]
    stderr: Float[jax.Array | np.ndarray, " N"]
    num_evaluations: int
