"""What no varying gate reaches is computed once; the rest is what coalitions run."""

import functools
from collections.abc import Callable, Hashable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool

from gamepruning.players import Players
from gamepruning.run.depth import Cut
from gamepruning.run.hoist import SplitModel
from gamepruning.trace.call import CallSpec, as_struct
from gamepruning.trees.arrays import CompiledFunction, Memo
from gamepruning.types import InputError, Metric

PIECES = {"cpu": 1250}  # of a long sum: so much of gated weights stays in a cache


class HoistedRows(NamedTuple):
    """What was computed once, for one set of tiles of rows.

    Attributes:
      own: residuals of the examples, stacked by tile of rows where there are several.
      whole: residuals of the parameters.
      labels: labels, stacked likewise.
    """

    own: list
    whole: list
    labels: Any


class Suffix(NamedTuple):
    """The part of a model that is left for each coalition.

    Attributes:
      split: the model in two parts.
      is_stacked: True if the rows come in several tiles of equal size.
      key: what it depends on.
      call: the shapes of the parameters and of one tile of rows.
    """

    split: SplitModel
    is_stacked: bool
    key: Hashable
    call: CallSpec


class _Hoisting:
    """A model in two parts at some shapes, and the programs of the first part."""

    def __init__(self, split_model: Callable[..., SplitModel]):
        self.split = split_model()
        self._split_model = split_model
        self._smaller = Memo()
        self.once = CompiledFunction(lambda params, data: self._prefix(params, *data))
        self.each = CompiledFunction(self._own_of_each)

    def gating_smaller(self, piece: int) -> SplitModel:
        """The parts where products of finite residuals are gated where smaller."""
        make = functools.partial(self._split_model, gate_smaller=True, piece=piece)
        return self._smaller.get(piece, make)

    def _prefix(self, params: Any, gates: Any, inputs: tuple) -> tuple[list, list]:
        residuals = self.split.prefix(params, gates, *inputs)
        return _pick(self.split.by_input, residuals)

    def _own_of_each(self, params: Any, data: tuple[Any, tuple]) -> list:
        gates, stack = data
        return jax.lax.map(lambda one: self._prefix(params, gates, one)[0], stack)


def hoist_rows(
    players: Players,
    params: Any,
    data: tuple[tuple, Any],
    sides: tuple[np.ndarray, np.ndarray],
    is_stacked: bool,
    changed: Sequence[int] = (),
) -> tuple[Suffix, HoistedRows]:
    """What no varying gate reaches, and the rest of the model.

    Args:
      players: the `Players`.
      params: the parameters.
      data: (inputs, labels) of some tiles of rows.
      sides: who varies, bool [N]; and who of the others is in, bool [N].
      is_stacked: True if the leaves of `data` have a leading axis of tiles.
      changed: the parameters, by number, that each coalition has of its own.
    """
    inputs, labels = data
    varying, gates = sides
    one = jax.tree.map(lambda x: x[0], inputs) if is_stacked else inputs
    call = players.model.call(params, *one)
    key = "hoisted", call.key(), varying.tobytes(), tuple(changed)
    call = call.with_arrays(list(map(as_struct, call.arrays)))

    def make() -> _Hoisting:
        shapes, *one = call.rebuild(call.arrays)
        split = functools.partial(
            players.split, shapes, one, varying.copy(), changed=tuple(changed)
        )
        return _Hoisting(split)

    hoisting: _Hoisting = players.model.programs.get(key, make)
    own, whole = hoisting.once(params, (gates, one))
    if is_stacked:
        own = hoisting.each(params, (gates, inputs))
    is_finite = _are_finite([*own, *whole])
    piece = _piece_of([*own, *whole])
    found = hoisting.gating_smaller(piece) if is_finite else hoisting.split
    suffix = Suffix(found, is_stacked, (key, is_stacked, is_finite, piece), call)
    return suffix, HoistedRows(own, whole, labels)


