"""How each parameter axis is used: produced, read, added, scaled."""

from collections.abc import Callable, Sequence

from gamepruning.trace.program import CUSTOM_CALLS, Lit
from gamepruning.trace.rules.contract import dot_numbers
from gamepruning.trace.rules.control import scan_parts
from gamepruning.trace.rules.index import SCATTERS, window_dims
from gamepruning.trace.rules.shape import ELEMENTWISE, reshape_blocks
from gamepruning.trace.zeros import KEEP_ZERO

Places = tuple[frozenset, ...]
VIEWS = (
    "convert_element_type copy copy_p stop_gradient reduce_precision rev slice neg "
    "sharding_constraint optimization_barrier abs"
).split()
PRIORITY = ("out", "bias", "in", "batch", "scale", "shift", "input", "other")


class UsageAnalysis:
    """A forward pass that follows each parameter to where it is used.

    `roles[(leaf, axis)]` holds the ways in which the axis is used, in the order of the
    program, and `nonzero_at_zero` the leaves of which something is computed that is not
    0 at 0. A value is a view of leaves when each of its entries is an entry of a leaf
    (or its negative), and derived from them when it is computed entry by entry.
    """

    def __init__(self, analysis, num_leaves: int):
        self.roles: dict[tuple[int, int], dict[str, None]] = {}
        self.nonzero_at_zero: set[int] = set()
        self.num_leaves = num_leaves
        self._program = analysis.program
        self._views: dict[int, Places] = {}
        self._derived: dict[int, Places] = {}  # from any leaf
        self._carriers: dict[int, Places] = {}  # of the factors, from the largest
        self._tables = (self._views, self._derived, self._carriers)
        self._sums: set[int] = set()  # results of contractions, plus biases
        graph = self._program.graph
        self._fixed = {*graph.inputs[:num_leaves], *self._program.constants}
        for leaf, value in enumerate(graph.inputs[:num_leaves]):
            ndim = len(self._program.shape(value))
            self._views[value] = tuple(frozenset([(leaf, d)]) for d in range(ndim))
        self._run(graph)

    def role(self, place: tuple[int, int]) -> str:
        """The most telling role of an axis.

        Between "out" and "in" the first use counts: the reverse pass of a gradient
        reads weights the other way round.
        """
        found = self.roles.get(place, {})
        if "in" in found and "out" in found:
            return next(role for role in found if role in ("in", "out"))
        return next((role for role in PRIORITY if role in found), "other")

    def has(self, place: tuple[int, int], role: str) -> bool:
        """True if the axis is used in this way, among others."""
        return role in self.roles.get(place, {})

    def view(self, operand) -> Places | None:
        """For each axis of an operand, the parameter axes it is a view of."""
        return None if isinstance(operand, Lit) else self._views.get(operand)

    def origin(self, operand) -> Places | None:
        """Like `view`, but also of what is computed from parameters entry by entry."""
        view = self.view(operand)
        if view is None and not isinstance(operand, Lit):
            return self._derived.get(operand)
        return view

    def _carrier(self, operand) -> Places | None:
        """Like `origin`, without the scales that a weight is multiplied with."""
        view = self.view(operand)
        if view is None and not isinstance(operand, Lit):
            return self._carriers.get(operand)
        return view

    def _is_fixed(self, operand) -> bool:
        return isinstance(operand, Lit) or operand in self._fixed

    def _derive(self, node) -> None:
        """Note from which parameter axes an entry-by-entry result comes."""
        if not all(map(self._is_fixed, node.ins)):
            return
        value = node.outs[0]
        if origins := self._known(node, self.origin):
            self._derived[value] = _join(origins)
            if not _keeps_zero(node):
                places = frozenset().union(*self._derived[value])
                self.nonzero_at_zero.update(leaf for leaf, _ in places)
        if carriers := self._known(node, self._carrier):
            if node.name in ("mul", "div"):
                carriers = [max(carriers, key=_num_axes)]
            self._carriers[value] = _join(carriers)

    def _known(self, node, table) -> list[Places]:
        ndim = len(self._program.shape(node.outs[0]))
        found = [table(operand) for operand in node.ins if self._program.shape(operand)]
        return [places for places in found if places and len(places) == ndim]

    def _use(self, places: Places | None, role: str, dims: Sequence[int] | None = None):
        if places is not None:
            for dim in range(len(places)) if dims is None else dims:
                for place in places[dim]:
                    self.roles.setdefault(place, {})[role] = None

    def _run(self, graph) -> None:
        for node in graph.nodes:
            if all(map(self._is_fixed, node.ins)):
                self._fixed.update(node.outs)
            handler = _HANDLERS.get(node.name)
            if handler is not None:
                handler(self, node)
            else:
                for operand in node.ins:
                    self._use(self.view(operand), "other")
            if node.name in CUSTOM_CALLS:
                self._custom(node)
                continue
            for sub in node.subs:
                self._run(sub)
            if node.name in ELEMENTWISE and node.outs[0] not in self._views:
                self._derive(node)

    def _enter(self, graph, operands) -> None:
        for value, operand in zip(graph.inputs, operands, strict=False):
            if self._is_fixed(operand):
                self._fixed.add(value)
            for table in self._tables:
                if not isinstance(operand, Lit) and operand in table:
                    table[value] = table[operand]

    def _custom(self, node) -> None:
        """The body says how parameters are used; its derivative would say it again."""
        for body in node.subs[:1]:
            self._enter(body, node.ins)
            self._run(body)
            for value, out in zip(node.outs, body.outputs, strict=True):
                for table in (self._derived, self._carriers):
                    places = self.view(out) or (
                        None if isinstance(out, Lit) else table.get(out)
                    )
                    if places is not None:
                        table[value] = places

    def _move(self, node, move: Callable[[Places], Places]) -> None:
        """The first operand's axes in another order or number."""
        if isinstance(node.ins[0], Lit):
            return
        for table in self._tables:
            if node.ins[0] in table:
                table.update(dict.fromkeys(node.outs, move(table[node.ins[0]])))
        self._pass_sum(node)

    # -- one method a group of primitives --------------------------------------------

    def _same(self, node) -> None:
        self._move(node, lambda places: places)

    def _transpose(self, node) -> None:
        order = node.params["permutation"]
        self._move(node, lambda places: tuple(places[d] for d in order))

    def _squeeze(self, node) -> None:
        gone = node.params["dimensions"]
        self._move(
            node, lambda places: tuple(x for d, x in enumerate(places) if d not in gone)
        )

    def _broadcast(self, node) -> None:
        ndim = len(self._program.shape(node.outs[0]))

        def move(places: Places) -> Places:
            out = [frozenset()] * ndim
            for dim, target in enumerate(node.params["broadcast_dimensions"]):
                out[target] = places[dim]
            return tuple(out)

        self._move(node, move)

    def _reshape(self, node) -> None:
        before = self._program.shape(node.ins[0])
        after = self._program.shape(node.outs[0])

        def move(places: Places) -> Places:
            out = [frozenset()] * len(after)
            for ins, outs in reshape_blocks(before, after):
                merged = frozenset().union(*(places[k] for k in ins))
                for k in outs:
                    out[k] = merged
            return tuple(out)

        self._move(node, move)

    def _concatenate(self, node) -> None:
        views = [self.view(operand) for operand in node.ins]
        found = [view for view in views if view is not None]
        if found and len(found) == len(views):
            self._views[node.outs[0]] = _join(found)
        else:
            for view in found:
                self._use(view, "other")

    def _unstack(self, node) -> None:
        axis = node.params["axis"]
        self._move(node, lambda places: places[:axis] + places[axis + 1 :])

    def _pass_sum(self, node) -> None:
        if self._is_sum(node.ins[0]):
            self._sums.update(node.outs)

    def _is_sum(self, operand) -> bool:
        return not isinstance(operand, Lit) and operand in self._sums

    def _dot(self, node) -> None:
        contracting, batch = dot_numbers(node)
        pairs = zip(node.ins[:2], contracting, batch, strict=True)
        for operand, sums, batches in pairs:
            ndim = len(self._program.shape(operand))
            free = [d for d in range(ndim) if d not in (*sums, *batches)]
            places = self._carrier(operand)
            self._use(places, "in", sums)
            self._use(places, "batch", batches)
            self._use(places, "out", free)
        self._sums.update(node.outs)

    def _convolution(self, node) -> None:
        spec = node.params["dimension_numbers"]
        for operand, axes in zip(node.ins, (spec.lhs_spec, spec.rhs_spec), strict=True):
            places = self._carrier(operand)
            self._use(places, "out", [axes[0]])
            self._use(places, "in", [axes[1]])
        self._sums.update(node.outs)

    def _gather(self, node) -> None:
        numbers = node.params["dimension_numbers"]
        excluded = (*numbers.collapsed_slice_dims, *numbers.operand_batching_dims)
        ndim = len(self._program.shape(node.ins[0]))
        places = self._carrier(node.ins[0])
        self._use(places, "out", window_dims(ndim, excluded))
        self._use(places, "other", excluded)
        self._sums.update(node.outs)

    def _add(self, node) -> None:
        one, two = node.ins
        for operand, other in ((one, two), (two, one)):
            self._use(self.view(operand), "bias" if self._is_sum(other) else "shift")
        if any(map(self._is_sum, node.ins)):
            self._sums.update(node.outs)

    def _sub(self, node) -> None:
        for operand in node.ins:
            self._use(self.view(operand), "shift")

    def _mul(self, node) -> None:
        for operand, other in (node.ins, node.ins[::-1]):
            if isinstance(other, Lit) and self.view(operand) is not None:
                self._views[node.outs[0]] = self._views[operand]  # a scaled view
                return
        for operand in node.ins:
            self._use(self.view(operand), "scale")

    def _div(self, node) -> None:
        if isinstance(node.ins[1], Lit) and self.view(node.ins[0]) is not None:
            self._views[node.outs[0]] = self._views[node.ins[0]]
            return
        for operand in node.ins:
            self._use(self.view(operand), "scale")

    def _scan(self, node) -> None:
        num_consts, num_carry = scan_parts(node.params)
        (body,) = node.subs
        self._enter(body, node.ins[:num_consts])
        start = num_consts + num_carry
        for value, operand in zip(body.inputs[start:], node.ins[start:], strict=True):
            for table in self._tables:
                if not isinstance(operand, Lit) and operand in table:
                    table[value] = table[operand][1:]
            if self._is_fixed(operand):
                self._fixed.add(value)

    def _while(self, node) -> None:
        _, body = node.subs
        first, num = node.params["cond_nconsts"], node.params["body_nconsts"]
        self._enter(body, node.ins[first : first + num])

    def _cond(self, node) -> None:
        for branch in node.subs:
            self._enter(branch, node.ins[1:])


