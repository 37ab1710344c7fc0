"""Numbers in a program that say how many entries a sum has, such as a mean divides by.

A smaller model built as a module of its own divides its means by its own width, and
multiplies its embedding by the root of that where the large one does. So the number is
read as what it says, and follows the entries that stay.
"""

from collections.abc import Iterator, Mapping
from math import prod
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gamepruning.trace.labels import LabelAnalysis
from gamepruning.trace.primitives import MATRIX_PRODUCTS, PASSES_ENTRIES, SUMS
from gamepruning.trace.program import Lit, Node, Operand, apply_as_is

_MAX_FOLDED = 8  # operations on single numbers


class Count(NamedTuple):
    """A number that says how long some axes of a value are, taken together.

    Attributes:
      operand: which operand of its node the number is.
      value: the value whose axes are counted.
      axes: those of them that are summed over.
      less: what is taken off the count, such as 1 in an unbiased variance.
      power: of the count: 1 for the divisor of a mean, -1 for a factor in its place,
        one half for a square root.
    """

    operand: int
    value: int
    axes: tuple[int, ...]
    less: int
    power: float

    def number(self, count: Any) -> Any:
        """What stands in the program at this number of entries; at none, as at one."""
        left = count - self.less
        if isinstance(count, int):
            return max(left, 1) ** self.power
        return jnp.where(left > 0, left, 1) ** self.power


def find_counts(analysis: LabelAnalysis) -> dict[Node, Count]:
    """By node the number in it that counts entries of a sum, loops included.

    Args:
      analysis: the labelled program; the sums are where its axes are gated.
    """
    found: dict[Node, Count] = {}
    axes: dict[Node, list[int]] = {}
    for site in analysis.sites:
        axes.setdefault(site.node, []).append(site.dim)
    finder = _Finder(analysis)
    for node in axes:
        if (summed := finder.summed(node)) is not None:
            for reader, count in finder.counts(node, *summed):
                found[reader] = count
    labels = [analysis.label(c.value)[axis] for c in found.values() for axis in c.axes]
    rows = [analysis.atoms.roots(x) for x in labels if isinstance(x, np.ndarray)]
    widths = {row.tobytes(): len(row) for row in rows}
    every = dict.fromkeys(analysis.program.makers.values())
    for node in every if widths else ():
        if node not in found and (count := finder.scale(node, widths)) is not None:
            found[node] = count
    return found


class _Finder:
    def __init__(self, analysis: LabelAnalysis):
        self._analysis, self._program = analysis, analysis.program

    def summed(self, node: Node) -> tuple[int, tuple[int, ...]] | None:
        """What a node sums, a value or its product with itself, and over which axes."""
        value = node.ins[0]
        if isinstance(value, Lit):
            return None
        if node.name in SUMS:
            return value, tuple(node.params["axes"])
        if node.name in MATRIX_PRODUCTS and node.ins[1] == value:
            (one, two), _ = node.params["dimension_numbers"]
            return (value, tuple(one)) if tuple(one) == tuple(two) else None
        return None

    def counts(
        self, node: Node, value: int, axes: tuple[int, ...]
    ) -> Iterator[tuple[Node, Count]]:
        """The numbers behind a sum that are made of how many terms it has."""
        sizes = [self._program.shape(value)[axis] for axis in axes]
        if not all(isinstance(size, int) for size in sizes):
            return
        rows, seen = [(node.outs[0], 1.0)], set()
        while rows:
            total, power = rows.pop()
            for reader in self._program.readers.get(total, ()):
                if not isinstance(reader, Node) or reader in seen:
                    continue
                seen.add(reader)
                if reader.name in PASSES_ENTRIES:
                    rows.append((reader.outs[0], power))
                elif reader.name == "sqrt":
                    rows.append((reader.outs[0], power / 2))
                else:
                    found = self._count(reader, total, prod(sizes), power)
                    if found is not None:
                        yield reader, Count(*found[:1], value, axes, *found[1:])

    def _count(
        self, node: Node, total: int, size: int, power: float
    ) -> tuple[int, int, float] | None:
        """(operand, less, power) of the number by which a node divides a sum."""
        if node.name == "div" and node.ins[0] == total:
            operand, sign = 1, 1
        elif node.name == "mul" and total in node.ins:
            operand, sign = 1 - node.ins.index(total), -1
        else:
            return None
        number = self._number(node.ins[operand])
        if number is None:
            return None
        for less in (0, 1):
            if size > less + 1 and _is_near(number, (size - less) ** (sign * power)):
                return operand, less, sign * power
        return None

    def scale(self, node: Node, widths: Mapping[bytes, int]) -> Count | None:
        """The root of a width by which a node multiplies or divides what has it.

        Args:
          node: the node.
          widths: of axes that means are taken over, by the nodes of their entries.
        """
        if node.name not in ("mul", "div"):
            return None
        for operand in (1,) if node.name == "div" else (0, 1):
            value, number = node.ins[1 - operand], self._number(node.ins[operand])
            if number is None or isinstance(value, Lit):
                continue
            for axis, label in enumerate(self._analysis.label(value)):
                if not isinstance(label, np.ndarray):
                    continue
                width = widths.get(self._analysis.atoms.roots(label).tobytes(), 0)
                for power in (0.5, -0.5):
                    if width and _is_near(number, width**power):
                        return Count(operand, value, (axis,), 0, power)
        return None

    def _number(self, operand: Operand, depth: int = 0) -> np.ndarray | None:
        """The value of a single number that nothing but the program decides."""
        if self._program.shape(operand):
            return None
        if isinstance(operand, Lit):
            return np.asarray(operand.value)
        if operand in self._program.constants:
            constant = self._program.constants[operand]
            return np.asarray(constant) if isinstance(constant, np.ndarray) else None
        node = self._program.makers.get(operand)
        if node is None or node.subs or depth == _MAX_FOLDED:
            return None
        args = [self._number(x, depth + 1) for x in node.ins]
        if not args or any(x is None for x in args):
            return None
        with jax.ensure_compile_time_eval():  # under jit, too
            return np.asarray(apply_as_is(node, args)[node.outs.index(operand)])


def _is_near(number: np.ndarray, wanted: float) -> bool:
    """True if a number of the program is what rounding makes of another."""
    if not jnp.issubdtype(number.dtype, jnp.number):
        return False
    if not jnp.issubdtype(number.dtype, jnp.floating):
        return bool(number == wanted)
    spacing = float(jnp.finfo(number.dtype).eps)
    return abs(float(number) - wanted) <= spacing * abs(wanted)
