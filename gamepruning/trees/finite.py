"""Numbers that are none: how many there are, and where they come from."""

from typing import Any

import jax
import numpy as np
from jaxtyping import PyTree

from gamepruning.trees.paths import named_leaves
from gamepruning.trees.processes import to_host
from gamepruning.trees.trainable import is_trainable


def count_not_finite(array: Any) -> int:
    """How many entries are NaN or infinite.

    Example:
      >>> count_not_finite(np.array([1.0, np.nan, -np.inf]))
      2
    """
    array = to_host(array)
    wide = np.complex128 if np.iscomplexobj(array) else np.float64
    return int((~np.isfinite(array.astype(wide))).sum())


def blame_not_finite(params: PyTree, inputs: tuple) -> str:
    """The first array that holds NaN or infinity, in words.

    Args:
      params: parameters of a network.
      inputs: its inputs.

    Returns:
      Such as " (parameter 'w' holds NaN or infinity)"; "" where all are finite.

    Example:
      >>> blame_not_finite({"w": np.array([np.nan])}, ())
      " (parameter 'w' holds NaN or infinity)"
    """
    found = {f"parameter {name!r}": leaf for name, leaf in named_leaves(params).items()}
    for number, given in enumerate(inputs):
        for k, leaf in enumerate(jax.tree.leaves(given)):
            found[f"input {number}" + f", array {k}" * (k > 0)] = leaf
    for what, leaf in found.items():
        if is_trainable(leaf) and count_not_finite(leaf):
            return f" ({what} holds NaN or infinity)"
    return ""
