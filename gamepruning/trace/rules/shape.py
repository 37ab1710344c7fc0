"""Primitives that give an array another shape: order, blocks, broadcasting."""

import jax.numpy as jnp
import numpy as np
from jax import lax

from gamepruning.trace.labels import LabelAnalysis, Labels, explain_node
from gamepruning.trace.program import Lit, Node, apply_as_is, bind, take
from gamepruning.trace.rules.registry import define
from gamepruning.trace.rules.types import Sizes
from gamepruning.trace.usage import Origin, Places, UsageAnalysis
from gamepruning.trace.zeros import ANY, CONSTANT, ZERO, Levels, ZeroAnalysis, is_zero


def is_one(size) -> bool:
    """True for an axis of one entry."""
    return isinstance(size, int) and size == 1


# -- iota ------------------------------------------------------------------------------


def label_iota(analysis: LabelAnalysis, node: Node, *labels: Labels) -> list[Labels]:
    """A table of numbers."""
    return [analysis.fresh_like(node.outs[0])]


def rebind_iota(sizes: Sizes, node: Node, *lengths) -> list:
    """The numbers of what stays: their own, or their places."""
    (table,), axis = apply_as_is(node, lengths), node.params["dimension"]
    for dim in range(table.ndim):
        kept = sizes.kept_out(0, dim)
        if kept is not None and dim == axis and sizes.are_places():
            kept = np.arange(len(kept))
        table = table if kept is None else take(table, kept, dim)
    return [table]


define("iota", label=label_iota, rebind=rebind_iota)


# -- broadcast_in_dim ------------------------------------------------------------------


def label_broadcast(
    analysis: LabelAnalysis, node: Node, operand: Labels, *_: Labels
) -> list[Labels]:
    """Axes that exist pass, new ones are fresh."""
    shape, sizes = analysis.shape(node.outs[0]), analysis.shape(node.ins[0])
    out = [analysis.fresh(size) for size in shape]
    for dim, target in enumerate(node.params["broadcast_dimensions"]):
        if sizes[dim] == shape[target]:
            out[target] = operand[dim]
    return [tuple(out)]


def rebind_broadcast(sizes: Sizes, node: Node, operand, *rest) -> list:
    """The target shape shrinks."""
    params = {**node.params, "shape": sizes.out(0)}
    return bind(node.primitive, params, (operand, *rest))


def usage_broadcast(
    usage: UsageAnalysis, node: Node, operand: Origin, *_: Origin
) -> list[Origin]:
    """New axes are nobody's."""
    ndim = len(usage.shape(node.outs[0]))

    def move(places: Places) -> Places:
        out: list[frozenset] = [frozenset()] * ndim
        for dim, target in enumerate(node.params["broadcast_dimensions"]):
            out[target] = places[dim]
        return tuple(out)

    return [operand.moved(move)]


def zero_broadcast(
    zeros: ZeroAnalysis, node: Node, levels: Levels, *_: Levels
) -> list[Levels]:
    """Along a new axis all entries are the same."""
    operand, shape = node.ins[0], zeros.shape(node.outs[0])
    if isinstance(operand, Lit):
        start = ZERO if is_zero(operand) else CONSTANT
    else:
        start = zeros.at_most(operand)
    out = [start] * len(shape)
    sizes = zeros.shape(operand)
    for dim, target in enumerate(node.params["broadcast_dimensions"]):
        if sizes[dim] == shape[target]:
            out[target] = levels[dim]
    return [tuple(out)]


define(
    "broadcast_in_dim",
    label=label_broadcast,
    rebind=rebind_broadcast,
    usage=usage_broadcast,
    zero=zero_broadcast,
)


# -- transpose, squeeze ----------------------------------------------------------------


def label_transpose(
    analysis: LabelAnalysis, node: Node, labels: Labels
) -> list[Labels]:
    """Axes in another order."""
    return [tuple(labels[dim] for dim in node.params["permutation"])]


def usage_transpose(usage: UsageAnalysis, node: Node, operand: Origin) -> list[Origin]:
    """Axes in another order."""
    order = node.params["permutation"]
    return [operand.moved(lambda places: tuple(places[d] for d in order))]


