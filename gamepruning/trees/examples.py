"""Examples: how many there are, as arrays, and whether they depend on each other."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from gamepruning.trees.arrays import compiled
from gamepruning.trees.processes import to_host
from gamepruning.types import InputError


def as_inputs(inputs: Any) -> tuple:
    """The network's inputs as a tuple: a tuple stays, anything else is the only one.

    Lists of numbers become arrays.

    Example:
      >>> [x.shape for x in as_inputs([[1.0, 2.0], [3.0, 4.0]])]
      [(2, 2)]
    """
    given = inputs if isinstance(inputs, tuple) else (inputs,)
    return tuple(map(_listed, given))


def _listed(data: Any) -> Any:
    """Nested lists of numbers as an array; anything else as it is."""
    leaves = jax.tree.leaves(data) if isinstance(data, list) else [None]
    if not all(isinstance(leaf, bool | int | float | complex) for leaf in leaves):
        return data
    try:
        return np.asarray(data)
    except ValueError as error:
        raise InputError(f"an input is lists that make no array: {error}") from error


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


def leading_length(data: Any) -> int:
    """The length of axis 0 of the first leaf that has one; others may differ.

    Args:
      data: a pytree of arrays, such as (labels, *inputs).

    Raises:
      InputError: there is none.

    Example:
      >>> leading_length((None, np.zeros((5, 2)), np.zeros(3)))
      5
    """
    lengths = [np.shape(leaf)[0] for leaf in jax.tree.leaves(data) if np.ndim(leaf)]
    return lengths[0] if lengths else count_rows(data)


def rows_are_independent(
    apply: Callable[..., Any], params: PyTree, inputs: tuple
) -> bool:
    """Return True if the outputs of two halves are the halves of the outputs.

    Args:
      apply: (params, *inputs) -> outputs.
      params: its parameters; leaves may be other than arrays.
      inputs: examples on axis 0 of each leaf; eight of them are looked at.
    """
    half = min(4, len(jax.tree.leaves(inputs)[0]) // 2)
    parts = [(0, half), (half, 2 * half)] if half else [(0, 1)]

    def outputs(start: int, stop: int) -> list:
        own = jax.tree.map(lambda leaf: jnp.asarray(leaf)[start:stop], inputs)
        run = compiled(lambda params, xs: apply(params, *xs), params, own)
        return [to_host(x) for x in jax.tree.leaves(run)]

    try:
        whole = outputs(0, parts[-1][1])
        halves = [outputs(*part) for part in parts]
    except (TypeError, ValueError):  # a model for one batch size only
        return False
    sizes = [stop - start for start, stop in parts]
    return all(
        np.shape(x)[:1] == (sum(sizes),)
        and [np.shape(y)[:1] for y in own] == [(size,) for size in sizes]
        and np.allclose(x, np.concatenate(own), rtol=1e-2, atol=1e-4, equal_nan=True)
        for x, *own in zip(whole, *halves, strict=True)
    )


def draw_rows(data: Any, most: int) -> Any:
    """At most so many rows of arrays [B, ...], drawn at random, in their order.

    They are always the same. The first rows of a file may be of one class.

    Example:
      >>> x, y = draw_rows((np.arange(1000), np.arange(1000) // 500), 100)
      >>> len(x), bool(35 < y.sum() < 65), draw_rows(np.arange(3), 5).tolist()
      (100, True, [0, 1, 2])
    """
    num = count_rows(data)
    rows = np.random.default_rng(0).permutation(num)[:most]
    return data if num <= most else jax.tree.map(lambda x: x[np.sort(rows)], data)
