"""Softmaxes in all spellings: their sums and their maxima, over who takes part.

With nobody in, everybody is in such a sum or maximum. So it must do nothing but make
shares, or logarithms of shares, of what is gated where it is read.
"""

from collections.abc import Collection, Iterator

from gamepruning.trace import primitives
from gamepruning.trace.labels import LabelAnalysis
from gamepruning.trace.program import Lit, Node, Operand

# What follows a maximum or a sum on the way to where it is subtracted or divides.
_ON_THE_WAY = primitives.PASSES_ENTRIES | {"abs", "add", "is_finite", "max", "select_n"}
_SHIFTED = frozenset(("div", "mul", "select_n"))  # what may follow x - max(x)
_COMPARED = primitives.ELEMENTWISE | primitives.PASSES_ENTRIES | {"iota"}
_DEPTH = 8  # operations in a row that are compared


def is_share(analysis: LabelAnalysis, node: Node) -> bool:
    """True for the sum in exp(x) / sum(exp(x)), in x / sum(x), or in its logarithm."""
    (value,) = node.ins
    users = list(_users(analysis, node.outs[0]))
    power = _power(analysis, value)
    if power is not None:
        return bool(users) and all(
            _makes_shares(analysis, node, power, *user) for user in users
        )
    return bool(users) and all(
        user is not None
        and user.name == "div"
        and _is_same(analysis, user.ins[0], value)
        for user, _ in users
    )


def is_shift(analysis: LabelAnalysis, node: Node) -> bool:
    """True for the maximum in exp(x - max(x)), and where it is added to the logarithm.

    The logarithm of a sum over nobody is minus infinity, whatever is added to it.
    """
    users = [user for user, _ in _users(analysis, node.outs[0])]
    shifts = [_is_shifted(analysis, node, user) for user in users]
    return any(shifts) and all(
        is_shifted or _is_added_to_logarithm(analysis, node, user)
        for is_shifted, user in zip(shifts, users, strict=True)
    )


def _is_shifted(analysis: LabelAnalysis, maximum: Node, user: Node | None) -> bool:
    """True if who uses a maximum subtracts it from what an exponential is of."""
    if user is None or user.name != "sub":
        return False
    (value,) = maximum.ins
    same = (value, _masked(analysis, value))
    return any(_is_same(analysis, user.ins[0], one) for one in same) and any(
        reader is not None and reader.name in primitives.EXPONENTIALS
        for reader, _ in _users(analysis, user.outs[0], beside=_SHIFTED)
    )


def _is_added_to_logarithm(
    analysis: LabelAnalysis, maximum: Node, user: Node | None
) -> bool:
    """True for the sum of a maximum and the logarithm of what it was subtracted in."""
    if user is None or user.name not in primitives.ADDITIONS:
        return False
    return any(_is_logarithm(analysis, maximum, operand) for operand in user.ins)


def _is_logarithm(analysis: LabelAnalysis, maximum: Node, operand: Operand) -> bool:
    """True for the logarithm of a sum of exponentials, over the axes of a maximum."""
    names = []
    maker = analysis.maker(operand)
    while maker is not None and maker.name in primitives.PASSES_ENTRIES | {
        "abs",
        "log",
    }:
        names.append(maker.name)
        maker = analysis.maker(maker.ins[0])
    return (
        maker is not None
        and maker.name in primitives.SUMS
        and names.count("log") == 1
        and maker.params["axes"] == maximum.params["axes"]
        and _power(analysis, maker.ins[0]) is not None
    )


def _power(analysis: LabelAnalysis, value: Operand) -> Operand | None:
    """What exponentials are of, masked or weighted or not; None for anything else."""
    maker = analysis.maker(_masked(analysis, value))
    factors = maker.ins if maker is not None and maker.name == "mul" else (value,)
    for factor in factors:
        maker = analysis.maker(_masked(analysis, factor))
        if maker is not None and maker.name in primitives.EXPONENTIALS:
            return maker.ins[0]
    return None


