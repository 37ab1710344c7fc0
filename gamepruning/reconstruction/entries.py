"""Which entries of which parameter a value consists of, where it is only a view."""

from typing import NamedTuple

import numpy as np

from gamepruning.reconstruction.line import Line, Operation, StackRow
from gamepruning.trace.primitives import RESHAPES, VIEWS
from gamepruning.trace.program import Lit, Operand

# Entry k of the result is entry k of the operand, up to rounding.
SAME_ENTRIES = (VIEWS - {"abs", "neg"}) | {"optimization_barrier"}


class ViewEntries(NamedTuple):
    """The entries of a view.

    Attributes:
      leaf: the number of the parameter.
      places: for each entry of the view its place in the flattened parameter.
    """

    leaf: int
    places: np.ndarray

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
      places: of the entries in the flattened parameter, each once, rising.
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
    """Follows parameters through reshapes, transposes, slices and rows of loops.

    Args:
      line: the program.
      leaves: the values that are parameters, in their order.
    """

    def __init__(self, line: Line, leaves: tuple[int, ...]):
        self._line = line
        self._producers = line.producers()
        self.consumers = line.consumers()
        self._found: dict[int, ViewEntries | None] = {
            value: ViewEntries(leaf, _number(line.shape(value)))
            for leaf, value in enumerate(leaves)
        }
        self.leaves = leaves
        self._uses: dict[int, list[Use]] = {}

    def of(self, operand: Operand) -> ViewEntries | None:
        """The entries that a value consists of; None where it is no view."""
        if isinstance(operand, Lit):
            return None
        if operand not in self._found:
            step = self._producers.get(operand)
            self._found[operand] = None if step is None else self._through(step)
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

    def _through(self, step: Operation) -> ViewEntries | None:
        if not step.ins or len(step.outs) != 1:
            return None
        before = self.of(step.ins[0]) if len(step.ins) == 1 else None
        if before is None:
            return None
        index = _move(step, before.places, self._line.shape(step.outs[0]))
        return None if index is None else ViewEntries(before.leaf, index)

    def uses(self, leaf: int) -> list[Use]:
        """Where a parameter is used at last."""
        if leaf not in self._uses:
            self._uses[leaf] = self._find_uses(leaf)
        return self._uses[leaf]

    def _find_uses(self, leaf: int) -> list[Use]:
        found, todo = [], [self.leaves[leaf]]
        while todo:
            value = todo.pop()
            entries = self.of(value)
            assert entries is not None
            if value in self._line.outputs:
                found.append(Use(None, entries.distinct))
            for step, _ in self.consumers.get(value, ()):
                if len(step.outs) == 1 and self.of(step.outs[0]) is not None:
                    todo.append(step.outs[0])
                else:
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


def _number(shape: tuple) -> np.ndarray:
    """The places of the entries of an array in it, flattened."""
    return np.arange(np.prod(shape, dtype=int)).reshape(shape)


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
