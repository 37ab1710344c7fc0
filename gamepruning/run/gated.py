"""Run a program at full size, its players gated where they are summed over."""

import copy
from collections.abc import Callable, Collection, Sequence
from functools import cached_property
from math import prod
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from gamepruning.run.interpret import Interpreter
from gamepruning.trace.counts import Count
from gamepruning.trace.labels import LabelAnalysis
from gamepruning.trace.model import TracedModel
from gamepruning.trace.primitives import (
    ARG_REDUCTIONS,
    EXPONENTIALS,
    MATRIX_PRODUCTS,
    MAXIMA,
    SEARCHES,
)
from gamepruning.trace.program import Graph, Lit, Node, Operand, apply_as_is, bind
from gamepruning.trace.rules import contraction_of
from gamepruning.trace.units import Columns, kept_entries
from gamepruning.trees.placement import beside, keep_whole, look_up, take_traced

Tap = Callable[[Any, int, np.ndarray], None]
Sites = dict[Node, list[tuple[int, int, np.ndarray]]]  # (operand, axis, columns)
Tables = dict[Node, list[tuple[int, np.ndarray]]]  # (component of the index, columns)


class Gated(Interpreter):
    """Full size; entries are multiplied by their gates where they are summed over.

    Gates sit on the activation at the input of each contraction, so that weights stay
    shared between coalitions and a batch of gates folds into the batch of examples.
    Where a matrix product has two `fixed` operands, the same under all gates, the
    smaller one is gated instead: a batch of gates then makes one large product. So it
    does where the other operand is among the `weights`, which come with the gates:
    these are gated then. Where its sum is over at least two times `piece` entries,
    so many are gated and summed at a time: gated weights stay in a cache.

    Attributes:
      gates: the gates, float or bool [N]; None where nothing is run.
      sites: where which players are gated.
    """

    run_rules = ("run_gated", "run")

    def __init__(
        self,
        analysis: LabelAnalysis,
        columns: Columns,
        gates: Any,
        *,
        fixed: Collection[int] = (),
        weights: Collection[int] = (),
        piece: int = 0,
    ):
        super().__init__(analysis, columns)
        self.gates = gates
        self.sites = gated_sites(analysis, columns)
        self._counts = cut_counts(analysis, columns)
        self._tables = read_tables(analysis, columns)
        self._fixed = fixed
        self._weights = weights
        self._piece = piece

    def step(self, node: Node, args: list) -> list:
        """Gate the operands, then apply the node as it is."""
        sites, count = self.sites.get(node, ()), self._counts.get(node)
        if len(sites) == 1 and self._is_long(node, *sites[0][:2]):
            return self._in_pieces(node, args, *sites[0])
        is_search = node.name in SEARCHES | ARG_REDUCTIONS
        if sites and is_search and node not in self.analysis.below:
            return self._search(node, args[0], *sites[0][1:])
        for operand, dim, columns in sites:
            operand, dim = self._place(node, operand, dim)
            args[operand] = self._gate_at(node)(args[operand], dim, columns)
        if count is not None:
            number = count.number(self._entries(count))
            args[count.operand] = self._like(node.ins[count.operand], number)
        if sites or count is not None:
            outs = bind(node.primitive, node.params, args)
            if node in self.analysis.below:  # who left is found there as 0
                outs = [jnp.maximum(outs[0], jnp.zeros((), outs[0].dtype)), *outs[1:]]
            return outs
        if self._gates_inside(node):
            return self.run_nested(node, args)
        outs = apply_as_is(node, args)
        for table in self._tables.get(node, ()):
            outs = [self._read(node, args[1], outs[0], *table)]
        if self.analysis.lowest and node.name in EXPONENTIALS:
            return [self._bounded(*pair) for pair in zip(node.outs, outs, strict=True)]
        return outs

    @cached_property
    def depends(self) -> Sites:
        """The sites, and where numbers count entries of players."""
        found = dict(self.sites)
        for node, count in self._counts.items():
            labels = self.analysis.label(count.value)
            rows = [(count.operand, k, self.columns(labels[k])) for k in count.axes]
            counted = [(a, b, columns) for a, b, columns in rows if columns is not None]
            found[node] = [*self.sites.get(node, ()), *counted]
        for node, tables in self._tables.items():
            found[node] = [(1, 0, columns) for _, columns in tables]
        return found

    def gated_operands(self, nodes: Sequence[Node]) -> list[Operand]:
        """What is multiplied by gates at these nodes."""
        return [
            node.ins[self._place(node, operand, dim)[0]]
            for node in nodes
            for operand, dim, _ in self.sites.get(node, ())
        ]

    # -- for the rules that run bodies ---------------------------------------------

    def with_gates(self, gates: Any) -> "Gated":
        """The same with other gates."""
        other = copy.copy(self)
        other.gates = gates
        return other

    def gated_inside(self, graph: Graph) -> np.ndarray:
        """The players that are gated in a graph, bool [N]."""
        found = np.zeros(len(self.gates) + 1, bool)
        for node in graph.nodes:
            for *_, columns in (*self.sites.get(node, ()), *self._tables.get(node, ())):
                found[columns] = True
            for sub in node.subs:
                found[1:] |= self.gated_inside(sub)
        return found[1:]

    def gate_all(self, operand: Operand, array: Any) -> Any:
        """Gate every axis: the cotangent of an operand that is gated inside."""
        if not isinstance(operand, Lit):
            for dim, label in enumerate(self.analysis.label(operand)):
                if (columns := self.columns(label)) is not None:
                    array = self._gate(array, dim, columns)
        return array

    # -- counts --------------------------------------------------------------------

    def _entries(self, count: Count) -> jax.Array:
        """How many of the counted entries take part: the sum of their gates."""
        total = jnp.ones(())
        labels, sizes = (
            self.analysis.label(count.value),
            self.program.shape(count.value),
        )
        for axis in count.axes:
            columns = self.columns(labels[axis])
            if columns is None:
                total = total * sizes[axis]
            else:
                gates = entry_gates(self.gates, columns)
                total = total * gates.sum(
                    dtype=jnp.promote_types(gates.dtype, jnp.float32)
                )
        return total

    def _like(self, operand: Operand, number: Any) -> jax.Array:
        return jnp.asarray(number, self.program.aval(operand).dtype)

    # -- gates ---------------------------------------------------------------------

    def _gates_of(self, array: Any, columns: np.ndarray) -> jax.Array:
        """The gates of the entries along an axis of an array, on all its devices."""
        gates = entry_gates(beside(array, self.gates), columns)
        return keep_whole(gates, array)

    def _place(self, node: Node, operand: int, dim: int) -> tuple[int, int]:
        """Where to gate: the operand that keeps a batch of gates out of the other."""
        if not self._fixed or node.ins[operand] not in self._fixed:
            return operand, dim
        contraction = contraction_of(node)
        other = None if contraction is None else contraction.partner(operand, dim)
        if contraction is None or other is None:
            return operand, dim
        partner = node.ins[1 - operand]
        if partner in self._weights:
            return other if contraction.is_plain else (operand, dim)
        if partner not in self._fixed or node.name not in MATRIX_PRODUCTS:
            return operand, dim
        sizes = [prod(self.program.shape(value)) for value in node.ins]
        return (operand, dim) if sizes[operand] <= sizes[1 - operand] else other

    def _is_long(self, node: Node, operand: int, dim: int) -> bool:
        """True for a sum so long that its gated operand leaves the cache."""
        if not self._piece or node.name not in MATRIX_PRODUCTS:
            return False
        if node in self.analysis.lowest or node in self.analysis.whole:
            return False
        if not all(value in self._fixed for value in node.ins):
            return False
        contraction = contraction_of(node)
        assert contraction is not None
        size = self.program.shape(node.ins[operand])[dim]
        has_partner = contraction.partner(operand, dim) is not None
        return has_partner and size >= 2 * self._piece

    def _in_pieces(
        self, node: Node, args: list, operand: int, dim: int, columns: np.ndarray
    ) -> list:
        """A product that gates and sums one piece of the summed axis after another."""
        operand, dim = self._place(node, operand, dim)
        contraction = contraction_of(node)
        other = None if contraction is None else contraction.partner(operand, dim)
        assert other is not None
        gates = entry_gates(self.gates, columns)
        whole = [(operand, dim), other]

        def product(start: Any, size: int) -> jax.Array:
            part = list(args)
            for number, axis in whole:
                part[number] = lax.dynamic_slice_in_dim(args[number], start, size, axis)
            own = lax.dynamic_slice_in_dim(gates, start, size, 0)
            part[operand] = _gated_by(own, part[operand], dim)
            return bind(node.primitive, node.params, part)[0]

        piece = self._piece
        count, rest = divmod(len(columns), piece)
        total = lax.fori_loop(
            1,
            count,
            lambda k, total: total + product(k * piece, piece),
            product(0, piece),
        )
        return [total + product(count * piece, rest) if rest else total]

    def _gates_inside(self, node: Node) -> bool:
        return any(
            inner in self.sites
            or inner in self._counts
            or inner in self._tables
            or self._gates_inside(inner)
            for graph in node.subs
            for inner in graph.nodes
        )

    def _search(
        self, node: Node, array: Any, dim: int, columns: np.ndarray
    ) -> list[jax.Array]:
        """A search that finds those who stay before those who left, if they tie, too.

        Equal entries are found in their order, so those who left are put last.
        """
        array = self._gate_at(node)(array, dim, columns)
        gates = self._gates_of(array, columns)
        order = jnp.argsort(gates == 0, stable=True)
        array = take_traced(array, order, dim)
        *values, found = bind(node.primitive, node.params, [array])
        return [*values, look_up(order.astype(found.dtype), found)]

    def _read(
        self, node: Node, indices: Any, rows: Any, component: int, columns: np.ndarray
    ) -> jax.Array:
        """Rows of a table of parameters, 0 for who left: too few stay to be found."""
        numbers = indices[..., component]
        stays = look_up(self._gates_of(rows, columns) != 0, numbers)
        offsets = node.params["dimension_numbers"].offset_dims
        return jnp.where(
            jnp.expand_dims(stays, offsets), rows, jnp.zeros((), rows.dtype)
        )

    def _gate_at(self, node: Node) -> Callable[[Any, int, np.ndarray], jax.Array]:
        """How an operand is gated where this node reads it."""
        if node in self.analysis.below:
            return self._sink
        if node.name in ARG_REDUCTIONS - SEARCHES:
            return self._raise
        if node in self.analysis.lowest:
            is_alone = node.name in MAXIMA and node not in self.analysis.whole
            return self._lower_or_zero if is_alone else self._lower
        return self._share if node in self.analysis.whole else self._gate

    def _sink(self, array, dim: int, columns: np.ndarray):
        """Who left is below zero, where all others are at zero or above."""
        gates = _along(self._gates_of(array, columns), array, dim)
        stays = (gates > 0) | ~(gates > 0).any()
        gated = self._gate(array, dim, columns)
        return jnp.where(stays, gated, jnp.asarray(-1, array.dtype))

    def _lower(self, array, dim: int, columns: np.ndarray):
        """Who left is lower than everybody, unless nobody is in."""
        return self._beyond(array, dim, columns, 1)

    def _raise(self, array, dim: int, columns: np.ndarray):
        """Who left is higher than everybody, unless nobody is in."""
        return self._beyond(array, dim, columns, -1)

    def _beyond(self, array, dim: int, columns: np.ndarray, sign: int):
        gates = _along(self._gates_of(array, columns), array, dim)
        stays = (gates > 0) | ~(gates > 0).any()
        if gates.dtype != bool and jnp.issubdtype(array.dtype, jnp.inexact):
            share = jnp.log(jnp.where(gates > 0, gates, 1)).astype(array.dtype)
            array = array + sign * share
        bound = lowest_of(array.dtype) if sign > 0 else highest_of(array.dtype)
        return jnp.where(stays, array, bound)

    def _lower_or_zero(self, array, dim: int, columns: np.ndarray):
        """Who left is lower than everybody, and 0 if nobody is in."""
        is_empty = ~(self._gates_of(array, columns) > 0).any()
        array = self._lower(array, dim, columns)
        return jnp.where(is_empty, jnp.zeros_like(array), array)

    def _bounded(self, value: int, array: Any) -> Any:
        """An exponential with 0 for what is infinite and left.

        A softmax subtracts the highest of those who stay. Whoever left may be so far
        above that its exponential is infinite, and times a gate of 0 that is NaN.
        """
        for dim, label in enumerate(self.analysis.label(value)):
            if (columns := self.columns(label)) is not None:
                gates = self._gates_of(array, columns)
                is_out = jnp.isinf(array) & (_along(gates, array, dim) == 0)
                array = jnp.where(is_out, jnp.zeros_like(array), array)
        return array

    def _share(self, array, dim: int, columns: np.ndarray):
        """Gated, unless nobody is in: what it divides is gated where it is read."""
        gates = _along(self._gates_of(array, columns), array, dim)
        gates = jnp.where((gates > 0).any(), gates, jnp.ones_like(gates))
        return _times(gates, array)

    def _gate(self, array, dim: int, columns: np.ndarray):
        return _gated_by(self._gates_of(array, columns), array, dim)


