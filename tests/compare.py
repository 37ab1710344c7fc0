"""How the tests compare a smaller model with the full one."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gamepruning.trees.paths import path_name
from tests.zoo.case import Model


def random_mask(numbers: np.random.Generator, players: Any, keep: float) -> np.ndarray:
    """Each player stays with probability `keep`; at least one of every family does."""
    mask = numbers.random(players.num_players) < keep
    for family in players.families:
        if not mask[family.start : family.stop].any():
            mask[numbers.integers(family.start, family.stop)] = True
    if mask.all():
        sizes = np.array([family.size for family in players.families])
        spare = np.flatnonzero(sizes[players.family_of] > 1)
        mask[numbers.choice(spare) if len(spare) else 0] = False
    return mask


def relative_error(ours: Any, reference: Any) -> float:
    """max |a - b| / max |b|, the largest over the outputs; inf where shapes differ."""
    if jax.tree.structure(ours) != jax.tree.structure(reference):
        return np.inf
    pairs = zip(jax.tree.leaves(ours), jax.tree.leaves(reference), strict=True)
    return max((_leaf_error(a, b) for a, b in pairs), default=0.0)


def _leaf_error(ours: Any, reference: Any) -> float:
    if np.shape(ours) != np.shape(reference):
        return np.inf
    a, b = (np.asarray(leaf).astype(_wide(leaf)) for leaf in (ours, reference))
    if not a.size or np.array_equal(a, b, equal_nan=True):
        return 0.0
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        return np.inf
    scale = np.abs(b).max()
    return float(np.abs(a - b).max() / scale) if scale > 0 else np.inf


def _wide(leaf: Any) -> type:
    return np.complex128 if jnp.iscomplexobj(leaf) else np.float64


def shrink_inputs(model: Model, kept: Mapping[int, Mapping[int, np.ndarray]]) -> tuple:
    """The inputs without the features that left."""
    inputs = list(model.inputs)
    for position, axes in kept.items():
        for axis, indices in axes.items():
            inputs[position] = np.take(np.asarray(inputs[position]), indices, axis)
    return tuple(inputs)


def shrink_outputs(
    model: Model, kept: Mapping[tuple[str, int], np.ndarray], outputs: Any
) -> Any:
    """The full model's outputs without the entries that left (`outputs_like`)."""
    outputs_like = model.options.get("outputs_like")
    if outputs_like is None:
        return outputs
    paths = jax.tree_util.tree_map_with_path(
        lambda path, _: path_name(path), model.params
    )

    def shrink(path: str | None, leaf: Any) -> Any:
        for axis in range(np.ndim(leaf)):
            if path is not None and (path, axis) in kept:
                leaf = np.take(np.asarray(leaf), kept[path, axis], axis)
        return leaf

    like = outputs_like(paths)
    return jax.tree.map(shrink, like, outputs, is_leaf=lambda leaf: leaf is None)


def float_leaves(tree: Any) -> list[jax.Array]:
    """The real floating arrays of a tree."""
    leaves = jax.tree.leaves(tree)
    return [leaf for leaf in leaves if jnp.issubdtype(leaf.dtype, jnp.floating)]


def projection(seed: int, outputs: Any) -> jax.Array:
    """A scalar that depends on every entry of the outputs, for taking gradients.

    The weights depend on an entry's position in its array, so pass outputs of one
    shape only.
    """
    numbers = np.random.default_rng(seed)
    total = jnp.zeros(())
    for leaf in float_leaves(outputs):
        weight = jnp.asarray(numbers.standard_normal(leaf.shape), leaf.dtype)
        total = total + (weight * leaf).sum()
    return total
