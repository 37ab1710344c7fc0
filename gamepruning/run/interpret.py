"""Run a labelled program node by node; what happens at a node is up to a subclass."""

from collections.abc import Sequence
from typing import Any, ClassVar

from gamepruning.trace.labels import LabelAnalysis
from gamepruning.trace.program import Graph, Lit, Node, context_of
from gamepruning.trace.units import Columns


class Interpreter:
    """Evaluates graphs; subclasses say what happens at a node.

    Attributes:
      analysis: the labelled program.
      program: the program.
      columns: the players of each entry of an axis, by the axis's label.
    """

    run_rules: ClassVar[tuple[str, ...]] = ("run",)  # the first that there is

    def __init__(self, analysis: LabelAnalysis, columns: Columns):
        self.analysis = analysis
        self.program = analysis.program
        self.columns = columns

    def run(self, graph: Graph, args: Sequence) -> list:
        """The outputs of a graph."""
        env = dict(zip(graph.inputs, args, strict=True))
        self.run_nodes(graph.nodes, env)
        return [self.read(env, out) for out in graph.outputs]

    def run_nodes(self, nodes: Sequence[Node], env: dict[int, Any]) -> None:
        """Evaluate nodes in order, adding their results to `env`."""
        for node in nodes:
            args = [self.read(env, operand) for operand in node.ins]
            with context_of(node):
                outs = self.step(node, args)
            env.update(zip(node.outs, outs, strict=True))

    def read(self, env: dict[int, Any], operand):
        """The value of an operand."""
        if isinstance(operand, Lit):
            return operand.value
        if operand in env:
            return env[operand]
        return self.constant(operand)

    def constant(self, value: int):
        """A constant of the program."""
        return self.program.constants[value]

    def step(self, node: Node, args: list) -> list:
        """The results of one node."""
        raise NotImplementedError

    def run_nested(self, node: Node, args: list) -> list:
        """Rebuild a loop, branch or custom derivative around its interpreted body."""
        rules = (self.analysis.rules.find(kind, node.name) for kind in self.run_rules)
        return next(rule for rule in rules if rule is not None)(self, node, args)
