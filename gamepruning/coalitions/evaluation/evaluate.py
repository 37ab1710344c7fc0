"""One compiled program that values coalitions, a tile of them at a time.

A tile has a fixed number of coalitions and rows, whatever is asked: so a value does
not depend on its neighbours, on the size of a chunk, or on the number of devices.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from gamepruning.coalitions.evaluation.related import Incremental, make_incremental
from gamepruning.coalitions.evaluation.rows import cut, cut_rows
from gamepruning.players import Players
from gamepruning.run.hoist import SplitModel
from gamepruning.trees.arrays import compiled
from gamepruning.trees.examples import same_length
from gamepruning.types import InputError

ENTRIES = {"cpu": 2**18}  # of the widest value of a tile
MANY_ENTRIES = 2**26  # where memory is fast
MOST_AT_ONCE = 256


class Evaluator:
    """Coalitions of all players, bool [S, N], to values, by one compiled program.

    What no varying gate reaches is computed once, here. `gates` says who of the other
    players is in.

    Attributes:
      num_at_once: coalitions of one tile, on one device.
      num_devices: how many devices share the tiles.
      rows: how the examples are cut.
    """

    def __init__(
        self,
        players: Players,
        params: Any,
        metric: Callable[..., Any],
        inputs: tuple,
        labels: Any,
        *,
        varying: np.ndarray,
        gates: np.ndarray,
        rows_at_once: int | None = None,
        devices: Sequence[Any] | None = None,
    ):
        self._devices = list(jax.local_devices() if devices is None else devices)
        if not self._devices:
            raise InputError("expected at least one device, got none")
        self._metric = metric
        self.num_devices = len(self._devices)
        model = (players, params, metric, inputs, labels)
        self.rows = cut_rows(*model, rows_at_once, self._devices[0].platform)
        parts = cut((inputs, labels), self.rows)
        self._suffixes, residuals = [], []
        for stacked, data in parts:
            done, suffix = _hoisted(players, params, data, varying, gates, stacked)
            self._suffixes.append((suffix, stacked))
            residuals.append(done)
        self._residuals = residuals
        self.num_at_once = self._choose_at_once()
        self._programs: dict[tuple, Callable] = {}
        self._placed: dict[int, Any] = {}

    def _choose_at_once(self) -> int:
        entries = ENTRIES.get(self._devices[0].platform, MANY_ENTRIES)
        fit = entries // max(self._suffixes[0][0].widest, 1)
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
        return program(self._placed[used], jax.device_put(padded, own))

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

    def _values(self, residuals: list, masks: jax.Array) -> jax.Array:
        """The metric on each tile of rows, [row tiles, coalitions]."""
        found = []
        for (suffix, stacked), done in zip(self._suffixes, residuals, strict=True):
            if stacked:
                over = jax.lax.map(
                    lambda own, s=suffix, d=done: self._tile(s, d.whole, own, masks),
                    (done.own, done.labels),
                )
                found.append(over)
            else:
                own = (done.own, done.labels)
                found.append(self._tile(suffix, done.whole, own, masks)[None])
        return jnp.concatenate(found)

    def _tile(self, suffix: SplitModel, whole: list, own: tuple, masks) -> jax.Array:
        rows, labels = own
        residuals = _merge(suffix.by_input, rows, whole)

        def value(mask):
            found = jnp.asarray(self._metric(suffix.suffix(residuals, mask), labels))
            if found.shape:
                raise InputError(
                    "expected metric(outputs, labels) to be one number, got an array "
                    f"of shape {found.shape}: take the mean over examples"
                )
            return found.astype(jnp.result_type(found, jnp.float32))

        return jax.vmap(value)(masks)


class Sweeps:
    """Incremental evaluation of a model, prepared when it is first asked for."""

    def __init__(
        self,
        model: tuple,
        *,
        varying: np.ndarray,
        in_tiles: bool,
        devices: Sequence[Any] | None,
    ):
        self.players = model[0]
        self._model = model
        self._options: dict[str, Any] = {"varying": varying, "devices": devices}
        self._options["row_tile"] = "auto" if in_tiles else None
        self._made: list = []

    def sampled(self, sample_rows: int) -> Sweeps:
        """Sweeps that look at some examples each."""
        other = copy.copy(self)
        other._options = {**self._options, "sample_rows": sample_rows}
        other._made = []
        return other

    def get(self) -> Incremental | None:
        """The sweeps; None where the trace allows none or they do not pay."""
        if not self._made:
            *_, inputs, labels = self._model
            same = same_length((inputs, labels)) is not None
            self._made.append(
                make_incremental(*self._model, **self._options) if same else None
            )
        return self._made[0]


class _Done(NamedTuple):
    """What was computed once.

    Attributes:
      own: residuals of the examples, stacked by tile of rows where there are several.
      whole: residuals of the parameters.
      labels: labels, stacked likewise.
    """

    own: list
    whole: list
    labels: Any


def _hoisted(
    players: Players,
    params: Any,
    data: tuple,
    varying: np.ndarray,
    gates: np.ndarray,
    stacked: bool,
) -> tuple[_Done, SplitModel]:
    """What no varying gate reaches, and the rest of the model."""
    inputs, labels = data
    one = jax.tree.map(lambda x: x[0], inputs) if stacked else inputs
    found = players.split(params, one, varying)

    def once(params, inputs):
        return _pick(found.by_input, found.prefix(params, gates, *inputs))

    def own_of_each(params, stack):
        return jax.lax.map(lambda inputs: once(params, inputs)[0], stack)

    rows, whole = compiled(once, params, one)
    if stacked:
        rows = compiled(own_of_each, params, inputs)
    if _are_finite([*rows, *whole]):
        found = players.split(params, one, varying, gate_smaller=True)
    return _Done(rows, whole, labels), found


@jax.jit
def _all_finite(arrays: list) -> jax.Array:
    return jnp.stack([jnp.isfinite(array).all() for array in arrays]).all()


def _are_finite(arrays: list) -> bool:
    inexact = [x for x in arrays if jnp.issubdtype(jnp.result_type(x), jnp.inexact)]
    return not inexact or bool(_all_finite(inexact))


def _pick(by_input: Sequence[bool], residuals: list) -> tuple[list, list]:
    """The residuals of the examples, and those of the parameters."""
    pairs = list(zip(by_input, residuals, strict=True))
    return [x for mine, x in pairs if mine], [x for mine, x in pairs if not mine]


def _merge(by_input: Sequence[bool], own: list, whole: list) -> list:
    own_left, whole_left = iter(own), iter(whole)
    return [next(own_left if mine else whole_left) for mine in by_input]
