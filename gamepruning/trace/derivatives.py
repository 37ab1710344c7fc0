"""The derivative rule of a custom_jvp or custom_vjp call, as a program of its own.

It is found by differentiating the single equation with JAX's public transformations,
which apply the rule.
"""

from collections.abc import Callable, Mapping, Sequence
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
      custom_vjp, the cotangents of the results), those that are inexact. It gives the
      tangents of the results (the cotangents of the operands: see `differentiated`).
    """
    (eqn,) = alone.eqns
    avals = tuple(v.aval for v in eqn.invars)
    is_forward = eqn.primitive.name in primitives.CUSTOM_JVP
    around = avals if is_forward else tuple(v.aval for v in eqn.outvars)
    other = [_struct(aval) for aval in around if is_inexact(aval)]
    rule = (_jvp_rule if is_forward else _vjp_rule)(alone, avals)
    key = (body, tuple((aval.shape, aval.dtype) for aval in avals))
    return key, lambda: jax.make_jaxpr(rule)([_struct(a) for a in avals], other)


def differentiated(params: Mapping[str, Any], avals: Sequence[Any]) -> list[bool]:
    """Which operands of a custom_vjp call its rule has a gradient for.

    Args:
      params: of the equation. Its first `num_consts` operands are what the function
        closes over: JAX raises where these are differentiated.
      avals: of its operands.
    """
    closed = params.get("num_consts", 0)
    return [k >= closed and is_inexact(aval) for k, aval in enumerate(avals)]


def _struct(aval: Any) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(aval.shape, aval.dtype, sharding=sharding_of(aval))


def _jvp_rule(alone: Any, avals: Sequence[Any]) -> Callable[..., Any]:
    def rule(primals, tangents):
        fn, moving = _of_moving(alone, list(map(is_inexact, avals)), primals)
        return jax.jvp(fn, tuple(moving), tuple(tangents))[1]

    return rule


def _vjp_rule(alone: Any, avals: Sequence[Any]) -> Callable[..., Any]:
    is_moving = differentiated(alone.eqns[0].params, avals)

    def rule(primals, cotangents):
        fn, moving = _of_moving(alone, is_moving, primals)
        return jax.vjp(fn, *moving)[1](list(cotangents))

    return rule


def _of_moving(alone: Any, is_moving: Sequence[bool], primals: Sequence[Any]):
    """The equation as a function of some of its operands, and those operands."""

    def fn(*moving):
        rest = iter(moving)
        pairs = zip(primals, is_moving, strict=True)
        outs = apply_alone(alone, [next(rest) if ok else p for p, ok in pairs])
        pairs = zip(outs, alone.outvars, strict=True)
        return [out for out, v in pairs if is_inexact(v.aval)]

    return fn, [p for p, ok in zip(primals, is_moving, strict=True) if ok]