class Tapped(Gated):
    """Gated, with a tap that sees every array that is gated.

    Bodies run in the open where that is possible: loops in Python, without custom
    derivatives. A while loop or a branch is traced, and the tap does not see into it.
    """

    in_the_open = True

    def __init__(self, analysis: LabelAnalysis, columns: Columns, gates: Any, tap: Tap):
        super().__init__(analysis, columns, gates)
        self._tap = tap

    def run_nested(self, node: Node, args: list) -> list:
        """In the open, or silently."""
        rule = self.analysis.rules.find("run_open", node.name)
        if rule is not None:
            return rule(self, node, args)
        silent = Gated(self.analysis, self.columns, self.gates)
        return silent.run_nested(node, args)

    def _gate(self, array, dim: int, columns: np.ndarray):
        self._tap(array, dim, columns)
        return super()._gate(array, dim, columns)


def _gated_by(gates: jax.Array, array: Any, dim: int) -> jax.Array:
    """An array whose entries along an axis are gated."""
    return _times(_along(gates, array, dim), array)


def _times(gates: jax.Array, array: Any) -> jax.Array:
    """Gated entries; an integer has no share of itself, so it is in or out."""
    if gates.dtype == bool or not jnp.issubdtype(array.dtype, jnp.inexact):
        return jnp.where(gates != 0, array, jnp.zeros((), array.dtype))
    return array * gates.astype(array.dtype)