def _masked(analysis: LabelAnalysis, value: Operand) -> Operand:
    """What a mask is applied to, if a number takes the place of what it leaves out."""
    maker = analysis.maker(value)
    if maker is None or maker.name != "select_n":
        return value
    chosen = [v for v in maker.ins[1:] if not _is_number(analysis, v)]
    return chosen[0] if len(chosen) == 1 else value


def _makes_shares(
    analysis: LabelAnalysis, total: Node, power: Operand, user: Node | None, value: int
) -> bool:
    """True if a sum of exponentials divides what comes of their powers.

    Args:
      analysis: the labels.
      total: the sum.
      power: what the exponentials are of.
      user: who uses the sum, None for the outputs of the model or of a body.
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
        return _is_multiplied(analysis, total, power, user.outs[0])
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


def _is_multiplied(
    analysis: LabelAnalysis, total: Node, power: Operand, value: int, depth: int = 2
) -> bool:
    """True if a quotient ends in products with what comes of the powers.

    A derivative adds quotients, and sums them over an axis of one entry.
    """
    beside = primitives.ADDITIONS | {"neg", "reduce_sum"}
    rest = list(_users(analysis, value, beside))
    return bool(rest and depth) and all(
        reader is not None
        and reader.name == "mul"
        and (
            any(_is_of(analysis, v, power, total) for v in reader.ins if v != read)
            or _is_multiplied(analysis, total, power, reader.outs[0], depth - 1)
        )
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


def _users(
    analysis: LabelAnalysis, value: int, beside: Collection[str] = ()
) -> Iterator[tuple[Node | None, int]]:
    """Who uses a value as it is, or with a number added, and what it reads.

    None stands for the outputs of the model, or of a body. An operation that is named
    in `beside` passes the value, too, whatever else it reads.
    """
    rows = [value]
    while rows:
        row = rows.pop()
        for reader in analysis.program.readers.get(row, ()):
            if not isinstance(reader, Node):
                yield None, row
            elif reader.name in beside or _passes(analysis, reader):
                rows += reader.outs
            else:
                yield reader, row


def _passes(analysis: LabelAnalysis, node: Node) -> bool:
    """True if a node makes the same of its one operand, but for numbers beside it.

    `logsumexp` subtracts a maximum where that is finite, and 0 elsewhere.
    """
    makers = {v: analysis.maker(v) for v in node.ins if not _is_number(analysis, v)}
    tested = {
        v if maker is None or maker.name != "is_finite" else maker.ins[0]
        for v, maker in makers.items()
    }
    return node.name in _ON_THE_WAY and len(tested) == 1


def _is_number(analysis: LabelAnalysis, operand: Operand) -> bool:
    """True for a number that is written into the program, everywhere the same."""
    while not isinstance(operand, Lit):
        maker = analysis.maker(operand)
        if maker is None or maker.name not in primitives.PASSES_ENTRIES:
            return False
        operand = maker.ins[0]
    return True


def _is_same(
    analysis: LabelAnalysis, one: Operand, two: Operand, depth: int = _DEPTH
) -> bool:
    """True if two operands are one value, perhaps in other types, or computed twice."""
    one, two = _untyped(analysis, one), _untyped(analysis, two)
    if isinstance(one, Lit) and isinstance(two, Lit):
        return bool(one.value == two.value)
    if isinstance(one, Lit) or isinstance(two, Lit):
        return False
    constants = analysis.program.constants
    if one == two or one in constants and constants[one] is constants.get(two):
        return True
    first, second = analysis.maker(one), analysis.maker(two)
    if first is None or second is None or not depth:
        return False
    return (
        first.name == second.name
        and first.name in _COMPARED
        and first.params == second.params
        and all(
            _is_same(analysis, *pair, depth - 1)
            for pair in zip(first.ins, second.ins, strict=True)
        )
    )


def _untyped(analysis: LabelAnalysis, operand: Operand) -> Operand:
    """An operand before it was given another type."""
    maker = analysis.maker(operand)
    while maker is not None and maker.name == "convert_element_type":
        operand = maker.ins[0]
        maker = analysis.maker(operand)
    return operand
