"""From a function to a `Program`: trace it, inline its calls, drop what is dead."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.core
import numpy as np
from jax import lax
from jax.extend import core as jex
from jax.interpreters import partial_eval

from gamepruning.trace import primitives
from gamepruning.trace.constants import separate_constants
from gamepruning.trace.derivatives import trace_rule
from gamepruning.trace.program import Graph, Lit, Node, Operand, Program, Remat
from gamepruning.trees.placement import sharding_of
from gamepruning.types import InputError


def trace(fn: Callable[..., Any], *args) -> Program:
    """The program of `fn` at these arguments (arrays or ShapeDtypeStructs).

    The inputs of the program's graph are the leaves of `args`, in their order.

    Raises:
      InputError: it writes into a `jax.new_ref`.
    """
    closed, shapes = jax.make_jaxpr(fn, return_shape=True)(*args)
    builder = _Builder()
    graph = builder.graph(without_dead_code(closed.jaxpr), closed.consts)
    separate_constants(graph, [*builder.constants], builder.shape, builder.again)
    out_tree = jax.tree_util.tree_structure(shapes)
    return Program(graph, builder.avals, builder.constants, out_tree)


def without_dead_code(jaxpr: Any) -> Any:
    """A jaxpr without what its outputs do not need, inside scans and calls, too.

    XLA drops the same. The inputs stay.
    """
    outputs = [True] * len(jaxpr.outvars)
    return partial_eval.dce_jaxpr(jaxpr, outputs, instantiate=True)[0]


class _Calls(NamedTuple):
    """The calls around an equation: see `Node.remats` and `Node.scope`."""

    remats: tuple[Remat, ...] = ()
    scope: tuple[str, ...] = ()

    def named(self, eqn) -> tuple[str, ...]:
        """The names around an equation of the innermost call."""
        return (*self.scope, *filter(None, _where(eqn).split("/")))

    def within(self, eqn, ins: Sequence[Operand]) -> "_Calls":
        """The calls around what is inlined for an equation."""
        name, params, scope = eqn.primitive.name, eqn.params, self.named(eqn)
        if name in primitives.NAMED_CALLS and "name" in params:
            return _Calls(self.remats, (*scope, f"jit({params['name']})"))
        if name not in primitives.REMATS:
            return _Calls(self.remats, scope)
        guarded, free = params["prevent_cse"], ()
        if isinstance(guarded, tuple):
            free = (v for v, ok in zip(ins, guarded, strict=True) if not ok)
            guarded = any(guarded)
        exempt = frozenset(v for v in free if not isinstance(v, Lit))
        remat = Remat(
            scope, params["policy"], guarded, exempt, params["differentiated"]
        )
        return _Calls((*self.remats, remat))


class _Builder:
    """Turns jaxprs into nodes."""

    def __init__(self):
        self.avals: list[Any] = []
        self.constants: dict[int, Any] = {}
        self._derivatives: dict[tuple, Any] = {}
        self._in_rule = False

    def graph(self, jaxpr, consts) -> Graph:
        """A jaxpr as a graph."""
        graph = Graph(tuple(self._value(v.aval) for v in jaxpr.invars))
        graph.outputs = self._inline(jaxpr, consts, graph.inputs, graph.nodes, _Calls())
        _drop_dead(graph)
        return graph

    def shape(self, value: int) -> tuple:
        """The shape of a value."""
        return tuple(getattr(self.avals[value], "shape", ()))

    def again(self, value: int) -> int:
        """A new value of the same type; the same array where it is a constant."""
        number = self._value(self.avals[value])
        if value in self.constants:
            self.constants[number] = self.constants[value]
        return number

    def _value(self, aval) -> int:
        if type(aval).__name__ == "AbstractRef":
            raise InputError(
                "the model has an array that is written in place (jax.new_ref), and a "
                "trace does not follow what is written: carry the array through the "
                "loop, or return it from there"
            )
        self.avals.append(aval)
        return len(self.avals) - 1

    def _constant(self, value) -> int:
        number = self._value(jax.core.ShapedArray(np.shape(value), _dtype(value)))
        self.constants[number] = value
        return number

    def _inline(
        self, jaxpr, consts, inputs, nodes: list[Node], calls: _Calls
    ) -> tuple[Operand, ...]:
        """Append the nodes of a jaxpr applied to `inputs`; its outputs."""
        env: dict[Any, Operand] = {}

        def read(v) -> Operand:
            if isinstance(v, jex.Literal):
                scalar = not np.ndim(v.val)
                return Lit(v.val, v.aval) if scalar else self._constant(v.val)
            return env[v]

        env.update(zip(jaxpr.constvars, map(self._constant, consts), strict=True))
        env.update(zip(jaxpr.invars, inputs, strict=True))
        for eqn in jaxpr.eqns:
            ins = tuple(map(read, eqn.invars))
            body = self._inlined_body(eqn)
            if body is not None:
                within = calls.within(eqn, ins)
                outs = self._inline(*_open(body), ins, nodes, within)
            else:
                outs = tuple(self._value(v.aval) for v in eqn.outvars)
                node = self._node(jaxpr, eqn, ins, outs)
                node.remats, node.scope = calls.remats, calls.named(eqn)
                nodes.append(node)
            env.update(zip(eqn.outvars, outs, strict=True))
        return tuple(map(read, jaxpr.outvars))

    def _inlined_body(self, eqn):
        """The body of a call to inline; inside a derivative rule customs are, too."""
        name = eqn.primitive.name
        if self._in_rule and name in primitives.CUSTOM_CALLS:
            return _custom_body(eqn)
        if name == "reshape" and eqn.params.get("dimensions"):
            return _transposed_reshape(eqn)
        if name in primitives.COLLECTIVES and _is_positional(eqn):
            return _reduced(eqn, getattr(lax, primitives.COLLECTIVES[name]))
        return eqn.params.get(primitives.INLINED.get(name))

    def _node(self, jaxpr, eqn, ins, outs) -> Node:
        alone = _alone(jaxpr, eqn)
        node = Node(eqn.primitive, eqn.params, ins, outs, (), _where(eqn), alone)
        if node.name in primitives.CUSTOM_CALLS:
            try:
                node.subs = self._with_derivative(alone)
            except Exception as error:  # a rule of the user's: opaque, so frozen
                node.failure = _one_line(error)
        else:
            bodies = _bodies(eqn)
            node.subs = tuple(self.graph(*_open(body)) for body in bodies)
        return node

    def _with_derivative(self, alone) -> tuple[Graph, Graph]:
        """The body of a custom_jvp or custom_vjp call, and its derivative rule."""
        body = _custom_body(alone.eqns[0])
        key, derive = trace_rule(alone, body)
        if key not in self._derivatives:
            self._derivatives[key] = derive()
        self._in_rule = True
        try:
            rule = self.graph(*_open(self._derivatives[key]))
        finally:
            self._in_rule = False
        return self.graph(*_open(body)), rule


def _bodies(eqn) -> list[Any]:
    """The bodies of control flow."""
    found = [eqn.params[key] for key in primitives.BODIES.get(eqn.primitive.name, ())]
    return list(found[0]) if eqn.primitive.name in primitives.BRANCHES else found


_CUSTOM_BODIES = ("call_jaxpr", "fun_jaxpr", "jaxpr")


def _custom_body(eqn):
    return next(eqn.params[k] for k in _CUSTOM_BODIES if k in eqn.params)


def _transposed_reshape(eqn):
    """A reshape that reads its operand's axes in another order, in two steps."""
    order, sizes = eqn.params["dimensions"], eqn.params["new_sizes"]
    return jax.make_jaxpr(lambda x: lax.reshape(lax.transpose(x, order), sizes))(
        _struct(eqn.invars[0].aval)
    )


