"""How far two models are apart, and how far rounding may put them."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gamepruning.metrics import accuracy
from gamepruning.trees.processes import to_host
from gamepruning.trees.trainable import is_trainable
from gamepruning.types import InputError


def relative_error(expected: Any, actual: Any) -> float:
    """The largest difference of two trees over the largest entry, leaf by leaf.

    Leaves that are not floating-point count the share of entries that differ. NaN or
    infinity at the same place in both is not compared; where that is all there is,
    nothing is proved and the error is infinite.

    Example:
      >>> relative_error(np.array([1.0, np.nan]), np.array([1.0, np.nan]))
      0.0
      >>> relative_error(np.array([np.nan]), np.array([np.nan]))
      inf
    """
    one, two = map(jax.tree_util.tree_leaves, (expected, actual))
    inexact = [leaf for leaf in one if is_trainable(leaf) and np.size(leaf)]
    if len(one) != len(two) or (inexact and not any(map(_has_numbers, inexact))):
        return float("inf")
    return max((_leaf_error(a, b) for a, b in zip(one, two, strict=True)), default=0.0)


def _has_numbers(leaf: Any) -> bool:
    wide = np.complex128 if jnp.iscomplexobj(leaf) else np.float64
    return bool(np.isfinite(to_host(leaf).astype(wide)).any())


def _leaf_error(expected, actual) -> float:
    if jnp.issubdtype(getattr(expected, "dtype", np.int32), jax.dtypes.prng_key):
        return 0.0
    expected, actual = to_host(expected), to_host(actual)
    if expected.shape != actual.shape:
        return float("inf")
    if not expected.size:
        return 0.0
    if not jnp.issubdtype(expected.dtype, jnp.inexact):
        return float(np.mean(expected != actual))
    wide = np.complex128 if np.iscomplexobj(expected) else np.float64
    expected, actual = expected.astype(wide), actual.astype(wide)
    same = (expected == actual) | (np.isnan(expected) & np.isnan(actual))
    with np.errstate(invalid="ignore"):
        gap = np.where(same, 0.0, np.abs(expected - actual))
    finite = np.abs(expected[np.isfinite(expected)])
    scale = finite.max(initial=0.0) or 1.0
    return float(np.nan_to_num(gap.max() / scale, nan=np.inf))


def tolerance(*trees: Any) -> float:
    """What rounding may do: a thousand units of the coarsest precision at work.

    At least 1e-9: sums of other orders, divided by a small spread as in batch norm,
    differ by more than a thousand units of float64.
    """
    dtypes = [
        leaf.dtype
        for tree in trees
        for leaf in jax.tree_util.tree_leaves(tree)
        if is_trainable(leaf)
    ]
    widest = max((float(jnp.finfo(dtype).eps) for dtype in dtypes), default=1e-7)
    return min(max(1000 * widest, 1e-9), 0.1)


def check_value(found: float, expected: float, metric: Any, labels: Any) -> None:
    """Check that a metric is the same after players were taken out for real.

    Outputs were compared before. It may differ by rounding, which is relative to large
    values, and by one example for which rounding decides between two classes.

    Args:
      found: the metric of the small network.
      expected: that of the full network with the players gated off.
      metric: accuracy, or another one, in which each class may count alike.
      labels: of the examples [B], integers where they are classes.

    Raises:
      RuntimeError: it is another value.
    """
    num = len(labels)
    if metric is not accuracy and np.issubdtype(labels.dtype, np.integer):
        counts = np.unique(labels, return_counts=True)[1]
        num = len(counts) * counts.min()
    if abs(found - expected) > max(1e-3, 1.5 / num) * max(1.0, abs(expected)):
        raise RuntimeError(f"{expected} with players gated off, {found} without them")


def sample_inputs(inputs: Sequence[Any]) -> tuple:
    """Inputs as they are; random ones (one fixed key) where only shapes are known.

    Raises:
      InputError: the size of a batch is a symbol.
    """
    leaves, treedef = jax.tree_util.tree_flatten(tuple(inputs))
    keys = jax.random.split(jax.random.key(0), max(len(leaves), 1))
    made = [_sample(k, leaf) for k, leaf in zip(keys, leaves, strict=False)]
    return jax.tree_util.tree_unflatten(treedef, made)


def is_open(leaf: Any) -> bool:
    """Return True if a size of an array or shape is a symbol, as in `jax.export`."""
    return not all(isinstance(size, int) for size in np.shape(leaf))


def _sample(key, leaf):
    if not isinstance(leaf, jax.ShapeDtypeStruct):
        return leaf
    if is_open(leaf):
        raise InputError(
            f"the players were found with inputs of shape {leaf.shape}, which leaves "
            "a size open: pass inputs=(...), arrays or shapes, to verify with"
        )
    if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        count = int(np.prod(leaf.shape))
        return jax.random.split(key, count).reshape(leaf.shape)
    if jnp.issubdtype(leaf.dtype, jnp.floating):
        return jax.random.normal(key, leaf.shape, leaf.dtype)
    return jax.random.randint(key, leaf.shape, 0, 2).astype(leaf.dtype)
