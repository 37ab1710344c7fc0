"""What equal outputs prove: nothing where they are NaN, or the same whoever stays."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from gamepruning.trees.finite import blame_not_finite, count_not_finite
from gamepruning.trees.processes import to_host
from gamepruning.trees.trainable import is_trainable
from gamepruning.types import InputError


def check_finite(outputs: PyTree, params: PyTree, inputs: tuple) -> str:
    """Check that some output is a number, so that a comparison says something.

    Args:
      outputs: of the full model.
      params: its parameters.
      inputs: its inputs, a tuple.

    Returns:
      What is left out of the comparison, or "" if all outputs are numbers.

    Raises:
      InputError: no output is; the cause is named.
    """
    total, bad = (
        sum(map(count, _inexact(outputs))) for count in (np.size, count_not_finite)
    )
    if not bad:
        return ""
    where = blame_not_finite(params, inputs)
    if bad == total:
        raise InputError(
            f"all {total} outputs of the model are NaN or infinite{where}: equal "
            "outputs would prove nothing; mend the parameters, or pass inputs= on "
            "which the outputs are finite"
        )
    return f"{bad} of {total} outputs are NaN or infinite and were not compared{where}"


def looks_constant(outputs: PyTree) -> bool:
    """Return True if no output varies from example to example, as far as one can see.

    A single example is no evidence that it would.

    Example:
      >>> looks_constant(np.ones((3, 2))), looks_constant(np.array([[0.0], [1.0]]))
      (True, False)
    """
    leaves = [to_host(leaf) for leaf in jax.tree.leaves(outputs) if _is_plain(leaf)]
    return all(not leaf.ndim or _same(leaf, leaf[:1]) for leaf in leaves)


def are_same(one: PyTree, two: PyTree) -> bool:
    """Return True if all outputs are equal, bit for bit, apart from random keys."""
    pairs = zip(jax.tree.leaves(one), jax.tree.leaves(two), strict=True)
    return all(_same(*map(to_host, pair)) for pair in pairs if _is_plain(pair[0]))


def random_params(params: PyTree, seed: int = 0) -> PyTree:
    """Parameters of the same shapes and types, none of them zero.

    Weights get noise of the size that keeps activations; vectors, which may be
    variances, get something positive.
    """
    leaves, treedef = jax.tree.flatten(params)
    keys = jax.random.split(jax.random.key(seed), max(len(leaves), 1))
    new = [_noisy(key, leaf) for key, leaf in zip(keys, leaves, strict=False)]
    return jax.tree.unflatten(treedef, new)


def _noisy(key: jax.Array, leaf: Any) -> Any:
    if not is_trainable(leaf):
        return leaf
    if leaf.ndim < 2:
        noise = jax.random.uniform(key, leaf.shape, minval=0.5, maxval=1.5)
    else:
        noise = jax.random.normal(key, leaf.shape) / np.sqrt(np.prod(leaf.shape[:-1]))
    return (jnp.asarray(leaf) + noise).astype(leaf.dtype)


def _inexact(tree: PyTree) -> list[np.ndarray]:
    return [to_host(leaf) for leaf in jax.tree.leaves(tree) if is_trainable(leaf)]


def _is_plain(leaf: Any) -> bool:
    return not jnp.issubdtype(jnp.result_type(leaf), jax.dtypes.prng_key)


def _same(one: np.ndarray, two: np.ndarray) -> bool:
    return bool(((one == two) | ((one != one) & (two != two))).all())
