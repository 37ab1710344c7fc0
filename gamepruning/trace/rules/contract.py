"""Primitives that sum products over an axis: matrix products, convolutions."""

from math import prod
from typing import Any

import jax.numpy as jnp
import numpy as np

from gamepruning.trace import primitives
from gamepruning.trace.atoms import Label
from gamepruning.trace.labels import LabelAnalysis, Labels, explain_node
from gamepruning.trace.program import Node, Operand, bind
from gamepruning.trace.rules.registry import define
from gamepruning.trace.rules.shape import is_one
from gamepruning.trace.rules.types import Contraction, Sizes
from gamepruning.trace.usage import CONTRACTED, Origin, UsageAnalysis
from gamepruning.trace.zeros import ANY, ZERO, Levels, ZeroAnalysis

Axes = list[tuple[Label, Any]]  # labels and sizes


def _gated_operand(analysis: LabelAnalysis, node: Node) -> int:
    """Gate the activation, not the weights: one set of weights serves all masks."""
    lhs, rhs = (analysis.is_varying(operand) for operand in node.ins[:2])
    return 1 if rhs and not lhs else 0


def _labelled(analysis: LabelAnalysis, operand: Operand, dims) -> Axes:
    """The labels and sizes of some axes of an operand."""
    labels, shape = analysis.label(operand), analysis.shape(operand)
    return [(labels[dim], shape[dim]) for dim in dims]


# -- products of matrices --------------------------------------------------------------


def dot_numbers(node: Node) -> tuple:
    """The contracted and the batch axes of a product, of both operands."""
    if "ragged_dot_dimension_numbers" in node.params:
        return node.params["ragged_dot_dimension_numbers"].dot_dimension_numbers
    return node.params["dimension_numbers"]


def label_dot(
    analysis: LabelAnalysis, node: Node, lhs: Labels, rhs: Labels
) -> list[Labels]:
    """Contracted axes pair up and are gated; batch axes pair up and pass."""
    (lhs_sum, rhs_sum), (lhs_batch, rhs_batch) = dot_numbers(node)
    operand = _gated_operand(analysis, node)
    for one, two in zip(lhs_sum, rhs_sum, strict=True):
        analysis.unify(lhs[one], rhs[two])
        analysis.site(node, operand, (one, two)[operand])
    pairs = zip(lhs_batch, rhs_batch, strict=True)
    batch = tuple(analysis.unify(lhs[one], rhs[two]) for one, two in pairs)
    free = _rest(lhs, lhs_sum, lhs_batch) + _rest(rhs, rhs_sum, rhs_batch)
    return [batch + free]


def label_ragged_dot(
    analysis: LabelAnalysis, node: Node, lhs: Labels, rhs: Labels, group_sizes: Labels
) -> list[Labels]:
    """A product for each group of rows; what is cut into groups stays whole."""
    numbers = node.params["ragged_dot_dimension_numbers"]
    (lhs_sum, rhs_sum), batch = dot_numbers(node)
    (ragged,) = numbers.lhs_ragged_dimensions
    groups = numbers.rhs_group_dimensions
    reason = f"it is cut into groups by {explain_node(node)}"
    analysis.freeze([lhs[ragged]], reason)
    last = len(group_sizes) - 1
    if len(groups) == 1 and analysis.picks.is_tally(node.ins[2], last):
        analysis.unify(rhs[groups[0]], group_sizes[last])  # who left has no rows
    else:
        analysis.freeze([*(rhs[dim] for dim in groups), *group_sizes], reason)
    operand = _gated_operand(analysis, node)
    for one, two in zip(lhs_sum, rhs_sum, strict=True):
        analysis.unify(lhs[one], rhs[two])
        if one != ragged:
            analysis.site(node, operand, (one, two)[operand])
    shared = tuple(analysis.unify(lhs[i], rhs[j]) for i, j in zip(*batch, strict=True))
    free = _rest(lhs, lhs_sum, batch[0]) + _rest(rhs, rhs_sum, batch[1], groups)
    lead = (reason,) if ragged in lhs_sum else ()
    out = (*lead, *shared, *free)
    sizes = analysis.shape(node.outs[0])
    return [tuple(None if n == 1 else x for n, x in zip(sizes, out, strict=True))]


