"""Stacked parameters that a scan runs over, and who lives within one layer of them.

`lax.scan` over parameters [L, ...] runs one body L times. The body has one label for
an axis, so unit k of every layer is one unit. A unit may be told apart by layer where
nothing that belongs to it leaves the layer: then (layer, unit) can come and go alone.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from gamepruning.trace.primitives import COUNTED_LOOPS, ELEMENTWISE
from gamepruning.trace.program import Graph, Lit, Node, Operand, Program
from gamepruning.trace.rules.control import scan_parts

PlayersIn = Callable[[Operand], np.ndarray]  # who has entries there, bool [T + 1]

CARRIED = "it passes from layer to layer"
SHARED = "all layers read or add one array with an entry for it"
LEAVES = "it leaves the scan"
OUTSIDE = "its parameters are read outside of the scan, too"


class LayerAxis(NamedTuple):
    """The axis of a parameter along which layers are stacked.

    Attributes:
      axis: the axis.
      turns: which of its entries each turn of the scan reads, int [L].
    """

    axis: int
    turns: np.ndarray


class Stack(NamedTuple):
    """A scan over stacked parameters.

    Attributes:
      node: the scan.
      length: L.
      leaves: by the number of the parameter, its axis of layers.
      own: who lives within one layer, bool [T + 1], numbered as in `Columns`.
      tied: of the others that the stack has: why each is one in all layers.
    """

    node: Node
    length: int
    leaves: Mapping[int, LayerAxis]
    own: np.ndarray
    tied: Mapping[int, str]


def find_stacks(
    program: Program, players_in: PlayersIn, num_leaves: int
) -> tuple[Stack, ...]:
    """The scans of a program that run over stacked parameters.

    Scans inside of other bodies belong to the layer that they are in.

    Args:
      program: the program, whose first inputs are the parameters.
      players_in: operand -> who has entries there.
      num_leaves: how many parameters there are.
    """
    scans = [
        node
        for node in program.graph.nodes
        if node.name in COUNTED_LOOPS and node.params["length"] > 1
    ]
    if not scans:
        return ()
    makers = {value: node for node in program.graph.nodes for value in node.outs}
    finder = _Finder(program, players_in, num_leaves, makers)
    found = (finder.stack_of(node) for node in scans)
    return tuple(stack for stack in found if stack is not None)


class _Way(NamedTuple):
    """From parameters to an operand of a scan, layer by layer.

    Attributes:
      values: the parameters, and all that is computed on the way.
      leaves: see `Stack`.
    """

    values: frozenset[int]
    leaves: dict[int, LayerAxis]


class _Finder(NamedTuple):
    """What the search for stacks reads."""

    program: Program
    players_in: PlayersIn
    num_leaves: int
    makers: dict[int, Node]

    def stack_of(self, node: Node) -> Stack | None:
        """A scan as a stack; None where it runs over no parameters."""
        length, ways = node.params["length"], _Way(frozenset(), {})
        for operand in scan_parts(node, node.ins).stacked:
            way = self._way_to(operand, 0, np.arange(length))
            joined = None if way is None else _join(ways, way)
            ways = ways if joined is None else joined
        if not ways.leaves:
            return None
        inputs = self.program.graph.inputs
        present = self._who(inputs[leaf] for leaf in ways.leaves)
        tied: dict[int, str] = {}
        own = present.copy()
        for reason, out in self._blocked(node, ways.values):
            tied.update(dict.fromkeys(np.flatnonzero(own & out).tolist(), reason))
            own &= ~out
        return Stack(node, length, ways.leaves, own, tied)

    def _who(self, operands: Iterable[Operand]) -> np.ndarray:
        """Who has entries in one of these."""
        found = self.players_in(Lit(0, None))
        for operand in operands:
            if not isinstance(operand, Lit):
                found = found | self.players_in(operand)
        return found

    def _way_to(self, operand: Operand, axis: int, turns: np.ndarray) -> _Way | None:
        """From parameters to an operand along `axis`; None if layers mix, or others."""
        if isinstance(operand, Lit):
            return None
        inputs = self.program.graph.inputs[: self.num_leaves]
        if operand in inputs:
            if len(turns) != self.program.shape(operand)[axis]:
                return None
            leaves = {inputs.index(operand): LayerAxis(axis, turns)}
            return _Way(frozenset([operand]), leaves)
        node = self.makers.get(operand)
        if node is None:
            return None
        way = self._step_back(node, axis, turns)
        return None if way is None else way._replace(values=way.values | {operand})

    def _step_back(self, node: Node, axis: int, turns: np.ndarray) -> _Way | None:
        if node.name == "transpose":
            return self._way_to(node.ins[0], node.params["permutation"][axis], turns)
        if node.name == "rev":
            size = self.program.shape(node.ins[0])[axis]
            is_turned = axis in node.params["dimensions"]
            return self._way_to(
                node.ins[0], axis, size - 1 - turns if is_turned else turns
            )
        if node.name not in ELEMENTWISE:
            return None
        return self._way_to_each(node, axis, turns)

    def _way_to_each(self, node: Node, axis: int, turns: np.ndarray) -> _Way | None:
        """Operands that nobody has entries in do not matter."""
        size, ways = self.program.shape(node.outs[0])[axis], _Way(frozenset(), {})
        for operand in node.ins:
            if not self.players_in(operand).any():
                continue
            shape = self.program.shape(operand)
            if len(shape) <= axis or shape[axis] != size:
                return None
            way = self._way_to(operand, axis, turns)
            joined = None if way is None else _join(ways, way)
            if joined is None:
                return None
            ways = joined
        return ways

    def _blocked(
        self, node: Node, way: frozenset[int]
    ) -> Iterator[tuple[str, np.ndarray]]:
        """Who does not live within one layer, by reason."""
        (body,) = node.subs
        parts = scan_parts(node, body.inputs)
        num_carry = len(parts.carry)
        yield CARRIED, self._who([*parts.carry, *body.outputs[:num_carry]])
        yield SHARED, self._who(parts.consts) | self._sources(body)
        yield LEAVES, self._who(body.outputs[num_carry:])
        yield OUTSIDE, self._outside(node, way)

    def _sources(self, graph: Graph) -> np.ndarray:
        """Who has entries in what is computed from nothing, or in constants."""
        found = self._who(())
        for node in graph.nodes:
            found |= self._who(self._constants(node.ins))
            if not node.subs and node.name != "broadcast_in_dim":
                found |= self._who(node.outs) & ~self._who(node.ins)
            for body in node.subs:
                found |= self._sources(body)
        return found | self._who(self._constants(graph.outputs))

    def _constants(self, operands: Sequence[Operand]) -> list[int]:
        constants = self.program.constants
        return [v for v in operands if not isinstance(v, Lit) and v in constants]

    def _outside(self, scan: Node, way: frozenset[int]) -> np.ndarray:
        """Who is met outside of a scan, but on the way to it."""
        found = self._who(self.program.graph.outputs)
        for node in self.program.graph.nodes:
            on_way = way.issuperset(node.outs) and len(node.outs) > 0
            if node is scan:
                stacked = scan_parts(node, node.ins).stacked
                found |= self._who(_others(stacked, way))
            elif on_way:
                found |= self._who(_others(node.ins, way))
            else:
                found |= self._who([*node.ins, *node.outs, *_values_in(node)])
        return found


def _others(operands: Sequence[Operand], way: frozenset[int]) -> list[int]:
    return [v for v in operands if not isinstance(v, Lit) and v not in way]


def _join(one: _Way, other: _Way) -> _Way | None:
    """Both ways; None if they read layers of one parameter in different orders."""
    for leaf in one.leaves.keys() & other.leaves.keys():
        first, second = one.leaves[leaf], other.leaves[leaf]
        if first.axis != second.axis or not np.array_equal(first.turns, second.turns):
            return None
    return _Way(one.values | other.values, one.leaves | other.leaves)


def _values_in(node: Node) -> Iterator[Operand]:
    """The values in the bodies of a node."""
    for body in node.subs:
        yield from body.inputs
        for inner in body.nodes:
            yield from inner.ins
            yield from inner.outs
            yield from _values_in(inner)


# -- numbers ---------------------------------------------------------------------------


class LayerNumbers(NamedTuple):
    """Who a unit of the body is at each turn of its scan.

    There are T units as the body sees them, and N players: (layer, unit) for those who
    live within a layer, the units themselves for the others.

    Attributes:
      first: the player of each unit at turn 0, int [T].
      stride: how far apart its players of two turns are, int [T]; 0 if it is one.
      length: how many turns there are, int [T]; 1 if it is one player.
      unit_of: the unit of each player, int [N].
      layer_of: its turn, int [N]; -1 where there is none.

    Example: a unit outside of the scan, and two units in three layers.
      >>> first, stride, length = np.array([0, 1, 2]), np.array([0, 2, 2]), [1, 3, 3]
      >>> numbers = LayerNumbers.of(first, stride, np.array(length))
      >>> numbers.at(2).tolist(), numbers.unit_of.tolist(), numbers.layer_of.tolist()
      ([0, 5, 6], [0, 1, 2, 1, 2, 1, 2], [-1, 0, 0, 1, 1, 2, 2])
    """

    first: np.ndarray
    stride: np.ndarray
    length: np.ndarray
    unit_of: np.ndarray
    layer_of: np.ndarray

    @classmethod
    def of(cls, first: np.ndarray, stride: np.ndarray, length: np.ndarray):
        """The numbers, and the units and layers of the players."""
        size = int(length.sum())
        unit_of, layer_of = np.zeros(size, int), np.full(size, -1)
        for unit in range(len(first)):
            turns = np.arange(length[unit])
            players = first[unit] + stride[unit] * turns
            unit_of[players] = unit
            layer_of[players] = turns if length[unit] > 1 else -1
        return cls(first, stride, length, unit_of, layer_of)

    @property
    def num_turns(self) -> int:
        """The turns of the longest scan."""
        return int(self.length.max())

    def at(self, turn: int) -> np.ndarray:
        """The player of each unit at a turn, int [T]; at the last, past the last."""
        return self.first + self.stride * np.minimum(turn, self.length - 1)

    def table(self, length: int) -> np.ndarray:
        """The player of each unit at each turn, int [L, T]."""
        return np.stack([self.at(turn) for turn in range(length)])

    def any_of(self, mask: np.ndarray) -> np.ndarray:
        """The units of which one player is in a mask [N], bool [T]."""
        return np.bincount(self.unit_of, mask, len(self.first)) > 0

    def all_of(self, mask: np.ndarray) -> np.ndarray:
        """The units all of whose players are in a mask [N], bool [T]."""
        return ~self.any_of(~mask)
