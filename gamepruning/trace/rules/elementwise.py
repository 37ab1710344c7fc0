"""Primitives that work entry by entry: all operands share their axes."""

from collections.abc import Callable, Sequence

from gamepruning.trace import primitives
from gamepruning.trace.labels import LabelAnalysis, Labels, opaque, source
from gamepruning.trace.program import Lit, Node, Operand
from gamepruning.trace.rules.registry import define
from gamepruning.trace.rules.types import UsageRule, ZeroRule
from gamepruning.trace.usage import Origin, UsageAnalysis
from gamepruning.trace.zeros import (
    CONSTANT,
    ZERO,
    Levels,
    ZeroAnalysis,
    is_nonzero,
    is_zero,
)

# -- labels ----------------------------------------------------------------------------


def elementwise(analysis: LabelAnalysis, node: Node, *labels: Labels) -> list[Labels]:
    """All operands share their axes; axes of one entry broadcast."""
    if any(len(analysis.shape(v)) != max(map(len, labels)) for v in node.outs):
        return opaque(analysis, node, *labels)  # a bitcast to another width
    outs = []
    for value in node.outs:
        out: list = [None] * len(analysis.shape(value))
        for operand, operand_labels in zip(node.ins, labels, strict=True):
            sizes = analysis.shape(operand)
            for dim, label in enumerate(operand_labels):
                if not _is_one(sizes[dim]):
                    out[dim] = analysis.unify(out[dim], label)
        outs.append(tuple(out))
    return outs


def _is_one(size) -> bool:
    return isinstance(size, int) and size == 1


def label_each(analysis: LabelAnalysis, node: Node, *labels: Labels) -> list[Labels]:
    """Every operand passes as it is."""
    return list(labels)


# -- usage -----------------------------------------------------------------------------


def computed(keeps_zero: Callable[[Node], bool]) -> UsageRule:
    """Something else is computed from the parameters, of which `keeps_zero` is asked
    if it is 0 wherever the one parameter in it is."""

    def usage_computed(
        usage: UsageAnalysis, node: Node, *origins: Origin
    ) -> list[Origin]:
        for origin in origins:
            usage.use(origin.view, "other")
        return [usage.derive(node, origins, keeps_zero=keeps_zero(node))]

    return usage_computed


def usage_view(usage: UsageAnalysis, node: Node, *origins: Origin) -> list[Origin]:
    """The results are still the first operand's parameters."""
    return [origins[0].moved(lambda places: places) for _ in node.outs]


def usage_each(usage: UsageAnalysis, node: Node, *origins: Origin) -> list[Origin]:
    """Every operand passes as it is."""
    return list(origins)


def usage_add(
    usage: UsageAnalysis, node: Node, one: Origin, two: Origin
) -> list[Origin]:
    """What is added to the result of a contraction is a bias."""
    for origin, other in ((one, two), (two, one)):
        role = "bias" if other.is_contraction_result else "shift"
        usage.use(origin.view, role)
    is_result = one.is_contraction_result or two.is_contraction_result
    out = usage.derive(node, (one, two), keeps_zero=False)
    return [out._replace(is_contraction_result=is_result)]


def usage_sub(usage: UsageAnalysis, node: Node, *origins: Origin) -> list[Origin]:
    """What is subtracted shifts."""
    for origin in origins:
        usage.use(origin.view, "shift")
    return [usage.derive(node, origins, keeps_zero=False)]


def usage_mul(
    usage: UsageAnalysis, node: Node, one: Origin, two: Origin
) -> list[Origin]:
    """A multiple by a number is still a parameter; any other factor scales."""
    for origin, other in ((one, node.ins[1]), (two, node.ins[0])):
        if isinstance(other, Lit) and origin.view is not None:
            return [Origin(view=origin.view)]
    return [_scaled(usage, node, (one, two), keeps_zero=True)]


def usage_div(
    usage: UsageAnalysis, node: Node, one: Origin, two: Origin
) -> list[Origin]:
    """As for a product."""
    by_number = isinstance(node.ins[1], Lit)
    if by_number and one.view is not None:
        return [Origin(view=one.view)]
    return [_scaled(usage, node, (one, two), keeps_zero=by_number)]


