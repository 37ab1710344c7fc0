"""Sweeps over single moves, compiled: an order's prefixes, a coalition's toggles.

Tiles of examples are shared out among devices. On each of them one loop goes over its
tiles, and for each tile one over the moves, so that what a move updates stays in cache.
Nothing is exchanged, and the values do not depend on the number of devices.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from gamepruning.coalitions.evaluation.tiles import Tiles
from gamepruning.run.toggle import Residuals, ToggleEvaluator
from gamepruning.trees.arrays import split_arrays

WHOLE, TILED = PartitionSpec(), PartitionSpec("tiles")


def compile_sweeps(
    updates: ToggleEvaluator,
    score: Callable,
    params: Any,
    rows: Tiles,
    devices: Sequence[Any],
) -> Callable:
    """run(mask, order, count, keep, tiles=None) -> sums [tiles, M + 1], compiled.

    `run` starts from the coalition `mask`, bool [N], and lets the first `count` players
    of `order`, int [M], change sides: one after the other where `keep`, else each of
    them alone. The sums are those of `score`, at the start and after each move; after
    `count` moves they are 0. Of all tiles, or of `tiles`, int [K]: sums [K, M + 1].

    Args:
      updates: the moves, at the shapes of one tile.
      score: score(outputs, labels, counts) of one tile, a scalar.
      params: the parameters.
      rows: the examples; as many tiles on each device.
      devices: where they go.
    """
    mesh = Mesh(np.asarray(devices), ("tiles",))
    rows = jax.device_put(rows, NamedSharding(mesh, TILED))
    arrays, rebuild = split_arrays(params)
    arrays = jax.device_put(arrays, NamedSharding(mesh, WHOLE))

    def spread(fun, in_specs, out_specs):
        mapped = jax.shard_map(
            fun, mesh=mesh, in_specs=in_specs, out_specs=out_specs, check_vma=False
        )
        return jax.jit(mapped)

    def prepare(arrays, inputs):
        params = rebuild(arrays)
        tiles = lax.map(lambda x: updates.prepare(params, x).rows, inputs)
        first = jax.tree.map(lambda x: x[0], inputs)
        return Residuals(updates.prepare(params, first).shared, tiles)

    specs = Residuals(WHOLE, TILED)  # type: ignore[arg-type]
    residuals = spread(prepare, (WHOLE, TILED), specs)(arrays, rows.inputs)

    def sweep_one(keep, shared, entry, moves):
        values, labels, counts = entry
        own = Residuals(shared, values)
        scored = lambda outputs: score(outputs, labels, counts)  # noqa: E731
        return _sweep_tile(updates, scored, own, moves, keep)

    def sweep_all(keep):
        def run(residuals, labels, counts, *moves):
            entries = (residuals.rows, labels, counts)
            tile = lambda entry: sweep_one(keep, residuals.shared, entry, moves)  # noqa: E731
            return lax.map(tile, entries)

        in_specs = (specs, TILED, TILED, WHOLE, WHOLE, WHOLE)
        return spread(run, in_specs, TILED)

    def sweep_some(keep):
        """Each device goes through those of the wanted tiles that it has."""

        def run(residuals, labels, counts, places, *moves):
            entries = (residuals.rows, labels, counts)
            first = lax.axis_index("tiles") * counts.shape[0]

            def tile(number, sums):
                place = places[number] - first
                is_here = (place >= 0) & (place < counts.shape[0])

                def look(sums):
                    entry = jax.tree.map(lambda x: x[place], entries)
                    found = sweep_one(keep, residuals.shared, entry, moves)
                    return sums.at[number].set(found)

                return lax.cond(is_here, look, lambda sums: sums, sums)

            entry = jax.tree.map(lambda x: x[0], entries)
            look_at = functools.partial(sweep_one, keep)
            one = jax.eval_shape(look_at, residuals.shared, entry, moves)
            sums = jnp.zeros((len(places), *one.shape), one.dtype)
            return lax.fori_loop(0, len(places), tile, sums)[None]

        in_specs = (specs, TILED, TILED, WHOLE, WHOLE, WHOLE, WHOLE)
        return spread(run, in_specs, TILED)

    runs = {keep: sweep_all(keep) for keep in (True, False)}
    runs_of_some = {keep: sweep_some(keep) for keep in (True, False)}

    def run(mask, order, count, keep, tiles=None):
        gates = np.asarray(mask, jnp.result_type(float))
        held = residuals, rows.labels, rows.counts
        moves = gates, order, np.int32(count)
        if tiles is None:
            return runs[keep](*held, *moves)
        found = runs_of_some[keep](*held, np.asarray(tiles, np.int32), *moves)
        return np.asarray(found).sum(axis=0)  # of a tile all but one are 0

    return run


def _sweep_tile(updates, score, residuals, moves: tuple, keep: bool):
    """The score at the start and after each move; `keep` them, or not."""
    gates, order, count = moves
    kind_of = jnp.asarray(updates.moves.kind_of)
    states, outputs = updates.start(residuals, gates)
    first = score(outputs)
    scores = jnp.zeros(len(order) + 1, first.dtype).at[0].set(first)

    def make_branch(kind):
        def branch(states, gates, player):
            moved, outputs = updates.move(kind, residuals, states, gates, player)
            return moved if keep else [], score(outputs)

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

    return lax.fori_loop(0, count, body, (states, gates, scores))[2]
