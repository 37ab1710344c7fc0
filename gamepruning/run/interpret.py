"""Run a labelled program node by node; what happens at a node is up to a subclass."""

from collections.abc import Sequence
from itertools import groupby
from typing import Any, ClassVar

from gamepruning.run.calls import boundary, named, remat_at, under
from gamepruning.trace.labels import LabelAnalysis
from gamepruning.trace.program import Graph, Lit, Node, Remat, context_of
from gamepruning.trace.units import Columns


class Interpreter:
    """Evaluates graphs; subclasses say what happens at a node.

    Attributes:
      analysis: the labelled program.
      program: the program.
      columns: the players of each entry of an axis, by the axis's label.
    """

    run_rules: ClassVar[tuple[str, ...]] = ("run",)  # the first that there is
    in_the_open: ClassVar[bool] = False  # no `jax.checkpoint`, so that arrays are seen

    def __init__(self, analysis: LabelAnalysis, columns: Columns):
        self.analysis = analysis
        self.program = analysis.program
        self.columns = columns

    def run(self, graph: Graph, args: Sequence) -> list:
        """The outputs of a graph."""
        env = dict(zip(graph.inputs, args, strict=True))
        self.run_nodes(graph.nodes, env)
        return [self.read(env, out) for out in graph.outputs]

    def run_nodes(
        self, nodes: Sequence[Node], env: dict[int, Any], depth: int = 0
    ) -> None:
        """Evaluate nodes in order, adding to `env` what other nodes may read.

        Args:
          nodes: some nodes of one graph, in its order.
          env: the values that are known.
          depth: how many calls of `jax.checkpoint` around the nodes are entered.
        """
        for remat, group in groupby(nodes, lambda node: remat_at(node, depth)):
            if remat is None or self.in_the_open:
                self.run_each(list(group), env)
            else:
                self._run_remat(remat, list(group), env, depth)

    def run_each(self, nodes: Sequence[Node], env: dict[int, Any]) -> None:
        """Evaluate nodes in order, adding all their results to `env`."""
        for scope, group in groupby(nodes, lambda node: node.scope):
            with named(scope):
                for node in group:
                    args = [self.read(env, operand) for operand in node.ins]
                    with context_of(node):
                        outs = self.step(node, args)
                    env.update(zip(node.outs, outs, strict=True))

    def _run_remat(
        self, remat: Remat, nodes: list[Node], env: dict[int, Any], depth: int
    ) -> None:
        """Evaluate nodes of one call of `jax.checkpoint` under it."""
        read, leaving = self.boundary(nodes)
        taken = [value for value in read if value in env]

        def body(*args) -> list:
            inner = dict(zip(taken, args, strict=True))
            self.run_nodes(nodes, inner, depth + 1)
            return [inner[value] for value in leaving]

        with named(remat.scope):
            outs = under(remat, body, taken)(*(env[value] for value in taken))
        env.update(zip(leaving, outs, strict=True))

    def boundary(self, nodes: list[Node]) -> tuple[list[int], list[int]]:
        """What passes into a stretch of nodes, and what passes out of it."""
        return boundary(self.program, nodes)

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
