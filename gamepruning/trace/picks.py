"""Numbers of entries: what a search along an axis returns, and where it is used.

A router picks experts by `top_k`, and the numbers that it returns say which rows of
the experts' weights to read. Numbers are those of the full axis at whatever size the
program runs, so everything that is computed from them stays as it is; only an axis that
is read or written at them has to know where its rows are now. Who leaves is never
picked.
"""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from gamepruning.trace.primitives import PASSES_ENTRIES
from gamepruning.trace.program import Lit, Node, Operand

if TYPE_CHECKING:
    from gamepruning.trace.labels import LabelAnalysis

_KEEPS_NUMBERS = PASSES_ENTRIES | {"copy", "dynamic_slice", "rev", "slice"}


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
    """

    node: Node
    label: np.ndarray
    reason: str
    is_tied: bool = False
    gathers: bool = False


@dataclass(eq=False)
class Picks:
    """What is known of whole numbers in a program.

    Attributes:
      searches: by the search.
      tallies: by value the axes along which an entry is 0 if nobody picks it.
    """

    analysis: "LabelAnalysis"
    searches: dict[Node, Search] = field(default_factory=dict)
    tallies: dict[int, set[int]] = field(default_factory=dict)
    _found: dict[int, dict[int | None, Search]] = field(default_factory=dict)
    _counting: dict[int, int] = field(default_factory=dict)
    _never: set[int] = field(default_factory=set)
    _zeros: set[int] = field(default_factory=set)

    def search(self, node: Node, result: int, label: Any, reason: str) -> None:
        """A search whose result of this number has the numbers of what it found."""
        if isinstance(label, np.ndarray):
            found = self.searches[node] = Search(node, label, reason)
            self._found[node.outs[result]] = {None: found}

    def at(self, operand: Operand, component: int, size: Any) -> Search | None:
        """The search that a component of index vectors comes from, if its axis fits."""
        if isinstance(operand, Lit) or operand not in self._found:
            return None
        row = self._found[operand]
        alone = self.analysis.shape(operand)[-1] == 1
        found = row.get(component) or (row.get(None) if alone else None)
        return found if found and len(found.label) == size else None

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
        for out in outputs:
            if not isinstance(out, Lit):
                for search in self._found.get(out, {}).values():
                    reason = "its numbers are an output of the model"
                    self.analysis.freeze([search.label], reason)
        for search in self.searches.values():
            if not search.is_tied and readers.get(search.node.outs[-1]):
                self.analysis.freeze([search.label], search.reason)

    # -- the pass ----------------------------------------------------------------------

    def follow(self, node: Node) -> None:
        """What is known of a node's results, from what is known of its operands."""
        if not node.ins:
            if node.name == "iota":
                self._counting[node.outs[0]] = node.params["dimension"]
            return
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
