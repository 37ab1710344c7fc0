"""A traced program as a flat list of nodes with integer value ids.

Nested calls are inlined at each call site, so that one value has one id and the rest of
the package never meets them; `trace.flatten` reads such a program off a function. What
stays nested is what has its own control flow or derivative: scan, while, cond,
custom_jvp and custom_vjp. Their bodies share the value table of the whole program.
A node remembers the calls that it stood in, so that who runs the program can put them
around it again: `jax.checkpoint`, the names of jitted functions and of scopes.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import jax.core
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.extend import core as jex

from gamepruning.trees.placement import sharding_of, take_traced


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


@dataclass(frozen=True, eq=False)
class Remat:
    """One call of `jax.checkpoint`, whose body is inlined.

    Attributes:
      scope: the names around the call, up to the next call or body outside of it.
      policy: what is kept for the derivative.
      prevent_cse: what is computed again is not merged with the first time.
      exempt: the operands for which this does not hold.
      differentiated: the body is the one that computes again, in a traced derivative.
    """

    scope: tuple[str, ...]
    policy: Any
    prevent_cse: bool
    exempt: frozenset[int]
    differentiated: bool


@dataclass(eq=False)
class Node:
    """One primitive applied to values; nodes are equal only to themselves.

    Attributes:
      primitive: the JAX primitive.
      params: its parameters.
      ins: its operands.
      outs: the ids of its results.
      subs: its bodies.
      where: the place in the model that calls it, if known.
      alone: a jaxpr of this one equation, for `apply_as_is`.
      remats: the calls of `jax.checkpoint` around it in its body, from the outside in.
      scope: the names around it, up to the innermost of those calls or the body.
      failure: why its derivative rule, which fails, has no body; "" where it has one.
    """

    primitive: Any
    params: dict[str, Any]
    ins: tuple[Operand, ...]
    outs: tuple[int, ...]
    subs: tuple[Graph, ...] = ()
    where: str = ""
    alone: Any = None
    remats: tuple[Remat, ...] = ()
    scope: tuple[str, ...] = ()
    failure: str = ""

    @property
    def name(self) -> str:
        """The primitive's name."""
        return self.primitive.name


@dataclass(eq=False)
class Program:
    """A traced function.

    Attributes:
      graph: its nodes.
      avals: the shape and dtype of each value.
      constants: the arrays that are part of it, by value id.
      out_tree: the structure of its outputs.
    """

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

    @cached_property
    def readers(self) -> dict[int, set[Node | Graph]]:
        """By value who reads it: nodes, and the graph that returns it."""
        found: dict[int, set[Node | Graph]] = {}
        _add_readers(self.graph, found)
        return found

    @cached_property
    def makers(self) -> dict[int, Node]:
        """By value the node that makes it; inputs and constants are not made."""
        found: dict[int, Node] = {}
        _add_makers(self.graph, found)
        return found


def _add_makers(graph: Graph, found: dict[int, Node]) -> None:
    for node in graph.nodes:
        found.update(dict.fromkeys(node.outs, node))
        for body in node.subs:
            _add_makers(body, found)


def _add_readers(graph: Graph, found: dict[int, set[Node | Graph]]) -> None:
    reads = [(graph, graph.outputs), *((node, node.ins) for node in graph.nodes)]
    for reader, operands in reads:
        for operand in operands:
            if not isinstance(operand, Lit):
                found.setdefault(operand, set()).add(reader)
    for node in graph.nodes:
        for body in node.subs:
            _add_readers(body, found)


# -- apply a node ----------------------------------------------------------------------


def context_of(node: Node) -> AbstractContextManager:
    """The context in which the model calls the node: its mesh, say."""
    (eqn,) = node.alone.eqns
    return eqn.ctx.manager if hasattr(eqn, "ctx") else nullcontext()


def bind(primitive, params: dict[str, Any], args: Sequence) -> list:
    """Apply a primitive with no nested functions; always a list of outputs."""
    outs = primitive.bind(*args, **params)
    return list(outs) if primitive.multiple_results else [outs]


def apply_as_is(node: Node, args: Sequence) -> list:
    """Apply a node at its original sizes, whatever it holds."""
    return apply_alone(node.alone, args)


def apply_alone(alone: Any, args: Sequence) -> list:
    """Apply the one equation of a jaxpr."""
    values = {}
    for v, arg in zip(alone.eqns[0].invars, args, strict=True):
        if not isinstance(v, jex.Literal):
            values[v] = arg
    return jax.core.eval_jaxpr(alone, (), *(values[v] for v in alone.invars))


def is_inexact(aval) -> bool:
    """True for what has tangents."""
    return jnp.issubdtype(aval.dtype, jnp.inexact)


def take(array, indices: np.ndarray, axis: int):
    """Entries along an axis, as a slice where they are in a row."""
    first = int(indices[0]) if len(indices) else 0
    is_run = np.array_equal(indices, np.arange(first, first + len(indices)))
    if len(indices) and is_run and sharding_of(array) is None:
        return lax.slice_in_dim(array, first, first + len(indices), axis=axis)
    return take_traced(array, indices, axis)
