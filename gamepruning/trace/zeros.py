"""What is provably zero, or the same for all inputs, at the indices that leave.

An abstract interpretation with one level for each axis of each value: at every index
of the axis that leaves, the value is ZERO, CONSTANT (it depends on parameters alone)
or ANY. It starts from the parameter axes that are set to zero.
"""

from collections.abc import Collection, Sequence

from gamepruning.trace.labels import LabelAnalysis, Site
from gamepruning.trace.program import Graph, Lit, Node, Operand
from gamepruning.trace.propagate import Propagation

ANY, CONSTANT, ZERO = 0, 1, 2
Levels = tuple[int, ...]


class ZeroAnalysis(Propagation[Levels]):
    """Levels of every value of a labelled program.

    The fact of a value is one level an axis. A loop is a fixpoint: see `Propagation`.

    Args:
      analysis: the labelled program.
      num_leaves: how many of the graph's inputs are parameters.
      zeroed: the (leaf, axis) places whose leaving entries are set to zero.
    """

    kind = "zero"

    def __init__(
        self,
        analysis: LabelAnalysis,
        num_leaves: int,
        zeroed: Collection[tuple[int, int]],
    ):
        super().__init__(analysis.program, analysis.rules)
        self.analysis = analysis
        graph = self.program.graph
        self._fixed = set(graph.inputs[:num_leaves])
        starts = [
            tuple(
                ZERO if (number, axis) in zeroed else CONSTANT if is_param else ANY
                for axis in range(len(self.shape(value)))
            )
            for number, value in enumerate(graph.inputs)
            for is_param in (number < num_leaves,)
        ]
        self.run(graph, starts)

    def covers(self, site: Site) -> bool:
        """True if what leaves adds exactly nothing to the sum at a site."""
        if site.node in self.analysis.lowest or site.node in self.analysis.below:
            return False
        if self.of(site.node.ins[site.operand])[site.dim] == ZERO:
            return True
        other = self.partner(site)
        return other is not None and self.of(site.node.ins[other[0]])[other[1]] == ZERO

    def partner(self, site: Site) -> tuple[int, int] | None:
        """(operand, axis) that the axis of a site is summed with."""
        rule = self.rules.find("contraction", site.node.name)
        return None if rule is None else rule(site.node).partner(site.operand, site.dim)

    # -- for the rules ---------------------------------------------------------------

    def is_fixed(self, operand: Operand) -> bool:
        """True if the operand does not depend on the inputs."""
        if isinstance(operand, Lit) or operand in self.program.constants:
            return True
        return operand in self._fixed

    def at_most(self, *operands: Operand) -> int:
        """CONSTANT if all the operands are fixed, else ANY."""
        return CONSTANT if all(map(self.is_fixed, operands)) else ANY

    def unless_zero(self, level: int, *operands: Operand) -> int:
        """What is left of a level when the operands decide which entries are read."""
        return level if level == ZERO or self.at_most(*operands) else ANY

    def enter(
        self, graph: Graph, levels: Sequence[Levels], fixed: Sequence[bool]
    ) -> list[Levels]:
        """Run a body; `fixed` says which of its inputs do not depend on the inputs."""
        for value, is_fixed in zip(graph.inputs, fixed, strict=True):
            (self._fixed.add if is_fixed else self._fixed.discard)(value)
        return self.run(graph, levels)

    def mark_fixed(self, value: int) -> None:
        """This result of a node with bodies does not depend on the inputs."""
        self._fixed.add(value)

    def until_stable(
        self, body: Graph, levels: Sequence[Levels], fixed: Sequence[bool], carry: slice
    ) -> tuple[list[Levels], list[Levels]]:
        """The levels of a loop that hold at every turn.

        Args:
          body: the body; its first outputs are the carry after a turn.
          levels: of the body's inputs, in the first turn.
          fixed: which of the inputs do not depend on the inputs of the model.
          carry: which of the inputs are the carry.

        Returns:
          The levels of the body's inputs and of its outputs.
        """
        ins = list(levels)
        while True:
            outs = self.enter(body, ins, fixed)
            pairs = zip(ins[carry], outs, strict=False)
            after = [tuple(map(min, zip(a, b, strict=True))) for a, b in pairs]
            if after == ins[carry]:
                return ins, outs
            ins[carry] = after

    # -- the pass --------------------------------------------------------------------

    def visit(self, node: Node) -> None:
        """What is computed from fixed operands is fixed; bodies say it themselves."""
        if not node.subs and all(map(self.is_fixed, node.ins)):
            self._fixed.update(node.outs)
        super().visit(node)

    def of_constant(self, operand: Operand) -> Levels:
        """A constant is not zero, as far as anybody knows."""
        return (CONSTANT,) * len(self.shape(operand))

    def without_rule(self, node: Node, *facts: Levels) -> list[Levels]:
        """Anything may come out, unless nothing depends on the inputs."""
        level = self.at_most(*node.ins)
        return [(level,) * len(self.shape(value)) for value in node.outs]


def is_zero(operand: Operand) -> bool:
    """True for the number 0."""
    return isinstance(operand, Lit) and bool(operand.value == 0)


def is_nonzero(operand: Operand) -> bool:
    """True for a number other than 0."""
    return isinstance(operand, Lit) and bool(operand.value != 0)
