"""How each parameter axis is used: produced, read, added, scaled."""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from gamepruning.trace.labels import LabelAnalysis
from gamepruning.trace.program import Node, Operand
from gamepruning.trace.propagate import Propagation

Place = tuple[int, int]  # (parameter leaf, axis)
Places = tuple[frozenset[Place], ...]  # for each axis of a value
PRIORITY = ("out", "bias", "in", "batch", "scale", "shift", "input", "other")


class Origin(NamedTuple):
    """Where the entries of a value come from. The default claims nothing.

    Attributes:
      view: for each axis the parameter axes that it is a view of, where each entry is
        an entry of a parameter, its negative or a fixed multiple.
      derived: the same for what is computed entry by entry from parameters alone.
      main_factor: like `derived`, without the scales that a weight is multiplied by:
        of the factors of a product the one with the most axes.
      is_fixed: the value does not depend on the inputs.
      is_contraction_result: it is the result of a contraction, plus biases.
    """

    view: Places | None = None
    derived: Places | None = None
    main_factor: Places | None = None
    is_fixed: bool = False
    is_contraction_result: bool = False

    def any_derived(self) -> Places | None:
        """`view`, or else `derived`."""
        return self.derived if self.view is None else self.view

    def any_factor(self) -> Places | None:
        """`view`, or else `main_factor`."""
        return self.main_factor if self.view is None else self.view

    def moved(self, move: Callable[[Places], Places]) -> "Origin":
        """The same entries, with their axes in another order or number."""
        places = (self.view, self.derived, self.main_factor)
        moved = (None if p is None else move(p) for p in places)
        view, derived, main_factor = moved
        return Origin(view, derived, main_factor, False, self.is_contraction_result)

    def as_input(self, move: Callable[[Places], Places] = lambda p: p) -> "Origin":
        """What a body may know of an operand."""
        found = self.moved(move)
        return found._replace(is_fixed=self.is_fixed, is_contraction_result=False)


NOTHING = Origin()
CONTRACTED = Origin(is_contraction_result=True)


class UsageAnalysis(Propagation[Origin]):
    """A forward pass that follows each parameter to where it is used.

    The fact of a value is its `Origin`; on the way the rules note every use of a
    parameter's axes. One pass is enough, loops included: see `Propagation`.

    Args:
      analysis: the labelled program.
      num_leaves: how many of the graph's inputs are parameters.

    Attributes:
      uses: by (leaf, axis) the ways in which the axis is used, in the order of the
        program.
      nonzero_at_zero: the leaves of which something is computed that is not 0 at 0.
      num_leaves: how many of the graph's inputs are parameters.
    """

    kind = "usage"

    def __init__(self, analysis: LabelAnalysis, num_leaves: int):
        super().__init__(analysis.program, analysis.rules)
        self.uses: dict[Place, dict[str, None]] = {}
        self.nonzero_at_zero: set[int] = set()
        self.num_leaves = num_leaves
        graph = self.program.graph
        params = [self._of_leaf(k, v) for k, v in enumerate(graph.inputs[:num_leaves])]
        self.run(graph, [*params, *[NOTHING] * (len(graph.inputs) - num_leaves)])

    def _of_leaf(self, leaf: int, value: int) -> Origin:
        axes = range(len(self.shape(value)))
        view = tuple(frozenset([(leaf, axis)]) for axis in axes)
        return Origin(view=view, is_fixed=True)

    # -- what it says ----------------------------------------------------------------

    def role(self, place: Place) -> str:
        """The most telling use of an axis.

        Between "out" and "in" the first use counts: the reverse pass of a gradient
        reads weights the other way round.
        """
        found = self.uses.get(place, {})
        if "in" in found and "out" in found:
            return next(role for role in found if role in ("in", "out"))
        return next((role for role in PRIORITY if role in found), "other")

    def has(self, place: Place, role: str) -> bool:
        """True if the axis is used in this way, among others."""
        return role in self.uses.get(place, {})

    def view(self, operand: Operand) -> Places | None:
        """For each axis of an operand, the parameter axes it is a view of."""
        return self.of(operand).view

    def origin(self, operand: Operand) -> Places | None:
        """Like `view`, but also of what is computed from parameters entry by entry."""
        return self.of(operand).any_derived()

    # -- for the rules ---------------------------------------------------------------

    def use(
        self, places: Places | None, role: str, dims: Iterable[int] | None = None
    ) -> None:
        """The parameter axes behind these axes (or all) are used in this way."""
        if places is not None:
            for dim in range(len(places)) if dims is None else dims:
                for place in places[dim]:
                    self.uses.setdefault(place, {})[role] = None

    def derive(
        self,
        node: Node,
        origins: Sequence[Origin],
        *,
        keeps_zero: bool,
        is_product: bool = False,
    ) -> Origin:
        """The origin of a result that is computed entry by entry from the operands."""
        if not all(origin.is_fixed for origin in origins):
            return NOTHING
        rows = self._aligned(node, [origin.any_derived() for origin in origins])
        if not keeps_zero:
            places = frozenset().union(*(axis for row in rows for axis in row))
            self.nonzero_at_zero.update(leaf for leaf, _ in places)
        factors = self._aligned(node, [origin.any_factor() for origin in origins])
        if is_product and factors:
            factors = [max(factors, key=_num_axes)]
        derived, main_factor = (join_places(x) if x else None for x in (rows, factors))
        return Origin(derived=derived, main_factor=main_factor)

    def _aligned(self, node: Node, rows: Sequence[Places | None]) -> list[Places]:
        """Those of the operands' places that line up with the result's axes."""
        ndim = len(self.shape(node.outs[0]))
        return [places for places in rows if places and len(places) == ndim]

    # -- the pass --------------------------------------------------------------------

    def apply(self, node: Node, facts: Sequence[Origin]) -> list[Origin]:
        """A result is fixed where all operands are."""
        is_fixed = all(origin.is_fixed for origin in facts)
        outs = super().apply(node, facts)
        return [origin._replace(is_fixed=is_fixed) for origin in outs]

    def of_constant(self, operand: Operand) -> Origin:
        """A constant depends on nothing."""
        return Origin(is_fixed=True)

    def without_rule(self, node: Node, *facts: Origin) -> list[Origin]:
        """A primitive without a rule uses parameters in a way that is not known."""
        for origin in facts:
            self.use(origin.view, "other")
        return [NOTHING for _ in node.outs]


def join_places(rows: Sequence[Places]) -> Places:
    """Axis by axis the union of the places."""
    return tuple(frozenset().union(*axes) for axes in zip(*rows, strict=True))


def _num_axes(places: Places) -> int:
    return sum(map(bool, places))
