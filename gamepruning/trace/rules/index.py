"""Primitives that read or write by index: gathers, scatters and dynamic slices.

An axis that is read or written whole passes. One that is read at numbers that stand in
the program passes in their order; otherwise one that is indexed stays whole.
"""

from math import prod
from typing import Any

import jax
import jax.core
import jax.numpy as jnp
import numpy as np
from jax.lax import GatherScatterMode

from gamepruning.trace import primitives
from gamepruning.trace.labels import LabelAnalysis, Labels, explain_node
from gamepruning.trace.program import Lit, Node, Operand, apply_as_is, bind
from gamepruning.trace.rules.registry import define
from gamepruning.trace.rules.shape import is_one
from gamepruning.trace.rules.types import Sizes
from gamepruning.trace.usage import CONTRACTED, NOTHING, Origin, UsageAnalysis
from gamepruning.trace.zeros import ANY, ZERO, Levels, ZeroAnalysis


def window_dims(ndim: int, excluded) -> list[int]:
    """The operand axes that the window of a gather or scatter runs over, in order."""
    return [dim for dim in range(ndim) if dim not in excluded]


# -- numbers in the program ------------------------------------------------------------

_MAX_NUMBERS = 1 << 16  # of an array that is computed while the program is labelled
_MAX_FOLDED = 16  # nodes in a row that make it
_FOLDED = primitives.ELEMENTWISE | primitives.PASSES_ENTRIES | {"iota", "rev", "slice"}


def _numbers(analysis: LabelAnalysis, operand: Operand, depth: int = 0):
    """Whole numbers that nothing but the program decides, as an array, or None."""
    aval, shape = analysis.program.aval(operand), analysis.shape(operand)
    is_whole = any(jnp.issubdtype(aval.dtype, kind) for kind in (jnp.integer, bool))
    is_short = all(isinstance(n, int) for n in shape) and prod(shape) <= _MAX_NUMBERS
    if not is_whole or not is_short:
        return None
    if isinstance(operand, Lit):
        return np.asarray(operand.value)
    if operand in analysis.program.constants:
        return _at_hand(analysis.program.constants[operand])
    node = analysis.maker(operand)
    if node is None or depth == _MAX_FOLDED or node.name not in _FOLDED:
        return None
    args = [_numbers(analysis, value, depth + 1) for value in node.ins]
    if any(arg is None for arg in args):
        return None
    with jax.ensure_compile_time_eval():  # under jit, too
        return np.asarray(apply_as_is(node, args)[node.outs.index(operand)])


def _at_hand(array: Any) -> np.ndarray | None:
    if isinstance(array, jax.core.Tracer):
        return None
    is_here = not isinstance(array, jax.Array) or array.is_fully_addressable
    return np.asarray(array) if is_here else None


# -- gather ----------------------------------------------------------------------------


def _gathered(node: Node, ndim: int) -> tuple[list[int], tuple[int, ...]]:
    """The operand axes that are windows, and those that are not."""
    numbers = node.params["dimension_numbers"]
    picked = (*numbers.collapsed_slice_dims, *numbers.operand_batching_dims)
    return window_dims(ndim, picked), picked


