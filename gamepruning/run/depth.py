"""Cut a model at several depths, each cut behind the one before.

Who is gated behind a cut only changes nothing in front of it. So a coalition that
differs from another one in such players alone runs from the other's values at the cut.
"""

from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from typing import NamedTuple, Protocol

import numpy as np
from jaxtyping import ArrayLike, Bool, Float, Int

from gamepruning.run.by_layer import gated_run
from gamepruning.run.hoist import SplitModel, SplitParts
from gamepruning.run.toggle_kinds import downstream, node_cost, readers
from gamepruning.trace.call import CallSpec
from gamepruning.trace.model import TracedModel


class Advance(Protocol):
    """advance(residuals of the cut before, gates) -> residuals of this cut."""

    def __call__(self, residuals: list, gates: ArrayLike, /) -> list: ...


class Cut(NamedTuple):
    """What follows a cut, and the way to it from the cut before.

    Attributes:
      split: the model in two parts there; its prefix begins at the inputs.
      advance: from the residuals of the cut before to its own, under some gates.
    """

    split: SplitModel
    advance: Advance

    def __repr__(self) -> str:
        return f"Cut({self.split})"


def cut_at(
    model: TracedModel, call: CallSpec, varying: Sequence[Bool[np.ndarray, " N"]]
) -> list[Cut]:
    """Cut a model where each of some sets of players enters first.

    Args:
      model: the model.
      call: the arguments, or their shapes.
      varying: the sets, each of which is part of the one before.

    Returns:
      The cuts of all sets but the first, which is where the way begins.
    """
    parts = [SplitParts.at(model, call, players, ()) for players in varying]
    return [
        Cut(after.model_in_two(), partial(before.advance, after))
        for before, after in pairwise(parts)
    ]


class Reach(NamedTuple):
    """Which nodes of a program depend on which players.

    Attributes:
      kind_of: the kind of each player, int [N]; those of one kind reach the same nodes.
      nodes: the nodes that each kind reaches, bool [K, nodes].
      costs: about how many multiply-adds each node is worth, float [nodes].
    """

    kind_of: Int[np.ndarray, " N"]
    nodes: Bool[np.ndarray, "K nodes"]
    costs: Float[np.ndarray, " nodes"]

    def __repr__(self) -> str:
        kinds, nodes = self.nodes.shape
        return f"Reach({len(self.kind_of)} players of {kinds} kinds, {nodes} nodes)"

    def of(self, players: Bool[np.ndarray, " N"]) -> tuple[float, int]:
        """The multiply-adds, and the number of nodes, that some players reach."""
        reached = self.nodes[np.unique(self.kind_of[players])].any(axis=0)
        return float(self.costs[reached].sum()), int(reached.sum())

    @property
    def of_each(self) -> Float[np.ndarray, " N"]:
        """The multiply-adds that each player reaches."""
        return (self.nodes @ self.costs)[self.kind_of]


def reach(model: TracedModel, call: CallSpec) -> Reach:
    """Which nodes depend on which players, and what they cost at the shapes of a call.

    Args:
      model: the model.
      call: the arguments, or their shapes.
    """
    trace, layers = model.trace(call), model.layers
    graph = trace.program.graph
    num_units = model.num_players if layers is None else len(layers.first)
    sites = gated_run(model, trace, None).depends
    reads = {node: readers(node, sites, num_units) for node in graph.nodes}
    readings = [node for node, own in reads.items() if own.any()]
    table = np.array([reads[node] for node in readings]).reshape(-1, num_units)
    kinds, kind_of = np.unique(table, axis=1, return_inverse=True)
    reached = [
        downstream(graph.nodes, {readings[k] for k in np.flatnonzero(kind)})
        for kind in kinds.T
    ]
    nodes = np.array([[node in own for node in graph.nodes] for own in reached])
    costs = np.array([node_cost(trace.program, node) for node in graph.nodes])
    kind_of = kind_of.reshape(-1)
    return Reach(kind_of if layers is None else kind_of[layers.unit_of], nodes, costs)
