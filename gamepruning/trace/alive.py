"""What a program still computes and reads when some of its branches are out.

An addition whose branch is out is its other operand. So what only the branch needs is
dead: nodes, parameters, and whole turns of a loop over layers that do nothing any more.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from gamepruning.trace.branches import Branch, Site
from gamepruning.trace.primitives import ADDITIONS, ANNOTATIONS, ELEMENTWISE
from gamepruning.trace.program import Graph, Lit, Node, Operand, Program
from gamepruning.trace.rules.control import scan_parts


class Alive(NamedTuple):
    """What is left of one graph.

    Attributes:
      nodes: the nodes that are still computed, in order.
      needs: the values that they and the outputs read.
      streams: of the additions to which one operand adds nothing, the other one.
    """

    nodes: tuple[Node, ...]
    needs: frozenset[int]
    streams: Mapping[Node, int]


class Segment(NamedTuple):
    """Turns of a loop, one after the other, that do the same.

    Attributes:
      turns: which of the loop's turns, int [n], increasing.
      alive: what the body does in them.
    """

    turns: np.ndarray
    alive: Alive


class LoopRest(NamedTuple):
    """What is left of a loop.

    Attributes:
      segments: its turns; those that do nothing are in none.
      rows: by the number of a stacked operand, which of its entries are read.
      wanted: for each result whether it is read.
    """

    segments: tuple[Segment, ...]
    rows: Mapping[int, np.ndarray]
    wanted: tuple[bool, ...]


class Way(NamedTuple):
    """From a stacked parameter to a loop, by nodes that keep its layers apart.

    Attributes:
      leaf: the number of the parameter.
      axis: its axis of layers.
      turns: which of its entries each turn reads, int [L].
      nodes: what is computed on the way.
    """

    leaf: int
    axis: int
    turns: np.ndarray
    nodes: tuple[Node, ...]


class Rest(NamedTuple):
    """What is left of a program.

    Attributes:
      alive: what is left of its graph.
      loops: what is left of the loops with branches in them.
      gone: parameters that are read no more, by number.
      rows: of parameters that lose layers: the axis, and the entries that stay.
      cut: for the operands of loops that come from those: the turns that stay.
      resized: the nodes that act on fewer layers.
    """

    alive: Alive
    loops: Mapping[Node, LoopRest]
    gone: frozenset[int]
    rows: Mapping[int, tuple[int, np.ndarray]]
    cut: Mapping[tuple[Node, int], np.ndarray]
    resized: frozenset[Node]


OutAt = Callable[[int], np.ndarray]  # turn -> which branches are out, bool [T]


def find_rest(
    program: Program, branches: Sequence[Branch], num_params: int, out_at: OutAt
) -> Rest:
    """What is left of a program when branches are out.

    Args:
      program: the program, whose first inputs are the parameters.
      branches: its branches, T of them.
      num_params: how many parameters there are.
      out_at: which branches are out at a turn of their loop; those of no layers, at 0.
    """
    loops: dict[Node, LoopRest] = {}

    def rest_of_loop(node: Node, needs: set[int]) -> list[Operand]:
        loops[node] = _loop_rest(node, branches, out_at, needs)
        return _operands(node, loops[node])

    inside = {b.loop for b in branches if b.loop is not None}
    out = _sites(branches, out_at(0), None)
    alive = _sweep(program.graph, out, program.graph.outputs, inside, rest_of_loop)
    inputs = program.graph.inputs[:num_params]
    read = program.readers.keys()
    gone = {k for k, v in enumerate(inputs) if v in read and v not in alive.needs}
    ways = dict(ways_to(program, alive, loops, num_params))
    rows, cut, resized = {}, {}, set()
    for (node, number), way in ways.items():
        kept = loops[node].rows[number]
        if len(kept) == len(way.turns):
            continue
        rows[way.leaf] = way.axis, np.sort(way.turns[kept])
        cut[node, number] = kept
        resized.update(way.nodes)
    return Rest(alive, loops, frozenset(gone), rows, cut, frozenset(resized))


def _sites(
    branches: Sequence[Branch], out: np.ndarray, loop: Node | None
) -> frozenset[Site]:
    return frozenset(
        site
        for branch, is_out in zip(branches, out, strict=True)
        if is_out and branch.loop is loop
        for site in branch.sites
    )


def _sweep(
    graph: Graph,
    out: frozenset[Site],
    wanted: Sequence[Operand],
    loops: Collection[Node] = (),
    rest_of_loop: Callable[[Node, set[int]], Sequence[Operand]] | None = None,
) -> Alive:
    """What is left of a graph, from its end to its start."""
    streams = _find_streams(graph, out)
    needs = {v for v in wanted if not isinstance(v, Lit)}
    nodes: list[Node] = []
    for node in reversed(graph.nodes):
        if needs.isdisjoint(node.outs):
            continue
        nodes.append(node)
        operands: Sequence[Operand] = node.ins
        if node in loops and rest_of_loop is not None:
            operands = rest_of_loop(node, needs)
        elif node in streams:
            operands = [node.ins[streams[node]]]
        needs.update(v for v in operands if not isinstance(v, Lit))
    return Alive(tuple(nodes[::-1]), frozenset(needs), streams)


def _find_streams(graph: Graph, out: frozenset[Site]) -> dict[Node, int]:
    """What is left of additions; a sum of branches that are all out is out itself."""
    nothing: set[int] = set()
    found: dict[Node, int] = {}
    ends = {node.ins[operand] for node, operand in out}
    for node in graph.nodes if out else ():
        if node.name not in ADDITIONS or not ends.intersection(_values(node.ins)):
            continue
        left = [
            k
            for k, value in enumerate(node.ins)
            if (node, k) not in out and value not in nothing
        ]
        if not left:
            nothing.update(node.outs)
            ends.update(node.outs)
        elif len(left) == 1:
            found[node] = left[0]
    return found


def _values(operands: Sequence[Operand]) -> list[int]:
    return [v for v in operands if not isinstance(v, Lit)]


# -- loops -----------------------------------------------------------------------------


def _loop_rest(
    node: Node, branches: Sequence[Branch], out_at: OutAt, needs: set[int]
) -> LoopRest:
    (body,) = node.subs
    num_carry = len(scan_parts(node, node.ins).carry)
    wanted = tuple(k < num_carry or v in needs for k, v in enumerate(node.outs))
    ends = [v for v, is_read in zip(body.outputs, wanted, strict=True) if is_read]
    made: dict[frozenset[Site], Alive | None] = {}
    segments: list[Segment] = []
    is_layered = any(b.is_layered for b in branches if b.loop is node)
    for turn in range(node.params["length"]):
        out = _sites(branches, out_at(turn if is_layered else 0), node)
        if out not in made:
            alive = _sweep(body, out, ends)
            idle = not any(wanted[num_carry:]) and _does_nothing(node, alive)
            made[out] = None if idle else alive
        alive = made[out]
        if alive is None:
            continue
        here = np.array([turn])
        if segments and segments[-1].alive is alive:
            here = np.append(segments.pop().turns, turn)
        segments.append(Segment(here, alive))
    inputs = scan_parts(node, body.inputs).stacked
    rows = {}
    for number, value in enumerate(inputs):
        turns = [s.turns for s in segments if value in s.alive.needs]
        rows[number] = np.concatenate([np.zeros(0, int), *turns])
    return LoopRest(tuple(segments), rows, wanted)


def _does_nothing(node: Node, alive: Alive) -> bool:
    """True if a turn hands on what it carries as it came."""
    (body,) = node.subs
    makers = {value: n for n in alive.nodes for value in n.outs}
    carry = scan_parts(node, body.inputs).carry
    return all(
        _source(makers, alive, out) == value
        for out, value in zip(body.outputs, carry, strict=False)
    )


def _source(makers: Mapping[int, Node], alive: Alive, value: Operand) -> Operand:
    """What a value is a plain copy of, through a wider type and back, too."""
    types = []
    while not isinstance(value, Lit) and (node := makers.get(value)) is not None:
        which = alive.streams.get(node)
        if which is None and node.name == "convert_element_type":
            types.append(node.params["new_dtype"])
            which = 0
        elif which is None and node.name in ANNOTATIONS:
            which = 0
        if which is None:
            return value
        value = node.ins[which]
    return value if _is_lossless(types[::-1]) else -1


def _is_lossless(types: Sequence) -> bool:
    """True if these conversions, one after the other, end where they began."""
    if not types:
        return True
    narrow = types[-1]
    return all(jnp.promote_types(narrow, wide) == wide for wide in types[:-1])


def _operands(node: Node, rest: LoopRest) -> list[Operand]:
    """The operands that are still read: what is carried, always."""
    (body,) = node.subs
    needs = frozenset().union(*(s.alive.needs for s in rest.segments))
    carry = scan_parts(node, body.inputs).carry
    pairs = zip(node.ins, body.inputs, strict=True)
    return [operand for operand, value in pairs if value in needs or value in carry]


# -- from parameters to loops ----------------------------------------------------------


def ways_to(
    program: Program, alive: Alive, loops: Mapping[Node, LoopRest], num_params: int
) -> Iterator[tuple[tuple[Node, int], Way]]:
    """The stacked operands that are one parameter, which nothing else reads."""
    makers = {value: node for node in alive.nodes for value in node.outs}
    leaves = program.graph.inputs[:num_params]
    living = set(alive.nodes)
    for node in loops:
        if node not in living:
            continue
        stacked = scan_parts(node, node.ins).stacked
        for number, operand in enumerate(stacked):
            if not len(loops[node].rows[number]) or stacked.count(operand) > 1:
                continue
            way = _way_back(program, makers, leaves, operand)
            if way is None or not _is_alone(program, living, leaves, way, node):
                continue
            yield (node, number), way


def _way_back(
    program: Program, makers: Mapping[int, Node], leaves: Sequence[int], value: Operand
) -> Way | None:
    axis, nodes = 0, []
    turns = np.arange(program.shape(value)[0])
    while not isinstance(value, Lit) and value not in leaves:
        node = makers.get(value)
        if node is None:
            return None
        if node.name == "transpose":
            axis = node.params["permutation"][axis]
        elif node.name == "rev":
            turns = turns[::-1] if axis in node.params["dimensions"] else turns
        elif node.name not in ELEMENTWISE or any(map(program.shape, node.ins[1:])):
            return None
        nodes.append(node)
        value = node.ins[0]
    if isinstance(value, Lit):
        return None
    return Way(leaves.index(value), axis, turns, tuple(nodes))


def _is_alone(
    program: Program, living: set[Node], leaves: Sequence[int], way: Way, loop: Node
) -> bool:
    """True if nothing else that is left reads the values on a way."""
    values = [leaves[way.leaf], *(v for node in way.nodes for v in node.outs)]
    readers = set().union(*(program.readers[value] for value in values))
    readers -= {loop, *way.nodes}
    return not any(isinstance(r, Graph) or r in living for r in readers)
