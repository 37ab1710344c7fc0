"""How many examples there are."""

from typing import Any

import jax
import numpy as np

from gamepruning.types import InputError


def count_rows(data: Any) -> int:
    """The length of axis 0 that all leaves share.

    Args:
      data: a pytree of arrays [B, ...], such as (inputs, labels).

    Returns:
      B, at least 1.

    Raises:
      InputError: there is no example, or the leaves disagree.

    Example:
      >>> count_rows((np.zeros((5, 2)), np.zeros(5)))
      5
    """
    lengths = {np.shape(leaf)[:1] for leaf in jax.tree.leaves(data)}
    if len(lengths) != 1 or () in lengths or (0,) in lengths:
        found = sorted(length[0] if length else 0 for length in lengths)
        raise InputError(
            "expected inputs and labels with a leading axis of examples, the same "
            "number of examples in each and at least one example, got leading lengths "
            f"{found} (0 for none)"
        )
    return lengths.pop()[0]
