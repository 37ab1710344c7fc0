"""A random start that was cut down, made fit for its smaller width."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from gamepruning.players import Players
from gamepruning.trees.paths import path_name


def fit_variance(
    players: Players, params: Any, shapes: Mapping[str, tuple[int, ...]]
) -> Any:
    """Make weights that read fewer players larger, as a fresh start would have them.

    Their variance then fits the new number of inputs as it fitted the old one: an axis
    cut from m to k entries multiplies the weights by sqrt(m / k).

    Args:
      players: of the full network.
      params: of the small one, cut down from a random start of the full one.
      shapes: those of the full network's parameters, by path.
    """
    slices = [part for family in players.families for part in family.slices]
    readers = {(part.path, part.axis) for part in slices if part.role == "in"}

    def scale(path, leaf):
        name, gain = path_name(path), 1.0
        for axis in range(leaf.ndim):
            if (name, axis) in readers and leaf.shape[axis]:
                gain *= (shapes[name][axis] / leaf.shape[axis]) ** 0.5
        return leaf * jnp.asarray(gain, leaf.dtype)

    return jax.tree_util.tree_map_with_path(scale, params)
