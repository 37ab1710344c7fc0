"""Calls with a derivative of their own: custom_jvp and custom_vjp.

The first of their two bodies computes, the second is the rule of derivation.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.custom_derivatives import SymbolicZero

from gamepruning.trace import primitives
from gamepruning.trace.derivatives import differentiated
from gamepruning.trace.labels import LabelAnalysis, Labels, opaque
from gamepruning.trace.program import Graph, Node, Operand, is_inexact
from gamepruning.trace.rules.registry import define
from gamepruning.trace.rules.types import BodyRunner, GatedBodyRunner
from gamepruning.trace.usage import NOTHING, Origin, UsageAnalysis
from gamepruning.trace.zeros import Levels, ZeroAnalysis
from gamepruning.types import InputError

# -- labels ----------------------------------------------------------------------------


def label_custom_jvp(
    analysis: LabelAnalysis, node: Node, *labels: Labels
) -> list[Labels]:
    """Body and rule: a tangent has the axes of its primal."""
    if not node.subs:
        return opaque(analysis, node, *labels)
    body, rule = node.subs
    outs = analysis.run(body, labels)
    tangents = _inexact(analysis, node.ins, labels)
    out_tangents = _label_rule(analysis, rule, [*labels, *tangents])
    for one, two in zip(_inexact(analysis, node.outs, outs), out_tangents, strict=True):
        analysis.unify_all(one, two)
    return outs


def label_custom_vjp(
    analysis: LabelAnalysis, node: Node, *labels: Labels
) -> list[Labels]:
    """Body and rule: a cotangent has the axes of its primal."""
    if not node.subs:
        return opaque(analysis, node, *labels)
    body, rule = node.subs
    outs = analysis.run(body, labels)
    cotangents = _inexact(analysis, node.outs, outs)
    gradients = _label_rule(analysis, rule, [*labels, *cotangents])
    moving = _chosen(labels, _are_differentiated(analysis, node))
    for one, two in zip(moving, gradients, strict=True):
        analysis.unify_all(one, two)
    return outs


def _label_rule(
    analysis: LabelAnalysis, rule: Graph, labels: Sequence[Labels]
) -> Sequence[Labels]:
    """A rule sums over who stays; its sums are no part of the model."""
    asked = analysis.reductions
    analysis.reductions = "gate" if asked == "freeze" else asked
    try:
        return analysis.run(rule, labels)
    finally:
        analysis.reductions = asked


def _inexact(
    analysis: LabelAnalysis, operands: Sequence[Operand], labels: Sequence[Labels]
) -> list[Labels]:
    pairs = zip(operands, labels, strict=True)
    return [x for operand, x in pairs if is_inexact(analysis.program.aval(operand))]


# -- usage and zeros -------------------------------------------------------------------


def usage_custom(usage: UsageAnalysis, node: Node, *origins: Origin) -> list[Origin]:
    """The body says how parameters are used; its derivative would say it again."""
    if not node.subs:
        return [NOTHING for _ in node.outs]
    outs = usage.run(node.subs[0], [origin.as_input() for origin in origins])
    return [
        Origin(derived=out.any_derived(), main_factor=out.any_factor()) for out in outs
    ]


def zero_custom(zeros: ZeroAnalysis, node: Node, *levels: Levels) -> Sequence[Levels]:
    """What holds of the body's results."""
    if not node.subs:
        return zeros.without_rule(node, *levels)
    body = node.subs[0]
    outs = zeros.enter(body, levels, list(map(zeros.is_fixed, node.ins)))
    for value, out in zip(node.outs, body.outputs, strict=True):
        if zeros.is_fixed(out):
            zeros.mark_fixed(value)
    return outs


# -- run -------------------------------------------------------------------------------


def _are_inexact(runner: BodyRunner, operands: Sequence[Operand]) -> list[bool]:
    return [is_inexact(runner.program.aval(operand)) for operand in operands]


def _are_differentiated(runner: BodyRunner | LabelAnalysis, node: Node) -> list[bool]:
    return differentiated(node.params, [runner.program.aval(v) for v in node.ins])


def _chosen(row: Sequence[Any], which: Sequence[bool]) -> list[Any]:
    return [x for x, is_chosen in zip(row, which, strict=True) if is_chosen]


def _instantiated(cotangent: Any) -> Any:
    if not isinstance(cotangent, SymbolicZero):
        return cotangent
    aval: Any = cotangent.aval
    make = np.zeros if aval.dtype == jax.dtypes.float0 else jnp.zeros
    return make(aval.shape, aval.dtype)


def _without_slope(node: Node, args: Sequence[Any]) -> list:
    """The operands; who differentiates what a custom_vjp closes over is told."""
    closed = node.params.get("num_consts", 0)
    return [*map(_closed_over, args[:closed]), *args[closed:]]