def label_gather(
    analysis: LabelAnalysis, node: Node, operand: Labels, indices: Labels
) -> list[Labels]:
    """Rows are picked by index; axes taken whole pass."""
    numbers = node.params["dimension_numbers"]
    sizes, shape = node.params["slice_sizes"], analysis.shape(node.ins[0])
    reason = f"entries are picked by index ({explain_node(node)})"
    out: list = [None] * len(analysis.shape(node.outs[0]))
    windowed, _ = _gathered(node, len(shape))
    for target, dim in zip(numbers.offset_dims, windowed, strict=True):
        if sizes[dim] == shape[dim]:
            out[target] = operand[dim]
        else:
            analysis.freeze([operand[dim]], reason)
            out[target] = None if sizes[dim] == 1 else reason
    for dim in numbers.collapsed_slice_dims:
        search = analysis.picks.use(node, dim, numbers.start_index_map)
        if search is None:
            if (order := _order(analysis, node, dim)) is None:
                analysis.freeze([operand[dim]], reason)
            elif not analysis.is_frozen([operand[dim]]):
                analysis.unify(operand[dim][order], indices[0])
            continue
        analysis.unify(operand[dim], search.label)
        if analysis.is_varying(node.ins[0]):
            analysis.site(node, 0, dim)
            search.gathers = True
    batching = zip(
        numbers.operand_batching_dims, numbers.start_indices_batching_dims, strict=True
    )
    for dim, at in batching:
        analysis.unify(operand[dim], indices[at])
    rest = [k for k in range(len(out)) if k not in numbers.offset_dims]
    for target, label in zip(rest, indices[:-1], strict=True):
        out[target] = label
    analysis.freeze(indices[-1:], reason)
    return [tuple(out)]


def _order(analysis: LabelAnalysis, node: Node, dim: int) -> np.ndarray | None:
    """The entries of an axis that a gather picks, where the program says which."""
    numbers, shape = node.params["dimension_numbers"], analysis.shape(node.ins[1])
    size = analysis.shape(node.ins[0])[dim]
    is_list = len(shape) == 2 and numbers.start_index_map == (dim,)
    if not is_list or is_one(shape[0]) or not isinstance(size, int):
        return None
    found = _numbers(analysis, node.ins[1])
    if found is None or ((found < 0) | (found >= size)).any():
        return None
    return found[:, 0]


def _renumbered(sizes: Sizes, indices, dims, nobody: bool):
    """Numbers of the full array as places among the kept entries.

    Args:
      sizes: of the node.
      indices: the index vectors.
      dims: the axis of operand 0 that each of their components is for.
      nobody: a place behind the last for who left; otherwise any place.
    """
    for component, dim in enumerate(dims):
        kept = sizes.kept_in(0, dim)
        if kept is not None and not sizes.are_places(component):
            table = np.full(sizes.shape_in(0)[dim] + 1, len(kept) if nobody else 0)
            table[kept] = np.arange(len(kept))
            column = jnp.asarray(table, indices.dtype)[indices[..., component]]
            indices = indices.at[..., component].set(column)
    return indices


def rebind_gather(sizes: Sizes, node: Node, operand, indices) -> list:
    """Entries are where they are now; those of who left are 0."""
    numbers = node.params["dimension_numbers"]
    places = _renumbered(sizes, indices, numbers.start_index_map, nobody=False)
    (rows,) = rebind_slice_sizes(sizes, node, operand, places)
    for component, dim in enumerate(numbers.start_index_map):
        kept = sizes.kept_in(0, dim)
        if kept is not None and not sizes.are_places(component):
            stays = np.zeros(sizes.shape_in(0)[dim] + 1, bool)
            stays[kept] = True
            found = jnp.asarray(stays)[indices[..., component]]
            found = jnp.expand_dims(found, numbers.offset_dims)
            rows = jnp.where(found, rows, jnp.zeros((), rows.dtype))
    return [rows]


def rebind_slice_sizes(sizes: Sizes, node: Node, operand, *rest) -> list:
    """Axes taken whole are taken whole again."""
    rows = zip(
        node.params["slice_sizes"], sizes.shape_in(0), operand.shape, strict=True
    )
    slice_sizes = tuple(now if size == whole else size for size, whole, now in rows)
    params = {**node.params, "slice_sizes": slice_sizes}
    return bind(node.primitive, params, (operand, *rest))


def usage_gather(
    usage: UsageAnalysis, node: Node, operand: Origin, indices: Origin
) -> list[Origin]:
    """A table of rows produces the axes that are taken whole."""
    windowed, picked = _gathered(node, len(usage.shape(node.ins[0])))
    usage.use(operand.any_factor(), "out", windowed)
    usage.use(operand.any_factor(), "other", picked)
    return [CONTRACTED]


