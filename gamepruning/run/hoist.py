"""Split a model at the first gate that varies: compute the rest once."""

from collections.abc import Callable, Iterable, Sequence
from math import prod
from typing import Any, NamedTuple

import jax
import numpy as np

from gamepruning.run.interpret import Gated
from gamepruning.trace.model import Call, as_struct
from gamepruning.trace.program import Lit, Node
from gamepruning.types import InputError


class Split(NamedTuple):
    """A model in two parts, and what is known of what passes between them.

    Attributes:
      prefix: prefix(params, gates, *inputs) -> residuals, a list of arrays.
      suffix: suffix(residuals, gates) -> outputs.
      by_input: for each residual whether it depends on the inputs; the others follow
        from the parameters alone.
      widest: the most entries of a value that the suffix gates or computes.
    """

    prefix: Callable
    suffix: Callable
    by_input: tuple[bool, ...]
    widest: int


def hoist(players, params, inputs, varying: np.ndarray) -> tuple[Callable, Callable]:
    """`Players.hoist` for a mask of varying players."""
    return split(players, params, inputs, varying)[:2]


def split(
    players, params, inputs, varying: np.ndarray, *, gate_smaller: bool = False
) -> Split:
    """Split the model where the first varying gate enters.

    Args:
      players: the `Players`.
      params: the parameters, or their shapes.
      inputs: tuple of inputs, or their shapes.
      varying: bool [N].
      gate_smaller: in a matrix product of two residuals, gate the smaller of the two.
        The product is the same as long as the residuals are finite; mapped over
        gates, it is one large product instead of one for each vector of gates.

    Returns:
      The two parts.
    """
    call = players._call(params, inputs)
    if players.granularity == "weight":
        return _split_before_weights(players, call)
    traced, columns = players._trace(call)
    graph, analysis = traced.program.graph, traced.analysis
    sites = Gated(analysis, columns, None).sites
    late = _depends(graph.nodes, sites, varying)
    early_nodes = [node for node in graph.nodes if id(node) not in late]
    late_nodes = [node for node in graph.nodes if id(node) in late]
    early = {*graph.inputs, *(v for node in early_nodes for v in node.outs)}
    needed = _reads(late_nodes, graph.outputs)
    residual_ids = [value for value in needed if value in early]
    fixed = {*residual_ids, *traced.program.constants} if gate_smaller else ()

    def prefix(params, gates, *inputs):
        given = players._call(params, inputs)
        if given.slots != call.slots:
            raise InputError(
                "a number in params is not the one that hoist saw (jit makes an array "
                "of it): hoist with params that hold jnp.asarray of it"
            )
        interpreter = Gated(analysis, columns, players._gates(gates))
        env = dict(zip(graph.inputs, given.leaves, strict=True))
        interpreter.run_nodes(early_nodes, env)
        return [env[value] for value in residual_ids]

    def suffix(residuals, gates):
        interpreter = Gated(analysis, columns, players._gates(gates), fixed=fixed)
        env: dict[int, Any] = dict(zip(residual_ids, residuals, strict=True))
        interpreter.run_nodes(late_nodes, env)
        outs = [interpreter.read(env, out) for out in graph.outputs]
        return jax.tree_util.tree_unflatten(traced.program.out_tree, outs)

    moving = _downstream(early_nodes, graph.inputs[_inputs_of(call)])
    by_input = tuple(value in moving for value in residual_ids)
    gated = Gated(analysis, columns, None, fixed=fixed).gated_operands(late_nodes)
    made = [*gated, *(value for node in late_nodes for value in node.outs)]
    widest = max((prod(traced.program.shape(value)) for value in made), default=0)
    return Split(prefix, suffix, by_input, widest)


def _split_before_weights(players, call: Call) -> Split:
    """Everything is late where the players are single weights."""

    def prefix(params, gates, *inputs):
        return players._call(params, inputs).leaves

    def suffix(residuals, gates):
        params, *inputs = call.rebuild(residuals)
        return players.gated(params, gates, *inputs)

    places = range(len(call.leaves))
    by_input = tuple(k in places[_inputs_of(call)] for k in places)
    structs = list(map(as_struct, call.leaves))
    gates = jax.ShapeDtypeStruct((players.num_players,), bool)
    made = jax.make_jaxpr(suffix)(structs, gates).jaxpr.eqns
    sizes = [prod(v.aval.shape) for eqn in made for v in eqn.outvars]
    return Split(prefix, suffix, by_input, max(sizes, default=0))


def _inputs_of(call: Call) -> slice:
    """The places of the inputs among the arrays of a call."""
    return slice(call.num_params, len(call.leaves) - call.num_late)


def _downstream(nodes: Sequence[Node], sources: Iterable[int]) -> set[int]:
    """The sources and every value that depends on one of them."""
    found = set(sources)
    for node in nodes:
        if any(value in found for value in _reads([node], ())):
            found.update(node.outs)
    return found


def _depends(nodes: Sequence[Node], sites: dict, varying: np.ndarray) -> set[int]:
    """The nodes downstream of a gate that varies."""
    moving = np.concatenate([[False], varying])
    late: set[int] = set()
    touched: set[int] = set()
    for node in nodes:
        reads = any(not isinstance(x, Lit) and x in touched for x in node.ins)
        if reads or _gates_vary(node, sites, moving):
            late.add(id(node))
            touched.update(node.outs)
    return late


def _gates_vary(node: Node, sites: dict, moving: np.ndarray) -> bool:
    if any(moving[columns].any() for _, _, columns in sites.get(id(node), ())):
        return True
    return any(
        _gates_vary(inner, sites, moving)
        for graph in node.subs
        for inner in graph.nodes
    )


def _reads(nodes: Sequence[Node], outputs) -> list[int]:
    """The values that nodes (bodies included) and outputs read, in order."""
    found: dict[int, None] = {}

    def visit(operands, inner):
        for operand in operands:
            if not isinstance(operand, Lit):
                found[operand] = None
        for node in inner:
            visit(node.ins, [n for graph in node.subs for n in graph.nodes])

    visit((), nodes)
    visit(outputs, ())
    return list(found)