def _along(gates: jax.Array, array: Any, dim: int) -> jax.Array:
    """Gates as an array of as many axes as another, along one of them."""
    return jnp.expand_dims(gates, [k for k in range(np.ndim(array)) if k != dim])


def lowest_of(dtype: Any) -> Any:
    """The number below all others of a type."""
    if jnp.issubdtype(dtype, jnp.inexact):
        return np.asarray(-np.inf, dtype)
    is_bool = jnp.issubdtype(dtype, jnp.bool_)
    return np.asarray(False if is_bool else jnp.iinfo(dtype).min, dtype)


def highest_of(dtype: Any) -> Any:
    """The number above all others of a type."""
    if jnp.issubdtype(dtype, jnp.inexact):
        return np.asarray(np.inf, dtype)
    is_bool = jnp.issubdtype(dtype, jnp.bool_)
    return np.asarray(True if is_bool else jnp.iinfo(dtype).max, dtype)


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


def shortens_means(model: TracedModel, mask: np.ndarray) -> bool:
    """True if a mask takes entries of an axis whose means divide by what stays.

    Then the model that is left is not the full one with zeros in their place.
    """
    trace = model.base
    units = mask if model.layers is None else model.layers.all_of(mask)
    return any(
        kept_entries(trace.columns(label), units) is not None
        for count in trace.analysis.counts.values()
        for label in trace.analysis.label(count.value)
    )


def cut_counts(analysis: LabelAnalysis, columns: Columns) -> dict[Node, Count]:
    """The numbers that count entries of players: see `trace.counts`."""
    return {
        node: count
        for node, count in analysis.counts.items()
        if any(
            columns(analysis.label(count.value)[axis]) is not None
            for axis in count.axes
        )
    }


def read_tables(analysis: LabelAnalysis, columns: Columns) -> Tables:
    """Where rows of parameters are read at the numbers that a search finds.

    Activations are gated there; a table is not, so that a gate does not count twice.
    """
    tables: Tables = {}
    for (node, component), search in analysis.picks.used.items():
        found = columns(search.label)
        is_read = node.name == "gather" and not analysis.is_varying(node.ins[0])
        if found is not None and is_read:
            tables.setdefault(node, []).append((component, found))
    return tables


def gated_sites(analysis: LabelAnalysis, columns: Columns) -> Sites:
    """By node: (operand, axis, columns) of every place where players are gated."""
    sites: Sites = {}
    for site in analysis.sites:
        labels = analysis.label(site.node.ins[site.operand])
        found = columns(labels[site.dim])
        if found is not None:
            sites.setdefault(site.node, []).append((site.operand, site.dim, found))
    return sites
