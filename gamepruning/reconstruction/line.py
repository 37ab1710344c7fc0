"""A labelled program as one straight line of steps, loops over layers unrolled."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import jax.numpy as jnp

from gamepruning.trace.labels import LabelAnalysis
from gamepruning.trace.primitives import COUNTED_LOOPS, CUSTOM_CALLS
from gamepruning.trace.program import Graph, Lit, Node, Operand
from gamepruning.trace.rules.control import scan_parts

MAX_TURNS = 128  # a longer loop stays closed, and what is read inside it is left alone


class StackRow(NamedTuple):
    """The entry `number` of a stacked array: what one turn of a loop reads."""

    number: int


class StackOfTurns(NamedTuple):
    """The results of all turns of a loop, stacked in the order of its rows."""


@dataclass(frozen=True, eq=False)
class Operation:
    """One operation of the line.

    Attributes:
      node: the node of the program that it comes from; for a row of a loop's operand,
        or the stack of its results, the loop itself.
      ins: its operands, as values of the line.
      outs: its results.
      part: what of a loop this step is; None where the step is the node itself.
    """

    node: Node
    ins: tuple[Operand, ...]
    outs: tuple[int, ...]
    part: StackRow | StackOfTurns | None = None


@dataclass(eq=False)
class Line:
    """A program without bodies around what is of interest.

    A loop over layers is a stretch of steps for every turn, a custom derivative is its
    body. Values of the program keep their numbers where they stand for one value.

    Attributes:
      analysis: the labelled program.
      steps: the operations, in order.
      outputs: the values that the program returns.
      meaning: for a value of one turn, the value of the program that it stands for.
    """

    analysis: LabelAnalysis
    steps: list[Operation] = field(default_factory=list)
    outputs: tuple[Operand, ...] = ()
    meaning: dict[int, int] = field(default_factory=dict)

    def original(self, operand: Operand) -> Operand:
        """The value of the program that a value of the line stands for."""
        return (
            operand if isinstance(operand, Lit) else self.meaning.get(operand, operand)
        )

    def shape(self, operand: Operand) -> tuple:
        """The shape of a value."""
        return self.analysis.program.shape(self.original(operand))

    def is_float(self, value: int) -> bool:
        """True for real floating-point numbers."""
        dtype = self.analysis.program.aval(self.original(value)).dtype
        return jnp.issubdtype(dtype, jnp.floating)

    def producers(self) -> dict[int, Operation]:
        """By value the step that makes it."""
        return {out: step for step in self.steps for out in step.outs}

    def consumers(self) -> dict[int, list[tuple[Operation, int]]]:
        """By value who reads it: (step, number of the operand)."""
        found: dict[int, list[tuple[Operation, int]]] = {}
        for step in self.steps:
            for place, operand in enumerate(step.ins):
                if not isinstance(operand, Lit):
                    found.setdefault(operand, []).append((step, place))
        return found

    def descendants(self, values: Iterable[int]) -> set[int]:
        """These values and all that is computed from them."""
        found = set(values)
        for step in self.steps:
            if any(not isinstance(v, Lit) and v in found for v in step.ins):
                found.update(step.outs)
        return found


def unroll(analysis: LabelAnalysis, of_interest: Collection[Node]) -> Line:
    """Write a program as a line.

    Args:
      analysis: the labelled program.
      of_interest: the nodes for which bodies are opened.
    """
    program = analysis.program
    line = Line(analysis)
    scope = _Scope({}, False)
    _Builder(line, of_interest).append(program.graph.nodes, scope)
    line.outputs = tuple(map(scope.named, program.graph.outputs))
    return line


class _Scope(NamedTuple):
    """Where nodes stand: the values of the line by those of the program.

    Attributes:
      names: the values that have another number in the line.
      is_body: the nodes stand in a body, each turn of which has values of its own.
    """

    names: dict[int, Operand]
    is_body: bool

    def named(self, operand: Operand) -> Operand:
        return operand if isinstance(operand, Lit) else self.names.get(operand, operand)


class _Builder:
    def __init__(self, line: Line, of_interest: Collection[Node]):
        self._line = line
        self._of_interest = of_interest
        self._next = len(line.analysis.program.avals)

    def append(self, nodes: Sequence[Node], scope: _Scope) -> None:
        """Append nodes, bodies with something of interest opened."""
        for node in nodes:
            ins = tuple(map(scope.named, node.ins))
            if not self._holds(node):
                outs = self._outs(node.outs, scope)
                self._line.steps.append(Operation(node, ins, outs))
            elif node.name in CUSTOM_CALLS:
                outs = self._inside(node.subs[0], ins)
                scope.names.update(zip(node.outs, outs, strict=True))
            else:
                self._loop(node, ins, scope)

    def _holds(self, node: Node) -> bool:
        """True for a body to open: something of interest is in it."""
        if not node.subs or not _can_open(node):
            return False
        nodes = node.subs[0].nodes
        return any(inner in self._of_interest or self._holds(inner) for inner in nodes)

    def _outs(self, values: Sequence[int], scope: _Scope) -> tuple[int, ...]:
        if not scope.is_body:
            return tuple(values)
        outs = tuple(map(self._fresh, values))
        scope.names.update(zip(values, outs, strict=True))
        return outs

    def _fresh(self, value: int) -> int:
        self._line.meaning[self._next] = value
        self._next += 1
        return self._next - 1

    def _inside(self, graph: Graph, ins: Sequence[Operand]) -> list[Operand]:
        scope = _Scope(dict(zip(graph.inputs, ins, strict=True)), True)
        self.append(graph.nodes, scope)
        return list(map(scope.named, graph.outputs))

    def _loop(self, node: Node, ins: Sequence[Operand], scope: _Scope) -> None:
        consts, carry, stacked = scan_parts(node, ins)
        values = scan_parts(node, node.subs[0].inputs).stacked
        turns = []
        for turn in _turns(node):
            rows = [
                self._part(node, [operand], StackRow(turn), value)
                for operand, value in zip(stacked, values, strict=True)
            ]
            outs = self._inside(node.subs[0], [*consts, *carry, *rows])
            carry = outs[: len(carry)]
            turns.append(outs[len(carry) :])
        turns = turns[::-1] if node.params["reverse"] else turns
        values = node.outs[len(carry) :]
        stacks = [
            self._part(node, rows, StackOfTurns(), value)
            for rows, value in zip(zip(*turns, strict=True), values, strict=True)
        ]
        scope.names.update(zip(node.outs, [*carry, *stacks], strict=True))

    def _part(
        self,
        node: Node,
        ins: Sequence[Operand],
        part: StackRow | StackOfTurns,
        value: int,
    ) -> int:
        out = self._fresh(value)
        self._line.steps.append(Operation(node, tuple(ins), (out,), part))
        return out


def _turns(node: Node) -> range:
    order = range(node.params["length"])
    return order[::-1] if node.params["reverse"] else order


def _can_open(node: Node) -> bool:
    if node.name in CUSTOM_CALLS:
        return True
    return node.name in COUNTED_LOOPS and node.params["length"] <= MAX_TURNS


def run_part(part: StackRow | StackOfTurns, args: Sequence[Any]) -> list:
    """The result of a step that is a part of a loop."""
    if isinstance(part, StackRow):
        return [args[0][part.number]]
    return [jnp.stack(list(args))]
