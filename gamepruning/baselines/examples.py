"""Passing over examples without holding all of them at once."""

import warnings
from collections.abc import Callable
from typing import Any

import chex
import jax
import jax.core
import jax.numpy as jnp
from jaxtyping import PyTree

from gamepruning.players import Players
from gamepruning.players.examples import examples_are_apart
from gamepruning.trees.arrays import CompiledFunction
from gamepruning.trees.examples import count_rows
from gamepruning.trees.placement import rows_are_split
from gamepruning.trees.processes import to_host
from gamepruning.types import InputError, Scores


def chunk_size(
    players: Players, params: PyTree, inputs: tuple, at_once: int | None
) -> int | None:
    """Examples a pass: None, all of them, where some of them cannot go alone."""
    if at_once is None or not can_go_alone(players, params, inputs):
        return None
    return at_once


def can_go_alone(players: Players, params: PyTree, inputs: tuple) -> bool:
    """Check that the network takes one example at a time.

    Where examples depend on each other it does not, nor where the network says how they
    are split over devices, which one example cannot be.
    """
    if rows_are_split(inputs):
        return False
    return examples_are_apart(players, params, inputs)


def kept(
    players: Players, key: tuple, score: Callable[[PyTree, Any], PyTree]
) -> CompiledFunction:
    """The compiled score of an earlier call with the same players and key, or a new.

    Args:
      players: the `Players`, who keep it.
      key: the name of the score, and all that it depends on beside its arguments.
      score: (params, data) -> the score.
    """
    return players.model.programs.get(key, lambda: CompiledFunction(score))


def mean_over_chunks(
    fn: Callable[[PyTree], PyTree], data: PyTree, at_once: int | None
) -> PyTree:
    """Mean over all examples of what `fn` averages over a chunk of them.

    Args:
      fn: chunk of `data` -> a pytree of means over that chunk.
      data: a pytree of arrays [B, ...].
      at_once: examples a chunk; None calls `fn` once with all of the data, whose
        leading axes may then be anything.

    Returns:
      The size-weighted mean over the chunks, the last of which may be smaller. Memory
      is for one chunk and one result more.

    Raises:
      InputError: `at_once` is below 1; see also `count_rows`.
    """
    if at_once is None:
        _refuse_nothing(data)
        return fn(data)
    total = count_rows(data)
    size = min(at_once, total)
    if size < 1:
        raise InputError(f"expected at least 1 example at once, got {at_once}")
    num_full, rest = divmod(total, size)
    full = jax.tree.map(
        lambda leaf: leaf[: total - rest].reshape(num_full, size, *leaf.shape[1:]), data
    )

    def add(total: PyTree, chunk: PyTree) -> tuple[PyTree, None]:
        return jax.tree.map(jnp.add, total, fn(chunk)), None

    first = fn(jax.tree.map(lambda leaf: leaf[0], full))  # for its types alone
    total_of_full, _ = jax.lax.scan(add, jax.tree.map(jnp.zeros_like, first), full)
    mean = jax.tree.map(lambda x: x / num_full, total_of_full)
    if not rest:
        return mean
    last = fn(jax.tree.map(lambda leaf: leaf[total - rest :], data))
    return jax.tree.map(lambda m, x: m + (x - m) * (rest / total), mean, last)


def _refuse_nothing(data: PyTree) -> None:
    if any(jnp.shape(leaf)[:1] == (0,) for leaf in jax.tree.leaves(data)):
        raise InputError("expected inputs and labels of at least one example, got none")


def exact_scores(value: jax.Array, num_evaluations: int) -> Scores:
    """Scores without sampling error: they are what they are on the examples given.

    A warning says that all of several are 0, which ranks nobody; NaN is an InputError.
    """
    chex.assert_rank(value, 1)
    is_known = not isinstance(value, jax.core.Tracer)
    if is_known and not value.is_fully_addressable:
        value = jnp.asarray(to_host(value))  # parts of it lie with other processes
    if is_known and jnp.isnan(value).any():
        raise InputError(
            f"the score of player {int(jnp.isnan(value).argmax())} is NaN: look for "
            "NaN or infinity in the parameters and inputs, and for labels outside the "
            "classes"
        )
    if is_known and value.size > 1 and not jnp.any(value):
        warnings.warn(
            f"all {value.size} scores are 0, which ranks nobody: look for dead units, "
            "a loss that does not depend on the outputs, or weights that are all 0",
            stacklevel=3,
        )
    return Scores(value, jnp.zeros_like(value), num_evaluations)