def zero_transpose(zeros: ZeroAnalysis, node: Node, levels: Levels) -> list[Levels]:
    """Axes in another order."""
    return [tuple(levels[dim] for dim in node.params["permutation"])]


define("transpose", label=label_transpose, usage=usage_transpose, zero=zero_transpose)


def label_squeeze(analysis: LabelAnalysis, node: Node, labels: Labels) -> list[Labels]:
    """Axes of one entry go."""
    return [_without(labels, node.params["dimensions"])]


def usage_squeeze(usage: UsageAnalysis, node: Node, operand: Origin) -> list[Origin]:
    """Axes of one entry go."""
    gone = node.params["dimensions"]
    return [operand.moved(lambda places: _without(places, gone))]


def zero_squeeze(zeros: ZeroAnalysis, node: Node, levels: Levels) -> list[Levels]:
    """Axes of one entry go."""
    return [_without(levels, node.params["dimensions"])]


def _without(row: tuple, gone) -> tuple:
    return tuple(x for dim, x in enumerate(row) if dim not in gone)


define("squeeze", label=label_squeeze, usage=usage_squeeze, zero=zero_squeeze)


# -- reshape ---------------------------------------------------------------------------


def label_reshape(
    analysis: LabelAnalysis, node: Node, labels: Labels, *_: Labels
) -> list[Labels]:
    """Pair blocks of axes; merge and split within each block."""
    before, after = analysis.shape(node.ins[0]), analysis.shape(node.outs[0])
    out: list = [None] * len(after)
    for ins, outs in reshape_blocks(before, after):
        if len(ins) == 1 and len(outs) == 1:
            out[outs[0]] = labels[ins[0]]
        elif not all(isinstance(before[k], int) for k in ins):
            reason = "it is reshaped with an axis of symbolic length"
            analysis.freeze([labels[k] for k in ins], reason)
            for k in outs:
                out[k] = reason
        else:
            pieces, sizes = [labels[k] for k in ins], [before[k] for k in ins]
            merged = analysis.atoms.merge(pieces, sizes)
            split = analysis.atoms.split(merged, [after[k] for k in outs])
            for k, label in zip(outs, split, strict=True):
                out[k] = label
    return [tuple(out)]


def rebind_reshape(sizes: Sizes, node: Node, operand, *_) -> list:
    """The target shape shrinks."""
    return [lax.reshape(operand, sizes.out(0), out_sharding=sizes.sharding_out(0))]


def usage_reshape(
    usage: UsageAnalysis, node: Node, operand: Origin, *_: Origin
) -> list[Origin]:
    """All axes of a block come from all the parameter axes of the block."""
    before, after = usage.shape(node.ins[0]), usage.shape(node.outs[0])

    def move(places: Places) -> Places:
        out: list[frozenset] = [frozenset()] * len(after)
        for ins, outs in reshape_blocks(before, after):
            merged = frozenset().union(*(places[k] for k in ins))
            for k in outs:
                out[k] = merged
        return tuple(out)

    return [operand.moved(move)]


def zero_reshape(
    zeros: ZeroAnalysis, node: Node, levels: Levels, *_: Levels
) -> list[Levels]:
    """What holds for all the axes of a block that can lose entries."""
    labels = zeros.analysis.label(node.ins[0])
    before, after = zeros.shape(node.ins[0]), zeros.shape(node.outs[0])
    out = [ANY] * len(after)
    for ins, outs in reshape_blocks(before, after):
        live = [levels[k] for k in ins if not zeros.analysis.is_frozen([labels[k]])]
        for k in outs:
            out[k] = min(live, default=ANY)
    return [tuple(out)]


