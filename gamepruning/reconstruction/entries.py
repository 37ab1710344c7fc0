"""Which entries of which parameters a value consists of, where it is only a view."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from gamepruning.reconstruction.line import Line, Operation, StackRow
from gamepruning.trace.primitives import RESHAPES, VIEWS
from gamepruning.trace.program import Lit, Operand
from gamepruning.trees.processes import to_host

# Entry k of the result is entry k of the operand, up to rounding.
SAME_ENTRIES = (VIEWS - {"abs", "neg"}) | {"optimization_barrier"}
JOINS: dict[str, Callable[[list[np.ndarray], Any], np.ndarray]] = {
    "concatenate": lambda parts, params: np.concatenate(parts, params["dimension"]),
    "stack": lambda parts, params: np.stack(parts, params["axis"]),
}


@dataclass(frozen=True, eq=False)
class FlatParams:
    """All parameters, flattened, one behind the other.

    Attributes:
      ends: where each ends.

    Example: parameters of two and of three entries.
      >>> layout = FlatParams(np.array([2, 5]))
      >>> [(leaf, own.tolist()) for leaf, _, own in layout.split(np.array([4, 1, 2]))]
      [(0, [1]), (1, [2, 0])]
    """

    ends: np.ndarray

    def split(self, places: np.ndarray) -> Iterator[tuple[int, Any, np.ndarray]]:
        """By parameter: its number, which of the places are its, and where in it."""
        if not places.size:
            return
        first, last = np.searchsorted(
            self.ends, (places.min(), places.max()), side="right"
        )
        for leaf in range(int(first), int(last) + 1):
            start = self.ends[leaf - 1] if leaf else 0
            if first == last:
                yield leaf, ..., places - start
                return
            own = (places >= start) & (places < self.ends[leaf])
            if own.any():
                yield leaf, own, places[own] - start

    def leaves(self, places: np.ndarray) -> list[int]:
        """The parameters that have any of the places, by number."""
        return [leaf for leaf, _, _ in self.split(places)]

    def read(self, params: Sequence[Any], places: np.ndarray) -> np.ndarray:
        """What stands at the places, float."""
        found = np.zeros(places.shape)
        for leaf, own, inside in self.split(places):
            found[own] = to_host(params[leaf]).astype(float).reshape(-1)[inside]
        return found

    def add(self, params: list[Any], places: np.ndarray, amounts: np.ndarray) -> None:
        """Add something at some places: the parameters that have them are replaced."""
        for leaf, own, inside in self.split(places):
            array = np.array(to_host(params[leaf]))
            flat = array.reshape(-1)
            wide = flat[inside].astype(float) + amounts[own]
            flat[inside] = wide.astype(array.dtype)
            params[leaf] = array


class ViewEntries(NamedTuple):
    """The entries of a view.

    Attributes:
      layout: of the parameters.
      places: for each entry of the view its place among all parameters.
    """

    layout: FlatParams
    places: np.ndarray

    @property
    def leaves(self) -> list[int]:
        """The parameters that it has entries of, by number."""
        return self.layout.leaves(self.distinct)

    @property
    def distinct(self) -> np.ndarray:
        """The places, each once; axes of a broadcast count once."""
        strides = self.places.strides
        once = tuple(slice(1) if stride == 0 else slice(None) for stride in strides)
        return distinct(self.places[once])


class Use(NamedTuple):
    """Where a parameter, or a part of it, is used at last.

    Attributes:
      step: the step; None where the model returns it.
      places: of the entries among all parameters, each once, rising.
    """

    step: Operation | None
    places: np.ndarray

    def overlaps(self, places: np.ndarray) -> bool:
        """True if it uses any of these entries, which rise, too."""
        if not places.size or not self.places.size:
            return False
        if places[-1] < self.places[0] or self.places[-1] < places[0]:
            return False
        return bool(np.isin(places, self.places, assume_unique=True).any())


class Views:
    """Follows parameters through what moves, cuts and joins entries, and rows of loops.

    Args:
      line: the program.
      leaves: the values that are parameters, in their order.
    """

    def __init__(self, line: Line, leaves: tuple[int, ...]):
        self._line = line
        self._producers = line.producers()
        self.consumers = line.consumers()
        sizes = [int(np.prod(line.shape(value), dtype=int)) for value in leaves]
        self.layout = FlatParams(np.cumsum(sizes, dtype=int))
        self._found: dict[int, ViewEntries | None] = {}
        for value, size, end in zip(leaves, sizes, self.layout.ends, strict=True):
            places = np.arange(end - size, end).reshape(line.shape(value))
            self._found[value] = ViewEntries(self.layout, places)
        self.leaves = leaves
        self._uses: dict[int, list[Use]] = {}

    def of(self, operand: Operand) -> ViewEntries | None:
        """The entries that a value consists of; None where it is not a view."""
        if isinstance(operand, Lit):
            return None
        if operand not in self._found:
            step = self._producers.get(operand)
            found = None if step is None else self._through(step, operand)
            self._found[operand] = found
        return self._found[operand]

    def behind(self, operand: Operand) -> list[int]:
        """The parameters that a value is computed from, those with most axes first."""
        found, todo = set(), [operand]
        while todo:
            value = todo.pop()
            if isinstance(value, Lit):
                continue
            if value in self.leaves:
                found.add(self.leaves.index(value))
            elif (step := self._producers.get(value)) is not None:
                todo.extend(step.ins)
        return sorted(found, key=lambda k: (-len(self._line.shape(self.leaves[k])), k))

    def _through(self, step: Operation, value: int) -> ViewEntries | None:
        name = step.node.name if step.part is None else ""
        if not step.ins or (len(step.ins) > 1 and name not in JOINS):
            return None
        parts = [entries.places for entries in map(self.of, step.ins) if entries]
        if len(parts) < len(step.ins):
            return None
        params = step.node.params
        if name in JOINS:
            index = JOINS[name](parts, params)
        elif name == "split":
            ends = np.cumsum(params["sizes"])[:-1]
            index = np.split(parts[0], ends, params["axis"])[step.outs.index(value)]
        elif len(step.outs) == 1:
            index = _move(step, parts[0], self._line.shape(value))
        else:
            index = None
        return None if index is None else ViewEntries(self.layout, index)

    def uses(self, places: np.ndarray) -> list[Use]:
        """Where the parameters that have these places are used at last."""
        return self.uses_of(self.layout.leaves(places))

    def uses_of(self, leaves: Iterable[int]) -> list[Use]:
        """Where parameters are used at last."""
        found = []
        for leaf in leaves:
            if leaf not in self._uses:
                self._uses[leaf] = self._find_uses(leaf)
            found += self._uses[leaf]
        return found

    def _find_uses(self, leaf: int) -> list[Use]:
        found, todo = [], [self.leaves[leaf]]
        while todo:
            value = todo.pop()
            entries = self.of(value)
            assert entries is not None
            if value in self._line.outputs:
                found.append(Use(None, entries.distinct))
            for step, _ in self.consumers.get(value, ()):
                views = [out for out in step.outs if self.of(out) is not None]
                todo += views
                if not views:
                    found.append(Use(step, entries.distinct))
        return found


def distinct(places: np.ndarray) -> np.ndarray:
    """Places in a parameter, each once, rising: as np.unique, without sorting."""
    if not places.size:
        return places.reshape(-1)
    first = places.min()
    is_there = np.zeros(places.max() - first + 1, bool)
    is_there[places.reshape(-1) - first] = True
    return np.flatnonzero(is_there) + first


def _move(step: Operation, index: np.ndarray, shape: tuple) -> np.ndarray | None:
    """The entries after a step that only moves them; None if it does more."""
    if isinstance(step.part, StackRow):
        return index[step.part.number]
    if step.part is not None:
        return None
    params, name = step.node.params, step.node.name
    if name in SAME_ENTRIES:
        return index
    if name in RESHAPES:
        return index.reshape(shape)
    if name == "transpose":
        return index.transpose(params["permutation"])
    if name == "rev":
        return np.flip(index, params["dimensions"])
    if name == "slice":
        steps = params["strides"] or (1,) * index.ndim
        bounds = zip(
            params["start_indices"], params["limit_indices"], steps, strict=True
        )
        return index[tuple(slice(*bound) for bound in bounds)]
    if name == "broadcast_in_dim":
        sizes = [1] * len(shape)
        for place, size in zip(
            params["broadcast_dimensions"], index.shape, strict=True
        ):
            sizes[place] = size
        return np.broadcast_to(index.reshape(sizes), shape)
    return None
