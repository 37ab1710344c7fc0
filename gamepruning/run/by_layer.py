"""Gates of (layer, unit): each turn of a scan over stacked parameters has its own."""

import copy
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gamepruning.run.gated import Gated, Sites, Tap, Tapped
from gamepruning.trace.branches import Branch
from gamepruning.trace.labelled import Trace
from gamepruning.trace.model import TracedModel
from gamepruning.trace.program import Node
from gamepruning.trace.rules.control import loop_turns, scan_turns
from gamepruning.trace.stacks import LayerNumbers


def gated_run(
    model: TracedModel, trace: Trace, gates: jax.Array | None, **places: Any
) -> Gated:
    """A gated run of a trace, gates by layer where the model's players are.

    Args:
      model: the model.
      trace: one of its traces.
      gates: float or bool [N]; None where nothing is run.
      **places: `fixed`, `weights` and `piece` of `Gated`.
    """
    if model.branches is not None:
        return GatedBranches(model, trace, gates, **places)
    if model.layers is None:
        return Gated(trace.analysis, trace.columns, gates, **places)
    return GatedByLayer(trace, model.layers, gates, **places)


class GatedByLayer(Gated):
    """Gated; a scan over stacked parameters takes one row of gates a turn.

    The body has one number for a unit whatever the layer. So it runs with the gates of
    the units at its turn, [T], which are scanned along with the parameters, [L, T].
    """

    def __init__(self, trace: Trace, numbers: LayerNumbers, gates: Any, **places: Any):
        outside = None if gates is None else gates[numbers.at(0)]
        super().__init__(trace.analysis, trace.columns, outside, **places)
        self._numbers = numbers
        self._of_players = gates
        self._stacks = {stack.node for stack in trace.stacks if stack.own.any()}

    def run_nested(self, node: Node, args: list) -> list:
        """A stack takes its rows of gates along."""
        if node not in self._stacks:
            return super().run_nested(node, args)
        (body,) = node.subs
        assert self._of_players is not None
        rows = self._of_players[self._numbers.table(node.params["length"])]
        run = lambda ins, row: self.with_gates(row).run(body, ins)  # noqa: E731
        return scan_turns(node, args, run, rows)


class GatedBranches(GatedByLayer):
    """Gated; each branch is multiplied by its gate where it is added to the stream."""

    def __init__(self, model: TracedModel, trace: Trace, gates: Any, **places: Any):
        assert model.layers is not None
        super().__init__(trace, model.layers, gates, **places)
        branches = model.branches_of(trace)
        self.sites = branch_sites(branches)
        self._stacks = {b.loop for b in branches if b.loop and b.is_layered}


def branch_sites(branches: Sequence[Branch]) -> Sites:
    """Where which of the branches is added: each is gated as an axis of one entry."""
    sites: Sites = {}
    for number, branch in enumerate(branches):
        for node, operand in branch.sites:
            column = np.array([[number + 1]])
            sites.setdefault(node, []).append((operand, 0, column))
    return sites


class TappedByLayer(Tapped):
    """Tapped; the tap is told the players of the layer that runs."""

    def __init__(self, trace: Trace, numbers: LayerNumbers, gates: Any, tap: Tap):
        units = gates[numbers.at(0)]
        super().__init__(trace.analysis, trace.columns, units, tap)
        self._numbers = numbers
        self._of_players = gates
        self._stacks = {stack.node for stack in trace.stacks if stack.own.any()}
        self._turn = 0

    def run_nested(self, node: Node, args: list) -> list:
        """A stack layer by layer."""
        if node not in self._stacks:
            return super().run_nested(node, args)
        (body,) = node.subs
        return loop_turns(node, args, lambda ins, k: self._at(k).run(body, ins))

    def _at(self, turn: int) -> "TappedByLayer":
        other = copy.copy(self)
        other.gates = self._of_players[self._numbers.at(turn)]
        other._turn = turn
        return other

    def _gate(self, array, dim: int, columns: np.ndarray):
        numbers = np.concatenate([[0], 1 + self._numbers.at(self._turn)])
        self._tap(array, dim, numbers[columns])
        return Gated._gate(self, array, dim, columns)


def tapped_run(model: TracedModel, trace: Trace, tap: Tap) -> Tapped:
    """A run of a trace with everybody in, with a tap at every gate."""
    everyone = jnp.ones(model.num_players)
    if model.layers is None:
        return Tapped(trace.analysis, trace.columns, everyone, tap)
    return TappedByLayer(trace, model.layers, everyone, tap)
