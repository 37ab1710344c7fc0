"""Label every axis of every value of a program by abstract interpretation.

One pass over the nodes is enough, loops included: the labels are nodes of one
union-find that the whole program shares, and unifying is symmetric.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from gamepruning.trace.atoms import Atoms, Label
from gamepruning.trace.program import Graph, Lit, Node, Operand, Program

Labels = tuple[Label, ...]


class Site(NamedTuple):
    """Where an axis is summed over: here its entries are gated."""

    node: Node
    operand: int
    dim: int


class Analysis:
    """What the rules see while they label a program, and what they leave behind.

    Attributes:
      program: the traced program.
      atoms: the union-find of the indices.
      labels: for each value id, one label an axis.
      sites: the contractions over an axis that may be pruned, by node.
      opaque: the names of primitives without a rule that met a prunable axis.
    """

    def __init__(self, program: Program, reductions: str = "freeze"):
        self.program = program
        self.reductions = reductions
        self.atoms = Atoms()
        self.labels: dict[int, Labels] = {}
        self.sites: list[Site] = []
        self.opaque: set[str] = set()
        self._varying: set[int] = set()

    # -- for the rules ---------------------------------------------------------------

    def shape(self, operand: Operand) -> tuple:
        """The shape of an operand."""
        return self.program.shape(operand)

    def label(self, operand: Operand) -> Labels:
        """The labels of an operand's axes."""
        if isinstance(operand, Lit):
            return tuple(self.fresh(size) for size in self.shape(operand))
        return self.labels[operand]

    def fresh(self, size) -> Label:
        """The label of an axis that may adopt whatever it meets."""
        if not isinstance(size, int):
            return "its length is symbolic"
        return None if size == 1 else self.atoms.new(size)

    def array(self, label: Label, size: int) -> np.ndarray:
        """A label as one node an index."""
        if isinstance(label, np.ndarray):
            return label
        nodes = self.atoms.new(size)
        self.atoms.freeze(nodes, label or "the axis has one entry")
        return nodes

    def unify(self, first: Label, second: Label) -> Label:
        """Two axes whose entries leave together; the label to go on with."""
        return self.atoms.unify(first, second)

    def unify_all(self, first: Sequence[Label], second: Sequence[Label]) -> Labels:
        """`unify` axis by axis."""
        return tuple(self.unify(a, b) for a, b in zip(first, second, strict=True))

    def freeze(self, labels: Sequence[Label], reason: str) -> None:
        """These axes stay whole, because of `reason`."""
        for label in labels:
            self.atoms.freeze(label, reason)

    def frozen(self, labels: Sequence[Label], reason: str) -> Labels:
        """Freeze axes and return the labels of an equally frozen value."""
        self.freeze(labels, reason)
        return tuple(None if label is None else reason for label in labels)

    def is_frozen(self, labels: Sequence[Label]) -> bool:
        """True if none of the axes can lose an entry."""
        return all(self.atoms.is_frozen(label) for label in labels)

    def site(self, node: Node, operand: int, dim: int) -> None:
        """An axis of an operand is summed over: gate it there."""
        self.sites.append(Site(node, operand, dim))

    def is_varying(self, operand: Operand) -> bool:
        """True if the operand depends on the model's inputs, not on params alone."""
        return not isinstance(operand, Lit) and operand in self._varying

    def run(self, graph: Graph, inputs: Sequence[Labels]) -> list[Labels]:
        """Label a graph whose inputs have these labels; the labels of its outputs."""
        for value, labels in zip(graph.inputs, inputs, strict=True):
            self.labels[value] = labels
        for node in graph.nodes:
            self._run_node(node)
        self._label_constants(graph.outputs)
        return [self.label(out) for out in graph.outputs]

    # -- the pass --------------------------------------------------------------------

    def _run_node(self, node: Node) -> None:
        from gamepruning.trace.rules.registry import LABEL_RULES
        from gamepruning.trace.rules.shape import label_unknown

        if any(self.is_varying(operand) for operand in node.ins):
            self.mark_varying(node)
        self._label_constants(node.ins)
        labels = [self.label(operand) for operand in node.ins]
        rule = LABEL_RULES.get(node.name, label_unknown)
        outs = rule(self, node, *labels)
        for value, out in zip(node.outs, outs, strict=True):
            self.labels[value] = tuple(out)

    def _label_constants(self, operands: Sequence[Operand]) -> None:
        for operand in operands:
            if not isinstance(operand, Lit) and operand not in self.labels:
                shape = self.program.shape(operand)
                self.labels[operand] = tuple(self.fresh(size) for size in shape)

    def mark_varying(self, node: Node) -> None:
        """The outputs of a node, and all inside it, depend on the inputs."""
        self._varying.update(node.outs)
        for graph in node.subs:
            self._varying.update(graph.inputs)

    def mark_inputs(self, values: Sequence[int]) -> None:
        """These values are the model's inputs."""
        self._varying.update(values)


def explain_node(node: Node) -> str:
    """A primitive's name and where the model calls it."""
    return f"{node.name} in {node.where}" if node.where else node.name