def _rest(row: tuple, *used) -> tuple:
    taken = {dim for dims in used for dim in dims}
    return tuple(x for dim, x in enumerate(row) if dim not in taken)


def usage_dot(
    usage: UsageAnalysis, node: Node, lhs: Origin, rhs: Origin, *_: Origin
) -> list[Origin]:
    """Weights are read along contracted axes and produce along free ones."""
    for origin, sums, batch in zip((lhs, rhs), *dot_numbers(node), strict=True):
        places = origin.any_factor()
        if places is not None:
            usage.use(places, "in", sums)
            usage.use(places, "batch", batch)
            free = (d for d in range(len(places)) if d not in (*sums, *batch))
            usage.use(places, "out", free)
    return [CONTRACTED]


def zero_dot(zeros: ZeroAnalysis, node: Node, lhs: Levels, rhs: Levels) -> list[Levels]:
    """A zero factor makes a zero; the same for all inputs needs fixed partners."""
    sums, (lhs_batch, rhs_batch) = dot_numbers(node)
    out = []
    for one, two in zip(lhs_batch, rhs_batch, strict=True):
        both = (lhs[one], rhs[two])
        out.append(ZERO if ZERO in both else min(both))
    free = [
        (_rest(lhs, sums[0], lhs_batch), node.ins[1]),
        (_rest(rhs, sums[1], rhs_batch), node.ins[0]),
    ]
    for levels, other in free:
        out += [zeros.unless_zero(level, other) for level in levels]
    return [tuple(out)]


def contraction_dot(node: Node) -> Contraction:
    """Every pair of contracted axes."""
    (lhs, rhs), _ = dot_numbers(node)
    is_plain = node.name in primitives.MATRIX_PRODUCTS
    pairs = tuple(zip(lhs, rhs, strict=True))
    return Contraction(pairs, lambda shape: prod(shape[d] for d in rhs), is_plain)


def macs_dot(analysis: LabelAnalysis, node: Node) -> tuple[float, Axes]:
    """All axes of one operand, and the free ones of the other."""
    (_, rhs_sum), (_, rhs_batch) = dot_numbers(node)
    lhs, rhs = node.ins
    free = _rest(tuple(range(len(analysis.shape(rhs)))), rhs_sum, rhs_batch)
    axes = _labelled(analysis, lhs, range(len(analysis.shape(lhs))))
    return 1.0, axes + _labelled(analysis, rhs, free)


define(
    "dot_general",
    label=label_dot,
    usage=usage_dot,
    zero=zero_dot,
    contraction=contraction_dot,
    macs=macs_dot,
)


def macs_ragged_dot(analysis: LabelAnalysis, node: Node) -> tuple[float, Axes]:
    """All axes of the rows, and the free ones of one group's matrix: no row has two."""
    (_, rhs_sum), (_, rhs_batch) = dot_numbers(node)
    groups = node.params["ragged_dot_dimension_numbers"].rhs_group_dimensions
    lhs, rhs = node.ins[:2]
    free = _rest(tuple(range(len(analysis.shape(rhs)))), rhs_sum, rhs_batch, groups)
    axes = _labelled(analysis, lhs, range(len(analysis.shape(lhs))))
    return 1.0, axes + _labelled(analysis, rhs, free)


define(
    "ragged_dot_general",
    label=label_ragged_dot,
    usage=usage_dot,
    contraction=contraction_dot,
    macs=macs_ragged_dot,
)


# -- convolutions ----------------------------------------------------------------------