def zero_gather(
    zeros: ZeroAnalysis, node: Node, levels: Levels, indices: Levels
) -> list[Levels]:
    """Zero rows stay zero; which are read may depend on the inputs."""
    numbers = node.params["dimension_numbers"]
    out = [zeros.at_most(*node.ins)] * len(zeros.shape(node.outs[0]))
    for dim in numbers.collapsed_slice_dims:
        if _order(zeros.analysis, node, dim) is not None:  # the same entries leave
            (target,) = set(range(len(out))) - set(numbers.offset_dims)
            out[target] = levels[dim]
    windowed, _ = _gathered(node, len(levels))
    for target, dim in zip(numbers.offset_dims, windowed, strict=True):
        out[target] = zeros.unless_zero(levels[dim], node.ins[1])
    return [tuple(out)]


define(
    "gather",
    label=label_gather,
    rebind=rebind_gather,
    usage=usage_gather,
    zero=zero_gather,
)


# -- scatter ---------------------------------------------------------------------------


def label_scatter(
    analysis: LabelAnalysis,
    node: Node,
    operand: Labels,
    indices: Labels,
    updates: Labels,
) -> list[Labels]:
    """Rows are written by index; axes written whole pass."""
    numbers = node.params["dimension_numbers"]
    shape, update_shape = analysis.shape(node.ins[0]), analysis.shape(node.ins[2])
    reason = f"entries are written by index ({explain_node(node)})"
    for at, dim in _written(node, len(shape)):
        if update_shape[at] == shape[dim]:
            analysis.unify(operand[dim], updates[at])
        else:
            analysis.freeze([operand[dim], updates[at]], reason)
    for dim in numbers.inserted_window_dims:
        _label_written(analysis, node, dim, operand, reason)
    batching = zip(
        numbers.operand_batching_dims,
        numbers.scatter_indices_batching_dims,
        strict=True,
    )
    for dim, at in batching:
        analysis.unify(operand[dim], indices[at])
    rest = [k for k in range(len(updates)) if k not in numbers.update_window_dims]
    for at, label in zip(rest, indices[:-1], strict=True):
        analysis.unify(updates[at], label)
        if node.name in primitives.ADDING_SCATTERS:  # rows that meet: a contraction
            analysis.site(node, 2, at)
        else:
            analysis.freeze([updates[at]], reason)
    analysis.freeze(indices[-1:], reason)
    return [operand]


def _label_written(
    analysis: LabelAnalysis, node: Node, dim: int, operand: Labels, reason: str
) -> None:
    """An axis that is written by number: who left is never written."""
    dims = node.params["dimension_numbers"].scatter_dims_to_operand_dims
    drops = node.params["mode"] == GatherScatterMode.FILL_OR_DROP
    search = analysis.picks.use(node, dim, dims) if drops else None
    if search is None:
        analysis.freeze([operand[dim]], reason)
        return
    analysis.unify(operand[dim], search.label)
    if analysis.picks.is_zeros(node.ins[0]):
        analysis.picks.tallies.setdefault(node.outs[0], set()).add(dim)


def _written(node: Node, ndim: int) -> list[tuple[int, int]]:
    """Pairs of an axis of the updates and the operand axis that it is written along."""
    numbers = node.params["dimension_numbers"]
    excluded = (*numbers.inserted_window_dims, *numbers.operand_batching_dims)
    windowed = window_dims(ndim, excluded)
    return list(zip(numbers.update_window_dims, windowed, strict=True))


def rebind_scatter(sizes: Sizes, node: Node, operand, indices, updates) -> list:
    """Entries are where they are now; dimension numbers hold no sizes."""
    dims = node.params["dimension_numbers"].scatter_dims_to_operand_dims
    indices = _renumbered(sizes, indices, dims, nobody=True)
    return bind(node.primitive, node.params, (operand, indices, updates))


def usage_scatter(usage: UsageAnalysis, node: Node, *origins: Origin) -> list[Origin]:
    """Nothing is known of what is written."""
    return [NOTHING]


