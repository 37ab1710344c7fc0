"""A traced program as a flat list of nodes with integer value ids.

`trace` inlines jit, remat and closed calls at each call site, so that one value has
one id and the rest of the package never meets a nested call. What stays nested is
what has its own control flow or derivative: scan, while, cond, custom_jvp and
custom_vjp. Their bodies share the value table of the whole program.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import jax
import jax.core
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.extend import core as jex

INLINED = {
    "jit": "jaxpr",
    "pjit": "jaxpr",
    "closed_call": "call_jaxpr",
    "core_call": "call_jaxpr",
    "checkpoint": "jaxpr",
    "remat": "jaxpr",
    "remat2": "jaxpr",
    "custom_vmap_call": "call",
}
CUSTOM_CALLS = ("custom_jvp_call", "custom_vjp_call", "custom_vjp_call_jaxpr")


class Lit(NamedTuple):
    """A constant written into the program."""

    value: Any
    aval: Any


Operand = int | Lit


@dataclass(eq=False)
class Graph:
    """A straight line of nodes from `inputs` to `outputs`."""

    inputs: tuple[int, ...]
    outputs: tuple[Operand, ...] = ()
    nodes: list[Node] = field(default_factory=list)


@dataclass(eq=False)
class Node:
    """One primitive applied to values."""

    primitive: Any
    params: dict[str, Any]
    ins: tuple[Operand, ...]
    outs: tuple[int, ...]
    subs: tuple[Graph, ...] = ()
    where: str = ""
    alone: Any = None

    @property
    def name(self) -> str:
        """The primitive's name."""
        return self.primitive.name


@dataclass(eq=False)
class Program:
    """A traced function: its graph, the shape of each value, and its constants."""

    graph: Graph
    avals: list[Any]
    constants: dict[int, Any]
    out_tree: Any

    def aval(self, operand: Operand):
        """The shape and dtype of an operand."""
        return operand.aval if isinstance(operand, Lit) else self.avals[operand]

    def shape(self, operand: Operand) -> tuple:
        """The shape of an operand."""
        return tuple(getattr(self.aval(operand), "shape", ()))


class ScanParts(NamedTuple):
    """The operands of a scan, by role."""

    num_consts: int
    num_carry: int


def scan_parts(node_params: dict[str, Any]) -> ScanParts:
    """How many operands of a scan are constants and carries (JAX 0.11 moved them)."""
    if "num_consts" in node_params:
        return ScanParts(node_params["num_consts"], node_params["num_carry"])
    consts, carry, _ = node_params["ft_in"].unpack()
    return ScanParts(len(consts), len(carry))


def trace(fn: Callable, *args) -> Program:
    """The program of `fn` at these arguments (arrays or ShapeDtypeStructs).

    The inputs of the program's graph are the leaves of `args`, in their order.
    """
    closed, shapes = jax.make_jaxpr(fn, return_shape=True)(*args)
    builder = _Builder()
    inputs = tuple(builder.value(v.aval) for v in closed.jaxpr.invars)
    graph = Graph(inputs)
    graph.outputs = builder.inline(closed.jaxpr, closed.consts, inputs, graph.nodes)
    _drop_dead(graph)
    out_tree = jax.tree_util.tree_structure(shapes)
    return Program(graph, builder.avals, builder.constants, out_tree)


class _Builder:
    """Turns jaxprs into nodes."""

    def __init__(self):
        self.avals: list[Any] = []
        self.constants: dict[int, Any] = {}
        self._derivatives: dict[tuple, Any] = {}
        self._in_rule = False

    def value(self, aval) -> int:
        self.avals.append(aval)
        return len(self.avals) - 1

    def constant(self, value) -> int:
        number = self.value(jax.core.ShapedArray(np.shape(value), _dtype(value)))
        self.constants[number] = value
        return number

    def inline(self, jaxpr, consts, inputs, nodes: list[Node]) -> tuple[Operand, ...]:
        """Append the nodes of a jaxpr applied to `inputs`; its outputs."""
        env: dict[Any, Operand] = {}

        def read(v) -> Operand:
            if isinstance(v, jex.Literal):
                scalar = not np.ndim(v.val)
                return Lit(v.val, v.aval) if scalar else self.constant(v.val)
            return env[v]

        env.update(zip(jaxpr.constvars, map(self.constant, consts), strict=True))
        env.update(zip(jaxpr.invars, inputs, strict=True))
        for eqn in jaxpr.eqns:
            ins = tuple(map(read, eqn.invars))
            body = self._inlined_body(eqn)
            if body is not None:
                inner, inner_consts = _open(body)
                outs = self.inline(inner, inner_consts, ins, nodes)
            else:
                outs = tuple(self.value(v.aval) for v in eqn.outvars)
                nodes.append(self._node(jaxpr, eqn, ins, outs))
            env.update(zip(eqn.outvars, outs, strict=True))
        return tuple(map(read, jaxpr.outvars))

    def _inlined_body(self, eqn):
        """The body of a call to inline; inside a derivative rule customs are, too."""
        if self._in_rule and eqn.primitive.name in CUSTOM_CALLS:
            return _custom_body(eqn)
        if eqn.params.get("dimensions") and eqn.primitive.name == "reshape":
            return _transposed_reshape(eqn)
        return eqn.params.get(INLINED.get(eqn.primitive.name))

    def _node(self, jaxpr, eqn, ins, outs) -> Node:
        alone = _alone(jaxpr, eqn)
        node = Node(eqn.primitive, eqn.params, ins, outs, (), _where(eqn), alone)
        name = node.name
        if name in CUSTOM_CALLS:
            with contextlib.suppress(Exception):  # not understood: opaque, so frozen
                node.subs = self._with_derivative(alone)
        else:
            names = {
                "scan": ("jaxpr",),
                "while": ("cond_jaxpr", "body_jaxpr"),
                "cond": ("branches",),
            }.get(name, ())
            bodies = [eqn.params[key] for key in names]
            if name == "cond":
                bodies = bodies[0]
            node.subs = tuple(self.graph(*_open(body)) for body in bodies)
        return node

    def graph(self, jaxpr, consts) -> Graph:
        """A nested body as a graph of its own."""
        graph = Graph(tuple(self.value(v.aval) for v in jaxpr.invars))
        graph.outputs = self.inline(jaxpr, consts, graph.inputs, graph.nodes)
        _drop_dead(graph)
        return graph

    def _with_derivative(self, alone) -> tuple[Graph, Graph]:
        """The body of a custom_jvp or custom_vjp call, and its derivative rule.

        The rule is found by differentiating the single equation with JAX's public
        transformations, which apply it.
        """
        (eqn,) = alone.eqns
        body = _custom_body(eqn)
        avals = tuple(v.aval for v in eqn.invars)
        key = (body, tuple((a.shape, a.dtype) for a in avals))
        if key not in self._derivatives:
            forward = "jvp" in eqn.primitive.name
            rule = _jvp_rule if forward else _vjp_rule
            traced = jax.make_jaxpr(rule(alone, avals))(*_rule_inputs(eqn, avals))
            self._derivatives[key] = traced
        traced = self._derivatives[key]
        self._in_rule = True
        rule_graph = self.graph(traced.jaxpr, traced.consts)
        self._in_rule = False
        return (self.graph(*_open(body)), rule_graph)


