"""The engine of the abstract interpretations: labels, usage, zeros.

An abstract interpretation runs a program on *facts* instead of arrays: one fact for
each value, found from the facts of the operands by the rule of the primitive. The
engine says in which order; the rules, which come from one table, say how.
"""

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from gamepruning.trace.program import Graph, Lit, Node, Operand, Program

Fact = TypeVar("Fact")


class RuleTable(Protocol):
    """Where the engine looks rules up; `trace.rules.RULES` is the one that we fill."""

    def find(self, kind: str, name: str) -> Callable[..., Any] | None:
        """The rule of a kind ("label", "usage", ...) of a primitive, if it has one."""
        ...


class Propagation(Generic[Fact]):
    """Follows facts through a program, in the order in which the program computes.

    Every node is visited once, after the nodes that make its operands: a graph lists
    its nodes in such an order. A node with bodies is visited as one; its rule hands the
    facts of its operands to `run` for each body, and makes the facts of its results
    from what comes back. So bodies are walked where they are called, and their values
    have facts too, in the same table.

    A loop reads what its own last turn wrote, so its rule owes an argument why what it
    states holds for every turn. There are three, one an analysis:

    * labels: one pass. The rule unifies the labels of the carry before and after a
      turn in the one union-find of the program. Unifying is symmetric and is never
      undone: whatever is tied later, on either side, is tied for both.
    * usage: one pass, without any fact about the carry, which is always true.
    * zeros: a fixpoint. Levels are lowered until a turn keeps them, so what is left is
      an invariant: it holds at the start, and a turn preserves it. There are three
      levels an axis and they only fall, so it ends.

    Attributes:
      program: the program.
      rules: where the rules are.
      facts: for each value id its fact, as far as it has been found.
    """

    kind: ClassVar[str]

    def __init__(self, program: Program, rules: RuleTable):
        self.program = program
        self.rules = rules
        self.facts: dict[int, Fact] = {}

    def shape(self, operand: Operand) -> tuple:
        """The shape of an operand."""
        return self.program.shape(operand)

    def of(self, operand: Operand) -> Fact:
        """The fact of an operand."""
        if isinstance(operand, Lit):
            return self.of_constant(operand)
        if operand not in self.facts:
            self.facts[operand] = self.of_constant(operand)
        return self.facts[operand]

    def run(self, graph: Graph, facts: Sequence[Fact]) -> list[Fact]:
        """The facts of a graph's outputs, from those of its inputs."""
        self.facts.update(zip(graph.inputs, facts, strict=True))
        for node in graph.nodes:
            self.visit(node)
        return [self.of(out) for out in graph.outputs]

    def visit(self, node: Node) -> None:
        """Find the facts of a node's results."""
        outs = self.apply(node, [self.of(operand) for operand in node.ins])
        self.facts.update(zip(node.outs, outs, strict=True))

    def apply(self, node: Node, facts: Sequence[Fact]) -> Sequence[Fact]:
        """The facts of a node's results, by its rule."""
        rule = self.rules.find(self.kind, node.name)
        if rule is None:
            return self.without_rule(node, *facts)
        return rule(self, node, *facts)

    def of_constant(self, operand: Operand) -> Fact:
        """The fact of a literal, or of a constant of the program."""
        raise NotImplementedError

    def without_rule(self, node: Node, *facts: Fact) -> Sequence[Fact]:
        """What holds of the results of a node whatever it computes."""
        raise NotImplementedError
