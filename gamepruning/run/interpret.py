"""Run a labelled program: gated at full size, or at the sizes that a mask leaves."""

import copy
from collections.abc import Callable, Collection, Sequence
from math import prod
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from gamepruning.trace.program import (
    CUSTOM_CALLS,
    Graph,
    Lit,
    Node,
    Operand,
    apply_as_is,
    bind,
    is_inexact,
    scan_parts,
)
from gamepruning.trace.rules.rebind import take
from gamepruning.trace.rules.registry import REBIND_RULES
from gamepruning.trace.units import Columns, kept_entries

Tap = Callable[[Any, int, np.ndarray], None]


class Interpreter:
    """Evaluates graphs; the two subclasses say what happens at a node."""

    def __init__(self, analysis, columns: Columns):
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
            outs = self.step(node, [self.read(env, operand) for operand in node.ins])
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

    # -- bodies ----------------------------------------------------------------------

    def run_nested(self, node: Node, args: list) -> list:
        """Rebuild a loop, branch or custom derivative around its interpreted body."""
        return getattr(self, f"_{_NESTED[node.name]}")(node, args)

    def _scan(self, node: Node, args: list) -> list:
        (body,) = node.subs
        num_consts, num_carry = scan_parts(node.params)
        consts = args[:num_consts]
        carry, stacked = args[num_consts:][:num_carry], args[num_consts + num_carry :]

        def turn(carry, entry):
            outs = self.run(body, [*consts, *carry, *entry])
            return outs[:num_carry], outs[num_carry:]

        carry, rows = lax.scan(
            turn,
            [jnp.asarray(c) for c in carry],
            stacked,
            length=node.params["length"],
            reverse=node.params["reverse"],
            unroll=node.params["unroll"],
        )
        return [*carry, *rows]

    def _while(self, node: Node, args: list) -> list:
        condition, body = node.subs
        num_cond, num_body = node.params["cond_nconsts"], node.params["body_nconsts"]
        cond_consts, rest = args[:num_cond], args[num_cond:]
        body_consts, carry = rest[:num_body], rest[num_body:]
        return lax.while_loop(
            lambda carry: self.run(condition, [*cond_consts, *carry])[0],
            lambda carry: self.run(body, [*body_consts, *carry]),
            [jnp.asarray(c) for c in carry],
        )

    def _cond(self, node: Node, args: list) -> list:
        branches = [
            lambda *operands, branch=branch: self.run(branch, operands)
            for branch in node.subs
        ]
        return lax.switch(args[0], branches, *args[1:])

    def _custom_jvp(self, node: Node, args: list) -> list:
        body, rule = node.subs
        inexact = [is_inexact(self.program.aval(operand)) for operand in node.ins]

        @jax.custom_jvp
        def call(*primals):
            return tuple(self.run(body, primals))

        @call.defjvp
        def derivative(primals, tangents):
            moving = [t for t, ok in zip(tangents, inexact, strict=True) if ok]
            found = iter(self.run(rule, [*primals, *moving]))
            outs = call(*primals)
            return outs, tuple(
                next(found)
                if is_inexact(out)
                else np.zeros(out.shape, jax.dtypes.float0)
                for out in outs
            )

        return list(call(*args))

    def _custom_vjp(self, node: Node, args: list) -> list:
        body, rule = node.subs
        inexact = [is_inexact(self.program.aval(operand)) for operand in node.ins]
        moving = [is_inexact(self.program.aval(value)) for value in node.outs]

        @jax.custom_vjp
        def call(*primals):
            return tuple(self.run(body, primals))

        def backward(primals, cotangents):
            given = [c for c, ok in zip(cotangents, moving, strict=True) if ok]
            found = iter(self.run(rule, [*primals, *given]))
            return tuple(next(found) if ok else None for ok in inexact)

        call.defvjp(lambda *primals: (call(*primals), primals), backward)
        return list(call(*args))