def _custom_body(eqn):
    return next(eqn.params[k] for k in _CUSTOM_BODIES if k in eqn.params)


_CUSTOM_BODIES = ("call_jaxpr", "fun_jaxpr", "jaxpr")


def _transposed_reshape(eqn):
    """A reshape that reads its operand's axes in another order, in two steps."""
    order, sizes = eqn.params["dimensions"], eqn.params["new_sizes"]
    aval = eqn.invars[0].aval
    return jax.make_jaxpr(lambda x: lax.reshape(lax.transpose(x, order), sizes))(
        jax.ShapeDtypeStruct(aval.shape, aval.dtype)
    )


def bind(primitive, params: dict[str, Any], args: Sequence) -> list:
    """Apply a primitive with no nested functions; always a list of outputs."""
    outs = primitive.bind(*args, **params)
    return list(outs) if primitive.multiple_results else [outs]


def _alone(jaxpr, eqn):
    """A jaxpr of this one equation: the public way to apply any equation as it is."""
    seen = dict.fromkeys(v for v in eqn.invars if not isinstance(v, jex.Literal))
    return jaxpr.replace(
        constvars=[],
        invars=list(seen),
        outvars=list(eqn.outvars),
        eqns=[eqn],
    )


def apply_as_is(node: Node, args: Sequence) -> list:
    """Apply a node at its original sizes, whatever it holds."""
    return _apply_alone(node.alone, args)


def _apply_alone(alone, args: Sequence) -> list:
    values = {}
    for v, arg in zip(alone.eqns[0].invars, args, strict=True):
        if not isinstance(v, jex.Literal):
            values[v] = arg
    return jax.core.eval_jaxpr(alone, (), *(values[v] for v in alone.invars))


def is_inexact(aval) -> bool:
    """True for what has tangents."""
    return jnp.issubdtype(aval.dtype, jnp.inexact)


def _rule_inputs(eqn, avals):
    primals = [jax.ShapeDtypeStruct(a.shape, a.dtype) for a in avals]
    forward = "jvp" in eqn.primitive.name
    around = avals if forward else tuple(v.aval for v in eqn.outvars)
    other = [jax.ShapeDtypeStruct(a.shape, a.dtype) for a in around if is_inexact(a)]
    return primals, other


def _split_inexact(alone, avals):
    """The equation as a function of its inexact operands alone."""
    exact = [not is_inexact(a) for a in avals]

    def close(primals):
        fixed = [p for p, e in zip(primals, exact, strict=True) if e]

        def fn(*inexact):
            one, two = iter(fixed), iter(inexact)
            args = [next(one) if e else next(two) for e in exact]
            outs = _apply_alone(alone, args)
            return [
                out
                for out, v in zip(outs, alone.outvars, strict=True)
                if is_inexact(v.aval)
            ]

        return fn, [p for p, e in zip(primals, exact, strict=True) if not e]

    return close


def _jvp_rule(alone, avals):
    close = _split_inexact(alone, avals)

    def rule(primals, tangents):
        fn, inexact = close(primals)
        return jax.jvp(fn, tuple(inexact), tuple(tangents))[1]

    return rule


def _vjp_rule(alone, avals):
    close = _split_inexact(alone, avals)

    def rule(primals, cotangents):
        fn, inexact = close(primals)
        return jax.vjp(fn, *inexact)[1](list(cotangents))

    return rule


def _open(body) -> tuple[Any, Sequence]:
    """The jaxpr and constants of a jaxpr, closed or not."""
    if isinstance(body, jex.ClosedJaxpr):
        return body.jaxpr, body.consts
    return body, ()


def _dtype(value):
    return value.dtype if hasattr(value, "dtype") else np.asarray(value).dtype


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