class Behind:
    """A cut further down the model, for one set of tiles of rows.

    Attributes:
      cut: the cut.
      suffix: what follows it.
    """

    def __init__(self, before: Suffix, cut: Cut, key: Hashable):
        """The way from what was hoisted before, compiled when it is first gone."""
        is_stacked = before.is_stacked
        self.cut = cut
        self.suffix = Suffix(cut.split, is_stacked, (key, is_stacked), before.call)
        self._before = before
        self._advance = CompiledFunction(lambda _, data: self._compute(*data))

    def advance(self, rows: HoistedRows, gates: Bool[np.ndarray, " N"]) -> HoistedRows:
        """What a coalition decides up to the cut, from what was known before it."""
        own, whole = self._advance(None, (gates, rows.own, rows.whole))
        return HoistedRows(own, whole, rows.labels)

    def _compute(self, gates: Any, own: list, whole: list) -> tuple[list, list]:
        def of_tile(rows: list) -> tuple[list, list]:
            joined = _merge(self._before.split.by_input, rows, whole)
            passed = self.cut.advance(joined, gates)
            return _pick(self.cut.split.by_input, passed)

        if not self._before.is_stacked:
            return of_tile(own)
        tiles = jax.lax.map(lambda rows: of_tile(rows)[0], own)
        return tiles, of_tile([x[0] for x in own])[1]


def tile_values(
    hoisted: Suffix,
    residuals: HoistedRows,
    coalitions: tuple[Bool[jax.Array, "S N"], list[jax.Array]],
    value: Callable[[Any, Any], jax.Array],
) -> jax.Array:
    """The values of coalitions on each tile of rows, [row tiles, S].

    Args:
      hoisted: what is left of the model.
      residuals: what was computed once.
      coalitions: their masks, and the parameters that they have of their own, each
        [S, ...].
      value: (outputs, labels) -> scalar.
    """
    split = hoisted.split

    def of_tile(own: tuple) -> jax.Array:
        rows, labels = own
        joined = _merge(split.by_input, rows, residuals.whole)
        return jax.vmap(
            lambda mask, changed: value(split.suffix(joined, mask, changed), labels)
        )(*coalitions)

    tiles = residuals.own, residuals.labels
    return jax.lax.map(of_tile, tiles) if hoisted.is_stacked else of_tile(tiles)[None]


def checked_metric(metric: Metric) -> Callable[[Any, Any], jax.Array]:
    """The metric as a float scalar; it complains about anything else."""

    def value(outputs: Any, labels: Any) -> jax.Array:
        found = jnp.asarray(metric(outputs, labels))
        if found.shape:
            raise InputError(
                "expected metric(outputs, labels) to be one number, got an array of "
                f"shape {found.shape}: take the mean over examples"
            )
        return found.astype(jnp.result_type(found, jnp.float32))

    return value


@jax.jit
def _all_finite(arrays: list) -> jax.Array:
    return jnp.stack([jnp.isfinite(array).all() for array in arrays]).all()


def _are_finite(arrays: list) -> bool:
    inexact = [x for x in arrays if jnp.issubdtype(jnp.result_type(x), jnp.inexact)]
    return not inexact or bool(_all_finite(inexact))


def _piece_of(arrays: list) -> int:
    """Entries of a long sum at a time; 0 where arrays are split over devices.

    A piece of what is split would have to be gathered.
    """
    there = {array.sharding for array in arrays if isinstance(array, jax.Array)}
    if not all(sharding.is_fully_replicated for sharding in there):
        return 0
    platforms = {device.platform for s in there for device in s.device_set}
    return max((PIECES.get(platform, 0) for platform in platforms), default=0)


def _pick(by_input: Sequence[bool], residuals: list) -> tuple[list, list]:
    """The residuals of the examples, and those of the parameters."""
    pairs = list(zip(by_input, residuals, strict=True))
    return [x for mine, x in pairs if mine], [x for mine, x in pairs if not mine]


def _merge(by_input: Sequence[bool], own: list, whole: list) -> list:
    own_left, whole_left = iter(own), iter(whole)
    return [next(own_left if mine else whole_left) for mine in by_input]
