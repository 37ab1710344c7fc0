"""One compiled program that values coalitions, a tile of them at a time.

A tile has a fixed number of coalitions and rows, however many are wanted: so a value
does not depend on its neighbours, on the size of a chunk, or on the number of devices.
"""

import copy
from collections.abc import Sequence
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Bool, Float

from gamepruning.coalitions.evaluation.hoisted import (
    Behind,
    HoistedRows,
    Suffix,
    checked_metric,
    hoist_rows,
    tile_values,
)
from gamepruning.coalitions.evaluation.model import ScoredModel
from gamepruning.coalitions.evaluation.refit import Refit
from gamepruning.coalitions.evaluation.rows import cut, cut_rows
from gamepruning.trees.layout import Layout, on_devices
from gamepruning.types import InputError, Metric

ENTRIES = {"cpu": 2**18}  # of the widest value of a tile
SHARED_ENTRIES = 2**25  # of gated weights: read once for all their coalitions
MANY_ENTRIES = 2**28  # where memory is fast: a third more than 2**26 on an H100
MOST_AT_ONCE, MOST_SHARED = 256, 64


class Evaluator:
    """Coalitions of all players, bool [S, N], to values, by one compiled program.

    What no varying gate reaches is computed once, here.

    Attributes:
      num_at_once: coalitions of one tile, of one group of devices.
      layout: where coalitions, parameters and examples lie.
      rows: how the examples are cut.
      players: the `Players`.
      varying: who may be in or out, bool [N].
    """

    def __init__(
        self,
        model: ScoredModel,
        *,
        varying: Bool[np.ndarray, " N"],
        inside: Bool[np.ndarray, " N"],
        rows_at_once: int | None = None,
        layout: Layout | None = None,
        refit: Refit | None = None,
    ):
        """Prepare the examples.

        Args:
          model: the network, its data and the metric, placed by `layout`.
          varying: who may be in or out.
          inside: who of the others is in.
          rows_at_once: examples in a tile; None chooses.
          layout: where to evaluate; on all devices of this process if None.
          refit: the parameters that each coalition has of its own; None for none.
        """
        self.layout = on_devices(None) if layout is None else layout
        self._metric, self.players, self.varying = model.metric, model.players, varying
        self._refit = refit or (lambda masks: [])
        changed = () if refit is None else refit.changed
        self._cut_and_hoist(model, rows_at_once, (varying, inside), changed)
        self.num_at_once = self._choose_at_once()
        self._programs: dict[tuple[int, int], jax.stages.Wrapped] = {}
        self._placed: dict[int, list[HoistedRows]] = {}
        self._cuts: Sequence[Behind] = ()

    def _cut_and_hoist(
        self,
        model: ScoredModel,
        rows_at_once: int | None,
        sides: tuple[np.ndarray, np.ndarray],
        changed: Sequence[int],
    ) -> None:
        """Cut the examples, and compute what no varying gate reaches.

        Where gated weights are larger than what a tile of examples gives, tiles get
        more examples: weights are gated once for each tile.
        """
        parts, layout = self.layout.row_parts(model.examples), self.layout
        times = 1
        while True:
            self.rows = cut_rows(model, rows_at_once, layout.platform, parts, times)
            found = [
                hoist_rows(model.players, model.params, data, sides, stacked, changed)
                for stacked, data in cut(model.examples, self.rows, layout)
            ]
            split = found[0][0].split
            wanted = -(-split.widest_shared // max(split.widest, 1))
            if times > 1 or wanted <= 1 or len(self.rows.weights) == 1:
                break
            times = wanted
        self._hoisted = [hoisted for hoisted, _ in found]
        self._residuals = [residuals for _, residuals in found]

    def _choose_at_once(self) -> int:
        split = self._hoisted[0].split
        entries = ENTRIES.get(self.layout.platform, MANY_ENTRIES)
        fit, most = entries // max(split.widest, 1), MOST_AT_ONCE
        if split.widest_shared > split.widest:
            fit = max(SHARED_ENTRIES, entries) // split.widest_shared
            most = MOST_SHARED
        return 2 ** (int(np.clip(fit, 1, most)).bit_length() - 1)

    @property
    def suffixes(self) -> list[Suffix]:
        """What is left of the model: for the full tiles of rows, and for the rest."""
        return self._hoisted

    def in_tiles_of(self, num_at_once: int) -> "Evaluator":
        """The same with other tiles, and programs of its own."""
        other = copy.copy(self)
        other.num_at_once, other._programs = num_at_once, {}
        return other

    def behind(self, cuts: Sequence[Behind], num_at_once: int) -> "Evaluator":
        """An evaluator of what follows a cut; `advance` brings it to a coalition.

        Args:
          cuts: the cut, for each of `suffixes`.
          num_at_once: coalitions of one tile at most.
        """
        other = self.in_tiles_of(num_at_once)
        other._hoisted, other._cuts = [cut.suffix for cut in cuts], cuts
        other.num_at_once = min(num_at_once, other._choose_at_once())
        other.forget()
        return other

    def advance(self, before: "Evaluator", mask: Bool[np.ndarray, " N"]) -> None:
        """Value coalitions that differ from one in who is gated behind the cut only.

        Args:
          before: the evaluator of the cut before, which has come to the same coalition.
          mask: the coalition, bool [N].
        """
        pairs = zip(self._cuts, before._residuals, strict=True)
        with self.layout.together():
            found = [cut.advance(rows, mask) for cut, rows in pairs]
            self._residuals = jax.block_until_ready(found)  # memory may not suffice
        self._placed = {}

    def forget(self) -> None:
        """Let go of what `advance` computed."""
        self._residuals, self._placed = [], {}

    def shrink(self) -> None:
        """Halve the tile, where memory does not suffice for the whole one.

        Raises:
          InputError: it is a single coalition.
        """
        if self.num_at_once == 1:
            raise InputError(
                "out of memory with one coalition at a time: give fewer examples, or "
                "rows_at_once if the metric is a mean over examples"
            )
        self.num_at_once //= 2

    def start(self, masks: np.ndarray, used: int) -> list[tuple[jax.Array, int]]:
        """Send coalitions to the devices; the values of each row tile, on their way.

        Args:
          masks: bool [S, N], the same on every process.
          used: how many groups of devices share them.

        Returns:
          (values [row tiles, tiles of coalitions], how many of them count) for `join`.
        """
        size = used * self.num_at_once
        parts = [masks[k : k + size] for k in range(0, len(masks), size)]
        return [(self._launch(part, used), len(part)) for part in parts]

    def join(self, launched: list[tuple[jax.Array, int]]) -> np.ndarray:
        """Wait for the values, float64 [S]: their mean over the tiles of rows.

        Raises:
          LostProcess: another process has ended.
        """
        found = self.layout.fetch([out for out, _ in launched], axis=1)
        count = sum(count for _, count in launched)  # what fills up the last is left
        total = 0.0
        by_tile = found[:, :count].astype(np.float64)
        for weight, values in zip(self.rows.weights, by_tile, strict=True):
            total = total + weight * values  # in a row: the same for any shape
        return np.asarray(total)

    def lower(self) -> jax.stages.Lowered:
        """The program that values one tile of coalitions in each group, to look at."""
        used = self.layout.num_groups
        nobody = np.zeros((used * self.num_at_once, self.players.num_players), bool)
        return self._program(used).lower(*self._arguments(nobody, used))

    def _launch(self, masks: np.ndarray, used: int) -> jax.Array:
        padded = np.ones((used * self.num_at_once, masks.shape[1]), bool)
        padded[: len(masks)] = masks
        arguments = self._arguments(padded, used)
        return self.layout.launch(self._program(used), *arguments)

    def _arguments(self, masks: np.ndarray, used: int) -> tuple:
        """What the program takes: what is computed once, and coalitions."""
        if used not in self._placed:
            mesh = self.layout.mesh_of(used)
            whole = NamedSharding(mesh, PartitionSpec())
            is_there = self.layout.is_given
            self._placed[used] = (
                self._residuals if is_there else jax.device_put(self._residuals, whole)
            )
        return self._placed[used], self.layout.spread(masks, self._refit, used)

    def _program(self, used: int) -> jax.stages.Wrapped:
        """Compiled once for all value functions of the same shapes."""
        own = used, self.num_at_once
        if own not in self._programs:
            hoisted, layout = tuple(self._hoisted), self.layout
            parts = tuple(suffix.key for suffix in hoisted)
            mesh, where = layout.mesh_of(used), (layout.axis, layout.is_given)
            values = _TileValues(hoisted, self._metric, layout)
            self._programs[own] = self.players.model.programs.get(
                ("values", parts, self._metric, mesh, where, own),
                lambda: values.compiled_on(mesh),
            )
        return self._programs[own]


class _TileValues(NamedTuple):
    """The metric of coalitions on each tile of rows.

    Attributes:
      hoisted: what is left of the model, for the tiles of each size.
      metric: (outputs, labels) -> scalar.
      layout: where coalitions lie.
    """

    hoisted: tuple[Suffix, ...]
    metric: Metric
    layout: Layout

    def compiled_on(self, mesh: Mesh) -> jax.stages.Wrapped:
        """(residuals, coalitions) -> values [R, S], split over the groups of a mesh."""
        axis = self.layout.axis
        mapped = jax.shard_map(
            self._values,
            mesh=mesh,
            in_specs=(PartitionSpec(), PartitionSpec(axis)),
            out_specs=PartitionSpec(None, axis),
            axis_names={axis},
            check_vma=False,
        )
        return jax.jit(mapped)

    def _values(
        self,
        residuals: list[HoistedRows],
        coalitions: tuple[Bool[jax.Array, "S N"], list[jax.Array]],
    ) -> Float[jax.Array, "R S"]:
        masks, changed = coalitions
        chex.assert_rank(masks, 2)
        coalitions = self.layout.whole(masks), changed
        value = checked_metric(self.metric)
        return jnp.concatenate(
            [
                tile_values(hoisted, done, coalitions, value)
                for hoisted, done in zip(self.hoisted, residuals, strict=True)
            ]
        )
