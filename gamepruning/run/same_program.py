"""Check that two masks leave the same program: the same primitives and constants."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend import core as jex

from gamepruning.run.kept import input_kept, kept_indices
from gamepruning.run.shrunk import Shrunk
from gamepruning.trace.call import CallSpec, as_struct
from gamepruning.trace.model import TracedModel
from gamepruning.trace.primitives import CUSTOM_CALLS, CUSTOM_JVP
from gamepruning.trace.program import Node, is_inexact


def small_program(model: TracedModel, mask: np.ndarray) -> Any:
    """The jaxpr of the small model that a mask leaves, at the shapes of the example.

    The derivative rules of custom calls are part of it.
    """
    call, base = _small_call(model, mask), model.base
    run = _WithRules(base.analysis, base.columns, mask)
    return jax.make_jaxpr(lambda *arrays: run.run(base.program.graph, arrays))(
        *call.arrays
    )


class _WithRules(Shrunk):
    """Only what a mask keeps; the rules of custom calls run, too, on zeros."""

    def run_nested(self, node: Node, args: list) -> list:
        """Body and rule one after the other."""
        if node.name not in CUSTOM_CALLS:
            return super().run_nested(node, args)
        body, rule = node.subs
        outs = self.run(body, args)
        is_forward = node.name in CUSTOM_JVP
        operands, values = (node.ins, args) if is_forward else (node.outs, outs)
        pairs = zip(operands, values, strict=True)
        moving = [x for v, x in pairs if is_inexact(self.program.aval(v))]
        self.run(rule, [*args, *map(jnp.zeros_like, moving)])
        return outs


def _small_call(model: TracedModel, mask: np.ndarray) -> CallSpec:
    structs = list(map(as_struct, model.example.arrays))
    shapes = [list(struct.shape) for struct in structs]
    for (path, axis), rows in kept_indices(model, mask).items():
        shapes[model.paths.index(path)][axis] = len(rows)
    places = dict(zip(model.example.input_keys, model.example.input_range, strict=True))
    for key, axes in input_kept(model, mask).items():
        for axis, rows in axes.items():
            shapes[places[key]][axis] = len(rows)
    return model.example.with_arrays(list(map(as_struct, structs, shapes)))


def are_same(one: Any, other: Any) -> bool:
    """Return True if two jaxprs compute the same, as far as can be read off them.

    Example:
      >>> import jax.numpy as jnp
      >>> plus = lambda k: jax.make_jaxpr(lambda x: jnp.sin(x) + k)(1.0)
      >>> are_same(plus(2.0), plus(2.0)), are_same(plus(2.0), plus(3.0))
      (True, False)
      >>> are_same(plus(jnp.nan), plus(jnp.nan))
      True
    """
    # From jax 0.12 on a closed jaxpr is its own jaxpr.
    if not _same_value(getattr(one, "consts", ()), getattr(other, "consts", ())):
        return False
    one, other = (getattr(closed, "jaxpr", closed) for closed in (one, other))
    if len(one.eqns) != len(other.eqns):
        return False
    numbers: tuple[dict, dict] = ({}, {})
    rows = [(one.constvars, other.constvars), (one.invars, other.invars)]
    for a, b in zip(one.eqns, other.eqns, strict=True):
        if a.primitive is not b.primitive or not _same_value(a.params, b.params):
            return False
        rows += [(a.invars, b.invars), (a.outvars, b.outvars)]
    rows.append((one.outvars, other.outvars))
    return all(_same_row(a, b, numbers) for a, b in rows)


def _same_row(one: Sequence, other: Sequence, numbers: tuple[dict, dict]) -> bool:
    """The same variables, numbered as they come, or the same literals."""
    if len(one) != len(other):
        return False
    for a, b in zip(one, other, strict=True):
        if str(a.aval) != str(b.aval):
            return False
        literals = [isinstance(v, jex.Literal) for v in (a, b)]
        if any(literals):
            if not all(literals) or not _same_value(a.val, b.val):
                return False
            continue
        first, second = numbers
        if first.setdefault(a, len(first)) != second.setdefault(b, len(second)):
            return False
    return True


def _same_value(one: Any, other: Any) -> bool:
    """Parameters and constants; of functions nothing is known, and nothing said."""
    if isinstance(one, jex.ClosedJaxpr | jex.Jaxpr):
        return type(one) is type(other) and are_same(one, other)
    if isinstance(one, Mapping):
        return one.keys() == other.keys() and all(
            _same_value(one[key], other[key]) for key in one
        )
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(_same_value, one, other))
    if hasattr(one, "shape"):
        one, other = np.asarray(one), np.asarray(other)
        return one.shape == other.shape and bool(np.all(_are_equal(one, other)))
    is_function = callable(one) or hasattr(one, "call_wrapped")
    return is_function or bool(_are_equal(one, other))


def _are_equal(one: Any, other: Any) -> Any:
    """Equal, or both NaN: what `jnp.take` fills up with is a parameter."""
    return (one == other) | ((one != one) & (other != other))
