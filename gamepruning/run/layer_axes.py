"""What (layer, unit) players have of stacked parameters, layer by layer."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import ArrayLike, Bool, Float

from gamepruning.run.kept import Kept, check_same, units_that_stay
from gamepruning.run.owned import add_entries, factor_type, without_gaps
from gamepruning.trace.model import OWN_ROLES, TracedModel
from gamepruning.trace.stacks import LayerAxis, LayerNumbers
from gamepruning.trees.paths import InputKey, LayerRows
from gamepruning.trees.placement import replicated
from gamepruning.trees.trainable import is_numeric, widen
from gamepruning.types import InputError, Params


class AxisEntries(NamedTuple):
    """The players of each entry of a parameter axis.

    Attributes:
      leaf: the number of the parameter among the arrays of params.
      axis: the axis.
      layers: the axis of layers; None where the entries of all layers are one.
      columns: player numbers + 1 (0: always there), as in `Columns`: int [size, k], or
        int [L, size, k] in the order in which the parameter has its layers.
    """

    leaf: int
    axis: int
    layers: int | None
    columns: np.ndarray

    @property
    def axes(self) -> tuple[int, ...]:
        """The axes that `columns` speaks of, layers first."""
        return (self.axis,) if self.layers is None else (self.layers, self.axis)

    def others(self, ndim: int) -> tuple[int, ...]:
        """The axes that it says nothing of."""
        return tuple(k for k in range(ndim) if k not in self.axes)

    def spread(self, row: Any, ndim: int) -> Any:
        """One number an entry, [size] or [L, size], in a shape that meets the leaf."""
        if self.layers is not None and self.layers > self.axis:
            row = row.T
        xp = np if isinstance(row, np.ndarray) else jnp
        return xp.expand_dims(row, self.others(ndim))

    def stay(self, mask: np.ndarray) -> np.ndarray:
        """The entries that stay under a mask [N], bool [size] or [L, size]."""
        return np.all(np.concatenate([[True], mask])[self.columns], axis=-1)


def entries_of(model: TracedModel) -> Iterator[AxisEntries]:
    """Every parameter axis that players have entries on."""
    trace, numbers = model.base, model.layers
    assert numbers is not None
    stacks = {leaf: stack for stack in trace.stacks for leaf in stack.leaves}
    for leaf, labels in enumerate(trace.param_labels):
        for axis, label in enumerate(labels):
            units = trace.columns(label)
            if units is None:
                continue
            stack = stacks.get(leaf)
            if stack is None or not stack.own[units].any():
                yield AxisEntries(leaf, axis, None, _at(numbers, 0)[units])
            else:
                layers = stack.leaves[leaf]
                columns = _by_layer(numbers, layers, units)
                yield AxisEntries(leaf, axis, layers.axis, columns)


def _at(numbers: LayerNumbers, turn: int) -> np.ndarray:
    """Player + 1 of unit + 1 at a turn, int [T + 1]; 0 of 0."""
    return np.concatenate([[0], 1 + numbers.at(turn)])


def _by_layer(
    numbers: LayerNumbers, layers: LayerAxis, units: np.ndarray
) -> np.ndarray:
    found = np.zeros((len(layers.turns), *units.shape), int)
    for turn, entry in enumerate(layers.turns):
        found[entry] = _at(numbers, turn)[units]
    return found


# -- own parameters --------------------------------------------------------------------


def owned_entries(model: TracedModel) -> Iterator[AxisEntries]:
    """Those that hold the players' own parameters, by the leaf in flattened params."""
    positions = model.example.leaf_positions
    for entries in entries_of(model):
        if model.usage.role((entries.leaf, entries.axis)) in OWN_ROLES:
            yield entries._replace(leaf=positions[entries.leaf])


def participate_by_layer(
    model: TracedModel, params: Params, gates: ArrayLike
) -> Params:
    """theta_i -> s_i theta_i, equation 3 of arXiv 2512.22106."""
    model.check_params(params)
    gates = model.gates(gates)
    padded = jnp.concatenate([jnp.ones(1, gates.dtype), gates])
    leaves, treedef = jax.tree_util.tree_flatten(params)
    for own in owned_entries(model):
        leaf, factors = leaves[own.leaf], padded[own.columns]
        scale = factors.all(-1) if gates.dtype == bool else factors.prod(-1)
        scale = own.spread(scale.astype(factor_type(gates, leaf)), np.ndim(leaf))
        leaves[own.leaf] = leaf * scale
    return jax.tree_util.tree_unflatten(treedef, leaves)


