"""The derivative rule of a custom_jvp or custom_vjp call, as a program of its own.

It is found by differentiating the single equation with JAX's public transformations,
which apply the rule.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax

from gamepruning.trace import primitives
from gamepruning.trace.program import apply_alone, is_inexact
from gamepruning.trees.placement import sharding_of


def trace_rule(alone: Any, body: Any) -> tuple[Any, Any]:
    """Trace the derivative rule of the one equation of a jaxpr.

    Args:
      alone: a jaxpr of one custom_jvp or custom_vjp call.
      body: what the call computes.

    Returns:
      A key that is the same for calls with the same rule, and a function that gives
      the rule as a closed jaxpr: of the operands and then their tangents (for a
      custom_vjp, the cotangents of the results), those that are inexact.
    """
    (eqn,) = alone.eqns
    avals = tuple(v.aval for v in eqn.invars)
    is_forward = eqn.primitive.name in primitives.CUSTOM_JVP
    around = avals if is_forward else tuple(v.aval for v in eqn.outvars)
    other = [_struct(aval) for aval in around if is_inexact(aval)]
    rule = (_jvp_rule if is_forward else _vjp_rule)(alone, avals)
    key = (body, tuple((aval.shape, aval.dtype) for aval in avals))
    return key, lambda: jax.make_jaxpr(rule)([_struct(a) for a in avals], other)


def _struct(aval: Any) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(aval.shape, aval.dtype, sharding=sharding_of(aval))


def _jvp_rule(alone: Any, avals: Sequence[Any]) -> Callable[..., Any]:
    def rule(primals, tangents):
        fn, inexact = _of_inexact(alone, avals, primals)
        return jax.jvp(fn, tuple(inexact), tuple(tangents))[1]

    return rule


def _vjp_rule(alone: Any, avals: Sequence[Any]) -> Callable[..., Any]:
    def rule(primals, cotangents):
        fn, inexact = _of_inexact(alone, avals, primals)
        return jax.vjp(fn, *inexact)[1](list(cotangents))

    return rule


def _of_inexact(alone: Any, avals: Sequence[Any], primals: Sequence[Any]):
    """The equation as a function of its inexact operands, and those operands."""
    inexact = [is_inexact(aval) for aval in avals]

    def fn(*moving):
        rest = iter(moving)
        args = [next(rest) if ok else p for p, ok in zip(primals, inexact, strict=True)]
        outs = apply_alone(alone, args)
        pairs = zip(outs, alone.outvars, strict=True)
        return [out for out, v in pairs if is_inexact(v.aval)]

    return fn, [p for p, ok in zip(primals, inexact, strict=True) if ok]
