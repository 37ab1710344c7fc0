"""How each parameter axis is used: produced, read, added, scaled."""

from collections.abc import Sequence

from gamepruning.players.ir import CUSTOM_CALLS, Lit
from gamepruning.players.rules.control import scan_parts
from gamepruning.players.rules.index import SCATTERS, window_dims
from gamepruning.players.rules.label import ELEMENTWISE, reshape_blocks

Places = tuple[frozenset, ...]
VIEWS = (
    "convert_element_type copy copy_p stop_gradient reduce_precision rev slice neg "
    "sharding_constraint optimization_barrier abs"
).split()
PRIORITY = ("out", "bias", "in", "batch", "scale", "shift", "input", "other")


class Roles:
    """A forward pass that follows the views of each parameter.

    `roles[(leaf, axis)]` is the set of ways in which the axis is used. A value is a
    view of leaves when each of its entries is an entry of a leaf (or its negative).
    """

    def __init__(self, analysis, num_leaves: int):
        self.roles: dict[tuple[int, int], set[str]] = {}
        self.num_leaves = num_leaves
        self._program = analysis.program
        self._views: dict[int, Places] = {}
        self._derived: dict[int, Places] = {}
        self._sums: set[int] = set()  # results of contractions, plus biases
        graph = self._program.graph
        for leaf, value in enumerate(graph.inputs[:num_leaves]):
            ndim = len(self._program.shape(value))
            self._views[value] = tuple(frozenset([(leaf, d)]) for d in range(ndim))
        self._run(graph)

    def of(self, place: tuple[int, int]) -> str:
        """The most telling role of an axis."""
        found = self.roles.get(place, set())
        return next((role for role in PRIORITY if role in found), "other")

    def view(self, operand) -> Places | None:
        """For each axis of an operand, the parameter axes it is a view of."""
        return None if isinstance(operand, Lit) else self._views.get(operand)

    def origin(self, operand) -> Places | None:
        """Like `view`, but also of what is computed from parameters entry by entry."""
        view = self.view(operand)
        if view is None and not isinstance(operand, Lit):
            return self._derived.get(operand)
        return view

    def _derive(self, node) -> None:
        """Note from which parameter axes an entry-by-entry result comes."""
        ndim = len(self._program.shape(node.outs[0]))
        found = []
        for operand in node.ins:
            if self._program.shape(operand):
                origin = self.origin(operand)
                if origin is None or len(origin) != ndim:
                    return
                found.append(origin)
        if found:
            joined = zip(*found, strict=True)
            self._derived[node.outs[0]] = tuple(frozenset().union(*v) for v in joined)

    def _use(self, operand, role: str, dims: Sequence[int] | None = None) -> None:
        view = self.view(operand)
        if view is not None:
            for dim in range(len(view)) if dims is None else dims:
                for place in view[dim]:
                    self.roles.setdefault(place, set()).add(role)

    def _run(self, graph) -> None:
        for node in graph.nodes:
            handler = _HANDLERS.get(node.name)
            if handler is not None:
                handler(self, node)
            else:
                for operand in node.ins:
                    self._use(operand, "other")
            for sub in node.subs:
                if node.name not in ("scan", "while", "cond"):
                    self._enter(sub, node.ins[: len(sub.inputs)])
                self._run(sub)
            if node.name in CUSTOM_CALLS and node.subs:
                for value, out in zip(node.outs, node.subs[0].outputs, strict=True):
                    if (origin := self.origin(out)) is not None:
                        self._derived[value] = origin
            elif node.name in ELEMENTWISE and node.outs[0] not in self._views:
                self._derive(node)

    def _enter(self, graph, operands) -> None:
        for value, operand in zip(graph.inputs, operands, strict=False):
            view = self.view(operand)
            if view is not None:
                self._views[value] = view

    # -- one method a group of primitives --------------------------------------------

    def _elementwise_view(self, node) -> None:
        view = self.view(node.ins[0])
        if view is not None:
            self._views[node.outs[0]] = view
        elif self._is_sum(node.ins[0]):
            self._sums.add(node.outs[0])

    def _transpose(self, node) -> None:
        view = self.view(node.ins[0])
        if view is not None:
            order = node.params["permutation"]
            self._views[node.outs[0]] = tuple(view[d] for d in order)
        self._pass_sum(node)

    def _squeeze(self, node) -> None:
        view = self.view(node.ins[0])
        if view is not None:
            gone = node.params["dimensions"]
            rest = tuple(v for d, v in enumerate(view) if d not in gone)
            self._views[node.outs[0]] = rest
        self._pass_sum(node)

    def _broadcast(self, node) -> None:
        view = self.view(node.ins[0])
        if view is not None:
            out = [frozenset()] * len(self._program.shape(node.outs[0]))
            for dim, target in enumerate(node.params["broadcast_dimensions"]):
                out[target] = view[dim]
            self._views[node.outs[0]] = tuple(out)
        self._pass_sum(node)

    def _reshape(self, node) -> None:
        view = self.view(node.ins[0])
        if view is not None:
            before = self._program.shape(node.ins[0])
            after = self._program.shape(node.outs[0])
            out = [frozenset()] * len(after)
            for ins, outs in reshape_blocks(before, after):
                merged = frozenset().union(*(view[k] for k in ins))
                for k in outs:
                    out[k] = merged
            self._views[node.outs[0]] = tuple(out)
        self._pass_sum(node)

    def _concatenate(self, node) -> None:
        views = [self.view(operand) for operand in node.ins]
        found = [view for view in views if view is not None]
        if found and len(found) == len(views):
            joined = zip(*found, strict=True)
            self._views[node.outs[0]] = tuple(frozenset().union(*v) for v in joined)
        else:
            for operand in node.ins:
                self._use(operand, "other")

    def _split(self, node) -> None:
        view = self.view(node.ins[0])
        if view is not None:
            self._views.update(dict.fromkeys(node.outs, view))
        else:
            self._pass_sum(node)

    def _pass_sum(self, node) -> None:
        if self._is_sum(node.ins[0]):
            self._sums.update(node.outs)

    def _is_sum(self, operand) -> bool:
        return not isinstance(operand, Lit) and operand in self._sums

    def _dot(self, node) -> None:
        contracting, batch = node.params["dimension_numbers"]
        for operand, sums, batches in zip(node.ins, contracting, batch, strict=True):
            ndim = len(self._program.shape(operand))
            free = [d for d in range(ndim) if d not in (*sums, *batches)]
            self._use(operand, "in", sums)
            self._use(operand, "batch", batches)
            self._use(operand, "out", free)
        self._sums.update(node.outs)

    def _convolution(self, node) -> None:
        spec = node.params["dimension_numbers"]
        self._use(node.ins[0], "out", [spec.lhs_spec[0]])
        self._use(node.ins[0], "in", [spec.lhs_spec[1]])
        self._use(node.ins[1], "out", [spec.rhs_spec[0]])
        self._use(node.ins[1], "in", [spec.rhs_spec[1]])
        self._sums.update(node.outs)

    def _gather(self, node) -> None:
        numbers = node.params["dimension_numbers"]
        excluded = (*numbers.collapsed_slice_dims, *numbers.operand_batching_dims)
        ndim = len(self._program.shape(node.ins[0]))
        self._use(node.ins[0], "out", window_dims(ndim, excluded))
        self._use(node.ins[0], "other", excluded)
        self._sums.update(node.outs)

    def _add(self, node) -> None:
        one, two = node.ins
        for operand, other in ((one, two), (two, one)):
            self._use(operand, "bias" if self._is_sum(other) else "shift")
        if any(map(self._is_sum, node.ins)):
            self._sums.update(node.outs)

    def _sub(self, node) -> None:
        for operand in node.ins:
            self._use(operand, "shift")

    def _mul(self, node) -> None:
        for operand, other in (node.ins, node.ins[::-1]):
            if isinstance(other, Lit) and self.view(operand) is not None:
                self._views[node.outs[0]] = self._views[operand]  # a scaled view
                return
        for operand in node.ins:
            self._use(operand, "scale")

    def _div(self, node) -> None:
        if isinstance(node.ins[1], Lit) and self.view(node.ins[0]) is not None:
            self._views[node.outs[0]] = self._views[node.ins[0]]
            return
        for operand in node.ins:
            self._use(operand, "scale")

    def _scan(self, node) -> None:
        num_consts, num_carry = scan_parts(node.params)
        (body,) = node.subs
        self._enter(body, node.ins[:num_consts])
        start = num_consts + num_carry
        for value, operand in zip(body.inputs[start:], node.ins[start:], strict=True):
            view = self.view(operand)
            if view is not None:
                self._views[value] = view[1:]

    def _while(self, node) -> None:
        _, body = node.subs
        first, num = node.params["cond_nconsts"], node.params["body_nconsts"]
        self._enter(body, node.ins[first : first + num])

    def _cond(self, node) -> None:
        for branch in node.subs:
            self._enter(branch, node.ins[1:])


_HANDLERS = {
    **dict.fromkeys(VIEWS, Roles._elementwise_view),
    "transpose": Roles._transpose,
    "squeeze": Roles._squeeze,
    "broadcast_in_dim": Roles._broadcast,
    "reshape": Roles._reshape,
    "concatenate": Roles._concatenate,
    "split": Roles._split,
    "unstack": Roles._split,
    "dot_general": Roles._dot,
    "conv_general_dilated": Roles._convolution,
    "gather": Roles._gather,
    "add": Roles._add,
    "add_any": Roles._add,
    "sub": Roles._sub,
    "mul": Roles._mul,
    "div": Roles._div,
    "scan": Roles._scan,
    "while": Roles._while,
    "cond": Roles._cond,
    **dict.fromkeys(SCATTERS, lambda roles, node: None),
    **dict.fromkeys(("custom_jvp_call", "custom_vjp_call"), lambda roles, node: None),
}
