"""Move one player at a time: add what it feeds, and run again only what follows.

With z = sum_i s_i a_i (x) W_i a product that reads players, a player that enters or
leaves changes z by +-a_i (x) W_i: an update of rank one instead of a product. What is
kept between moves are the results of the products and the other expensive nodes (the
states); everything cheap in between is computed again from them.
"""

import math
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Bool

from gamepruning.run.gated import Gated, entry_gates
from gamepruning.run.toggle_kinds import (
    ToggleKind,
    ToggleSite,
    downstream,
    find_toggle_kinds,
    is_heavy,
    operands,
    readers,
)
from gamepruning.trace.model import TracedModel
from gamepruning.trace.primitives import MATRIX_PRODUCTS
from gamepruning.trace.program import Lit, Node, bind
from gamepruning.types import Outputs, Params

LANES = 16  # a CPU multiplies narrow weights faster when they fill whole vectors


class Residuals(NamedTuple):
    """What does not depend on the players that move.

    Attributes:
      shared: values that do not depend on the inputs, such as weights.
      rows: values that do.
    """

    shared: list
    rows: list


class ToggleEvaluator:
    """A traced model as a start and cheap moves from there.

    Attributes:
      moves: who moves how.
      state_bytes: the size of all states at these inputs.
    """

    def __init__(
        self,
        model: TracedModel,
        params: Params,
        inputs: tuple,
        varying: Bool[np.ndarray, " N"],
    ):
        self._model = model
        self._trace = model.trace(model.call(params, *inputs))
        self._sites = self._gated(None).depends
        self._split(varying)
        program = self._trace.program
        self.moves = find_toggle_kinds(program, self._sites, self._late, varying)
        avals = [program.aval(v) for node in self._states for v in node.outs]
        self.state_bytes = sum(math.prod(a.shape) * a.dtype.itemsize for a in avals)

    def _gated(self, gates: jax.Array | None) -> Gated:
        return Gated(self._trace.analysis, self._trace.columns, gates)

    def _split(self, varying: np.ndarray) -> None:
        """Nodes before and after the first gate that varies, and what passes there."""
        graph, analysis = self._trace.program.graph, self._trace.analysis
        moving = {
            node
            for node in graph.nodes
            if (readers(node, self._sites, len(varying)) & varying).any()
        }
        late = downstream(graph.nodes, moving)
        self._early = [node for node in graph.nodes if node not in late]
        self._late = [node for node in graph.nodes if node in late]
        self._states = [node for node in self._late if is_heavy(node)]
        early = {*graph.inputs, *(v for node in self._early for v in node.outs)}
        used = dict.fromkeys(v for node in self._late for v in operands(node))
        used.update(dict.fromkeys(v for v in graph.outputs if not isinstance(v, Lit)))
        passed = [v for v in used if v in early]
        self._row_ids = [v for v in passed if analysis.is_varying(v)]
        self._shared_ids = [v for v in passed if not analysis.is_varying(v)]
        self._narrow = [node for node in self._states if self._is_narrow(node)]

    def _is_narrow(self, node: Node) -> bool:
        """True for activations [B, K] times shared weights [K, n], n small and odd."""
        plain = (((1,), (0,)), ((), ()))
        if (
            node.name not in MATRIX_PRODUCTS
            or node.params["dimension_numbers"] != plain
        ):
            return False
        shape = self._trace.program.shape(node.ins[1])
        gated = [operand for operand, _, _ in self._sites.get(node, ())]
        is_shared = node.ins[1] in self._shared_ids and 1 not in gated
        return is_shared and len(shape) == 2 and shape[1] < 64 and shape[1] % LANES > 0

    def prepare(self, params: Params, inputs: tuple) -> Residuals:
        """What does not depend on the varying players; the others are in."""
        call = self._model.call(params, *inputs)
        run = self._gated(jnp.ones(self._model.num_players))
        env = dict(zip(self._trace.program.graph.inputs, call.arrays, strict=True))
        run.run_nodes(self._early, env)
        shared = [env[v] for v in self._shared_ids]
        shared += [_widen(run.read(env, node.ins[1])) for node in self._narrow]
        return Residuals(shared, [env[v] for v in self._row_ids])

    def start(self, residuals: Residuals, gates: jax.Array) -> tuple[list, Outputs]:
        """The states and the outputs under these gates, float [N]."""
        return self._run(self._gated(gates), residuals)

    def move(
        self,
        kind: int,
        residuals: Residuals,
        states: list,
        gates: tuple,
        player: jax.Array,
    ) -> tuple[list, Outputs]:
        """The states and the outputs after a player of a kind has changed sides.

        Args:
          kind: the number of the player's kind.
          residuals: what `prepare` gave.
          states: before the move.
          gates: before and after the move, float [N] in {0, 1}.
          player: who moves, a scalar.
        """
        kept = iter(states)
        before = {n: [next(kept) for _ in n.outs] for n in self._states}
        wide = residuals.shared[len(self._shared_ids) :]
        weights = dict(zip(self._narrow, wide, strict=True))
        move = _Move(self.moves.kinds[kind], before, weights, gates, player)
        run = _Moving(self._trace.analysis, self._trace.columns, move)
        return self._run(run, residuals)

    def _run(self, run: Gated, residuals: Residuals) -> tuple[list, Outputs]:
        program = self._trace.program
        ids = [*self._shared_ids, *self._row_ids]
        values = [*residuals.shared[: len(self._shared_ids)], *residuals.rows]
        env: dict[int, Any] = dict(zip(ids, values, strict=True))
        run.run_each(self._late, env)  # the states are read from inside
        outs = [run.read(env, out) for out in program.graph.outputs]
        states = [env[v] for node in self._states for v in node.outs]
        return states, jax.tree_util.tree_unflatten(program.out_tree, outs)


