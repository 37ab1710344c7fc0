"""Split a model at the first gate that varies: compute the rest once."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from gamepruning.players.interpret import Gated
from gamepruning.players.ir import Lit, Node
from gamepruning.types import InputError


def hoist(players, params, inputs, varying: np.ndarray) -> tuple[Callable, Callable]:
    """`Players.hoist` for a mask of varying players."""
    call = players._call(params, inputs)
    traced, columns = players._trace(call)
    graph, analysis = traced.program.graph, traced.analysis
    sites = Gated(analysis, columns, None).sites
    late = _depends(graph.nodes, sites, varying)
    early_nodes = [node for node in graph.nodes if id(node) not in late]
    late_nodes = [node for node in graph.nodes if id(node) in late]
    early = {*graph.inputs, *(v for node in early_nodes for v in node.outs)}
    needed = _reads(late_nodes, graph.outputs)
    residual_ids = [value for value in needed if value in early]

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
        interpreter = Gated(analysis, columns, players._gates(gates))
        env: dict[int, Any] = dict(zip(residual_ids, residuals, strict=True))
        interpreter.run_nodes(late_nodes, env)
        outs = [interpreter.read(env, out) for out in graph.outputs]
        return jax.tree_util.tree_unflatten(traced.program.out_tree, outs)

    return prefix, suffix


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
