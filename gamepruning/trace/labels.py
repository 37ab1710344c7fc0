"""Label every axis of every value of a program: which entries leave together."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from gamepruning.trace import primitives
from gamepruning.trace.atoms import Atoms, Label
from gamepruning.trace.picks import Picks
from gamepruning.trace.program import Lit, Node, Operand, Program
from gamepruning.trace.propagate import Propagation, RuleTable

Labels = tuple[Label, ...]


class Site(NamedTuple):
    """Where an axis is summed over: here its entries are gated."""

    node: Node
    operand: int
    dim: int


class LabelAnalysis(Propagation[Labels]):
    """What the label rules see while they label a program, and what they leave behind.

    The fact of a value is its labels, one an axis. One pass is enough, loops included:
    see `Propagation`.

    Attributes:
      atoms: the union-find of the indices.
      sites: the contractions over an axis that may be pruned, in order.
      opaque: the names of primitives without a rule that met a prunable axis.
      failures: by name why, where it is a derivative rule of the user's that fails.
      reductions: what a sum over an axis does: "freeze" it, "gate" it, or gate it
        and let means divide by the "width" that is left.
      picks: what is known of the numbers that searches return.
      lowest: the nodes before which entries that left are the lowest number (for
        argmin the highest), so that a search or a maximum does not find them; elsewhere
        they are 0. The maximum of nobody is 0.
      below: searches among numbers of which none is negative: entries that left are -1
        there, and 0 in what is found.
      whole: the sums in which everybody is, if nobody is: they divide. So it is with
        the maxima that are subtracted before.
      counts: with "width", by node the numbers that say how many entries are summed.
    """

    kind = "label"

    def __init__(self, program: Program, rules: RuleTable, reductions: str = "freeze"):
        super().__init__(program, rules)
        self.reductions = reductions
        self.atoms = Atoms()
        self.sites: list[Site] = []
        self.picks = Picks(self)
        self.lowest: set[Node] = set()
        self.below: set[Node] = set()
        self.whole: set[Node] = set()
        self.counts: dict[Node, Any] = {}
        self.opaque: set[str] = set()
        self.failures: dict[str, str] = {}
        self._varying: set[int] = set()
        self._nonnegative: set[int] = set()

    # -- for the rules ---------------------------------------------------------------

    def label(self, operand: Operand) -> Labels:
        """The labels of an operand's axes."""
        return self.of(operand)

    def fresh(self, size) -> Label:
        """The label of an axis that may adopt whatever it meets."""
        if not isinstance(size, int):
            return "its length is symbolic"
        return None if size == 1 else self.atoms.new(size)

    def fresh_like(self, operand: Operand) -> Labels:
        """A fresh label for each axis of an operand."""
        return tuple(map(self.fresh, self.shape(operand)))

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

    def maker(self, operand: Operand) -> Node | None:
        """The node that makes an operand, which is no input and no constant."""
        return None if isinstance(operand, Lit) else self.program.makers.get(operand)

    def is_nonnegative(self, operand: Operand) -> bool:
        """True if it can be seen that no entry is negative."""
        if isinstance(operand, Lit):
            return bool(np.all(np.asarray(operand.value) >= 0))
        return operand in self._nonnegative

    def mark_inputs(self, values: Sequence[int]) -> None:
        """These values are the model's inputs."""
        self._varying.update(values)

    # -- the pass --------------------------------------------------------------------

    def visit(self, node: Node) -> None:
        """Label a node's results; they vary if one of its operands does."""
        if any(map(self.is_varying, node.ins)):
            self._varying.update(node.outs)
            for graph in node.subs:
                self._varying.update(graph.inputs)
        if self._is_nonnegative_result(node):
            self._nonnegative.update(node.outs)
        super().visit(node)
        if node.name in primitives.CUSTOM_CALLS and node.subs:
            pairs = zip(node.outs, node.subs[0].outputs, strict=True)
            self._nonnegative.update(v for v, own in pairs if self.is_nonnegative(own))
        self.picks.follow(node)

    def _is_nonnegative_result(self, node: Node) -> bool:
        if node.name in primitives.NONNEGATIVE:
            return True
        known = map(self.is_nonnegative, node.ins)
        if node.name in primitives.NONNEGATIVE_IF_ANY:
            return any(known)
        return node.name in primitives.NONNEGATIVE_IF_ALL and all(known)

    def of_constant(self, operand: Operand) -> Labels:
        """A constant adopts what it meets: it is computed whole, then cut."""
        return self.fresh_like(operand)

    def without_rule(self, node: Node, *facts: Labels) -> list[Labels]:
        """A primitive without a rule keeps whole all that it touches."""
        varies = any(map(self.is_varying, node.ins))
        if varies or not all(map(self.is_frozen, facts)):
            return opaque(self, node, *facts)
        return source(self, node, *facts)


def opaque(analysis: LabelAnalysis, node: Node, *labels: Labels) -> list[Labels]:
    """Freeze operands and results; on record when something could have left."""
    what = "has no rule"
    if node.failure:
        what = f"cannot be differentiated ({node.failure})"
        analysis.failures[node.name] = node.failure
    reason = f"it meets {explain_node(node)}, which {what}"
    if not all(map(analysis.is_frozen, labels)):
        analysis.opaque.add(node.name)
    for label in labels:
        analysis.freeze(label, reason)
    return [(reason,) * len(analysis.shape(value)) for value in node.outs]


def source(analysis: LabelAnalysis, node: Node, *labels: Labels) -> list[Labels]:
    """Computed at full size from what is never cut, then cut to what it meets."""
    for label in labels:
        analysis.freeze(label, f"it is read by {explain_node(node)}")
    return [analysis.fresh_like(value) for value in node.outs]


def explain_node(node: Node) -> str:
    """A primitive's name and where the model calls it."""
    return f"{node.name} in {node.where}" if node.where else node.name
