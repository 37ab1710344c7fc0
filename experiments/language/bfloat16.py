"""Matrix products in bfloat16 with sums in float32, where processors are faster so.

The whole program is rewritten, its gradient included: of each product without batches
whose left side is summed along its last axis, both sides are rounded to bfloat16. That
is forwards and gradients of inputs; those of weights, and attention, gain nothing from
it here and stay as they are, and so does all that is stored.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import ClosedJaxpr, JaxprEqn, Literal, primitives

from gamepruning.trace.program import bind

CALLS = ("jit", "pjit", "custom_jvp_call", "custom_vjp_call")
LEAST = 2**20  # multiply-adds of a product that is worth it


def in_bfloat16(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function with its large products of float32 in bfloat16.

    Example:
      >>> from jax import numpy as jnp
      >>> third = jnp.full((1024, 1024), 1 / 3)
      >>> float(in_bfloat16(jnp.dot)(third, jnp.eye(1024))[0, 0])
      0.333984375
    """

    def rounded(*args: Any) -> Any:
        program, shape = jax.make_jaxpr(function, return_shape=True)(*args)
        found = _run(program, jax.tree.leaves(args))
        return jax.tree.unflatten(jax.tree.structure(shape), found)

    return rounded


def _run(program: ClosedJaxpr, args: Sequence[Any]) -> list[Any]:
    jaxpr = program.jaxpr
    values = dict(zip(jaxpr.constvars, program.consts, strict=True))
    values |= dict(zip(jaxpr.invars, args, strict=True))

    def read(atom: Any) -> Any:
        return atom.val if isinstance(atom, Literal) else values[atom]

    for eqn in jaxpr.eqns:
        operands = [read(atom) for atom in eqn.invars]
        found = _product(eqn, operands) if _gains(eqn) else _as_it_is(eqn, operands)
        values |= dict(zip(eqn.outvars, found, strict=True))
    return [read(atom) for atom in jaxpr.outvars]


def _gains(eqn: JaxprEqn) -> bool:
    if eqn.primitive is not primitives.dot_general_p:
        return False
    (left, right), batches = eqn.params["dimension_numbers"]
    one, two = (atom.aval for atom in eqn.invars)
    work = math.prod(one.shape) * math.prod(two.shape)
    work //= math.prod(one.shape[axis] for axis in left)
    is_plain = batches == ((), ()) and tuple(left) == (one.ndim - 1,)
    return is_plain and one.dtype == two.dtype == jnp.float32 and work >= LEAST


def _product(eqn: JaxprEqn, operands: list[Any]) -> list[Any]:
    one, two = (jnp.asarray(x, jnp.bfloat16) for x in operands)
    found = jax.lax.dot_general(
        one,
        two,
        eqn.params["dimension_numbers"],
        preferred_element_type=jnp.float32,
    )
    return [found]


def _as_it_is(eqn: JaxprEqn, operands: list[Any]) -> list[Any]:
    inner = {k: v for k, v in eqn.params.items() if isinstance(v, ClosedJaxpr)}
    if len(inner) == 1 and eqn.primitive.name in CALLS:  # derivatives are taken already
        return _run(*inner.values(), operands)
    params = eqn.params | {name: _rewritten(each) for name, each in inner.items()}
    return bind(eqn.primitive, params, operands)


def _rewritten(program: ClosedJaxpr) -> ClosedJaxpr:
    shapes = [
        jax.ShapeDtypeStruct(aval.shape, aval.dtype, weak_type=aval.weak_type)
        for aval in program.in_avals
    ]
    return jax.make_jaxpr(lambda *args: _run(program, args))(*shapes)
