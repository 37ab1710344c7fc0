"""Numbers of entries: what a search along an axis returns, and where it is used.

A router picks experts by `top_k`, and the numbers that it returns say which rows of
the experts' weights to read. Who leaves is never picked. Where numbers do nothing but
name rows, they are places among those that stay, as in a model that is built at the
smaller size. Otherwise they are those of the full axis at whatever size the program
runs, so that everything that is computed from them stays as it is, and an axis that is
read or written at them is told where its rows are now.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from gamepruning.trace.atoms import Label
from gamepruning.trace.primitives import PASSES_ENTRIES
from gamepruning.trace.program import Graph, Lit, Node, Operand, Program

_KEEPS_NUMBERS = PASSES_ENTRIES | {"copy", "dynamic_slice", "rev", "slice"}


class Labelling(Protocol):
    """What is asked of whoever labels the program."""

    program: Program

    def shape(self, operand: Operand) -> tuple:
        """The shape of an operand."""
        ...

    def label(self, operand: Operand) -> tuple[Label, ...]:
        """The labels of an operand's axes."""
        ...

    def unify(self, first: Label, second: Label) -> Label:
        """Two axes whose entries leave together."""
        ...

    def freeze(self, labels: Sequence[Label], reason: str) -> None:
        """These axes stay whole, because of `reason`."""
        ...


@dataclass(eq=False)
class Search:
    """A search along an axis that may lose entries.

    Attributes:
      node: the search.
      label: that of the axis.
      reason: why the axis stays where the numbers are used for something else.
      is_tied: an axis is read, written or compared at the numbers: they are no more
        than a way to name its rows.
      gathers: activations are read at the numbers.
      is_closed: nothing but the order of the numbers, and the rows that they name,
        makes a difference.
      tables: the tables of all numbers that they are compared with.
    """

    node: Node
    label: np.ndarray
    reason: str
    is_tied: bool = False
    gathers: bool = False
    is_closed: bool = True
    tables: set[Node] = field(default_factory=set)

    @property
    def wanted(self) -> int:
        """How many entries it finds."""
        return self.node.params.get("k", 1)


