"""Toggles of a coalition, each run from the last cut in front of its player.

The values of the coalition at a few cuts through the model are computed one after the
other. A player who is gated behind a cut only is toggled by what follows the cut.
"""

from collections.abc import Iterator
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Bool, Float, Int

from gamepruning.coalitions.evaluation.chunks import Chunks, is_out_of_memory
from gamepruning.coalitions.evaluation.evaluate import Evaluator
from gamepruning.coalitions.evaluation.hoisted import Behind, Suffix
from gamepruning.players.weight_players import WeightPlayers
from gamepruning.run.depth import Reach, cut_at, reach
from gamepruning.trace.model import TracedModel

DEPTHS = (8, 4, 2)  # how many are tried
SWEEPS = 4  # of a game, which share the time to compile
LEAST_SAVED = 0.1  # of the multiply-adds of a sweep
# Multiply-adds in the time that a node takes to compile, about a millisecond.
NODE_COST = {"cpu": 1e7}
FAST_NODE_COST = 1e10


class TooLarge(Exception):
    """Memory does not suffice for the values at a cut; full passes need none."""


class Depths(NamedTuple):
    """Where a model is to be cut, and what is left to do behind each cut.

    Attributes:
      depth_of: the last cut in front of each player, int [N]; the first, 0, is where
        anything varies.
      costs: about how many multiply-adds a coalition takes behind each, float [C].
      at_once: coalitions of a tile there, which is always full, int [C].
      num_nodes: how many nodes there are to compile, on the way and behind the cuts.
    """

    depth_of: Int[np.ndarray, " N"]
    costs: Float[np.ndarray, " C"]
    at_once: Int[np.ndarray, " C"]
    num_nodes: int

    def __repr__(self) -> str:
        shares = ", ".join(f"{cost:.2f}" for cost in self.costs / self.costs[0])
        return f"Depths({shares} of a pass, {self.num_nodes} nodes)"

    @property
    def num(self) -> int:
        """C."""
        return len(self.costs)

    def sets(self, varying: Bool[np.ndarray, " N"]) -> list[Bool[np.ndarray, " N"]]:
        """Who of those who vary is gated behind each cut."""
        return [varying & (self.depth_of >= depth) for depth in range(self.num)]

    def sweep_cost(self, free: Int[np.ndarray, " M"]) -> float:
        """About how many multiply-adds the toggles of some players take together."""
        counts = np.bincount(self.depth_of[free], minlength=self.num)
        tiles = -(-(counts + 1) // self.at_once) * (counts > 0)
        way = self.costs[0] - self.costs[np.flatnonzero(counts)[-1]]
        return float((tiles * self.at_once * self.costs).sum() + way)


def find_depths(
    reached: Reach, varying: Bool[np.ndarray, " N"], num_depths: int, at_once: int
) -> Depths:
    """Cuts by equal shares of the multiply-adds that depend on anybody.

    Args:
      reached: which nodes depend on which players.
      varying: who may be in or out.
      num_depths: how many there are at most; a cut where nobody enters is left out.
      at_once: the most coalitions of a tile.
    """
    whole, _ = reached.of(varying)
    share = reached.of_each / max(whole, 1.0)
    depth = np.clip(num_depths * (1 - share), 0, num_depths - 1).astype(int)
    taken = np.unique(depth[varying])
    depth = np.where(varying, np.searchsorted(taken, depth), 0)
    found = [reached.of(varying & (depth >= k)) for k in range(len(taken))]
    costs, nodes = (np.array(column) for column in zip(*found, strict=True))
    wanted = np.bincount(depth[varying]) + 1  # with the coalition itself
    even = -(-wanted // -(-wanted // at_once))
    even[0] = at_once if 2 * even[0] > at_once else even[0]
    compiled = nodes[0] - nodes[-1] + nodes[int(even[0] == at_once) :].sum()
    return Depths(depth, costs, even, int(compiled))


class Deep:
    """What values the toggles of a coalition from some cuts.

    Attributes:
      depths: where the model is cut.
      chunks: what values coalitions behind each cut.
      is_too_large: True once memory did not suffice for the values at a cut.
    """

    def __init__(self, chunks: Chunks, depths: Depths):
        """Cut the model; nothing is compiled yet.

        Args:
          chunks: what values coalitions from where anything varies.
          depths: where to cut.
        """
        self.depths, self.is_too_large = depths, False
        evaluator = chunks.evaluator
        sets = depths.sets(evaluator.varying)
        ways = [_way(evaluator, suffix, sets) for suffix in evaluator.suffixes]
        first, *sizes = map(int, depths.at_once)
        is_same = first == evaluator.num_at_once
        found = [evaluator if is_same else evaluator.in_tiles_of(first)]
        for cuts, at_once in zip(zip(*ways, strict=True), sizes, strict=True):
            found.append(evaluator.behind(cuts, at_once))
        self.chunks = [Chunks(one, chunks.wanted) for one in found]

    def __repr__(self) -> str:
        return f"Deep({self.depths})"

    def groups(
        self, free: Int[np.ndarray, " M"], mask: Bool[np.ndarray, " N"]
    ) -> Iterator[tuple[Chunks, Int[np.ndarray, " K"]]]:
        """What values the toggles of a coalition, and the places in `free` of whom.

        Each is to be used before the next one is asked for.

        Args:
          free: who is toggled.
          mask: the coalition.

        Raises:
          TooLarge: memory does not suffice for the values at a cut.
        """
        depths, before = self.depths.depth_of[free], self.chunks[0].evaluator
        for depth, chunks in enumerate(self.chunks[: depths.max() + 1]):
            if depth:
                self._advance(chunks.evaluator, before, mask)
            if depth > 1:
                before.forget()
            before = chunks.evaluator
            places = np.flatnonzero(depths == depth)
            if len(places):
                yield chunks, places
        if before is not self.chunks[0].evaluator:
            before.forget()

    def _advance(self, behind: Evaluator, before: Evaluator, mask: np.ndarray) -> None:
        try:
            behind.advance(before, mask)
        except jax.errors.JaxRuntimeError as error:
            if not is_out_of_memory(error) or behind.layout.processes is not None:
                raise
            self.is_too_large = True
            for chunks in self.chunks[1:]:
                chunks.evaluator.forget()
            raise TooLarge from None


def _way(
    evaluator: Evaluator, suffix: Suffix, sets: list[Bool[np.ndarray, " N"]]
) -> list[Behind]:
    """The cuts for some tiles of rows, compiled once for all value functions alike."""
    model = evaluator.players.model

    def make() -> list[Behind]:
        found, before = [], suffix
        for cut, varying in zip(
            cut_at(model, suffix.call, sets), sets[1:], strict=True
        ):
            key = "behind", suffix.call.key(), varying.tobytes()
            found.append(Behind(before, cut, key))
            before = found[-1].suffix
        return found

    key = "way", suffix.call.key(), suffix.is_stacked, np.stack(sets).tobytes()
    return model.programs.get(key, make)


class ByDepth:
    """The depths of a model at which toggles of its coalitions may begin."""

    def __init__(self, chunks: Chunks):
        """Nothing is cut yet.

        Args:
          chunks: what values coalitions from where anything varies.
        """
        self._chunks = chunks
        self._at_once = chunks.evaluator.num_at_once
        self._made: dict[bytes, Deep] = {}

    def best(self, free: Int[np.ndarray, " M"]) -> Deep | None:
        """The cuts that save most toggles of some players; None if none pays.

        What some sweeps save must be worth the nodes to compile. It is decided by
        counts alone, so that it is the same on any number of devices and in each
        process.

        Args:
          free: who is toggled.
        """
        evaluator = self._chunks.evaluator
        layout, varying = evaluator.layout, evaluator.varying
        is_split = layout.mesh.size > layout.num_groups
        if is_split or isinstance(evaluator.players, WeightPlayers):
            return None
        reached = _reach(evaluator.players.model, evaluator.suffixes[0])
        tiles = 1 / evaluator.rows.weights[0]
        plain = (len(free) + 1) * reached.of(varying)[0]
        compiling = NODE_COST.get(layout.platform, FAST_NODE_COST)
        compiling *= len(evaluator.suffixes) / (SWEEPS * tiles)
        best, most = None, 0.0
        for num in DEPTHS:
            depths = find_depths(reached, varying, num, self._at_once)
            saved = plain - depths.sweep_cost(free)
            worth = saved - compiling * depths.num_nodes
            if worth > most and saved > LEAST_SAVED * plain:
                best, most = depths, worth
        if best is None:
            return None
        where = best.depth_of.tobytes()
        if where not in self._made:
            self._made[where] = Deep(self._chunks, best)
        return self._made[where]


def _reach(model: TracedModel, suffix: Suffix) -> Reach:
    """Who reaches what, found once for all value functions of the same shapes."""
    call = suffix.call
    return model.programs.get(("reach", call.key()), lambda: reach(model, call))