def label_convolution(
    analysis: LabelAnalysis, node: Node, lhs: Labels, rhs: Labels
) -> list[Labels]:
    """Channels are contracted within groups; space stays whole."""
    spec = node.params["dimension_numbers"]
    batch_groups = node.params["batch_group_count"]
    spatial = [lhs[d] for d in spec.lhs_spec[2:]] + [rhs[d] for d in spec.rhs_spec[2:]]
    reason = f"it is slid over by {explain_node(node)}"
    analysis.freeze(spatial, reason)
    batch, out_channels = lhs[spec.lhs_spec[0]], rhs[spec.rhs_spec[0]]
    if node.params["feature_group_count"] > 1:
        _group_channels(analysis, node, lhs, rhs)
    else:
        analysis.unify(lhs[spec.lhs_spec[1]], rhs[spec.rhs_spec[1]])
        operand = _gated_operand(analysis, node)
        dim = (spec.lhs_spec[1], spec.rhs_spec[1])[operand]
        analysis.site(node, operand, dim)
    if batch_groups > 1:
        batch = _group_batch(analysis, node, batch, out_channels)
    sizes = analysis.shape(node.outs[0])
    out: list = [None if is_one(size) else reason for size in sizes]
    out[spec.out_spec[0]], out[spec.out_spec[1]] = batch, out_channels
    return [tuple(out)]