def reshape_blocks(before, after) -> list[tuple[list[int], list[int]]]:
    """Groups of axes (longer than one entry) with equal numbers of entries."""
    ins = [k for k, size in enumerate(before) if not is_one(size)]
    outs = [k for k, size in enumerate(after) if not is_one(size)]
    if any(isinstance(size, int) and size == 0 for size in (*before, *after)):
        return [(ins, outs)]  # no entry tells which axis became which
    head, tail = [], []
    while ins and outs and _is_same(before[ins[0]], after[outs[0]]):
        head.append(([ins.pop(0)], [outs.pop(0)]))
    while ins and outs and _is_same(before[ins[-1]], after[outs[-1]]):
        tail.append(([ins.pop()], [outs.pop()]))
    if not all(isinstance(before[k], int) for k in ins):
        for end, blocks in ((-1, tail), (0, head)):
            while block := _known_block(before, after, ins, outs, end):
                blocks.append(block)
        return [*head, *([(ins, outs)] if ins or outs else []), *tail]
    return [*head, *_numeric_blocks(before, after, ins, outs), *tail]


def _is_same(one, two) -> bool:
    return type(one) is type(two) and bool(one == two)


def _known_block(before, after, ins: list[int], outs: list[int], end: int):
    """Take axes of known length, as many entries on both sides, off one end (0 or -1).

    None, and nothing is taken, where there are none.
    """
    rest, block, sizes = (list(ins), list(outs)), ([], []), [1, 1]
    while not (block[0] and block[1] and sizes[0] == sizes[1]):
        side = int(sizes[1] < sizes[0] or bool(block[0]) and not block[1])
        size = (before, after)[side][rest[side][end]] if rest[side] else None
        if not isinstance(size, int):
            return None
        block[side].append(rest[side].pop(end))
        sizes[side] *= size
    ins[:], outs[:] = rest
    return (sorted(block[0]), sorted(block[1]))


def _numeric_blocks(before, after, ins, outs):
    blocks, ins, outs = [], list(ins), list(outs)
    while ins or outs:
        block = ([ins.pop(0)] if ins else [], [outs.pop(0)] if outs else [])
        one = int(np.prod([before[k] for k in block[0]]))
        two = int(np.prod([after[k] for k in block[1]]))
        while one != two:
            if one < two:
                block[0].append(ins.pop(0))
                one *= before[block[0][-1]]
            else:
                block[1].append(outs.pop(0))
                two *= after[block[1][-1]]
        blocks.append(block)
    return blocks


define(
    "reshape",
    label=label_reshape,
    rebind=rebind_reshape,
    usage=usage_reshape,
    zero=zero_reshape,
)


# -- tile ------------------------------------------------------------------------------


def label_tile(analysis: LabelAnalysis, node: Node, labels: Labels) -> list[Labels]:
    """Labels are repeated with the array."""
    before, after = analysis.shape(node.ins[0]), analysis.shape(node.outs[0])
    reps = node.params["reps" if "reps" in node.params else "dims"]
    lead = len(after) - len(before)
    out = [analysis.fresh(size) for size in after[:lead]]
    for label, size, count in zip(labels, before, reps[lead:], strict=True):
        if isinstance(label, np.ndarray):
            out.append(np.tile(label, count))
        else:  # one entry repeated is a broadcast
            out.append(analysis.fresh(count) if is_one(size) else label)
    return [tuple(out)]


def rebind_tile(sizes: Sizes, node: Node, operand) -> list:
    """An axis of one entry is repeated as often as is kept."""
    rows = zip(sizes.shape_in(0), node.params["reps"], sizes.out(0), strict=True)
    reps = tuple(now if whole == 1 else count for whole, count, now in rows)
    return [jnp.tile(operand, reps)]


define("tile", label=label_tile, rebind=rebind_tile)


# -- unstack ---------------------------------------------------------------------------


def label_unstack(analysis: LabelAnalysis, node: Node, labels: Labels) -> list[Labels]:
    """One axis is taken apart, so it stays whole."""
    axis = node.params["axis"]
    analysis.freeze([labels[axis]], f"it is taken apart by {explain_node(node)}")
    return [_without(labels, (axis,)) for _ in node.outs]


def usage_unstack(usage: UsageAnalysis, node: Node, operand: Origin) -> list[Origin]:
    """The axis that is taken apart goes."""
    gone = (node.params["axis"],)
    return [operand.moved(lambda places: _without(places, gone)) for _ in node.outs]


define("unstack", label=label_unstack, usage=usage_unstack)
