"""Primitives that cut arrays at fixed places or join them: slice, pad, concatenate."""

import numpy as np
from jax import lax

from gamepruning.trace.labels import LabelAnalysis, Labels, explain_node
from gamepruning.trace.program import Node, bind, take
from gamepruning.trace.rules.registry import define
from gamepruning.trace.rules.shape import is_one
from gamepruning.trace.rules.types import Sizes
from gamepruning.trace.usage import NOTHING, Origin, UsageAnalysis, join_places
from gamepruning.trace.zeros import CONSTANT, ZERO, Levels, ZeroAnalysis, is_zero


def usage_same(usage: UsageAnalysis, node: Node, operand: Origin) -> list[Origin]:
    """Some entries of the operand, its axes in their order."""
    return [operand.moved(lambda places: places) for _ in node.outs]


def zero_same(zeros: ZeroAnalysis, node: Node, levels: Levels, *_) -> list[Levels]:
    """Every result is to each axis what the operand is."""
    return [levels for _ in node.outs]


# -- rev, slice, split -----------------------------------------------------------------


def label_rev(analysis: LabelAnalysis, node: Node, labels: Labels) -> list[Labels]:
    """Axes read backwards."""
    out = list(labels)
    for dim in node.params["dimensions"]:
        label = out[dim]
        if isinstance(label, np.ndarray):
            out[dim] = label[::-1]
    return [tuple(out)]


define("rev", label=label_rev, usage=usage_same, zero=zero_same)


def label_slice(analysis: LabelAnalysis, node: Node, labels: Labels) -> list[Labels]:
    """Labels are sliced with the array."""
    shape, out = analysis.shape(node.outs[0]), []
    for label, size, places in zip(
        labels, shape, _places(node, len(shape)), strict=True
    ):
        if isinstance(label, np.ndarray):
            label = label[places]
            if size == 1:
                analysis.freeze([label], f"it is picked by {explain_node(node)}")
        out.append(None if is_one(size) else label)
    return [tuple(out)]


def rebind_slice(sizes: Sizes, node: Node, operand) -> list:
    """Slice bounds are counted in kept entries."""
    for dim, places in enumerate(_places(node, operand.ndim)):
        kept = sizes.kept_in(0, dim)
        if kept is None:
            bounds = (places.start, places.stop, places.step)
            operand = lax.slice_in_dim(operand, *bounds, axis=dim)
        else:
            wanted = np.arange(places.start, places.stop, places.step)
            operand = take(operand, np.flatnonzero(np.isin(kept, wanted)), dim)
    return [operand]


def _places(node: Node, ndim: int) -> list[slice]:
    """The entries of each axis that a slice takes."""
    params = node.params
    strides = params["strides"] or (1,) * ndim
    bounds = zip(params["start_indices"], params["limit_indices"], strides, strict=True)
    return [slice(*bound) for bound in bounds]


define(
    "slice",
    label=label_slice,
    rebind=rebind_slice,
    usage=usage_same,
    zero=zero_same,
)


def label_split(analysis: LabelAnalysis, node: Node, labels: Labels) -> list[Labels]:
    """One axis is cut into pieces."""
    axis, start, outs = node.params["axis"], 0, []
    for size in node.params["sizes"]:
        piece = labels[axis]
        if isinstance(piece, np.ndarray):
            piece = piece[start : start + size]
            if size == 1:
                analysis.freeze([piece], f"it is picked by {explain_node(node)}")
        piece = None if size == 1 else piece
        outs.append(labels[:axis] + (piece,) + labels[axis + 1 :])
        start += size
    return outs


def rebind_split(sizes: Sizes, node: Node, operand) -> list:
    """Pieces hold the kept entries of their own."""
    axis = node.params["axis"]
    pieces = tuple(sizes.out(k)[axis] for k in range(len(node.outs)))
    return bind(node.primitive, {**node.params, "sizes": pieces}, (operand,))


define(
    "split",
    label=label_split,
    rebind=rebind_split,
    usage=usage_same,
    zero=zero_same,
)


# -- pad -------------------------------------------------------------------------------


def label_pad(
    analysis: LabelAnalysis, node: Node, labels: Labels, value: Labels
) -> list[Labels]:
    """Padding entries are fresh; a negative width cuts; interiors stay."""
    out, shape = [], analysis.shape(node.ins[0])
    config = node.params["padding_config"]
    for label, size, (low, high, interior) in zip(labels, shape, config, strict=True):
        if (low, high, interior) == (0, 0, 0):
            out.append(label)
        elif isinstance(label, np.ndarray) and interior == 0:
            out.append(_padded(analysis, label, low, high))
        elif label is None and isinstance(size, int) and interior == 0:
            out.append(_padded(analysis, analysis.array(None, size), low, high))
        else:
            reason = f"it is spread by {explain_node(node)}"
            analysis.freeze([label], reason)
            out.append(label if isinstance(label, str) else reason)
    result = analysis.shape(node.outs[0])
    return [tuple(None if is_one(n) else x for n, x in zip(result, out, strict=True))]