def sum_owned_by_layer(model: TracedModel, tree: Params) -> Float[jax.Array, " N"]:
    """For each player the sum over its own parameters of the entries of a tree."""
    tree = without_gaps(model, tree)
    model.check_params(tree)
    leaves = jax.tree_util.tree_leaves(tree)
    dtype = jnp.result_type(jnp.float32, *filter(is_numeric, leaves))
    total = jnp.zeros(model.num_players + 1, dtype)  # 0: entries that nobody owns
    for own in owned_entries(model):
        leaf = widen(leaves[own.leaf])
        entries = jnp.sum(leaf, axis=own.others(leaf.ndim)).astype(dtype)
        if own.layers is not None and own.layers > own.axis:
            entries = entries.T
        entries = replicated(entries)
        if own.layers is None:
            total = add_entries(total, entries, own.columns)
        else:
            everyone = jnp.broadcast_to(entries[..., None], own.columns.shape)
            total = total.at[own.columns].add(everyone)
    return total[1:]


# -- what stays ------------------------------------------------------------------------


def kept_by_layer(model: TracedModel, mask: Bool[np.ndarray, " N"]) -> Kept:
    """What stays of each parameter axis; only axes that lose entries.

    Raises:
      InputError: the layers of a stack keep different numbers of entries.
    """
    kept: Kept = {}
    for entries in entries_of(model):
        stays = entries.stay(mask)
        if stays.all():
            continue
        path = model.paths[entries.leaf]
        if entries.layers is None or (stays == stays[0]).all():
            same = stays if entries.layers is None else stays[0]
            kept[path, entries.axis] = np.flatnonzero(same)
            continue
        counts = stays.sum(axis=1)
        if counts.min() != counts.max():
            raise InputError(_ragged(path, entries.axis, counts))
        rows = np.nonzero(stays)[1].reshape(len(stays), -1)
        kept[path, entries.axis] = LayerRows(entries.layers, rows)
    return kept


def _ragged(path: str, axis: int, counts: np.ndarray) -> str:
    low, high = int(counts.argmin()), int(counts.argmax())
    return (
        f"the layers of a stack must keep equally many entries, got {counts[low]} of "
        f"axis {axis} of {path!r} in layer {low} and {counts[high]} in layer {high}: "
        "choose with top_n(..., uniform=True), mend the mask with "
        "round_mask(..., uniform=True), or fill up with players.pad(mask) after "
        "params = players.exclude(params, mask)"
    )


def mask_from_kept_by_layer(
    model: TracedModel,
    kept: Mapping[tuple[str, int], Any],
    inputs_kept: Mapping[InputKey, Mapping[int, ArrayLike]],
) -> Bool[np.ndarray, " N"]:
    """The mask that leaves these indices; the inverse of `kept_by_layer`.

    Raises:
      InputError: the indices do not fit the model.
    """
    numbers = model.layers
    assert numbers is not None
    stays = np.ones(model.num_players, bool)
    for turn in range(numbers.num_turns):
        here = {
            place: _rows_at(model, place, rows, turn) for place, rows in kept.items()
        }
        units = units_that_stay(model, here, inputs_kept, len(numbers.first))
        is_turn = turn < numbers.length
        stays[numbers.at(turn)[is_turn]] = units[is_turn]
    check_same(kept, kept_by_layer(model, stays))
    return stays


def _rows_at(model: TracedModel, place: tuple[str, int], rows: Any, turn: int) -> Any:
    """What stays of an axis in the layer that a turn reads."""
    if not isinstance(rows, LayerRows):
        return rows
    leaf = model.paths.index(place[0]) if place[0] in model.paths else -1
    for stack in model.base.stacks:
        if leaf in stack.leaves:
            turns = stack.leaves[leaf].turns
            return rows.indices[turns[min(turn, len(turns) - 1)]]
    raise InputError(
        f"these kept indices are a plan for another model: {place[0]!r} is not "
        "stacked by layers here"
    )
