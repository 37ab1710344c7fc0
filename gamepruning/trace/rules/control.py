"""Control flow: loops and branches."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import lax

from gamepruning.trace.labels import LabelAnalysis, Labels, explain_node
from gamepruning.trace.program import Node
from gamepruning.trace.rules.registry import define
from gamepruning.trace.rules.types import BodyRunner
from gamepruning.trace.usage import NOTHING, Origin, UsageAnalysis
from gamepruning.trace.zeros import ANY, ZERO, Levels, ZeroAnalysis

# -- scan ------------------------------------------------------------------------------


class Parts(NamedTuple):
    """The operands of a loop (or what belongs to them), by role."""

    consts: Sequence[Any]
    carry: Sequence[Any]
    stacked: Sequence[Any]


def scan_parts(node: Node, row: Sequence[Any]) -> Parts:
    """Split a row of the operands of a scan (JAX 0.11 moved the numbers)."""
    params = node.params
    if "num_consts" in params:
        num_consts, num_carry = params["num_consts"], params["num_carry"]
    else:
        num_consts, num_carry = map(len, params["ft_in"].unpack()[:2])
    stop = num_consts + num_carry
    return Parts(row[:num_consts], row[num_consts:stop], row[stop:])


def label_scan(analysis: LabelAnalysis, node: Node, *labels: Labels) -> list[Labels]:
    """Constants and carries pass into the body; the scanned axis stays whole."""
    consts, carry, stacked = scan_parts(node, labels)
    reason = f"it is looped over by {explain_node(node)}"
    for label in stacked:
        analysis.freeze(label[:1], reason)
    (body,) = node.subs
    outs = analysis.run(body, [*consts, *carry, *(label[1:] for label in stacked)])
    for before, after in zip(carry, outs, strict=False):
        analysis.unify_all(before, after)
    one = None if node.params["length"] == 1 else reason
    return [*carry, *((one, *label) for label in outs[len(carry) :])]


def usage_scan(usage: UsageAnalysis, node: Node, *origins: Origin) -> list[Origin]:
    """Parameters pass into the body; of the carry nothing is known."""
    consts, carry, stacked = scan_parts(node, origins)
    (body,) = node.subs
    entries = (origin.as_input(lambda places: places[1:]) for origin in stacked)
    passed = [origin.as_input() for origin in consts]
    usage.run(body, [*passed, *[NOTHING] * len(carry), *entries])
    return [NOTHING for _ in node.outs]


def zero_scan(zeros: ZeroAnalysis, node: Node, *levels: Levels) -> list[Levels]:
    """What holds for the carry at every turn, and for the rows of every turn."""
    consts, carry, stacked = scan_parts(node, levels)
    fixed = scan_parts(node, list(map(zeros.is_fixed, node.ins)))
    known = [*fixed.consts, *[False] * len(carry), *fixed.stacked]
    start = [*consts, *carry, *(row[1:] for row in stacked)]
    places = slice(len(consts), len(consts) + len(carry))
    ins, outs = zeros.until_stable(node.subs[0], start, known, places)
    return [*ins[places], *((ANY, *row) for row in outs[len(carry) :])]


def run_scan(runner: BodyRunner, node: Node, args: list) -> list:
    """A scan around the interpreted body."""
    (body,) = node.subs
    return scan_turns(node, args, lambda ins, _: runner.run(body, ins))


def scan_turns(
    node: Node,
    args: Sequence[Any],
    turn: Callable[[list, Any], list],
    rows: Any = (),
) -> list:
    """A scan like a node's: `turn(operands of the body, row)` is what it does.

    Args:
      node: the scan.
      args: its operands.
      turn: what makes the results of the body.
      rows: arrays [L, ...] that are scanned along; each turn gets its row.
    """
    consts, carry, stacked = scan_parts(node, args)

    def step(carry, entry):
        entry, row = entry
        outs = turn([*consts, *carry, *entry], row)
        return outs[: len(carry)], outs[len(carry) :]

    carry, made = lax.scan(
        step,
        [jnp.asarray(c) for c in carry],
        (list(stacked), rows),
        length=node.params["length"],
        reverse=node.params["reverse"],
        unroll=node.params["unroll"],
    )
    return [*carry, *made]


def run_scan_open(runner: BodyRunner, node: Node, args: list) -> list:
    """A loop in Python, so that what a tap sees is not inside a trace."""
    (body,) = node.subs
    return loop_turns(node, args, lambda ins, _: runner.run(body, ins))


def loop_turns(
    node: Node, args: Sequence[Any], turn: Callable[[list, int], list]
) -> list:
    """The same in Python; each turn gets its number in the stack."""
    consts, carry, stacked = scan_parts(node, args)
    order, rows = range(node.params["length"]), []
    for k in reversed(order) if node.params["reverse"] else order:
        outs = turn([*consts, *carry, *(x[k] for x in stacked)], k)
        carry = outs[: len(carry)]
        rows.append(outs[len(carry) :])
    rows = rows[::-1] if node.params["reverse"] else rows
    return [*carry, *map(jnp.stack, zip(*rows, strict=True))]


define(
    "scan",
    label=label_scan,
    usage=usage_scan,
    zero=zero_scan,
    run=run_scan,
    run_open=run_scan_open,
)


# -- while -----------------------------------------------------------------------------


class WhileParts(NamedTuple):
    """The operands of a while loop (or what belongs to them), by role."""

    cond_consts: Sequence[Any]
    body_consts: Sequence[Any]
    carry: Sequence[Any]


def while_parts(node: Node, row: Sequence[Any]) -> WhileParts:
    """Split a row of the operands of a while loop."""
    first = node.params["cond_nconsts"]
    second = first + node.params["body_nconsts"]
    return WhileParts(row[:first], row[first:second], row[second:])


def label_while(analysis: LabelAnalysis, node: Node, *labels: Labels) -> list[Labels]:
    """The carry keeps its axes from turn to turn."""
    cond_consts, body_consts, carry = while_parts(node, labels)
    condition, body = node.subs
    analysis.run(condition, [*cond_consts, *carry])
    outs = analysis.run(body, [*body_consts, *carry])
    for before, after in zip(carry, outs, strict=True):
        analysis.unify_all(before, after)
    return list(carry)


def usage_while(usage: UsageAnalysis, node: Node, *origins: Origin) -> list[Origin]:
    """Parameters pass into the body; of the carry nothing is known."""
    parts = while_parts(node, origins)
    condition, body = node.subs
    usage.run(condition, [NOTHING] * len(condition.inputs))
    consts = [origin.as_input() for origin in parts.body_consts]
    usage.run(body, [*consts, *[NOTHING] * len(parts.carry)])
    return [NOTHING for _ in node.outs]


def zero_while(zeros: ZeroAnalysis, node: Node, *levels: Levels) -> list[Levels]:
    """What holds for the carry after any number of turns."""
    parts = while_parts(node, levels)
    fixed = while_parts(node, list(map(zeros.is_fixed, node.ins)))
    condition, body = node.subs
    unknown = [False] * len(parts.carry)
    places = slice(len(parts.body_consts), None)
    start, known = [*parts.body_consts, *parts.carry], [*fixed.body_consts, *unknown]
    ins, _ = zeros.until_stable(body, start, known, places)
    carry = ins[places]
    known = [*fixed.cond_consts, *unknown]
    zeros.enter(condition, [*parts.cond_consts, *carry], known)
    # the number of turns may depend on the inputs
    return [tuple(x if x == ZERO else ANY for x in row) for row in carry]


def run_while(runner: BodyRunner, node: Node, args: list) -> list:
    """A while loop around the interpreted condition and body."""
    condition, body = node.subs
    cond_consts, body_consts, carry = while_parts(node, args)
    return lax.while_loop(
        lambda carry: runner.run(condition, [*cond_consts, *carry])[0],
        lambda carry: runner.run(body, [*body_consts, *carry]),
        [jnp.asarray(c) for c in carry],
    )


define(
    "while",
    label=label_while,
    usage=usage_while,
    zero=zero_while,
    run=run_while,
)


# -- cond ------------------------------------------------------------------------------


def label_cond(
    analysis: LabelAnalysis, node: Node, index: Labels, *labels: Labels
) -> list[Labels]:
    """All branches give results of one shape."""
    outs = [analysis.run(branch, labels) for branch in node.subs]
    for other in outs[1:]:
        for one, two in zip(outs[0], other, strict=True):
            analysis.unify_all(one, two)
    return outs[0]


def usage_cond(
    usage: UsageAnalysis, node: Node, index: Origin, *origins: Origin
) -> list[Origin]:
    """Parameters pass into every branch."""
    for branch in node.subs:
        usage.run(branch, [origin.as_input() for origin in origins])
    return [NOTHING for _ in node.outs]


def zero_cond(
    zeros: ZeroAnalysis, node: Node, index: Levels, *levels: Levels
) -> list[Levels]:
    """What holds in every branch; which is taken may depend on the inputs."""
    fixed = list(map(zeros.is_fixed, node.ins[1:]))
    rows = [zeros.enter(branch, levels, fixed) for branch in node.subs]
    outs = []
    for out in zip(*rows, strict=True):
        both = map(min, zip(*out, strict=True))
        outs.append(tuple(zeros.unless_zero(x, node.ins[0]) for x in both))
    return outs


def run_cond(runner: BodyRunner, node: Node, args: list) -> list:
    """A switch over the interpreted branches."""
    branches = [
        lambda *operands, branch=branch: runner.run(branch, operands)
        for branch in node.subs
    ]
    return lax.switch(args[0], branches, *args[1:])


define("cond", label=label_cond, usage=usage_cond, zero=zero_cond, run=run_cond)