def _join(rows: Sequence[Places]) -> Places:
    return tuple(frozenset().union(*axes) for axes in zip(*rows, strict=True))


def _keeps_zero(node) -> bool:
    """Is the result 0 wherever the one parameter in it is 0?"""
    if node.name == "integer_pow":
        return node.params["y"] > 0
    return node.name in ("mul", "and", *KEEP_ZERO) or (
        node.name == "div" and isinstance(node.ins[1], Lit)
    )


def _num_axes(places: Places) -> int:
    return sum(map(bool, places))


_HANDLERS = {
    **dict.fromkeys(VIEWS, UsageAnalysis._same),
    "transpose": UsageAnalysis._transpose,
    "squeeze": UsageAnalysis._squeeze,
    "broadcast_in_dim": UsageAnalysis._broadcast,
    "reshape": UsageAnalysis._reshape,
    "concatenate": UsageAnalysis._concatenate,
    "split": UsageAnalysis._same,
    "unstack": UsageAnalysis._unstack,
    "dot_general": UsageAnalysis._dot,
    "ragged_dot_general": UsageAnalysis._dot,
    "conv_general_dilated": UsageAnalysis._convolution,
    "gather": UsageAnalysis._gather,
    "add": UsageAnalysis._add,
    "add_any": UsageAnalysis._add,
    "sub": UsageAnalysis._sub,
    "mul": UsageAnalysis._mul,
    "div": UsageAnalysis._div,
    "scan": UsageAnalysis._scan,
    "while": UsageAnalysis._while,
    "cond": UsageAnalysis._cond,
    **dict.fromkeys(SCATTERS, lambda roles, node: None),
    **dict.fromkeys(CUSTOM_CALLS, lambda roles, node: None),
}