@jax.custom_jvp
def _closed_over(array):
    return array


@_closed_over.defjvp
def _(primals, tangents):
    raise InputError(
        "a custom_vjp function is differentiated by a value that it closes over, for "
        "which its rule has no gradient: pass the value to it as an argument"
    )


def run_custom_jvp(runner: BodyRunner, node: Node, args: list) -> list:
    """A custom_jvp around the interpreted body and rule."""
    body, rule = node.subs
    inexact = _are_inexact(runner, node.ins)

    @jax.custom_jvp
    def call(*primals):
        return tuple(runner.run(body, primals))

    @call.defjvp
    def derivative(primals, tangents):
        found = iter(runner.run(rule, [*primals, *_chosen(tangents, inexact)]))
        outs = call(*primals)
        return outs, tuple(
            next(found) if is_inexact(out) else np.zeros(out.shape, jax.dtypes.float0)
            for out in outs
        )

    return list(call(*args))


def run_custom_vjp(runner: BodyRunner, node: Node, args: list) -> list:
    """A custom_vjp around the interpreted body and rule."""
    body, rule = node.subs
    differs, args = _are_differentiated(runner, node), _without_slope(node, args)
    moving = _are_inexact(runner, node.outs)

    @jax.custom_vjp
    def call(*primals):
        return tuple(runner.run(body, primals))

    def backward(primals, cotangents):
        given = _chosen(cotangents, moving)
        found = iter(runner.run(rule, [*primals, *given]))
        return tuple(next(found) if ok else None for ok in differs)

    call.defvjp(lambda *primals: (call(*primals), primals), backward)
    return list(call(*args))


def run_custom_open(runner: BodyRunner, node: Node, args: list) -> list:
    """The body alone."""
    return runner.run(node.subs[0], args)


# A derivative rule knows nothing of gates. It serves the node's own operands; the
# gates get the derivative of the gated body.


def run_gated_custom_jvp(runner: GatedBodyRunner, node: Node, args: list) -> list:
    """A custom_jvp of the gates, too."""
    body, rule = node.subs
    inexact = _are_inexact(runner, node.ins)

    @jax.custom_jvp
    def call(gates, *primals):
        return tuple(runner.with_gates(gates).run(body, primals))

    @call.defjvp
    def derivative(primals, tangents):
        gates, *primals = primals
        inner = runner.with_gates(gates)
        found = iter(inner.run(rule, [*primals, *_chosen(tangents[1:], inexact)]))
        outs, by_gates = jax.jvp(
            lambda s: runner.with_gates(s).run(body, primals),
            (gates,),
            tangents[:1],
        )
        return tuple(outs), tuple(
            next(found) + by_gate if is_inexact(out) else by_gate
            for out, by_gate in zip(outs, by_gates, strict=True)
        )

    return list(call(runner.gates, *args))


def run_gated_custom_vjp(runner: GatedBodyRunner, node: Node, args: list) -> list:
    """A custom_vjp of the gates, too."""
    body, rule = node.subs
    differs, args = _are_differentiated(runner, node), _without_slope(node, args)
    moving = _are_inexact(runner, node.outs)
    inside = runner.gated_inside(body)

    @jax.custom_vjp
    def call(gates, *primals):
        return tuple(runner.with_gates(gates).run(body, primals))

    def forward(gates, *primals):
        values = [primal.value for primal in primals]
        varied = [gates.value] if gates.perturbed else []
        return call(gates.value, *values), (gates.value, values, varied)

    def backward(residuals, cotangents):
        gates, primals, varied = residuals
        cotangents = tuple(map(_instantiated, cotangents))
        is_in = (gates != 0).astype(gates.dtype)  # the cotangents have their gates
        own = runner.with_gates(jnp.where(inside, gates, is_in))
        found = iter(own.run(rule, [*primals, *_chosen(cotangents, moving)]))
        operands = [
            own.gate_all(operand, next(found)) if ok else None
            for operand, ok in zip(node.ins, differs, strict=True)
        ]
        if not varied:  # a body with a while loop cannot be differentiated backwards
            return (None, *operands)
        _, pull = jax.vjp(
            lambda s: tuple(runner.with_gates(s).run(body, primals)), gates
        )
        return (*pull(cotangents), *operands)

    call.defvjp(forward, backward, symbolic_zeros=True)
    return list(call(runner.gates, *args))


define(
    primitives.CUSTOM_JVP,
    label=label_custom_jvp,
    usage=usage_custom,
    zero=zero_custom,
    run=run_custom_jvp,
    run_gated=run_gated_custom_jvp,
    run_open=run_custom_open,
)
define(
    primitives.CUSTOM_VJP,
    label=label_custom_vjp,
    usage=usage_custom,
    zero=zero_custom,
    run=run_custom_vjp,
    run_gated=run_gated_custom_vjp,
    run_open=run_custom_open,
)
