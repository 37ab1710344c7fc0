"""Constants that several nodes read: one of its own for each.

A constant adopts the players of what it meets: it is computed whole, then cut. If two
layers read one table (ones for their heads, angles for their rotary positions), it
would tie players that have nothing to do with each other. So every reader after the
first gets copies of the nodes that make the table; XLA merges what is computed twice.
"""

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import NamedTuple

from gamepruning.trace.primitives import SOURCES
from gamepruning.trace.program import Graph, Lit, Node

MOST_COPIED = 64  # values that a constant is made of


def separate_constants(
    graph: Graph,
    constants: Iterable[int],
    shape: Callable[[int], tuple],
    new: Callable[[int], int],
) -> None:
    """Give every reader of a constant its own, in place.

    Args:
      graph: the graph of a program.
      constants: the ids of its constant arrays.
      shape: value id -> shape; one entry ties nobody.
      new: value id -> the id of a new value of the same type, with the same array where
        it is a constant.
    """
    copier = _Copier(_makers(graph, constants), shape, new, {}, {})
    taken: set[int] = set()
    for out in graph.outputs:
        if not isinstance(out, Lit):
            taken |= copier.behind(out)
    for node in graph.nodes:
        if any(out in copier.makers for out in node.outs):
            continue
        own: dict[int, int] = {}
        behind = [set() if isinstance(v, Lit) else copier.behind(v) for v in node.ins]
        node.ins = tuple(
            v if isinstance(v, Lit) or not values & taken else copier.copied(v, own)
            for v, values in zip(node.ins, behind, strict=True)
        )
        taken = taken.union(*behind)
    graph.nodes = [
        each for node in graph.nodes for each in (node, *copier.copies.get(node, ()))
    ]


def _makers(graph: Graph, constants: Iterable[int]) -> dict[int, Node | None]:
    """The values that depend on neither parameters nor inputs, and who makes them."""
    found: dict[int, Node | None] = dict.fromkeys(constants)
    for node in graph.nodes:
        known = all(isinstance(v, Lit) or v in found for v in node.ins)
        if known and not node.subs and node.name not in SOURCES:
            found.update(dict.fromkeys(node.outs, node))
    return found


class _Copier(NamedTuple):
    """What copying needs, the copies of each node, and what is known of values."""

    makers: dict[int, Node | None]
    shape: Callable[[int], tuple]
    new: Callable[[int], int]
    copies: dict[Node, list[Node]]
    known: dict[int, set[int] | None]  # None where many nodes make it

    def behind(self, value: int) -> set[int]:
        """A constant and all that it is made of, where axes could tie players.

        Empty for other values, and for constants that many nodes make.
        """
        if value not in self.makers or not self._has_axis(value):
            return set()
        asked = [value]
        while asked:  # a chain of constants may be longer than Python recurses
            if asked[-1] in self.known:
                asked.pop()
                continue
            node = self.makers[asked[-1]]
            made_of = [
                v
                for v in (() if node is None else node.ins)
                if not isinstance(v, Lit) and v in self.makers and self._has_axis(v)
            ]
            if unknown := [v for v in made_of if v not in self.known]:
                asked += unknown
                continue
            self.known[asked[-1]] = self._joined(asked[-1], made_of)
        return self.known[value] or set()

    def _joined(self, value: int, made_of: list[int]) -> set[int] | None:
        parts = [self.known[v] for v in made_of]
        found = {value}.union(*(part or () for part in parts))
        return None if None in parts or len(found) > MOST_COPIED else found

    def copied(self, value: int, own: dict[int, int]) -> int:
        """The reader's own copy of a value; the value where it ties nobody."""
        if not self._has_axis(value):
            return value
        if value not in own:
            node = self.makers[value]
            if node is None:
                own[value] = self.new(value)
                return own[value]
            ins = tuple(
                v if isinstance(v, Lit) else self.copied(v, own) for v in node.ins
            )
            outs = tuple(map(self.new, node.outs))
            own.update(zip(node.outs, outs, strict=True))
            self.copies.setdefault(node, []).append(replace(node, ins=ins, outs=outs))
        return own[value]

    def _has_axis(self, value: int) -> bool:
        return any(size != 1 for size in self.shape(value))
