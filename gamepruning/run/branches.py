"""Run a program whose players are residual branches: without some, and watching each.

The gated run is `run.by_layer.GatedBranches`.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool

from gamepruning.run.interpret import Interpreter
from gamepruning.run.kept import Kept
from gamepruning.run.small import full_call
from gamepruning.trace.alive import (
    Alive,
    LoopRest,
    Rest,
    Segment,
    Way,
    find_rest,
    ways_to,
)
from gamepruning.trace.call import check_paths, split_call
from gamepruning.trace.labelled import Trace
from gamepruning.trace.model import TracedModel
from gamepruning.trace.program import (
    Graph,
    Lit,
    Node,
    Operand,
    Remat,
    apply_as_is,
    bind,
    take,
)
from gamepruning.trace.rules.control import loop_turns, scan_parts, scan_turns
from gamepruning.types import Apply, Outputs, Params

See = Callable[[int, Any, Any], None]  # player, the stream, what is added to it


def rest_of(model: TracedModel, trace: Trace, mask: Bool[np.ndarray, " N"]) -> Rest:
    """What is left of a trace of a model when the branches in a mask stay."""
    numbers, branches = model.layers, model.branches_of(trace)
    assert numbers is not None
    return find_rest(
        trace.program,
        branches,
        len(trace.param_labels),
        lambda turn: ~mask[numbers.at(turn)],
    )


class Own(NamedTuple):
    """A parameter that one branch alone reads, or its entry for each layer.

    Attributes:
      leaf: its number among the arrays of params.
      layers: how its layers lie; None where it has none.
    """

    leaf: int
    layers: Way | None

    def at(self, layer: int) -> tuple:
        """The index of what belongs to a layer."""
        if self.layers is None:
            return (...,)
        return (*[slice(None)] * self.layers.axis, int(self.layers.turns[layer]))


class Share(NamedTuple):
    """What a branch takes along when it leaves, from all layers.

    Attributes:
      owned: its own parameters.
      nodes: the nodes that nobody needs any more.
    """

    owned: tuple[Own, ...]
    nodes: frozenset[Node]


def shares_of(model: TracedModel) -> list[Share]:
    """What each branch of the program takes along; those of scanned layers in all."""
    trace, numbers = model.base, model.layers
    assert numbers is not None
    branches = model.branches_of(trace)
    full = rest_of(model, trace, np.ones(model.num_players, bool))
    ways = ways_to(trace.program, full.alive, full.loops, len(trace.param_labels))
    ways = {way.leaf: way for _, way in ways}
    every = _nodes_left(full)
    found = []
    for unit, branch in enumerate(branches):
        rest = rest_of(model, trace, numbers.unit_of != unit)
        by_layer = branch.length > 1
        owned = [
            Own(leaf, ways.get(leaf) if by_layer else None)
            for leaf in sorted(rest.gone)
            if leaf in ways or not by_layer
        ]
        found.append(Share(tuple(owned), every - _nodes_left(rest)))
    return found


def _nodes_left(rest: Rest) -> frozenset[Node]:
    inside = (s.alive.nodes for left in rest.loops.values() for s in left.segments)
    return frozenset(rest.alive.nodes).union(*inside)


def kept_without(model: TracedModel, mask: Bool[np.ndarray, " N"]) -> Kept:
    """What stays of each parameter axis; nothing of axis 0 where none is read.

    A number (an array without axes) stays: it has no axis to lose entries of.
    """
    rest = rest_of(model, model.base, mask)
    kept: Kept = {}
    for leaf, path in enumerate(model.paths):
        if leaf in rest.gone and model.example.arrays[leaf].ndim:
            kept[path, 0] = np.zeros(0, int)
        elif leaf in rest.rows:
            axis, entries = rest.rows[leaf]
            kept[path, axis] = entries
    return kept


def apply_without(model: TracedModel, mask: Bool[np.ndarray, " N"]) -> Apply:
    """`apply(small_params, *inputs)`, which computes nothing that only others need.

    For other input shapes (another batch size) the model is traced again, at the
    original parameter shapes.
    """
    kept = kept_without(model, mask)

    def apply(params: Params, *inputs) -> Outputs:
        check_paths(params, model.example)
        call = split_call(params, inputs, model.example)
        trace = model.trace(full_call(model, call, kept, {}))
        rest = rest_of(model, trace, mask)
        outs = Without(trace, rest).run(trace.program.graph, call.arrays)
        return jax.tree_util.tree_unflatten(trace.program.out_tree, outs)

    apply.__name__ = getattr(model.apply, "__name__", "apply")  # profilers show it
    return apply


class Without(Interpreter):
    """What is left of a program; what is not needed is None."""

    def __init__(self, trace: Trace, rest: Rest):
        super().__init__(trace.analysis, trace.columns)
        self._trace, self._rest, self._alive = trace, rest, rest.alive

    def run(self, graph: Graph, args: Sequence) -> list:
        """The outputs of the program."""
        return self._outputs(graph, args, [True] * len(graph.outputs))

    def _outputs(self, graph: Graph, args: Sequence, wanted: Sequence[bool]) -> list:
        env = dict(zip(graph.inputs, args, strict=True))
        self.run_nodes(self._alive.nodes, env)
        pairs = zip(graph.outputs, wanted, strict=True)
        return [self.read(env, out) if is_read else None for out, is_read in pairs]

    def _run_remat(
        self, remat: Remat, nodes: list[Node], env: dict[int, Any], depth: int
    ) -> None:
        """Nothing is kept from a call in which nothing is computed."""
        if self._alive.streams.keys() >= set(nodes):
            self.run_nodes(nodes, env, depth + 1)
        else:
            super()._run_remat(remat, nodes, env, depth)

    def boundary(self, nodes: list[Node]) -> tuple[list[int], list[int]]:
        """What passes into a stretch of nodes, and out of it to what is left."""
        read, leaving = super().boundary(nodes)
        others = set(self._alive.nodes).difference(nodes)
        readers = self.program.readers
        return read, [
            value
            for value in leaving
            if any(isinstance(r, Graph) or r in others for r in readers[value])
        ]

    def read(self, env: dict[int, Any], operand: Operand):
        """The value of an operand; None if it was not computed."""
        if isinstance(operand, Lit):
            return operand.value
        return env.get(operand, self.program.constants.get(operand))

    def step(self, node: Node, args: list) -> list:
        """The results of one node."""
        if node in self._alive.streams:
            return [args[self._alive.streams[node]]]
        if node in self._rest.loops:
            return self._loop(node, args, self._rest.loops[node])
        if node in self._rest.resized:
            return bind(node.primitive, node.params, args)
        return apply_as_is(node, args)

    def _loop(self, node: Node, args: list, rest: LoopRest) -> list:
        """The turns that are left, those that do the same in one loop."""
        consts, carry, stacked = scan_parts(node, args)
        made: list[list] = []
        backwards = node.params["reverse"]
        for segment in rest.segments[::-1] if backwards else rest.segments:
            rows = [
                self._rows(node, number, array, segment)
                for number, array in enumerate(stacked)
            ]
            turns = {"length": len(segment.turns)}
            part = replace(node, params=node.params | turns)
            run = self._within(segment.alive, node, rest.wanted)
            outs = scan_turns(part, [*consts, *carry, *rows], run)
            carry, made = outs[: len(carry)], [*made, outs[len(carry) :]]
        made = made[::-1] if backwards else made
        nothing = [()] * (len(node.outs) - len(carry))
        columns = zip(*made, strict=True) if made else nothing
        return [*carry, *map(_joined, columns)]

    def _within(
        self, alive: Alive, node: Node, wanted: Sequence[bool]
    ) -> Callable[[list, Any], list]:
        inner = Without(self._trace, self._rest)
        inner._alive = alive
        (body,) = node.subs
        return lambda ins, _: inner._outputs(body, ins, wanted)

    def _rows(self, node: Node, number: int, array: Any, segment: Segment) -> Any:
        """The entries of a stacked operand for some turns; None if they need none."""
        (body,) = node.subs
        value = scan_parts(node, body.inputs).stacked[number]
        if value not in segment.alive.needs:
            return None
        turns = segment.turns
        if (node, number) in self._rest.cut:
            turns = np.searchsorted(self._rest.cut[node, number], turns)
        return array if len(turns) == len(array) else take(array, turns, 0)


def _joined(parts: Sequence) -> Any:
    """Rows of several loops in one array; None if nobody reads them."""
    if not parts or parts[0] is None:
        return None
    return parts[0] if len(parts) == 1 else jnp.concatenate(parts)


# -- watching --------------------------------------------------------------------------


def watch_branches(model: TracedModel, params: Params, inputs: tuple, see: See) -> None:
    """Run the full model, and show each branch and its stream once.

    Args:
      model: the model, whose players are branches.
      params: its parameters.
      inputs: its inputs.
      see: called with the player, the stream, and what the branch adds to it.
    """
    call = model.call(params, *inputs)
    trace = model.trace(call)
    _Watched(model, trace, see).run(trace.program.graph, call.arrays)


class _Watched(Interpreter):
    """In the open: loops over layers in Python, without remat."""

    in_the_open = True

    def __init__(self, model: TracedModel, trace: Trace, see: See):
        super().__init__(trace.analysis, trace.columns)
        assert model.layers is not None
        self._numbers, self._see = model.layers, see
        self._branches = model.branches_of(trace)
        self._units: dict[Node, list[int]] = {}
        for unit, branch in enumerate(self._branches):
            self._units.setdefault(branch.sites[-1][0], []).append(unit)
        self._loops = {b.loop: b.is_layered for b in self._branches if b.loop}
        self._turn = 0
        self._seen: set[int] = set()

    def run_each(self, nodes: Sequence[Node], env: dict[int, Any]) -> None:
        """Evaluate the nodes, and show the branches that they add."""
        super().run_each(nodes, env)
        for node in nodes:
            for unit in self._units.get(node, ()):
                player = int(self._numbers.at(self._turn)[unit])
                if player not in self._seen:
                    self._seen.add(player)
                    branch = self._branches[unit]
                    parts = (self.read(env, n.ins[k]) for n, k in branch.sites)
                    self._see(player, env[branch.stream], sum(parts))

    def step(self, node: Node, args: list) -> list:
        """A node as it is; a loop turn by turn."""
        if node not in self._loops:
            return apply_as_is(node, args)
        (body,) = node.subs
        is_layered = self._loops[node]

        def turn(ins: list, number: int) -> list:
            self._turn = number if is_layered else 0
            return self.run(body, ins)

        return loop_turns(node, args, turn)
