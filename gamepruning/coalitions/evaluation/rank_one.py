"""Walks over single moves, compiled: an order's prefixes, a coalition's toggles.

Tiles of examples are shared out among devices. On each of them one loop goes over its
tiles, and for each tile one over the moves, so that what a move updates stays in cache.
Nothing is exchanged, and the values do not depend on the number of devices.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Bool, Float, Int, PyTree

from gamepruning.coalitions.evaluation.tiles import Tiles, TileScore
from gamepruning.run.toggle import Residuals, ToggleEvaluator
from gamepruning.trees.arrays import split_arrays

WHOLE, TILED = PartitionSpec(), PartitionSpec("tiles")
_RESIDUALS = Residuals(WHOLE, TILED)  # type: ignore[arg-type]


class Moves(NamedTuple):
    """Who changes sides, and from where.

    Attributes:
      gates: the coalition at the start, float [N].
      order: the players who move, int [M].
      num_moves: how many of them do.
    """

    gates: Any
    order: Any
    num_moves: Any


class Walk:
    """walk(mask, order, count, keep, tiles=None) -> sums [tiles, M + 1].

    A walk starts from the coalition `mask` and lets the first `count` players of
    `order` change sides: one after the other where `keep`, else each of them alone.
    The sums are those of the score, at the start and after each move; after `count`
    moves they are 0.
    """

    def __init__(self, programs: "WalkPrograms", params: PyTree, rows: Tiles):
        """Prepare what does not depend on who moves, for all tiles.

        Args:
          programs: what is compiled.
          params: the parameters.
          rows: the examples; as many tiles on each device.
        """
        self._programs = programs
        rows = jax.device_put(rows, NamedSharding(programs.mesh, TILED))
        arrays, _ = split_arrays(params)
        arrays = jax.device_put(arrays, NamedSharding(programs.mesh, WHOLE))
        residuals = programs.prepare(arrays, rows.inputs)
        self._held = residuals, rows.labels, rows.counts

    def __call__(
        self,
        mask: Bool[np.ndarray, " N"],
        order: Int[np.ndarray, " M"],
        count: int,
        keep: bool,
        tiles: Int[np.ndarray, " K"] | None = None,
    ) -> Float[jax.Array | np.ndarray, "T M+1"]:
        """The sums of all tiles, or of some: [K, M + 1]."""
        gates = np.asarray(mask, jnp.result_type(float))
        moves = Moves(gates, order, np.int32(count))
        if tiles is None:
            return self._programs.all[keep](*self._held, *moves)
        some = self._programs.some[keep]
        found = some(*self._held, np.asarray(tiles, np.int32), *moves)
        return np.asarray(found).sum(axis=0)  # of a tile all but one are 0


class WalkPrograms:
    """The programs of walks over tiles of some shapes.

    Attributes:
      mesh: the devices that tiles are shared out among.
      prepare: (arrays of params, inputs) -> residuals.
      all: by whether moves are kept, (what is held, moves) -> sums of each tile.
      some: (what is held, which tiles, moves) -> sums of these.
    """

    def __init__(
        self,
        updates: ToggleEvaluator,
        score: TileScore,
        params: PyTree,
        devices: Sequence[Any],
    ):
        """Nothing is compiled yet.

        Args:
          updates: the moves, at the shapes of one tile.
          score: (outputs, labels, counts) of one tile -> scalar.
          params: parameters; only what is not an array is looked at.
          devices: where tiles go.
        """
        self._updates = updates
        self._score = score
        self.mesh = Mesh(np.asarray(devices), ("tiles",))
        _, self._rebuild = split_arrays(params)
        self.prepare = self._spread(self._prepare, (WHOLE, TILED), _RESIDUALS)
        held, moves = (_RESIDUALS, TILED, TILED), (WHOLE, WHOLE, WHOLE)
        self.all = {
            keep: self._spread(functools.partial(self._walk_all, keep), (*held, *moves))
            for keep in (True, False)
        }
        self.some = {
            keep: self._spread(
                functools.partial(self._walk_some, keep), (*held, WHOLE, *moves)
            )
            for keep in (True, False)
        }

    def _spread(
        self, fun: Callable[..., Any], in_specs: tuple, out_specs: Any = TILED
    ) -> Callable[..., Any]:
        mapped = jax.shard_map(
            fun,
            mesh=self.mesh,
            in_specs=in_specs,
            out_specs=out_specs,
            check_vma=False,
        )
        return jax.jit(mapped)

    def _prepare(self, arrays: list, inputs: Any) -> Residuals:
        params = self._rebuild(arrays)
        tiles = lax.map(lambda x: self._updates.prepare(params, x).rows, inputs)
        first = jax.tree.map(lambda x: x[0], inputs)
        return Residuals(self._updates.prepare(params, first).shared, tiles)

    def _walk_all(self, keep: bool, residuals, labels, counts, *moves):
        entries = (residuals.rows, labels, counts)
        walk = functools.partial(self._walk_one, keep, Moves(*moves), residuals.shared)
        return lax.map(walk, entries)

    def _walk_some(self, keep: bool, residuals, labels, counts, places, *moves):
        """Each device goes through those of the wanted tiles that it has."""
        entries = (residuals.rows, labels, counts)
        first = lax.axis_index("tiles") * counts.shape[0]
        walk = functools.partial(self._walk_one, keep, Moves(*moves), residuals.shared)

        def tile(number, sums):
            place = places[number] - first
            is_here = (place >= 0) & (place < counts.shape[0])

            def look(sums):
                entry = jax.tree.map(lambda x: x[place], entries)
                return sums.at[number].set(walk(entry))

            return lax.cond(is_here, look, lambda sums: sums, sums)

        one = jax.eval_shape(walk, jax.tree.map(lambda x: x[0], entries))
        sums = jnp.zeros((len(places), *one.shape), one.dtype)
        return lax.fori_loop(0, len(places), tile, sums)[None]

    def _walk_one(self, keep: bool, moves: Moves, shared: Any, entry: tuple):
        """The score of one tile at the start and after each move, kept or not."""
        values, labels, counts = entry
        residuals = Residuals(shared, values)
        updates, (gates, order, num_moves) = self._updates, moves
        kind_of = jnp.asarray(updates.moves.kind_of)
        chex.assert_equal_shape([gates, kind_of])
        states, outputs = updates.start(residuals, gates)
        first = self._score(outputs, labels, counts)
        chex.assert_rank(first, 0)
        scores = jnp.zeros(len(order) + 1, first.dtype).at[0].set(first)

        def make_branch(kind):
            def branch(states, gates, player):
                moved, outputs = updates.move(kind, residuals, states, gates, player)
                value = self._score(outputs, labels, counts)
                return moved if keep else [], value

            return branch

        branches = [make_branch(kind) for kind in range(len(updates.moves.kinds))]

        def body(turn, carry):
            states, gates, scores = carry
            player = order[turn]
            after = gates.at[player].set(1 - gates[player])
            both = gates, after
            moved, value = lax.switch(kind_of[player], branches, states, both, player)
            if keep:
                states, gates = moved, after
            return states, gates, scores.at[turn + 1].set(value)

        return lax.fori_loop(0, num_moves, body, (states, gates, scores))[2]
