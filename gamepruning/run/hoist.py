"""Split a model at the first gate that varies: compute the rest once."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import ArrayLike, Bool

from gamepruning.run.by_layer import gated_run
from gamepruning.run.gated import Gated
from gamepruning.trace.call import CallSpec, as_struct, input_error
from gamepruning.trace.labelled import Trace
from gamepruning.trace.model import TracedModel
from gamepruning.trace.program import Lit, Node, Operand
from gamepruning.types import InputError, Outputs, Params


class Hoisted(NamedTuple):
    """A model in two parts: what the varying gates do not reach, and the rest.

    Attributes:
      prefix: prefix(params, gates, *inputs) -> residuals.
      suffix: suffix(residuals, gates) -> outputs. Only the gates of varying players
        may differ from those that `prefix` saw.

    Example:
      >>> Hoisted(lambda params, gates, x: [x], lambda residuals, gates: residuals)
      Hoisted(prefix(params, gates, *inputs), suffix(residuals, gates))
    """

    prefix: Callable[..., Any]
    suffix: Callable[[Any, ArrayLike], Outputs]

    def __repr__(self) -> str:
        return "Hoisted(prefix(params, gates, *inputs), suffix(residuals, gates))"


class SplitModel(NamedTuple):
    """A model in two parts, and what is known of what passes between them.

    Attributes:
      prefix: prefix(params, gates, *inputs) -> residuals, a list of arrays.
      suffix: suffix(residuals, gates, changed=()) -> outputs; `changed` are the
        parameters that come with the gates.
      by_input: for each residual whether it depends on the inputs; the others follow
        from the parameters alone.
      widest: the most entries of a value that the suffix gates or computes from the
        inputs.
      widest_shared: the same of the parameters alone, such as gated weights.
    """

    prefix: Callable[..., list]
    suffix: Callable[..., Outputs]
    by_input: tuple[bool, ...]
    widest: int
    widest_shared: int = 0

    def __repr__(self) -> str:
        count = len(self.by_input)
        return f"SplitModel({count} residuals, {sum(self.by_input)} of the inputs)"


def split(
    model: TracedModel,
    params: Params,
    inputs: Sequence,
    varying: Bool[np.ndarray, " N"],
    *,
    gate_smaller: bool = False,
    changed: Sequence[int] = (),
    piece: int = 0,
) -> SplitModel:
    """Split the model where the first varying gate or changed parameter enters.

    Args:
      model: the model.
      params: the parameters, or their shapes.
      inputs: inputs, or their shapes.
      varying: bool [N].
      gate_smaller: in a matrix product of two residuals, gate the smaller of the two.
        The product is the same as long as the residuals are finite; mapped over
        gates, it is one large product instead of one for each vector of gates.
      changed: the parameters, by their number among the arrays of `params`, that come
        with the gates: `suffix` takes them.
      piece: with `gate_smaller`, entries of a long sum that are gated at a time; 0 for
        all.

    Returns:
      The two parts.
    """
    call = model.call(params, *inputs)
    parts = SplitParts.at(model, call, varying, tuple(changed))
    return (parts.gating_smaller(piece) if gate_smaller else parts).model_in_two()


@dataclass(frozen=True)
class SplitParts:
    """The nodes before and after the first gate that varies.

    Attributes:
      call: the arguments at whose shapes the model is split.
      trace: the trace at these shapes.
      changed: the parameters that come with the gates.
      residuals: the other values that pass from the early nodes to the late ones.
      fixed: the values that are the same under all gates, for `Gated`.
      weights: those that follow from the changed parameters alone, for `Gated`.
      piece: entries of a long sum at a time, for `Gated`.
    """

    model: TracedModel
    call: CallSpec
    trace: Trace
    early: list[Node]
    late: list[Node]
    changed: tuple[int, ...]
    residuals: list[int]
    fixed: frozenset[int] = frozenset()
    weights: frozenset[int] = frozenset()
    piece: int = 0

    @classmethod
    def at(
        cls,
        model: TracedModel,
        call: CallSpec,
        varying: np.ndarray,
        changed: tuple[int, ...],
    ) -> "SplitParts":
        trace = model.trace(call)
        graph = trace.program.graph
        changed = tuple(graph.inputs[k] for k in changed)
        sites = gated_run(model, trace, None).depends
        units = varying if model.layers is None else model.layers.any_of(varying)
        depends = _depends(graph.nodes, sites, units, changed)
        early = [node for node in graph.nodes if node not in depends]
        late = [node for node in graph.nodes if node in depends]
        known = {*graph.inputs, *(v for node in early for v in node.outs)}
        known -= set(changed)
        residuals = [v for v in _reads(late, graph.outputs) if v in known]
        return cls(model, call, trace, early, late, changed, residuals)

    def gating_smaller(self, piece: int) -> "SplitParts":
        """The same; products of fixed values are gated where they are smaller."""
        graph = self.trace.program.graph
        fixed = frozenset({*self.residuals, *self.trace.program.constants})
        moving = _downstream(
            graph.nodes, [graph.inputs[k] for k in self.call.input_range]
        )
        weights = _downstream(self.late, self.changed) - moving
        weights = frozenset(weights)
        return replace(self, fixed=fixed, weights=weights, piece=piece)

    def model_in_two(self) -> SplitModel:
        """The two parts of the model, and what is known of what passes."""
        graph = self.trace.program.graph
        moving = _downstream(
            self.early, [graph.inputs[k] for k in self.call.input_range]
        )
        by_input = tuple(value in moving for value in self.residuals)
        late = _downstream(self.late, moving)
        own, shared = (
            self.widest(late.__contains__),
            self.widest(lambda v: v not in late),
        )
        return SplitModel(self.prefix, self.suffix, by_input, own, shared)

    def between(self, other: "SplitParts") -> list[Node]:
        """The nodes behind this split and before another one, which is further down."""
        behind = set(other.late)
        return [node for node in self.late if node not in behind]

    def advance(self, other: "SplitParts", residuals: list, gates: ArrayLike) -> list:
        """The residuals of another split, further down, from those of this one."""
        env: dict[int, Any] = dict(zip(self.residuals, residuals, strict=True))
        self._gated(gates).run_nodes(self.between(other), env)
        return [env[value] for value in other.residuals]

    def _gated(self, gates: ArrayLike | None) -> Gated:
        gates = None if gates is None else self.model.gates(gates)
        return gated_run(
            self.model,
            self.trace,
            gates,
            fixed=self.fixed,
            weights=self.weights,
            piece=self.piece,
        )

    def prefix(self, params: Params, gates: ArrayLike, *inputs) -> list:
        given = self.model.call(params, *inputs)
        ranks, own = (
            [np.ndim(call.arrays[k]) for k in call.input_range]
            for call in (given, self.call)
        )
        if ranks != own:
            raise input_error(self.call, given, "other numbers of arrays or axes")
        if given.array_index != self.call.array_index:
            raise InputError(
                "a number in params is not the one that hoist saw (jit makes an array "
                "of it): hoist with params that hold jnp.asarray of it"
            )
        gated = gated_run(self.model, self.trace, self.model.gates(gates))
        graph = self.trace.program.graph
        env = dict(zip(graph.inputs, given.arrays, strict=True))
        try:
            gated.run_nodes(self.early, env)
        except (TypeError, ValueError) as error:
            raise input_error(self.call, given, str(error).split("\n")[0]) from error
        return [env[value] for value in self.residuals]

    def suffix(
        self, residuals: list, gates: ArrayLike, changed: Sequence[Any] = ()
    ) -> Outputs:
        gated, program = self._gated(gates), self.trace.program
        env: dict[int, Any] = dict(zip(self.residuals, residuals, strict=True))
        env.update(zip(self.changed, changed, strict=True))
        gated.run_nodes(self.late, env)
        outs = [gated.read(env, out) for out in program.graph.outputs]
        return jax.tree_util.tree_unflatten(program.out_tree, outs)

    def widest(self, counts: Callable[[Operand], bool]) -> int:
        """The most entries of a value, of some, that late nodes gate or compute."""
        gated = self._gated(None).gated_operands(self.late)
        made = [*gated, *(value for node in self.late for value in node.outs)]
        sizes = [prod(self.trace.program.shape(v)) for v in made if counts(v)]
        return max(sizes, default=0)


def split_before_all(
    model: TracedModel,
    call: CallSpec,
    gated: Callable[..., Outputs],
    changed: Sequence[int] = (),
) -> SplitModel:
    """The split of a model in which everything depends on gates that vary.

    Args:
      model: the model; its gates act on the parameters themselves.
      call: the arguments at whose shapes the model is split.
      gated: gated(params, gates, *inputs) -> outputs.
      changed: see `split`.
    """

    def prefix(params: Params, gates: ArrayLike, *inputs) -> list:
        return model.call(params, *inputs).arrays

    def suffix(
        residuals: list, gates: ArrayLike, leaves: Sequence[Any] = ()
    ) -> Outputs:
        arrays = list(residuals)
        for k, leaf in zip(changed, leaves, strict=True):
            arrays[k] = leaf
        params, *inputs = call.rebuild(arrays)
        return gated(params, gates, *inputs)

    by_input = tuple(k in call.input_range for k in range(len(call.arrays)))
    structs = list(map(as_struct, call.arrays))
    gates = jax.ShapeDtypeStruct((model.num_players,), bool)
    own = [structs[k] for k in changed]
    made = jax.make_jaxpr(suffix)(structs, gates, own).jaxpr.eqns
    sizes = [prod(v.aval.shape) for eqn in made for v in eqn.outvars]
    return SplitModel(prefix, suffix, by_input, max(sizes, default=0))


# -- the graph -----------------------------------------------------------------------


def _downstream(nodes: Sequence[Node], sources: Iterable[int]) -> set[int]:
    """The sources and every value that depends on one of them."""
    found = set(sources)
    for node in nodes:
        if any(value in found for value in _reads([node], ())):
            found.update(node.outs)
    return found


def _depends(
    nodes: Sequence[Node], sites: dict, varying: np.ndarray, changed: Iterable[int]
) -> set[Node]:
    """The nodes downstream of a gate that varies, or of a changed value."""
    moving = np.concatenate([[False], varying])
    late: set[Node] = set()
    touched = set(changed)
    for node in nodes:
        reads = any(not isinstance(x, Lit) and x in touched for x in node.ins)
        if reads or _gates_vary(node, sites, moving):
            late.add(node)
            touched.update(node.outs)
    return late


def _gates_vary(node: Node, sites: dict, moving: np.ndarray) -> bool:
    if any(moving[columns].any() for _, _, columns in sites.get(node, ())):
        return True
    return any(
        _gates_vary(inner, sites, moving)
        for graph in node.subs
        for inner in graph.nodes
    )


def _reads(nodes: Sequence[Node], outputs: Sequence[Operand]) -> list[int]:
    """The values that nodes (bodies included) and outputs read, in order."""
    found: dict[int, None] = {}

    def visit(operands: Sequence[Operand], inner: Sequence[Node]) -> None:
        for operand in operands:
            if not isinstance(operand, Lit):
                found[operand] = None
        for node in inner:
            visit(node.ins, [n for graph in node.subs for n in graph.nodes])

    visit((), nodes)
    visit(outputs, ())
    return list(found)
