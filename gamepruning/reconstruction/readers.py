"""Who reads the axes that a mask cuts, and which of them can be repaired."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Int

from gamepruning.reconstruction.chain import Chain, follow
from gamepruning.reconstruction.entries import ViewEntries, Views, distinct
from gamepruning.reconstruction.line import Line, Operation, unroll
from gamepruning.reconstruction.rows import Product, product_of
from gamepruning.trace.labelled import Trace
from gamepruning.trace.primitives import PRODUCTS
from gamepruning.trace.program import Lit, Operand
from gamepruning.trace.units import kept_entries


@dataclass(frozen=True, eq=False)
class Reader:
    """One product that reads a cut axis by weights of its own.

    Attributes:
      step: the product.
      product: how its operands become matrices.
      weights: for each entry of the weights [G, K, M] its place in the parameters.
      players: whom each input needs, int [G, K, width]: numbers + 1, 0 for nobody.
      has_input: the inputs that are left, bool [G, K].
      has_output: the outputs that are left, bool [G, M].
      chain: its bias, and the residual stream that it adds to.
    """

    step: Operation
    product: Product
    weights: ViewEntries
    players: Int[np.ndarray, "G K width"]
    has_input: Bool[np.ndarray, "G K"]
    has_output: Bool[np.ndarray, "G M"]
    chain: Chain

    @property
    def source(self) -> int:
        """The activation that it reads."""
        value = self.step.ins[self.product.inputs]
        assert isinstance(value, int)
        return value

    @property
    def matrix(self) -> tuple[int, int, int]:
        """What tells its entries of parameters from those of other readers."""
        places = self.weights.places
        return int(places.min()), int(places.max()), places.size

    @property
    def kept_inputs(self) -> Int[np.ndarray, " K"]:
        """The inputs that are left in any group."""
        return np.flatnonzero(self.has_input.any(axis=0))

    @property
    def kept_outputs(self) -> Int[np.ndarray, " M"]:
        """The outputs that are left in any group."""
        return np.flatnonzero(self.has_output.any(axis=0))

    def is_cut(self) -> bool:
        """True if a group with outputs has lost inputs."""
        has_results = self.has_output.any(axis=1)
        return not self.has_input[has_results].all()

    def can_be_cut(self) -> bool:
        """True if some mask takes inputs."""
        return bool(self.players.any())


class Shared(NamedTuple):
    """The products that read the same entries of parameters: repaired together.

    Attributes:
      path: the parameter's path; those of several that are joined, with + between.
      readers: in the order of the program; all have the same matrix.
    """

    path: str
    readers: Sequence[Reader]

    def sorted_by(self, position: Mapping[Operation, int]) -> "Shared":
        """The same with the readers in the order of a line."""
        return Shared(self.path, sorted(self.readers, key=lambda r: position[r.step]))


class Alone(NamedTuple):
    """What stays as it is, and why.

    Attributes:
      path: the parameter, or the primitive where there is none.
      reason: why it cannot be repaired.
    """

    path: str
    reason: str


@dataclass(frozen=True, eq=False)
class Readers:
    """What a mask makes of a model's readers.

    Attributes:
      line: the model's program.
      varying: the values that depend on the inputs, and first states of loops.
      shared: who can be repaired, in the order of the program.
      alone: who cannot.
    """

    line: Line
    varying: set[int]
    shared: tuple[Shared, ...]
    alone: tuple[Alone, ...]


def find_readers(
    trace: Trace, paths: Sequence[str], mask: Bool[np.ndarray, " N"] | None
) -> Readers:
    """Find the readers of the axes that a mask cuts.

    Args:
      trace: of the model.
      paths: of the arrays of params.
      mask: who stays; None for the readers of all axes that some mask can cut.
    """
    nodes = {site.node for site in trace.analysis.sites}
    line = unroll(trace.analysis, nodes)
    inputs = trace.program.graph.inputs
    last = len(paths) + len(trace.input_labels)  # behind: numbers that jit traces
    own, others = inputs[: len(paths)], inputs[len(paths) : last]
    views = Views(line, own)
    states = _first_states(line, views, line.descendants(others), nodes)
    varying = line.descendants([*others, *states])
    finder = _Finder(trace, line, views, varying, mask)
    found: dict[tuple, list[Reader]] = {}
    alone = [
        Alone(name, "it is read in a loop or in lax.cond")
        for name in _closed(line, nodes)
    ]
    for step in line.steps:
        if step.part is None and step.node in nodes:
            reader = finder.reader(step)
            if isinstance(reader, Reader):
                found.setdefault(reader.matrix, []).append(reader)
            elif finder.cuts(step):
                alone.append(Alone(finder.name(step, paths), reader))
    shared = []
    for readers in found.values():
        if any(r.can_be_cut() if mask is None else r.is_cut() for r in readers):
            path = _joined(paths, readers[0].weights)
            reason = finder.conflict(readers)
            if reason:
                alone.append(Alone(path, reason))
            else:
                shared.append(Shared(path, readers))
    return Readers(line, varying, tuple(shared), tuple(dict.fromkeys(alone)))


def _first_states(line: Line, views: Views, varying: set[int], nodes: set) -> list[int]:
    """Constants that meet weights which meet activations elsewhere, such as zeros.

    The first state of a loop is an activation like those of the turns that follow.
    """
    made = {out for step in line.steps for out in step.outs}
    met: set[int] = set()  # the parameters that activations meet
    constants: dict[int, list[int]] = {}  # those that meet a constant, by the constant
    for step in line.steps:
        if step.node.name not in PRODUCTS or step.node not in nodes:
            continue
        for own, other in (step.ins[:2], step.ins[1::-1]):
            if isinstance(own, Lit) or isinstance(other, Lit) or own in varying:
                continue
            entries = views.of(own)
            if entries is None:
                continue
            if other in varying:
                met.update(entries.leaves)
            elif other in made and views.of(other) is None:
                constants[other] = entries.leaves
    return [value for value, leaves in constants.items() if met.issuperset(leaves)]


def _joined(paths: Sequence[str], entries: ViewEntries) -> str:
    """The parameters that a matrix is joined from, usually one."""
    return " + ".join(paths[leaf] for leaf in entries.leaves)


def _closed(line: Line, nodes: set) -> list[str]:
    """The names of steps that hold readers in bodies that stay closed."""

    def holds(node) -> bool:
        return any(n in nodes or holds(n) for graph in node.subs for n in graph.nodes)

    steps = (step for step in line.steps if step.part is None)
    return [step.node.name for step in steps if holds(step.node)]


class _Finder:
    def __init__(self, trace: Trace, line: Line, views: Views, varying, mask):
        self._trace = trace
        self._line = line
        self._views = views
        self._varying = varying
        self._mask = mask

    def _varies(self, operand: Operand) -> bool:
        return not isinstance(operand, Lit) and operand in self._varying

    # -- which entries are left ----------------------------------------------------

    def _kept(self, operand: Operand, dim: int) -> np.ndarray:
        """Which entries of an axis of an operand are left, bool."""
        original = self._line.original(operand)
        label = self._trace.analysis.label(original)[dim]
        columns = self._trace.columns(label)
        kept = None if self._mask is None else kept_entries(columns, self._mask)
        size = self._line.shape(operand)[dim]
        return np.ones(size, bool) if kept is None else np.isin(np.arange(size), kept)

    def _columns(self, operand: Operand, dim: int) -> np.ndarray:
        """Whom each entry of an axis of an operand needs: numbers + 1, 0 for nobody."""
        label = self._trace.analysis.label(self._line.original(operand))[dim]
        found = self._trace.columns(label)
        size = self._line.shape(operand)[dim]
        return np.zeros((size, 0), int) if found is None else found

    def cuts(self, step: Operation) -> bool:
        """True if the mask cuts an axis that the step sums over."""
        sites = [s for s in self._trace.analysis.sites if s.node is step.node]
        if self._mask is None:
            return any(self._columns(step.ins[s.operand], s.dim).any() for s in sites)
        return any(not self._kept(step.ins[s.operand], s.dim).all() for s in sites)

    # -- a reader --------------------------------------------------------------------

    def reader(self, step: Operation) -> Reader | str:
        """The reader that a step is, or why it is none."""
        if step.node.name not in PRODUCTS:
            return f"{step.node.name} reads it without weights"
        first, second = map(self._varies, step.ins[:2])
        if first and second:
            return "two activations are multiplied: there are no weights to fit"
        if not first and not second:
            return "no input of the model goes through it"
        weights = 1 if first else 0
        product = product_of(step.node, weights)
        if product is None:
            return f"this kind of {step.node.name} is not repaired"
        entries = self._views.of(step.ins[weights])
        if entries is None:
            return "its weights are computed from parameters, or are constants"
        inputs = self._trace.program.graph.inputs
        kinds = {
            self._trace.program.aval(inputs[leaf]).dtype for leaf in entries.leaves
        }
        for dtype in kinds:
            if not jnp.issubdtype(dtype, jnp.floating):
                some = "some of " if len(kinds) > 1 else ""
                return f"{some}its weights are {dtype.name}"
        if not self._line.is_float(step.outs[0]):
            return "its results are not real floating-point numbers"
        index = product.matrix(entries.places)
        if len(distinct(index)) != index.size:
            return "one parameter stands at several places of its matrix"
        return self._make(step, product, ViewEntries(entries.layout, index))

    def _make(self, step: Operation, product: Product, weights: ViewEntries) -> Reader:
        source = step.ins[product.inputs]
        columns = [self._columns(source, dim) for dim in product.input_dims()]
        players = product.players(columns)
        has_input = np.ones(players.shape[:2], bool)
        if self._mask is not None:
            there = np.append(True, self._mask)
            has_input = np.asarray(there[players].all(axis=-1))
        (result,) = step.outs
        there: np.ndarray = np.ones((), bool)
        for dim in range(len(self._line.shape(result))):
            there = np.asarray(np.logical_and.outer(there, self._kept(result, dim)))
        has_output = np.any(product.results(there), axis=1, keepdims=True)[:, 0]
        chain = follow(self._line, self._views, self._varying, result)
        if chain.bias and self._is_used_elsewhere(chain.bias.entries, chain):
            chain = replace(chain, bias=None)
        return Reader(step, product, weights, players, has_input, has_output, chain)

    # -- what else reads a parameter ---------------------------------------------------

    def _is_used_elsewhere(self, entries: ViewEntries, chain: Chain) -> bool:
        assert chain.bias is not None
        here = chain.bias.links[-1].step
        own = entries.distinct
        uses = self._views.uses(own)
        return any(use.step is not here and use.overlaps(own) for use in uses)

    def conflict(self, readers: Sequence[Reader]) -> str:
        """Why these readers of one matrix cannot be repaired; "" if they can."""
        first = readers[0].weights.places
        if any(not np.array_equal(r.weights.places, first) for r in readers[1:]):
            return "several products read it in different ways"
        steps = {reader.step for reader in readers}
        own = distinct(first)
        for use in self._views.uses(own):
            if use.step not in steps and use.overlaps(own):
                name = use.step and use.step.node.name
                what = "returned by the model" if name is None else name
                return f"it is used elsewhere, too ({what})"
        same = all(np.array_equal(r.has_input, readers[0].has_input) for r in readers)
        return "" if same else "its readers lose different inputs"

    def name(self, step: Operation, paths: Sequence[str]) -> str:
        """The parameter that a step reads, or the name of its primitive."""
        for operand in step.ins[:2]:
            if not self._varies(operand):
                entries = self._views.of(operand)
                if entries is not None:
                    return _joined(paths, entries)
                for leaf in self._views.behind(operand):
                    return paths[leaf]
        return step.node.name