_NESTED = {
    "scan": "scan",
    "while": "while",
    "cond": "cond",
    "custom_jvp_call": "custom_jvp",
    "custom_vjp_call": "custom_vjp",
    "custom_vjp_call_jaxpr": "custom_vjp",
}


class Gated(Interpreter):
    """Full size; entries are multiplied by their gates where they are summed over.

    Gates sit on the activation at the input of each contraction, so that weights stay
    shared between coalitions and a batch of gates folds into the batch of examples.
    Where a matrix product has two `fixed` operands, the same under all gates, the
    smaller one is gated instead: a batch of gates then makes one large product.
    """

    def __init__(
        self,
        analysis,
        columns: Columns,
        gates,
        tap: Tap | None = None,
        fixed: Collection[int] = (),
    ):
        super().__init__(analysis, columns)
        self._gates = gates
        self._tap = tap
        self._fixed = fixed
        self.sites = gated_sites(analysis, columns)

    def step(self, node: Node, args: list) -> list:
        """Gate the operands, then apply the node as it is."""
        sites = self.sites.get(node, ())
        for operand, dim, columns in sites:
            operand, dim = self._place(node, operand, dim)
            args[operand] = self._gate(args[operand], dim, columns)
        if sites:
            return bind(node.primitive, node.params, args)
        if not self._gates_inside(node):
            return apply_as_is(node, args)
        if self._tap is not None and node.name in CUSTOM_CALLS:
            return self.run(node.subs[0], args)
        if self._tap is not None and node.name == "scan":
            return self._unrolled_scan(node, args)
        silent = copy.copy(self)  # a tap must not see what is traced in a body
        silent._tap = None
        return silent.run_nested(node, args)

    def gated_operands(self, nodes: Sequence[Node]) -> list[Operand]:
        """What is multiplied by gates at these nodes."""
        return [
            node.ins[self._place(node, operand, dim)[0]]
            for node in nodes
            for operand, dim, _ in self.sites.get(node, ())
        ]

    def _place(self, node: Node, operand: int, dim: int) -> tuple[int, int]:
        """Where to gate: the smaller operand, of a product of fixed operands."""
        if node.name != "dot_general" or not all(x in self._fixed for x in node.ins):
            return operand, dim
        contracted, _ = node.params["dimension_numbers"]
        sizes = [prod(self.program.shape(x)) for x in node.ins]
        if dim not in contracted[operand] or sizes[operand] <= sizes[1 - operand]:
            return operand, dim
        return 1 - operand, contracted[1 - operand][contracted[operand].index(dim)]

    # A derivative rule knows nothing of gates. It serves the node's own operands; the
    # gates get the derivative of the gated body.

    def _custom_jvp(self, node: Node, args: list) -> list:
        body, rule = node.subs
        inexact = [is_inexact(self.program.aval(operand)) for operand in node.ins]

        @jax.custom_jvp
        def call(gates, *primals):
            return tuple(self._with(gates).run(body, primals))

        @call.defjvp
        def derivative(primals, tangents):
            gates, *primals = primals
            moving = [t for t, ok in zip(tangents[1:], inexact, strict=True) if ok]
            found = iter(self._with(gates).run(rule, [*primals, *moving]))
            outs, by_gates = jax.jvp(
                lambda s: self._with(s).run(body, primals), (gates,), tangents[:1]
            )
            return tuple(outs), tuple(
                next(found) + by_gate if is_inexact(out) else by_gate
                for out, by_gate in zip(outs, by_gates, strict=True)
            )

        return list(call(self._gates, *args))

    def _custom_vjp(self, node: Node, args: list) -> list:
        body, rule = node.subs
        inexact = [is_inexact(self.program.aval(operand)) for operand in node.ins]
        moving = [is_inexact(self.program.aval(value)) for value in node.outs]
        inside = self._gated_inside(body)

        @jax.custom_vjp
        def call(gates, *primals):
            return tuple(self._with(gates).run(body, primals))

        def forward(gates, *primals):
            return call(gates, *primals), (gates, primals)

        def backward(residuals, cotangents):
            gates, primals = residuals
            given = [c for c, ok in zip(cotangents, moving, strict=True) if ok]
            own = self._with(jnp.where(inside, gates, jnp.ones_like(gates)))
            found = iter(own.run(rule, [*primals, *given]))
            operands = [
                own._gate_all(operand, next(found)) if ok else None
                for operand, ok in zip(node.ins, inexact, strict=True)
            ]
            if gates.dtype == bool:
                return (None, *operands)
            _, pull = jax.vjp(lambda s: tuple(self._with(s).run(body, primals)), gates)
            return (*pull(tuple(cotangents)), *operands)

        call.defvjp(forward, backward)
        return list(call(self._gates, *args))

    def _with(self, gates) -> "Gated":
        """The same with other gates."""
        other = copy.copy(self)
        other._gates = gates
        return other

    def _gated_inside(self, graph: Graph) -> np.ndarray:
        """The players that are gated in a graph, bool [N]."""
        found = np.zeros(len(self._gates) + 1, bool)
        for node in graph.nodes:
            for _, _, columns in self.sites.get(node, ()):
                found[columns] = True
            for sub in node.subs:
                found[1:] |= self._gated_inside(sub)
        return found[1:]

    def _gate_all(self, operand: Operand, array):
        """Gate every axis: the cotangent of an operand that is gated inside."""
        if not isinstance(operand, Lit):
            for dim, label in enumerate(self.analysis.label(operand)):
                if (columns := self.columns(label)) is not None:
                    array = self._gate(array, dim, columns)
        return array

    def _gates_inside(self, node: Node) -> bool:
        return any(
            inner in self.sites or self._gates_inside(inner)
            for graph in node.subs
            for inner in graph.nodes
        )

    def _gate(self, array, dim: int, columns: np.ndarray):
        if self._tap is not None:
            self._tap(array, dim, columns)
        gates = entry_gates(self._gates, columns)
        gates = jnp.expand_dims(gates, [k for k in range(np.ndim(array)) if k != dim])
        if gates.dtype == bool:
            return jnp.where(gates, array, jnp.zeros((), array.dtype))
        return array * gates.astype(array.dtype)

    def _unrolled_scan(self, node: Node, args: list) -> list:
        """A loop in Python, so that what a tap sees is not inside a trace."""
        (body,) = node.subs
        num_consts, num_carry = scan_parts(node.params)
        consts, carry = args[:num_consts], args[num_consts:][:num_carry]
        stacked, rows = args[num_consts + num_carry :], []
        order = range(node.params["length"])
        for k in reversed(order) if node.params["reverse"] else order:
            outs = self.run(body, [*consts, *carry, *(x[k] for x in stacked)])
            carry = outs[:num_carry]
            rows.append(outs[num_carry:])
        rows = rows[::-1] if node.params["reverse"] else rows
        return [*carry, *map(jnp.stack, zip(*rows, strict=True))]


