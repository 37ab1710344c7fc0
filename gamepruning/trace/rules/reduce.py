"""Primitives that look along an axis: reductions, cumulations, sorting, fft."""

from collections.abc import Collection, Iterator

import jax.numpy as jnp
import numpy as np

from gamepruning.trace import primitives
from gamepruning.trace.labels import LabelAnalysis, Labels, explain_node
from gamepruning.trace.program import Lit, Node, Operand, bind
from gamepruning.trace.rules.parts import zero_same
from gamepruning.trace.rules.registry import define
from gamepruning.trace.rules.shape import is_one
from gamepruning.trace.rules.types import Sizes
from gamepruning.trace.zeros import CONSTANT, ZERO, Levels, ZeroAnalysis
from gamepruning.types import InputError

# -- reductions ------------------------------------------------------------------------


def label_reduce(analysis: LabelAnalysis, node: Node, labels: Labels) -> list[Labels]:
    """A reduced axis stays whole, or on request is gated where a gate of 0 is exact."""
    may_gate = analysis.reductions != "freeze"
    gates = may_gate and _ignores_zeros(analysis, node)
    if node.name in primitives.SUMS and _is_share(analysis, node):
        analysis.whole.add(node)
        gates = True
    elif node.name in primitives.MAXIMA and _is_of_softmax(analysis, node):
        analysis.lowest.add(node)
        gates = True
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


# What follows a maximum or a sum on the way to where it is subtracted or divides.
_ON_THE_WAY = primitives.PASSES_ENTRIES | {"add", "max"}


def _is_share(analysis: LabelAnalysis, node: Node) -> bool:
    """True for the sum in exp(x) / sum(exp(x)), in x / sum(x), or in its logarithm.

    With nobody in, everybody is in such a sum. So it must do nothing but make shares,
    or logarithms of shares, of what is gated where it is read.
    """
    (value,) = node.ins
    maker, users = analysis.maker(value), list(_users(analysis, node.outs[0]))
    if maker is not None and maker.name == "exp":
        return bool(users) and all(
            _makes_shares(analysis, node, maker.ins[0], *user) for user in users
        )
    return bool(users) and all(
        user is not None
        and user.name == "div"
        and _is_same(analysis, user.ins[0], value)
        for user, _ in users
    )


def _makes_shares(
    analysis: LabelAnalysis, total: Node, power: Operand, user: Node | None, value: int
) -> bool:
    """True if a sum of exponentials divides what comes of their powers.

    Args:
      analysis: the labels.
      total: the sum.
      power: what the exponentials are of.
      user: who uses the sum, None for the outputs of the model.
      value: what it reads.
    """
    if user is None:
        return False
    first, *others = user.ins
    is_scaled = user.name == "mul" and any(isinstance(v, Lit) for v in user.ins)
    if is_scaled or user.name == "div" and isinstance(others[0], Lit):
        scaled = list(_users(analysis, user.outs[0]))
        return bool(scaled) and all(
            _makes_shares(analysis, total, power, *reader) for reader in scaled
        )
    divides = user.name == "div" and others[0] == value
    if divides and _is_of(analysis, first, power, total):
        return True
    if divides or user.name == "integer_pow" and user.params["y"] < 0:
        # A derivative sums the quotient over an axis of one entry.
        rest = list(_users(analysis, user.outs[0], beside={"reduce_sum"}))
        return bool(rest) and all(
            reader is not None
            and reader.name == "mul"
            and any(_is_of(analysis, v, power, total) for v in reader.ins if v != read)
            for reader, read in rest
        )
    if user.name != "log":
        return False
    rest = list(_users(analysis, user.outs[0], beside=primitives.ADDITIONS))
    return bool(rest) and all(
        reader is not None
        and reader.name == "sub"
        and reader.ins[1] == read
        and _is_of(analysis, reader.ins[0], power, total)
        for reader, read in rest
    )


def _is_of(
    analysis: LabelAnalysis, operand: Operand, power: Operand, total: Node
) -> bool:
    """True if an operand is computed from a power, or from x where that is x - max(x).

    What comes by way of the sum does not count.
    """
    maker = analysis.maker(power)
    if maker is not None and maker.name == "sub":
        power = maker.ins[0]
    seen, rows = {power}, [power]
    for row in rows:
        if row == operand:
            return True
        for reader in analysis.program.readers.get(row, ()):  # type: ignore[arg-type]
            if isinstance(reader, Node) and reader is not total:
                rows += (out for out in reader.outs if out not in seen)
                seen.update(reader.outs)
    return False


def _is_of_softmax(analysis: LabelAnalysis, node: Node) -> bool:
    """True for the maximum in exp(x - max(x)), and of what is searched, too."""
    (value,) = node.ins
    readers = analysis.program.readers.get(value, ())  # type: ignore[arg-type]
    if any(getattr(reader, "name", "") in primitives.SEARCHES for reader in readers):
        return True
    users = [user for user, _ in _users(analysis, node.outs[0])]
    return any(user is not None and user.name == "sub" for user in users) and all(
        user is not None
        and (
            user.name == "sub"
            and _is_same(analysis, user.ins[0], value)
            and any(
                getattr(reader, "name", "") == "exp"
                for reader in analysis.program.readers.get(user.outs[0], ())
            )
            or user.name == "add"
        )
        for user in users
    )


def _users(
    analysis: LabelAnalysis, value: int, beside: Collection[str] = ()
) -> Iterator[tuple[Node | None, int]]:
    """Who uses a value as it is, or with a number added, and what it reads.

    None stands for the outputs of the model. An operation that is named in `beside`
    passes the value, too, whatever else it reads.
    """
    rows = [value]
    while rows:
        row = rows.pop()
        for reader in analysis.program.readers.get(row, ()):
            if reader is analysis.program.graph:
                yield None, row
            if not isinstance(reader, Node):
                continue
            others = [v for v in reader.ins if not isinstance(v, Lit)]
            if reader.name in beside or reader.name in _ON_THE_WAY and len(others) == 1:
                rows += reader.outs
            else:
                yield reader, row


def _is_same(analysis: LabelAnalysis, operand: Operand, value: Operand) -> bool:
    """True if an operand is a value, perhaps in another type."""
    while operand != value:
        maker = None if isinstance(operand, Lit) else analysis.maker(operand)
        if maker is None or maker.name != "convert_element_type":
            return False
        operand = maker.ins[0]
    return True


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
define("argmin", label=label_reduce, zero=_of_places)
define("argmax", label=label_argmax, rebind=rebind_argmax, zero=_of_places)
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
