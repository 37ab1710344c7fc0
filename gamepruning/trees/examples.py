"""How many examples there are."""

from typing import Any

import jax
import numpy as np

from gamepruning.types import InputError


def same_length(data: Any) -> int | None:
    """The leading length that all leaves share, if they do."""
    lengths = {np.shape(leaf)[:1] for leaf in jax.tree.leaves(data)}
    return lengths.pop()[0] if len(lengths) == 1 and () not in lengths else None


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
    num_rows = same_length(data)
    if not num_rows:
        shapes = {np.shape(leaf)[:1] for leaf in jax.tree.leaves(data)}
        found = sorted(shape[0] if shape else 0 for shape in shapes)
        raise InputError(
            "expected inputs and labels with a leading axis of examples, the same "
            "number of examples in each and at least one example, got leading lengths "
            f"{found} (0 for none)"
        )
    return num_rows
