"""Primitives that look along an axis: reductions, cumulations, sorting, fft."""

import jax.numpy as jnp
import numpy as np

from gamepruning.trace import primitives
from gamepruning.trace.labels import LabelAnalysis, Labels, explain_node
from gamepruning.trace.program import Node, Operand, bind
from gamepruning.trace.rules.parts import zero_same
from gamepruning.trace.rules.registry import define
from gamepruning.trace.rules.shape import is_one
from gamepruning.trace.rules.softmax import is_share, is_shift
from gamepruning.trace.rules.types import Sizes
from gamepruning.trace.zeros import CONSTANT, ZERO, Levels, ZeroAnalysis
from gamepruning.types import InputError

# -- reductions ------------------------------------------------------------------------


def label_reduce(analysis: LabelAnalysis, node: Node, labels: Labels) -> list[Labels]:
    """A reduced axis stays whole, or on request is gated where a gate of 0 is exact."""
    may_gate = analysis.reductions != "freeze" or _is_backward(node)
    gates = may_gate and _ignores_zeros(analysis, node)
    is_softmax = node.name in primitives.SUMS and is_share(analysis, node)
    if node.name in primitives.MAXIMA:
        is_softmax = is_shift(analysis, node)
        if is_softmax or _is_searched(analysis, node.ins[0]):
            analysis.lowest.add(node)
            gates = True
    if is_softmax:
        analysis.whole.add(node)
        gates = True
    reason = f"it is reduced by {explain_node(node)}"
    if analysis.reductions != "freeze" and node.name in primitives.MAXIMA:
        reason += ", which can be gated only over absolute values and the like"
    for dim in node.params["axes"]:
        if gates:
            analysis.site(node, 0, dim)
        else:
            analysis.freeze([labels[dim]], reason)
    axes = node.params["axes"]
    return [tuple(x for dim, x in enumerate(labels) if dim not in axes)]


def _is_backward(node: Node) -> bool:
    """True in a derivative: there a sum is the derivative of what is read many times.

    What the model itself computes says which sums may lose entries, also where
    `jax.checkpoint` computes it again.
    """
    names = [*(name for remat in node.remats for name in remat.scope), *node.scope]
    is_backward = any("transpose(" in name for name in names)
    is_again = "rematted_computation" in node.scope
    return node.name in primitives.SUMS and is_backward and not is_again


def _is_searched(analysis: LabelAnalysis, value: Operand) -> bool:
    """True for what a search looks for, too: who left is not found there."""
    readers = analysis.program.readers.get(value, ())  # type: ignore[arg-type]
    return any(getattr(reader, "name", "") in primitives.SEARCHES for reader in readers)


def _ignores_zeros(analysis: LabelAnalysis, node: Node) -> bool:
    """True for a sum, and for a maximum of what is never negative."""
    if node.name in primitives.MAXIMA:
        return analysis.is_nonnegative(node.ins[0])
    return node.name in primitives.SUMS


def label_argmax(analysis: LabelAnalysis, node: Node, labels: Labels) -> list[Labels]:
    """Who left is not found; the axis stays where the number names nothing else."""
    (axis,) = node.params["axes"]
    reason = f"it is reduced by {explain_node(node)}"
    analysis.site(node, 0, axis)
    analysis.lowest.add(node)
    analysis.picks.search(node, 0, labels[axis], reason)
    return [tuple(x for dim, x in enumerate(labels) if dim != axis)]


def rebind_argmax(sizes: Sizes, node: Node, operand) -> list:
    """The number that what is found has in the full array."""
    (axis,) = node.params["axes"]
    kept = sizes.kept_in(0, axis)
    _check_anybody(node, kept)
    found = bind(node.primitive, node.params, (operand,))
    if kept is None or sizes.are_places():
        return found
    return [numbers_of(kept, found[0])]


def _check_anybody(node: Node, kept: np.ndarray | None) -> None:
    """Raise InputError if nobody is left to find."""
    if kept is not None and not len(kept):
        raise InputError(
            f"nobody is left of those that {explain_node(node)} searches: keep at "
            "least one"
        )


def numbers_of(kept: np.ndarray, found):
    """What places among the kept entries are in the full array."""
    return jnp.asarray(kept, found.dtype)[found]


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
_of_places = _zero_reduce(CONSTANT)
define(
    primitives.ARG_REDUCTIONS,
    label=label_argmax,
    rebind=rebind_argmax,
    zero=_of_places,
)
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
    """The order along the axis matters, so it stays whole; sums of zeros may go."""
    axis = node.params["axis"]
    is_sum = node.name in primitives.SUMMING_CUMULATIONS
    if not (is_sum and analysis.picks.is_tally(node.ins[0], axis)):
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
    """Who left is not found; the axis stays where its numbers name nothing else."""
    axis = _searched(node, len(labels))
    reason = f"it is searched by {explain_node(node)}"
    analysis.site(node, 0, axis)
    kind = analysis.program.aval(node.ins[0]).dtype
    has_sign = jnp.issubdtype(kind, jnp.signedinteger)
    can_be_below = has_sign or jnp.issubdtype(kind, jnp.floating)
    if not analysis.is_nonnegative(node.ins[0]):
        analysis.lowest.add(node)
    elif can_be_below:
        analysis.below.add(node)
    analysis.picks.search(node, 1, labels[axis], reason)
    picked = None if node.params["k"] == 1 else reason
    return [labels[:axis] + (picked,) + labels[axis + 1 :] for _ in node.outs]


def _searched(node: Node, ndim: int) -> int:
    return node.params.get("axis", ndim - 1) % ndim


def rebind_top_k(sizes: Sizes, node: Node, operand) -> list:
    """The numbers that what is found has in the full array.

    Where fewer are left than it picks, the last ones are nobody, under a number behind
    the last: of no value, as who left.
    """
    axis, wanted = _searched(node, operand.ndim), node.params["k"]
    kept = sizes.kept_in(0, axis)
    _check_anybody(node, kept)
    if kept is None or sizes.are_places():
        return bind(node.primitive, node.params, (operand,))
    num = min(wanted, len(kept))
    if num < wanted and sizes.must_find(node):
        raise InputError(
            f"top_k picks {wanted} of {sizes.shape_in(0)[axis]} entries and reads what "
            f"it picks by number, but {len(kept)} stay: keep at least {wanted}"
        )
    values, found = bind(node.primitive, node.params | {"k": num}, (operand,))
    found = numbers_of(kept, found)
    missing = [(0, wanted - num if dim == axis else 0) for dim in range(operand.ndim)]
    nobody = sizes.shape_in(0)[axis]
    return [
        jnp.pad(values, missing, constant_values=sizes.left_as(node, values.dtype)),
        jnp.pad(found, missing, constant_values=nobody),
    ]


define("top_k", label=label_top_k, rebind=rebind_top_k)


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
