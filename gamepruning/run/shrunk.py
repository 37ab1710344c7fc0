"""Run a program at the sizes that a mask leaves."""

from dataclasses import replace
from math import prod
from typing import Any

import jax
import jax.core
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding

from gamepruning.run.gated import cut_counts, lowest_of
from gamepruning.run.interpret import Interpreter
from gamepruning.trace.labels import LabelAnalysis
from gamepruning.trace.program import Lit, Node, Operand, apply_as_is, bind, take
from gamepruning.trace.rules.registry import is_taught
from gamepruning.trace.units import Columns, kept_entries
from gamepruning.trees.placement import fit_sharding, sharding_of
from gamepruning.types import InputError


class Shrunk(Interpreter):
    """Only what a mask keeps: every array at its smaller size.

    `cut` holds the constants of the program as this mask cuts them, and is filled.
    """

    def __init__(
        self,
        analysis: LabelAnalysis,
        columns: Columns,
        mask: np.ndarray,
        cut: dict[int, Any] | None = None,
    ):
        super().__init__(analysis, columns)
        self.mask = mask
        self._cut_constants = {} if cut is None else cut
        self._kept: dict[int, tuple] = {}
        self._counts = cut_counts(analysis, columns)

    def kept(self, operand: Operand) -> tuple:
        """For each axis the indices that stay, or None for all."""
        if isinstance(operand, Lit):
            return ()
        if operand not in self._kept:
            labels = self.analysis.label(operand)
            self._kept[operand] = tuple(
                kept_entries(self.columns(label), self.mask) for label in labels
            )
        return self._kept[operand]

    def shape(self, operand: Operand) -> tuple:
        """The shape that an operand shrinks to."""
        return tuple(
            size if kept is None else len(kept)
            for size, kept in zip(
                self.program.shape(operand), self.kept(operand), strict=True
            )
        )

    def is_cut(self, operand: Operand) -> bool:
        """True if the operand loses entries."""
        return any(kept is not None for kept in self.kept(operand))

    def constant(self, value: int):
        """A constant, cut to what stays of it: once, where it is an array at hand."""
        array = self.program.constants[value]
        if not self.is_cut(value):
            return array
        if not _is_at_hand(array):
            return self._cut(value, array)
        if value not in self._cut_constants:
            with jax.ensure_compile_time_eval():  # under jit, too
                self._cut_constants[value] = self._cut(value, array)
        return self._cut_constants[value]

    def step(self, node: Node, args: list) -> list:
        """Apply a node at its smaller sizes."""
        outs = self._apply(node, args)
        for value, out in zip(node.outs, outs, strict=True):
            if np.shape(out) != self.shape(value):
                told = f"{node.name} gave {np.shape(out)}, expected {self.shape(value)}"
                if is_taught(node.name):
                    raise InputError(
                        f"{told} of the smaller arrays: give its register_rule a "
                        "rebind rule that says so"
                    )
                raise AssertionError(
                    f"{told}: a rule of gamepruning is wrong; please report it"
                )
        return outs

    def _apply(self, node: Node, args: list) -> list:
        if (count := self._counts.get(node)) is not None:
            shape, dtype = (
                self.shape(count.value),
                self.program.aval(node.ins[count.operand]).dtype,
            )
            number = count.number(prod(shape[axis] for axis in count.axes))
            args[count.operand] = jnp.asarray(number, dtype)
            return bind(node.primitive, node.params, args)
        if node.subs and self._cuts_inside(node):
            return self.run_nested(node, args)
        cut_in = any(map(self.is_cut, node.ins))
        cut_out = any(map(self.is_cut, node.outs))
        if not cut_in and not cut_out:
            return apply_as_is(node, args)
        node = self._fitted(node)
        rule = self.analysis.rules.find("rebind", node.name)
        if rule is not None:
            return rule(NodeSizes(self, node), node, *args)
        if cut_in:
            return bind(node.primitive, node.params, args)
        outs = apply_as_is(node, args)
        return [self._cut(v, out) for v, out in zip(node.outs, outs, strict=True)]

    def _fitted(self, node: Node) -> Node:
        """The node with its shardings as they fit the smaller result."""
        shape = self.shape(node.outs[0])
        fitted = {
            name: fit_sharding(value, shape)
            for name, value in node.params.items()
            if isinstance(value, NamedSharding)
        }
        return replace(node, params=node.params | fitted) if fitted else node

    def _cut(self, value: int, array: Any) -> Any:
        for axis, kept in enumerate(self.kept(value)):
            if kept is not None:
                take_ = np.take if isinstance(array, np.ndarray) else take
                array = take_(array, kept, axis)
        return array

    def _cuts_inside(self, node: Node) -> bool:
        return any(
            any(map(self.is_cut, (*inner.ins, *inner.outs)))
            or inner in self._counts
            or self._cuts_inside(inner)
            for graph in node.subs
            for inner in graph.nodes
        ) or any(map(self.is_cut, (*node.ins, *node.outs)))


def _is_at_hand(array: Any) -> bool:
    """True for an array that can be cut while the program is traced."""
    if isinstance(array, jax.core.Tracer):
        return False
    is_here = not isinstance(array, jax.Array) or array.is_fully_addressable
    return is_here and sharding_of(array) is None


class NodeSizes:
    """What a rebind rule may ask: `trace.rules.types.Sizes` of one node."""

    def __init__(self, shrunk: Shrunk, node: Node):
        self._shrunk, self._node = shrunk, node

    def shape_in(self, operand: int) -> tuple:
        """The full shape of an operand."""
        return self._shrunk.program.shape(self._node.ins[operand])

    def out(self, number: int) -> tuple:
        """The smaller shape of a result."""
        return self._shrunk.shape(self._node.outs[number])

    def kept_in(self, operand: int, dim: int) -> np.ndarray | None:
        """The kept indices of an operand's axis, None for all."""
        return self._shrunk.kept(self._node.ins[operand])[dim]

    def sharding_out(self, number: int) -> NamedSharding | None:
        """The explicit sharding of a result at its smaller size, if it has one."""
        value = self._node.outs[number]
        sharding = sharding_of(self._shrunk.program.aval(value))
        return None if sharding is None else fit_sharding(sharding, self.out(number))

    def kept_out(self, number: int, dim: int) -> np.ndarray | None:
        """The kept indices of a result's axis, None for all."""
        return self._shrunk.kept(self._node.outs[number])[dim]

    def left_as(self, node: Node, dtype: Any) -> Any:
        """What entries that left are taken to be where a node is gated."""
        is_lowest = node in self._shrunk.analysis.lowest
        return lowest_of(dtype) if is_lowest else np.zeros((), dtype)

    def are_places(self, component: int = 0) -> bool:
        """True if numbers that a node makes or reads are places among what stays."""
        picks, node = self._shrunk.analysis.picks, self._node
        tied = picks.tables.get(node, ())
        search = picks.searches.get(node) or picks.used.get((node, component))
        search = tied[0] if tied else search
        if search is None:
            return False
        kept = kept_entries(self._shrunk.columns(search.label), self._shrunk.mask)
        return picks.are_places(search, len(search.label if kept is None else kept))

    def must_find(self, node: Node) -> bool:
        """True if activations are read at the numbers that a search returns."""
        return self._shrunk.analysis.picks.searches[node].gathers