def _scaled(
    usage: UsageAnalysis, node: Node, origins: Sequence[Origin], *, keeps_zero: bool
) -> Origin:
    for origin in origins:
        usage.use(origin.view, "scale")
    return usage.derive(node, origins, keeps_zero=keeps_zero, is_product=True)


# -- zeros -----------------------------------------------------------------------------


def entrywise(gives_zero: Callable[[Node, Sequence[int]], bool]) -> ZeroRule:
    """Entry by entry: ZERO where `gives_zero(node, levels of the operands)`."""

    def zero_entrywise(
        zeros: ZeroAnalysis, node: Node, *levels: Levels
    ) -> Sequence[Levels]:
        shape = zeros.shape(node.outs[0])
        ranks = {len(zeros.shape(operand)) for operand in node.ins} - {0}
        if not ranks <= {len(shape)} or len(node.outs) > 1:
            return zeros.without_rule(node, *levels)
        return [
            tuple(_level(zeros, node, dim, gives_zero) for dim in range(len(shape)))
        ]

    return zero_entrywise


def _level(zeros: ZeroAnalysis, node: Node, dim: int, gives_zero) -> int:
    size = zeros.shape(node.outs[0])[dim]
    levels = [_level_along(zeros, operand, dim, size) for operand in node.ins]
    return ZERO if gives_zero(node, levels) else min(CONSTANT, *levels)


def _level_along(zeros: ZeroAnalysis, operand: Operand, dim: int, size) -> int:
    """The level of an operand along an axis of the result."""
    shape = zeros.shape(operand)
    if isinstance(operand, Lit) and not shape:
        return ZERO if is_zero(operand) else CONSTANT
    if shape and shape[dim] == size:
        return zeros.of(operand)[dim]
    return zeros.at_most(operand)


def zero_each(zeros: ZeroAnalysis, node: Node, *levels: Levels) -> list[Levels]:
    """Every operand passes as it is."""
    return list(levels)


def _never(node: Node, levels: Sequence[int] = ()) -> bool:
    return False


def _always(node: Node) -> bool:
    return True


def _if_all(node: Node, levels: Sequence[int]) -> bool:
    return min(levels) == ZERO


def _if_any(node: Node, levels: Sequence[int]) -> bool:
    return ZERO in levels


def _if_chosen(node: Node, levels: Sequence[int]) -> bool:
    return min(levels[1:]) == ZERO


def _if_first(keeps_zero: Callable[[Node], bool]):
    return lambda node, levels: keeps_zero(node) and levels[0] == ZERO


def _is_positive_power(node: Node) -> bool:
    return node.params["y"] > 0


def _is_by_number(node: Node) -> bool:
    return is_nonzero(node.ins[1])


# -- the table -------------------------------------------------------------------------

_USAGE = {
    **dict.fromkeys(primitives.VIEWS, usage_view),
    **dict.fromkeys(primitives.ADDITIONS, usage_add),
    "sub": usage_sub,
    "mul": usage_mul,
    "div": usage_div,
    "and": computed(_always),
    "integer_pow": computed(_is_positive_power),
}
_ZERO = {
    **dict.fromkeys(primitives.KEEPS_ZERO, entrywise(_if_all)),
    **dict.fromkeys(primitives.ZERO_IF_ALL, entrywise(_if_all)),
    **dict.fromkeys(primitives.ZERO_IF_ANY, entrywise(_if_any)),
    "select_n": entrywise(_if_chosen),
    "integer_pow": entrywise(_if_first(_is_positive_power)),
    "div": entrywise(_if_first(_is_by_number)),
}
_keeping, _bending, _nonzero = computed(_always), computed(_never), entrywise(_never)

for _name in sorted(primitives.ELEMENTWISE):
    _default = _keeping if _name in primitives.KEEPS_ZERO else _bending
    define(
        _name,
        label=elementwise,
        usage=_USAGE.get(_name, _default),
        zero=_ZERO.get(_name, _nonzero),
    )

define(primitives.PASSES_EACH, label=label_each, usage=usage_each, zero=zero_each)
define(primitives.SOURCES, label=source)