def _is_positional(eqn) -> bool:
    """True for a collective over axes of the array, none of them an axis of a mesh."""
    groups = eqn.params.get("axis_index_groups")
    return groups is None and all(isinstance(k, int) for k in eqn.params["axes"])


def _reduced(eqn, reduce: Callable[..., Any]):
    """A collective under vmap, as the reductions that it is."""
    axes = eqn.params["axes"]
    return jax.make_jaxpr(
        lambda *operands: [reduce(x, axes) if axes else x for x in operands]
    )(*(_struct(v.aval) for v in eqn.invars))


def _struct(aval) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(aval.shape, aval.dtype, sharding=sharding_of(aval))


def _alone(jaxpr, eqn):
    """A jaxpr of this one equation: the public way to apply any equation as it is."""
    seen = dict.fromkeys(v for v in eqn.invars if not isinstance(v, jex.Literal))
    return jaxpr.replace(
        constvars=[],
        invars=list(seen),
        outvars=list(eqn.outvars),
        eqns=[_without_names(eqn)],
    )


def _without_names(eqn):
    """The equation without the names around it, which `Node.scope` has."""
    try:
        no_names = type(eqn.source_info.name_stack)()
        return eqn.replace(source_info=eqn.source_info.replace(name_stack=no_names))
    except AttributeError:
        return eqn


def _open(body) -> tuple[Any, Sequence]:
    """The jaxpr and constants of a jaxpr, closed or not."""
    if isinstance(body, jex.ClosedJaxpr):
        return body.jaxpr, body.consts
    return body, ()


def _dtype(value):
    return value.dtype if hasattr(value, "dtype") else np.asarray(value).dtype


def _one_line(error: Exception) -> str:
    first = next(iter(str(error).splitlines()), "")
    return f"{type(error).__name__}: {first:.200}" if first else type(error).__name__


def _where(eqn) -> str:
    try:
        return str(eqn.source_info.name_stack)
    except AttributeError:
        return ""


def _drop_dead(graph: Graph) -> None:
    """Remove nodes whose results reach no output."""
    used = {out for out in graph.outputs if isinstance(out, int)}
    kept = []
    for node in reversed(graph.nodes):
        if used.intersection(node.outs):
            kept.append(node)
            used.update(v for v in node.ins if isinstance(v, int))
    graph.nodes = kept[::-1]
