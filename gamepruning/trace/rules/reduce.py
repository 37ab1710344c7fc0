"""Primitives that look along an axis: reductions, cumulations, sorting, fft."""

import jax.numpy as jnp

from gamepruning.trace import primitives
from gamepruning.trace.labels import LabelAnalysis, Labels, explain_node
from gamepruning.trace.program import Node, bind
from gamepruning.trace.rules.parts import zero_same
from gamepruning.trace.rules.registry import define
from gamepruning.trace.rules.shape import is_one
from gamepruning.trace.rules.types import Sizes
from gamepruning.trace.zeros import CONSTANT, ZERO, Levels, ZeroAnalysis

# -- reductions ------------------------------------------------------------------------


def label_reduce(analysis: LabelAnalysis, node: Node, labels: Labels) -> list[Labels]:
    """A reduced axis stays whole, or on request is gated where a gate of 0 is exact."""
    may_gate = analysis.reductions != "freeze"
    gates = may_gate and _ignores_zeros(analysis, node)
    reason = f"it is reduced by {explain_node(node)}"
    if may_gate and node.name in primitives.MAXIMA:
        reason += ", which can be gated only over absolute values and the like"
    for dim in node.params["axes"]:
        if gates:
            analysis.site(node, 0, dim)
        else:
            analysis.freeze([labels[dim]], reason)
    axes = node.params["axes"]
    return [tuple(x for dim, x in enumerate(labels) if dim not in axes)]


def _ignores_zeros(analysis: LabelAnalysis, node: Node) -> bool:
    """True for a sum, and for a maximum of what is never negative."""
    if node.name in primitives.MAXIMA:
        return analysis.is_nonnegative(node.ins[0])
    return node.name in primitives.SUMS


def rebind_maximum(sizes: Sizes, node: Node, operand) -> list:
    """A maximum over nothing is that over zeros."""
    if operand.size == 0:
        return [jnp.zeros(sizes.out(0), operand.dtype)]
    return bind(node.primitive, node.params, (operand,))


def _zero_reduce(cap: int):
    def zero_reduce(zeros: ZeroAnalysis, node: Node, levels: Levels) -> list[Levels]:
        """The other axes pass; an index is not 0 where its entries are."""
        axes = node.params["axes"]
        rest = (x for dim, x in enumerate(levels) if dim not in axes)
        return [tuple(min(level, cap) for level in rest)]

    return zero_reduce


_of_values = _zero_reduce(ZERO)
define(primitives.ARG_REDUCTIONS, label=label_reduce, zero=_zero_reduce(CONSTANT))
define(
    primitives.NUMERIC_REDUCTIONS - primitives.MAXIMA,
    label=label_reduce,
    zero=_of_values,
)
define(
    primitives.MAXIMA,
    label=label_reduce,
    rebind=rebind_maximum,
    zero=_of_values,
)
define(primitives.LOGICAL_REDUCTIONS, label=label_reduce)


# -- cumulations -----------------------------------------------------------------------


def label_cumulate(analysis: LabelAnalysis, node: Node, labels: Labels) -> list[Labels]:
    """The order along the axis matters, so it stays whole."""
    axis = node.params["axis"]
    analysis.freeze([labels[axis]], f"it is accumulated by {explain_node(node)}")
    return [labels]


define(primitives.SUMMING_CUMULATIONS, label=label_cumulate, zero=zero_same)
define(
    primitives.CUMULATIONS - primitives.SUMMING_CUMULATIONS,
    label=label_cumulate,
)


# -- sort, top_k, fft ------------------------------------------------------------------


def label_sort(analysis: LabelAnalysis, node: Node, *labels: Labels) -> list[Labels]:
    """The sorted axis stays whole; the operands share the others."""
    out = labels[0]
    for label in labels[1:]:
        out = analysis.unify_all(out, label)
    axis = node.params["dimension"]
    for label in labels:
        analysis.freeze([label[axis]], f"it is sorted by {explain_node(node)}")
    return [out for _ in node.outs]


define("sort", label=label_sort)


def label_top_k(analysis: LabelAnalysis, node: Node, labels: Labels) -> list[Labels]:
    """The axis searched stays whole."""
    axis = node.params.get("axis", len(labels) - 1) % len(labels)
    reason = f"it is searched by {explain_node(node)}"
    analysis.freeze([labels[axis]], reason)
    picked = None if node.params["k"] == 1 else reason
    return [labels[:axis] + (picked,) + labels[axis + 1 :] for _ in node.outs]


define("top_k", label=label_top_k)


def label_fft(analysis: LabelAnalysis, node: Node, labels: Labels) -> list[Labels]:
    """The transformed axes are the last, and opaque; the others pass."""
    first = len(labels) - len(node.params["fft_lengths"])
    reason = f"it is transformed by {explain_node(node)}"
    if not analysis.is_frozen(labels[first:]):
        analysis.opaque.add(node.name)
    analysis.freeze(labels[first:], reason)
    sizes = analysis.shape(node.outs[0])[first:]
    return [labels[:first] + tuple(None if is_one(n) else reason for n in sizes)]


def zero_fft(zeros: ZeroAnalysis, node: Node, levels: Levels) -> list[Levels]:
    """Along the transformed axes every entry depends on all."""
    first = len(levels) - len(node.params["fft_lengths"])
    cap = zeros.at_most(node.ins[0])
    return [(*levels[:first], *(min(level, cap) for level in levels[first:]))]


define("fft", label=label_fft, zero=zero_fft)