@dataclass(eq=False)
class Picks:
    """What is known of whole numbers in a program.

    Attributes:
      searches: by the search.
      tallies: by value the axes along which an entry is 0 if nobody picks it.
      used: by node and component of its index vectors, the search they come from.
      tables: by table of numbers the searches that are compared with it.
    """

    analysis: Labelling
    searches: dict[Node, Search] = field(default_factory=dict)
    tallies: dict[int, set[int]] = field(default_factory=dict)
    used: dict[tuple[Node, int], Search] = field(default_factory=dict)
    tables: dict[Node, list[Search]] = field(default_factory=dict)
    _found: dict[int, dict[int | None, Search]] = field(default_factory=dict)
    _counting: dict[int, int] = field(default_factory=dict)
    _table_of: dict[int, Node] = field(default_factory=dict)
    _open: set[Node] = field(default_factory=set)
    _never: set[int] = field(default_factory=set)
    _zeros: set[int] = field(default_factory=set)

    def search(self, node: Node, result: int, label: Any, reason: str) -> None:
        """A search whose result of this number has the numbers of what it found."""
        if isinstance(label, np.ndarray):
            found = self.searches[node] = Search(node, label, reason)
            self._found[node.outs[result]] = {None: found}

    def use(self, node: Node, dim: int, dims: tuple[int, ...]) -> Search | None:
        """The search whose numbers say which entries of an axis are read or written.

        Args:
          node: a gather or scatter.
          dim: the axis of its first operand.
          dims: the axes that the components of its index vectors are for.
        """
        indices, size = node.ins[1], self.analysis.shape(node.ins[0])[dim]
        row = {} if isinstance(indices, Lit) else self._found.get(indices, {})
        if dim not in dims or not row:
            return None
        component = dims.index(dim)
        alone = self.analysis.shape(indices)[-1] == 1
        found = row.get(component) or (row.get(None) if alone else None)
        if found is None or len(found.label) != size:
            return None
        found.is_tied = True
        self.used[node, component] = found
        return found

    def are_places(self, search: Search, num_left: int) -> bool:
        """True if numbers are places among those that stay, at this number of them."""
        others = [s for table in search.tables for s in self.tables[table]]
        return search.is_closed and all(s.wanted <= num_left for s in (search, *others))

    def is_tally(self, operand: Operand, dim: int) -> bool:
        """True if an entry of the axis is 0 where nobody picks it."""
        return not isinstance(operand, Lit) and dim in self.tallies.get(operand, ())

    def is_zeros(self, operand: Operand) -> bool:
        """True for zeros that the program makes."""
        if isinstance(operand, Lit):
            return bool(np.all(operand.value == 0))
        return operand in self._zeros

    def settle(self, outputs: Any) -> None:
        """Freeze the axes whose numbers tell somebody else something."""
        readers = self.analysis.program.readers
        for out in _returned(self.analysis.program.graph):
            for search in self._found.get(out, {}).values():
                search.is_closed = False
        for out in outputs:
            if not isinstance(out, Lit):
                for search in self._found.get(out, {}).values():
                    reason = "its numbers are an output of the model"
                    self.analysis.freeze([search.label], reason)
        for search in self.searches.values():
            if not search.is_tied and readers.get(search.node.outs[-1]):
                self.analysis.freeze([search.label], search.reason)
        changed = True
        while changed:  # an open table opens its searches, and the other way round
            changed = False
            for search in self.searches.values():
                is_open = not search.is_closed or not search.tables.isdisjoint(
                    self._open
                )
                if is_open and (search.is_closed or search.tables - self._open):
                    search.is_closed, changed = False, True
                    self._open |= search.tables

    # -- the pass ----------------------------------------------------------------------

    def follow(self, node: Node) -> None:
        """What is known of a node's results, from what is known of its operands."""
        if not node.ins:
            if node.name == "iota":
                self._counting[node.outs[0]] = node.params["dimension"]
                self._table_of[node.outs[0]] = node
            return
        self._learn(node)
        for number, value in enumerate(node.ins):
            if not isinstance(value, Lit):
                self._close(node, number, value)

    def _close(self, node: Node, number: int, value: int) -> None:
        """Note what else is made of numbers than places could be."""
        out = node.outs[0]
        is_one_hot = node.name == "eq" and out in self.tallies
        if value in self._table_of and out not in self._table_of and not is_one_hot:
            self._open.add(self._table_of[value])
        searches = set(self._found.get(value, {}).values())
        if not searches or node.name in ("sort", "lt", "eq") and self._is_plain(node):
            return
        if node.name == "select_n" and number == 1 and out in self._found:
            return
        if node.name == "add" and self._is_shift(node):
            return
        if out in self._found and node.name in _KEEPS_NUMBERS | {"concatenate", "max"}:
            return
        names_rows = {s for (at, _), s in self.used.items() if at is node}
        for search in searches - names_rows if number == 1 else searches:
            search.is_closed = False

    def _is_plain(self, node: Node) -> bool:
        """True for a sort, a comparison with 0, and one with all numbers."""
        return node.name == "sort" or node.outs[0] in self._never | set(self.tallies)

    def _is_shift(self, node: Node) -> bool:
        """True for the sum that stands for numbers below 0, of which there are none."""
        readers = self.analysis.program.readers.get(node.outs[0], ())
        return any(isinstance(v, Lit) for v in node.ins) and all(
            isinstance(reader, Node)
            and reader.name == "select_n"
            and reader.ins[0] in self._never
            and node.outs[0] not in reader.ins[:2]
            for reader in readers
        )

    def _learn(self, node: Node) -> None:
        first = node.ins[0]
        if node.name == "sort":
            for value, out in zip(node.ins, node.outs, strict=True):
                self._pass_numbers(value, out)
        elif node.name == "concatenate":
            self._join(node)
        elif node.name in ("eq", "lt", "max", "select_n"):
            self._compare(node)
        elif node.name in _KEEPS_NUMBERS and self.is_zeros(first):
            self._zeros.add(node.outs[0])
        elif not isinstance(first, Lit):
            if node.name in _KEEPS_NUMBERS:
                self._pass_numbers(first, node.outs[0])
            self._pass_axes(node, first)

    def _pass_numbers(self, operand: Operand, out: int) -> None:
        if isinstance(operand, Lit) or operand not in self._found:
            return
        row = self._found[operand]
        if None in row or self.analysis.shape(operand) == self.analysis.shape(out):
            self._found[out] = row

    def _pass_axes(self, node: Node, operand: int) -> None:
        """Axes that count, or that tally, under their new numbers."""
        axes = {*self.tallies.get(operand, ())}
        if operand in self._counting:
            axes.add(self._counting[operand])
        if not axes:
            return
        moved = _moved(node, self.analysis.shape(operand))
        out = node.outs[0]
        if self._counting.get(operand) in moved and node.name in PASSES_ENTRIES:
            self._counting[out] = moved[self._counting[operand]]
            self._table_of[out] = self._table_of[operand]
        if found := {moved[k] for k in self.tallies.get(operand, ()) if k in moved}:
            self.tallies[out] = found

    def _join(self, node: Node) -> None:
        """Components of index vectors, side by side."""
        shapes = [self.analysis.shape(value) for value in node.ins]
        last = len(shapes[0]) - 1
        if node.params["dimension"] != last or any(s[last] != 1 for s in shapes):
            return
        row = {}
        for k, value in enumerate(node.ins):
            known = {} if isinstance(value, Lit) else self._found.get(value, {})
            if None in known:
                row[k] = known[None]
        if row:
            self._found[node.outs[0]] = row

    def _compare(self, node: Node) -> None:
        """Numbers beside zero, or beside all numbers."""
        rows = [
            None if isinstance(v, Lit) else self._found.get(v, {}).get(None)
            for v in node.ins
        ]
        out = node.outs[0]
        if node.name == "select_n":
            pred = node.ins[0]
            if not isinstance(pred, Lit) and pred in self._never:
                self._pass_numbers(node.ins[1], out)
        elif node.name == "lt":
            if rows[0] and self.is_zeros(node.ins[1]):
                self._never.add(out)
        elif node.name == "max":
            for k in (0, 1):
                if rows[k] and self.is_zeros(node.ins[1 - k]):
                    self._pass_numbers(node.ins[k], out)
        else:
            for k in (0, 1):
                self._tie(rows[k], node.ins[1 - k], out)

    def _tie(self, search: Search | None, other: Operand, out: int) -> None:
        """One-hot vectors: the axis of all numbers is the axis that was searched."""
        if search is None or isinstance(other, Lit) or other not in self._counting:
            return
        axis = self._counting[other]
        label = self.analysis.label(out)[axis]
        if isinstance(label, np.ndarray) and len(label) == len(search.label):
            self.analysis.unify(label, search.label)
            self.tallies[out] = {axis}
            search.is_tied = True
            search.tables.add(self._table_of[other])
            self.tables.setdefault(self._table_of[other], []).append(search)


def _returned(graph: Graph) -> Iterator[int]:
    """What the bodies of loops, branches and custom derivatives return."""
    for node in graph.nodes:
        for body in node.subs:
            yield from (out for out in body.outputs if not isinstance(out, Lit))
            yield from _returned(body)


def _moved(node: Node, shape: tuple) -> dict[int, int]:
    """Where the axes of an operand are in the result, those of one entry left out."""
    axes = range(len(shape))
    if node.name == "broadcast_in_dim":
        return dict(zip(axes, node.params["broadcast_dimensions"], strict=True))
    if node.name == "transpose":
        return {k: place for place, k in enumerate(node.params["permutation"])}
    if node.name == "reduce_sum":
        left = [k for k in axes if k not in node.params["axes"]]
        return {k: place for place, k in enumerate(left)}
    if node.name in ("convert_element_type", "copy", "stop_gradient"):
        return {k: k for k in axes}
    return {}
