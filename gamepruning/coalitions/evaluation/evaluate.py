"""One compiled program that values coalitions, a tile of them at a time.

A tile has a fixed number of coalitions and rows, however many are wanted: so a value
does not depend on its neighbours, on the size of a chunk, or on the number of devices.
"""

from collections.abc import Callable, Sequence
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Bool, Float

from gamepruning.coalitions.evaluation.hoisted import (
    HoistedRows,
    checked_metric,
    hoist_rows,
    tile_values,
)
from gamepruning.coalitions.evaluation.model import ScoredModel
from gamepruning.coalitions.evaluation.refit import Refit
from gamepruning.coalitions.evaluation.rows import cut, cut_rows
from gamepruning.types import InputError

ENTRIES = {"cpu": 2**18}  # of the widest value of a tile
MANY_ENTRIES = 2**28  # where memory is fast: a third more than 2**26 on an H100
MOST_AT_ONCE = 256


class Evaluator:
    """Coalitions of all players, bool [S, N], to values, by one compiled program.

    What no varying gate reaches is computed once, here.

    Attributes:
      num_at_once: coalitions of one tile, on one device.
      num_devices: how many devices share the tiles.
      rows: how the examples are cut.
    """

    def __init__(
        self,
        model: ScoredModel,
        *,
        varying: Bool[np.ndarray, " N"],
        inside: Bool[np.ndarray, " N"],
        rows_at_once: int | None = None,
        devices: Sequence[Any] | None = None,
        refit: Refit | None = None,
    ):
        """Prepare the examples.

        Args:
          model: the network, its data and the metric.
          varying: who may be in or out.
          inside: who of the others is in.
          rows_at_once: examples in a tile; None chooses.
          devices: where to evaluate; all local devices if None.
          refit: the parameters that each coalition has of its own; None for none.
        """
        self._devices = list(jax.local_devices() if devices is None else devices)
        if not self._devices:
            raise InputError("expected at least one device, got none")
        self._value = checked_metric(model.metric)
        self._num_players = model.players.num_players
        self.num_devices = len(self._devices)
        self.rows = cut_rows(model, rows_at_once, self._devices[0].platform)
        self._refit = refit or (lambda masks: [])
        changed = () if refit is None else refit.changed
        sides = varying, inside
        parts = [
            hoist_rows(model.players, model.params, data, sides, stacked, changed)
            for stacked, data in cut(model.examples, self.rows)
        ]
        self._hoisted = [hoisted for hoisted, _ in parts]
        self._residuals = [residuals for _, residuals in parts]
        self.num_at_once = self._choose_at_once()
        self._programs: dict[tuple[int, int], Callable] = {}
        self._placed: dict[int, list[HoistedRows]] = {}

    def _choose_at_once(self) -> int:
        entries = ENTRIES.get(self._devices[0].platform, MANY_ENTRIES)
        fit = entries // max(self._hoisted[0].split.widest, 1)
        return 2 ** (int(np.clip(fit, 1, MOST_AT_ONCE)).bit_length() - 1)

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
          masks: bool [S, N].
          used: how many devices share them.

        Returns:
          (values [row tiles, tiles of coalitions], how many of them count) for `join`.
        """
        size = used * self.num_at_once
        parts = [masks[k : k + size] for k in range(0, len(masks), size)]
        return [(self._launch(part, used), len(part)) for part in parts]

    def join(self, launched: list[tuple[jax.Array, int]]) -> np.ndarray:
        """Wait for the values, float64 [S]: their mean over the tiles of rows."""
        parts = [np.asarray(out, np.float64)[:, :count] for out, count in launched]
        total = 0.0
        pairs = zip(self.rows.weights, np.concatenate(parts, axis=1), strict=True)
        for weight, values in pairs:  # one after the other: the same for any shape
            total = total + weight * values
        return np.asarray(total)

    def _launch(self, masks: np.ndarray, used: int) -> jax.Array:
        mesh = self._mesh(used)
        padded = np.ones((used * self.num_at_once, masks.shape[1]), bool)
        padded[: len(masks)] = masks
        own = NamedSharding(mesh, PartitionSpec("coalitions"))
        if used not in self._placed:
            whole = NamedSharding(mesh, PartitionSpec())
            self._placed[used] = jax.device_put(self._residuals, whole)
        program = self._program(used)
        coalitions = jax.device_put((padded, self._refit(padded)), own)
        return program(self._placed[used], coalitions)

    def _mesh(self, used: int) -> Mesh:
        return Mesh(np.asarray(self._devices[:used]), ("coalitions",))

    def _program(self, used: int) -> Callable:
        key = used, self.num_at_once
        if key not in self._programs:
            whole, own = PartitionSpec(), PartitionSpec("coalitions")
            self._programs[key] = jax.jit(
                jax.shard_map(
                    self._values,
                    mesh=self._mesh(used),
                    in_specs=(whole, own),
                    out_specs=PartitionSpec(None, "coalitions"),
                    check_vma=False,
                )
            )
        return self._programs[key]

    def _values(
        self,
        residuals: list[HoistedRows],
        coalitions: tuple[Bool[jax.Array, "S N"], list[jax.Array]],
    ) -> Float[jax.Array, "R S"]:
        """The metric on each tile of rows."""
        chex.assert_shape(coalitions[0], (self.num_at_once, self._num_players))
        return jnp.concatenate(
            [
                tile_values(hoisted, done, coalitions, self._value)
                for hoisted, done in zip(self._hoisted, residuals, strict=True)
            ]
        )