def entry_gates(gates, columns: np.ndarray):
    """The gate of each entry of an axis: the product of its players' gates."""
    first = columns[:, 0]
    if (
        columns.shape[1] == 1
        and first[0]
        and np.array_equal(first, np.arange(first[0], first[0] + len(first)))
    ):
        return gates[first[0] - 1 : first[0] - 1 + len(first)]
    padded = jnp.concatenate([jnp.ones(1, gates.dtype), gates])
    if columns.shape[1] == 1:
        return padded[first]
    picked = padded[columns]
    return picked.all(axis=1) if gates.dtype == bool else picked.prod(axis=1)


def gated_sites(analysis, columns: Columns) -> dict[Node, list]:
    """By node: (operand, axis, columns) of every place where players are gated."""
    sites: dict[Node, list] = {}
    for site in analysis.sites:
        labels = analysis.label(site.node.ins[site.operand])
        found = columns(labels[site.dim])
        if found is not None:
            sites.setdefault(site.node, []).append((site.operand, site.dim, found))
    return sites


class Compact(Interpreter):
    """Only what a mask keeps: every array at its smaller size."""

    def __init__(self, analysis, columns: Columns, mask: np.ndarray):
        super().__init__(analysis, columns)
        self._mask = mask
        self._kept: dict[int, tuple] = {}

    def kept(self, operand) -> tuple:
        """For each axis the indices that stay, or None for all."""
        if isinstance(operand, Lit):
            return ()
        if operand not in self._kept:
            labels = self.analysis.labels[operand]
            self._kept[operand] = tuple(
                kept_entries(self.columns(label), self._mask) for label in labels
            )
        return self._kept[operand]

    def shape(self, operand) -> tuple:
        """The shape that an operand shrinks to."""
        return tuple(
            size if kept is None else len(kept)
            for size, kept in zip(
                self.program.shape(operand), self.kept(operand), strict=True
            )
        )

    def is_cut(self, operand) -> bool:
        """True if the operand loses entries."""
        return any(kept is not None for kept in self.kept(operand))

    def constant(self, value: int):
        """A constant, cut to what stays of it."""
        array = self.program.constants[value]
        for axis, kept in enumerate(self.kept(value)):
            if kept is not None:
                take_ = np.take if isinstance(array, np.ndarray) else take
                array = take_(array, kept, axis)
        return array

    def step(self, node: Node, args: list) -> list:
        """Apply a node at its smaller sizes."""
        outs = self._apply(node, args)
        for value, out in zip(node.outs, outs, strict=True):
            if np.shape(out) != self.shape(value):
                raise AssertionError(
                    f"{node.name} gave {np.shape(out)}, expected {self.shape(value)}: "
                    "a rule of gamepruning is wrong; please report it"
                )
        return outs

    def _apply(self, node: Node, args: list) -> list:
        if node.subs and self._cuts_inside(node):
            return self.run_nested(node, args)
        cut_in = any(map(self.is_cut, node.ins))
        cut_out = any(map(self.is_cut, node.outs))
        if not cut_in and not cut_out:
            return apply_as_is(node, args)
        rule = REBIND_RULES.get(node.name)
        if rule is not None:
            return rule(Sizes(self, node), node, *args)
        if cut_in:
            return bind(node.primitive, node.params, args)
        outs = apply_as_is(node, args)
        return [self._cut(v, out) for v, out in zip(node.outs, outs, strict=True)]

    def _cut(self, value: int, array):
        for axis, kept in enumerate(self.kept(value)):
            if kept is not None:
                array = take(array, kept, axis)
        return array

    def _cuts_inside(self, node: Node) -> bool:
        return any(
            any(map(self.is_cut, (*inner.ins, *inner.outs))) or self._cuts_inside(inner)
            for graph in node.subs
            for inner in graph.nodes
        ) or any(map(self.is_cut, (*node.ins, *node.outs)))


class Sizes:
    """What a rebind rule may ask: the shapes before and after."""

    def __init__(self, compact: Compact, node: Node):
        self._compact, self._node = compact, node

    def shape_in(self, operand: int) -> tuple:
        """The full shape of an operand."""
        return self._compact.program.shape(self._node.ins[operand])

    def out(self, number: int) -> tuple:
        """The smaller shape of a result."""
        return self._compact.shape(self._node.outs[number])

    def kept_in(self, operand: int, dim: int) -> np.ndarray | None:
        """The kept indices of an operand's axis, None for all."""
        return self._compact.kept(self._node.ins[operand])[dim]

    def kept_out(self, number: int, dim: int) -> np.ndarray | None:
        """The kept indices of a result's axis, None for all."""
        return self._compact.kept(self._node.outs[number])[dim]