def _group_channels(
    analysis: LabelAnalysis, node: Node, lhs: Labels, rhs: Labels
) -> None:
    """Groups of input channels meet groups of output channels."""
    spec, groups = node.params["dimension_numbers"], node.params["feature_group_count"]
    num_in = analysis.shape(node.ins[0])[spec.lhs_spec[1]]
    num_out = analysis.shape(node.ins[1])[spec.rhs_spec[0]]
    split = analysis.atoms.split
    group, inner = split(lhs[spec.lhs_spec[1]], [groups, num_in // groups])
    group_out, _ = split(rhs[spec.rhs_spec[0]], [groups, num_out // groups])
    analysis.unify(group, group_out)
    analysis.unify(inner, rhs[spec.rhs_spec[1]])
    if num_in // groups > 1:  # a group of one channel sums over nothing
        analysis.site(node, 0, spec.lhs_spec[1])


def _group_batch(
    analysis: LabelAnalysis, node: Node, batch: Label, out_channels: Label
) -> Label:
    """The gradient of a grouped convolution: batch groups meet output channels."""
    spec, groups = node.params["dimension_numbers"], node.params["batch_group_count"]
    num_batch = analysis.shape(node.ins[0])[spec.lhs_spec[0]]
    num_out = analysis.shape(node.ins[1])[spec.rhs_spec[0]]
    if not isinstance(num_batch, int):
        reason = "it is grouped with an axis of symbolic length"
        analysis.freeze([out_channels], reason)
        return reason
    group, rest = analysis.atoms.split(batch, [groups, num_batch // groups])
    group_out, _ = analysis.atoms.split(out_channels, [groups, num_out // groups])
    analysis.unify(group, group_out)
    return rest


def rebind_convolution(sizes: Sizes, node: Node, lhs, rhs) -> list:
    """Groups are counted anew; a convolution over nothing is zero."""
    spec, out = node.params["dimension_numbers"], sizes.out(0)
    if 0 in lhs.shape or 0 in rhs.shape or 0 in out:
        dtype = node.params["preferred_element_type"] or lhs.dtype
        return [jnp.zeros(out, dtype)]
    params = dict(node.params)
    if params["feature_group_count"] > 1:
        groups = lhs.shape[spec.lhs_spec[1]] // rhs.shape[spec.rhs_spec[1]]
        params["feature_group_count"] = groups
    if params["batch_group_count"] > 1:
        groups = lhs.shape[spec.lhs_spec[0]] // out[spec.out_spec[0]]
        params["batch_group_count"] = groups
    return bind(node.primitive, params, (lhs, rhs))


def usage_convolution(
    usage: UsageAnalysis, node: Node, lhs: Origin, rhs: Origin
) -> list[Origin]:
    """A kernel is read along its input channels."""
    spec = node.params["dimension_numbers"]
    for origin, axes in ((lhs, spec.lhs_spec), (rhs, spec.rhs_spec)):
        usage.use(origin.any_factor(), "out", [axes[0]])
        usage.use(origin.any_factor(), "in", [axes[1]])
    return [CONTRACTED]


def zero_convolution(
    zeros: ZeroAnalysis, node: Node, lhs: Levels, rhs: Levels
) -> list[Levels]:
    """Zero examples and zero kernels make zeros; a depthwise one keeps channels."""
    spec = node.params["dimension_numbers"]
    out = [ANY] * len(lhs)
    out[spec.out_spec[0]] = ZERO if lhs[spec.lhs_spec[0]] == ZERO else ANY
    channel = rhs[spec.rhs_spec[0]]
    if channel != ZERO:
        depthwise = zeros.shape(node.ins[1])[spec.rhs_spec[1]] == 1
        passes = depthwise and node.params["feature_group_count"] > 1
        known = lhs[spec.lhs_spec[1]] if passes and zeros.is_fixed(node.ins[1]) else ANY
        channel = max(known, min(channel, zeros.at_most(node.ins[0])))
    out[spec.out_spec[1]] = channel
    return [tuple(out)]


def contraction_convolution(node: Node) -> Contraction:
    """The channels; space is summed over, too, but stays whole."""
    spec = node.params["dimension_numbers"]
    groups = node.params["feature_group_count"], node.params["batch_group_count"]

    def num_terms(shape: tuple) -> int:
        return prod(shape) // max(shape[spec.rhs_spec[0]], 1)

    pairs = ((spec.lhs_spec[1], spec.rhs_spec[1]),)
    return Contraction(pairs, num_terms, groups == (1, 1))


def macs_convolution(analysis: LabelAnalysis, node: Node) -> tuple[float, Axes]:
    """Examples, both kinds of channels, and places in space."""
    spec = node.params["dimension_numbers"]
    lhs, rhs = node.ins
    shapes = [analysis.shape(value) for value in (lhs, rhs, node.outs[0])]
    factor = count_taps(node.params, *shapes) / node.params["batch_group_count"]
    batch = _labelled(analysis, lhs, spec.lhs_spec[:1])
    return factor, batch + _labelled(analysis, rhs, spec.rhs_spec[:2])


def count_taps(params: dict[str, Any], lhs, rhs, out) -> int:
    """Pairs of an output place and a kernel entry that meet an input, over space.

    Args:
      params: of a convolution.
      lhs: shape of the input.
      rhs: shape of the kernel.
      out: shape of the output.
    """
    dims = params["dimension_numbers"]
    windows = zip(
        (lhs[dim] for dim in dims.lhs_spec[2:]),
        (out[dim] for dim in dims.out_spec[2:]),
        (rhs[dim] for dim in dims.rhs_spec[2:]),
        params["window_strides"],
        params["rhs_dilation"],
        params["lhs_dilation"],
        (low for low, _ in params["padding"]),
        strict=True,
    )
    return prod(_taps(*window) for window in windows)


def _taps(size, out_size, kernel, stride, dilation, holes, padding) -> int:
    """Pairs of output and kernel positions; of a dilated input those that meet it."""
    if holes == 1:
        return out_size * kernel
    place = np.add.outer(stride * np.arange(out_size), dilation * np.arange(kernel))
    index, rest = np.divmod(place - padding, holes)
    return int(np.count_nonzero((rest == 0) & (index >= 0) & (index < size)))


define(
    "conv_general_dilated",
    label=label_convolution,
    rebind=rebind_convolution,
    usage=usage_convolution,
    zero=zero_convolution,
    contraction=contraction_convolution,
    macs=macs_convolution,
)