class _Move(NamedTuple):
    """One player's change of sides, and the states before it."""

    kind: ToggleKind
    states: dict[Node, list]
    wide: dict[Node, jax.Array]
    gates: tuple[jax.Array, jax.Array]
    player: jax.Array


class _Moving(Gated):
    """Evaluates the late nodes after a move, from the states before it."""

    def __init__(self, analysis, columns, move: _Move):
        super().__init__(analysis, columns, move.gates[1])
        self._move = move

    def step(self, node: Node, args: list) -> list:
        """Keep a state, update it, or run the node again."""
        before = self._move.states.get(node)
        if before is None:
            return super().step(node, args)
        if node not in self._move.kind.changed:
            return before
        site = self._move.kind.sites.get(node)
        if site is not None:
            change = self._change(node, site, args)
            chex.assert_equal_shape([before[0], change])
            return [before[0] + change.astype(before[0].dtype)]
        wide = self._move.wide.get(node)
        if wide is not None:
            outs = super().step(node, [args[0], wide])
            return [outs[0][:, : before[0].shape[1]]]
        return super().step(node, args)

    def _change(self, node: Node, site: ToggleSite, args: list):
        """The product of the entries that come or go, with their sign."""
        for operand, dim, columns in self.sites[node]:
            if (operand, dim) != (site.operand, site.dims[site.operand]):
                args[operand] = self._gate(args[operand], dim, columns)
        entries = jnp.asarray(site.entries)[self._move.player]
        pieces = [
            _pick(arg, entries, dim, site.is_run())
            for arg, dim in zip(args, site.dims, strict=True)
        ]
        piece = pieces[site.operand]
        others = [k for k in range(piece.ndim) if k != site.dims[site.operand]]
        signs = jnp.expand_dims(self._signs(site, entries), others)
        pieces[site.operand] = piece * signs.astype(piece.dtype)
        if _is_outer(node, entries):
            return _outer(pieces[0], pieces[1], site.dims)
        return bind(node.primitive, node.params, pieces)[0]

    def _signs(self, site: ToggleSite, entries):
        """How the gates of the player's entries change: +1, -1 or 0."""
        player = self._move.player
        if site.columns.shape[1] == 1:
            before, after = (gates[player] for gates in self._move.gates)
        else:
            gates = (entry_gates(gates, site.columns) for gates in self._move.gates)
            before, after = (rows[entries] for rows in gates)
        signs = jnp.broadcast_to(after - before, entries.shape)
        if site.is_entry[site.is_entry.any(axis=1)].all():
            return signs
        return signs * jnp.asarray(site.is_entry)[player].astype(signs.dtype)


def _widen(weights):
    """Weights [K, n] with columns of zeros up to whole vectors."""
    return jnp.pad(weights, ((0, 0), (0, -weights.shape[1] % LANES)))


def _pick(array, entries, dim: int, is_run: bool):
    """Some entries of an axis; `is_run` if they lie side by side."""
    if is_run:
        return lax.dynamic_slice_in_dim(array, entries[0], len(entries), dim)
    return jnp.take(array, entries, axis=dim, mode="clip")


def _is_outer(node: Node, entries) -> bool:
    """True if a product comes down to an outer product."""
    if node.name not in MATRIX_PRODUCTS or len(entries) != 1:
        return False
    (summed, _), (batch, _) = node.params["dimension_numbers"]
    return len(summed) == 1 and not batch


def _outer(lhs, rhs, dims: tuple[int, int]):
    lhs, rhs = jnp.squeeze(lhs, dims[0]), jnp.squeeze(rhs, dims[1])
    right = tuple(range(lhs.ndim, lhs.ndim + rhs.ndim))
    left = tuple(range(lhs.ndim))
    return jnp.expand_dims(lhs, right) * jnp.expand_dims(rhs, left)