def zero_scatter(
    zeros: ZeroAnalysis, node: Node, levels: Levels, indices: Levels, updates: Levels
) -> list[Levels]:
    """Zero rows written over or added to zero rows."""
    out = [ANY] * len(levels)
    for at, dim in _written(node, len(levels)):
        out[dim] = ZERO if levels[dim] == updates[at] == ZERO else ANY
    return [tuple(out)]


define(
    primitives.SCATTERS,
    label=label_scatter,
    rebind=rebind_scatter,
    usage=usage_scatter,
    zero=zero_scatter,
)


# -- dynamic slices --------------------------------------------------------------------


def label_dynamic_slice(
    analysis: LabelAnalysis, node: Node, operand: Labels, *starts: Labels
) -> list[Labels]:
    """Axes sliced whole pass, and those sliced at a number of the program."""
    reason = f"entries are picked by index ({explain_node(node)})"
    out, shape = [], analysis.shape(node.ins[0])
    rows = zip(operand, node.params["slice_sizes"], shape, node.ins[1:], strict=True)
    for label, size, whole, start in rows:
        if size == whole:
            out.append(label)
            continue
        number = None if is_one(size) else _numbers(analysis, start)
        if number is not None and isinstance(label, np.ndarray):
            first = int(np.clip(number, 0, len(label) - size))
            out.append(label[first : first + size])
        else:
            analysis.freeze([label], reason)
            out.append(None if is_one(size) else reason)
    return [tuple(out)]


def rebind_dynamic_slice(sizes: Sizes, node: Node, operand, *starts) -> list:
    """Starts are counted in kept entries."""
    slice_sizes, starts = list(node.params["slice_sizes"]), list(starts)
    for dim, whole in enumerate(sizes.shape_in(0)):
        kept = sizes.kept_in(0, dim)
        if kept is None:
            continue
        if slice_sizes[dim] != whole:
            start = jnp.clip(starts[dim], 0, whole - slice_sizes[dim])
            places = np.searchsorted(kept, np.arange(whole))
            starts[dim] = jnp.asarray(places, start.dtype)[start]
        slice_sizes[dim] = sizes.out(0)[dim]
    params = {**node.params, "slice_sizes": tuple(slice_sizes)}
    return bind(node.primitive, params, (operand, *starts))


def zero_dynamic_slice(
    zeros: ZeroAnalysis, node: Node, levels: Levels, *starts: Levels
) -> list[Levels]:
    """Zeros stay zero; which entries are read may depend on the inputs."""
    return [tuple(zeros.unless_zero(level, *node.ins[1:]) for level in levels)]


define(
    "dynamic_slice",
    label=label_dynamic_slice,
    rebind=rebind_dynamic_slice,
    zero=zero_dynamic_slice,
)


def label_dynamic_update_slice(
    analysis: LabelAnalysis, node: Node, operand: Labels, update: Labels, *starts
) -> list[Labels]:
    """Axes updated whole pass."""
    reason = f"entries are written by index ({explain_node(node)})"
    shape, update_shape = analysis.shape(node.ins[0]), analysis.shape(node.ins[1])
    out = []
    for dim, label in enumerate(operand):
        if shape[dim] == update_shape[dim]:
            out.append(analysis.unify(label, update[dim]))
        else:
            analysis.freeze([label, update[dim]], reason)
            out.append(label)
    return [tuple(out)]


def zero_dynamic_update_slice(
    zeros: ZeroAnalysis, node: Node, levels: Levels, update: Levels, *starts: Levels
) -> list[Levels]:
    """What holds for both; which entries are written may depend on the inputs."""
    both = map(min, zip(levels, update, strict=True))
    return [tuple(zeros.unless_zero(level, *node.ins[2:]) for level in both)]


define(
    "dynamic_update_slice",
    label=label_dynamic_update_slice,
    zero=zero_dynamic_update_slice,
)