def _padded(analysis: LabelAnalysis, label: np.ndarray, low, high) -> np.ndarray:
    low, high = int(low), int(high)
    before, after = analysis.atoms.new(max(low, 0)), analysis.atoms.new(max(high, 0))
    joined = np.concatenate([before, label, after])
    joined = joined[max(-low, 0) : len(joined) - max(-high, 0)]
    if len(joined) == 1:
        analysis.freeze([joined], "it is cut down to one entry")
    return joined


def rebind_pad(sizes: Sizes, node: Node, operand, value) -> list:
    """As much padding as is kept of it."""
    config = []
    for dim, (low, high, interior) in enumerate(node.params["padding_config"]):
        kept = sizes.kept_in(0, dim), sizes.kept_out(0, dim)
        if any(places is not None for places in kept):
            low, high = _kept_padding(sizes.shape_in(0)[dim], low, high, *kept)
        config.append((low, high, interior))
    return [lax.pad(operand, value, config)]


def _kept_padding(size, low, high, kept_in, kept_out) -> tuple[int, int]:
    """How much padding stays at both ends; what is cut away counts negative."""
    kept_in = np.arange(size) if kept_in is None else kept_in
    kept_out = np.arange(low + size + high) if kept_out is None else kept_out
    return (
        int((kept_out < low).sum()) if low > 0 else -int((kept_in < -low).sum()),
        int((kept_out >= low + size).sum())
        if high > 0
        else -int((kept_in >= size + high).sum()),
    )


def zero_pad(
    zeros: ZeroAnalysis, node: Node, levels: Levels, value: Levels
) -> list[Levels]:
    """What is padded with must be zero, too."""
    pads_zero, out = is_zero(node.ins[1]), []
    for level, config in zip(levels, node.params["padding_config"], strict=True):
        cap = ZERO if pads_zero or tuple(config) == (0, 0, 0) else CONSTANT
        out.append(min(level, cap))
    return [tuple(out)]


define("pad", label=label_pad, rebind=rebind_pad, zero=zero_pad)


# -- concatenate, stack ----------------------------------------------------------------


def label_concatenate(
    analysis: LabelAnalysis, node: Node, *labels: Labels
) -> list[Labels]:
    """Labels are joined end to end along one axis."""
    axis = node.params["dimension"]
    sizes = [analysis.shape(operand)[axis] for operand in node.ins]
    pieces = [label[axis] for label in labels]
    out = labels[0]
    for label in labels[1:]:
        out = analysis.unify_all(
            out[:axis] + (None,) + out[axis + 1 :],
            label[:axis] + (None,) + label[axis + 1 :],
        )
    if all(isinstance(size, int) for size in sizes):
        joined = _join(analysis, pieces, sizes)
    else:
        joined = "it is joined with an axis of symbolic length"
        analysis.freeze(pieces, joined)
    return [out[:axis] + (joined,) + out[axis + 1 :]]


def _join(analysis: LabelAnalysis, pieces, sizes):
    if len(pieces) == 1:
        return pieces[0]
    if analysis.is_frozen(pieces):
        return analysis.atoms.reason_of(pieces) or "it joins single entries"
    arrays = [analysis.array(p, n) for p, n in zip(pieces, sizes, strict=True)]
    return np.concatenate(arrays)


def usage_concatenate(
    usage: UsageAnalysis, node: Node, *origins: Origin
) -> list[Origin]:
    """Parameters joined are parameters; with anything else they are not."""
    views = [origin.view for origin in origins if origin.view is not None]
    if views and len(views) == len(origins):
        return [Origin(view=join_places(views))]
    for view in views:
        usage.use(view, "other")
    return [NOTHING]


def zero_concatenate(zeros: ZeroAnalysis, node: Node, *levels: Levels) -> list[Levels]:
    """What holds for all pieces."""
    return [tuple(map(min, zip(*levels, strict=True)))]


define(
    "concatenate",
    label=label_concatenate,
    usage=usage_concatenate,
    zero=zero_concatenate,
)


def label_stack(analysis: LabelAnalysis, node: Node, *labels: Labels) -> list[Labels]:
    """Arrays of one shape along a new axis."""
    out = labels[0]
    for label in labels[1:]:
        out = analysis.unify_all(out, label)
    axis = node.params["axis"]
    new = analysis.fresh(len(labels))
    analysis.freeze([new], f"it is made by {explain_node(node)}")
    return [out[:axis] + (new,) + out[axis:]]


define("stack", label=label_stack)
