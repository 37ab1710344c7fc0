"""What a rule is: one protocol for each kind of rule, and what the rules may ask."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
from jax.sharding import NamedSharding

from gamepruning.trace.atoms import Label
from gamepruning.trace.labels import LabelAnalysis, Labels
from gamepruning.trace.program import Graph, Node, Operand, Program
from gamepruning.trace.usage import Origin
from gamepruning.trace.zeros import Levels


class LabelRule(Protocol):
    """label(analysis, node, *labels): which entries leave together.

    Gets the labels of each operand, one an axis; ties them by `analysis.unify` and
    `analysis.freeze`, notes sums by `analysis.site`, and returns the labels of each
    result.
    """

    def __call__(self, *args: Any, **kwargs: Any) -> Sequence[Labels]: ...


class UsageRule(Protocol):
    """usage(analysis, node, *origins): how parameters among the operands are used.

    Gets the origin of each operand; notes uses by `analysis.use`, and returns the
    origin of each result.
    """

    def __call__(self, *args: Any, **kwargs: Any) -> Sequence[Origin]: ...


class ZeroRule(Protocol):
    """zero(analysis, node, *levels): what the results are at the indices that leave.

    Gets the levels of each operand, one an axis (`ZERO`, `CONSTANT` or `ANY`), and
    returns those of each result. ANY is always right.
    """

    def __call__(self, *args: Any, **kwargs: Any) -> Sequence[Levels]: ...


class Sizes(Protocol):
    """What a rebind rule may ask: the shapes before and after."""

    def shape_in(self, operand: int) -> tuple:
        """The full shape of an operand."""
        ...

    def out(self, number: int) -> tuple:
        """The smaller shape of a result."""
        ...

    def sharding_out(self, number: int) -> NamedSharding | None:
        """The explicit sharding of a result at its smaller size, if it has one."""
        ...

    def kept_in(self, operand: int, dim: int) -> np.ndarray | None:
        """The kept indices of an operand's axis, None for all."""
        ...

    def kept_out(self, number: int, dim: int) -> np.ndarray | None:
        """The kept indices of a result's axis, None for all."""
        ...

    def left_as(self, node: Node, dtype: Any) -> Any:
        """What entries that left are taken to be where a node is gated."""
        ...

    def are_places(self, component: int = 0) -> bool:
        """True if numbers that a node makes or reads are places among what stays."""
        ...

    def must_find(self, node: Node) -> bool:
        """True if activations are read at the numbers that a search returns."""
        ...


class RebindRule(Protocol):
    """rebind(sizes, node, *args): the primitive applied to smaller arrays.

    Needed where its params hold sizes; see `Sizes`.
    """

    def __call__(self, *args: Any, **kwargs: Any) -> Sequence[Any]: ...


class BodyRunner(Protocol):
    """What a run rule may ask of who runs the program."""

    program: Program

    def run(self, graph: Graph, args: Sequence) -> list:
        """The outputs of a body, interpreted in the same way."""
        ...


class GatedBodyRunner(BodyRunner, Protocol):
    """What a run rule may ask besides, where players are gated inside a body."""

    gates: Any

    def with_gates(self, gates: Any) -> "GatedBodyRunner":
        """The same with other gates."""
        ...

    def gated_inside(self, graph: Graph) -> np.ndarray:
        """The players that are gated in a graph, bool [N]."""
        ...

    def gate_all(self, operand: Operand, array: Any) -> Any:
        """Gate every axis of an array that is like an operand."""
        ...


# Builds a loop, branch or custom derivative again around its interpreted bodies:
# rule(runner, node, args) -> results.
RunRule = Callable[[Any, Node, list], list]


class Contraction(NamedTuple):
    """How a product reads its first two operands.

    Attributes:
      summed: the pairs of axes (of operand 0, of operand 1) that are summed over and
        may be pruned.
      num_terms: how many terms each entry of the result is the sum of.
      is_plain: every entry of the summed axes meets every other: no groups.
    """

    summed: tuple[tuple[int, int], ...]
    num_terms: Callable[[tuple], int]
    is_plain: bool

    def partner(self, operand: int, dim: int) -> tuple[int, int] | None:
        """(operand, axis) that an axis of an operand is summed with."""
        for pair in self.summed:
            if operand < 2 and pair[operand] == dim:
                return 1 - operand, pair[1 - operand]
        return None


ContractionRule = Callable[[Node], Contraction]

# The multiply-adds of a node as factor x the product of the sizes of axes, each with
# its label: rule(analysis, node) -> (factor, [(label, size), ...]).
MacsRule = Callable[[LabelAnalysis, Node], tuple[float, list[tuple[Label, Any]]]]


@dataclass(frozen=True, kw_only=True)
class Rules:
    """All that is known of one primitive; what is None is as for an unknown one.

    Attributes:
      label: which entries leave together. Without it the primitive is opaque.
      rebind: how to apply it to smaller arrays; None where its params hold no sizes.
      usage: how parameters among its operands are used.
      zero: what it makes of zeros and constants.
      run: how to run what has bodies.
      run_gated: the same where gates inside the bodies must have a derivative.
      run_open: the same outside of any trace, so that a tap sees arrays.
      contraction: how a product reads its operands.
      macs: what a product costs.
    """

    label: LabelRule | None = None
    rebind: RebindRule | None = None
    usage: UsageRule | None = None
    zero: ZeroRule | None = None
    run: RunRule | None = None
    run_gated: RunRule | None = None
    run_open: RunRule | None = None
    contraction: ContractionRule | None = None
    macs: MacsRule | None = None
