"""The value function of a network: what it is worth with some players alone."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import jax.core
import numpy as np
from jaxtyping import ArrayLike, Bool, Float

from gamepruning.coalitions.evaluation.evaluate import Evaluator, Sweeps
from gamepruning.coalitions.measures import is_mean
from gamepruning.coalitions.restrict import (
    describe_coalition,
    free_players,
    select_players,
)
from gamepruning.players import Players
from gamepruning.trees.masks import as_masks
from gamepruning.types import InputError

TILES_A_CHUNK = 16  # for each device
FINITE = (
    "expected a finite number for every coalition, also for nobody: clip it, or choose "
    "another metric"
)


def value_function(
    players: Players,
    params: Any,
    metric: Callable[..., Any],
    inputs: Any,
    labels: Any,
    *,
    varying: Any = None,
    always_in: Any = None,
    always_out: Any = None,
    chunk_size: int | None = None,
    rows_at_once: int | None = None,
    devices: Sequence[Any] | None = None,
    progress: Callable[[int], Any] | None = None,
) -> ValueFunction:
    """The performance of a network with some of its players alone.

    v(C) = metric(f(inputs; players of C), labels)

    What does not depend on a free player is computed once, here. Coalitions are then
    evaluated a tile at a time, so that memory does not grow with their number; a value
    is the same bit for bit whatever the chunk size and the number of devices.

    Args:
      players: the `Players` of the network.
      params: its parameters.
      metric: (outputs, labels) -> scalar, higher is better, traceable by JAX:
        `gp.accuracy`, `gp.negative_cross_entropy`, `gp.true_class_probability`, or
        yours.
      inputs: the network's input, [B, ...], or a tuple of inputs.
      labels: what the metric compares with, [B, ...].
      varying: who plays: names of families, or bool [N]; all if None. The others are
        in.
      always_in: players that are in every coalition: bool [N], their numbers, or names
        of families.
      always_out: players that are in none, likewise.
      chunk_size: coalitions sent to the devices before the first value is waited for,
        rounded up to whole tiles; None chooses. Halved when memory runs out.
      rows_at_once: examples a tile, for a network that takes each example by itself
        and a metric that is a mean over them. None cuts tiles where both are known
        (the library's own metrics), and takes all examples at once otherwise.
      devices: where to evaluate; all local devices if None.
      progress: called with the number of values known, after each chunk.

    Returns:
      A `ValueFunction` of the free players.

    Raises:
      InputError: a player is both always in and always out, nobody is free, no such
        player or family, a size below 1, no examples, or a metric that gives more than
        one number.

    Cost: none until it is called, but for one pass over the inputs.

    Example: f = 3 s_0 + s_1, and the value is its mean.
      >>> import jax.numpy as jnp, numpy as np, gamepruning as gp
      >>> def apply(params, x):
      ...     return jnp.maximum(x @ params["in"], 0) @ params["out"]
      >>> params = {"in": jnp.array([[3.0, 1.0]]), "out": jnp.ones((2, 1))}
      >>> x = jnp.ones((4, 1))
      >>> players = gp.find_players(apply, params, x)
      >>> value_fn = value_function(players, params, lambda out, y: out.mean(), x, None)
      >>> value_fn(np.array([[False, False], [True, False], [True, True]])).tolist()
      [0.0, 3.0, 4.0]
      >>> value_fn.num_players, value_fn.num_evaluations
      (2, 3)

    References:
      arXiv 2311.10468, section 3: the cooperative game of a network.
    """
    if chunk_size is not None and chunk_size < 1:
        raise InputError(f"expected chunk_size >= 1, got {chunk_size}")
    plays = players.select(varying)
    inside = ~plays | select_players(players, always_in, "always_in")
    outside = select_players(players, always_out, "always_out")
    idle = np.flatnonzero(outside & ~plays)
    if idle.size:
        raise InputError(
            f"player {idle[0]} is always out but not among those that vary, who are "
            "always in: add it to varying"
        )
    free = free_players(inside, outside)
    given = inputs if isinstance(inputs, tuple) else (inputs,)
    evaluator = Evaluator(
        players,
        params,
        metric,
        given,
        labels,
        varying=~(inside | outside),
        gates=inside,
        rows_at_once=rows_at_once,
        devices=devices,
    )
    sweeps = Sweeps(
        (players, params, metric, given, labels),
        varying=~inside,
        in_tiles=rows_at_once is not None or is_mean(metric),
        devices=devices,
    )
    return ValueFunction(evaluator, sweeps, free, inside, chunk_size, progress)


class ValueFunction:
    """Coalitions of the free players, bool [S, M] -> values, float64 [S].

    Made by `value_function`. A mask names who of the free players is in; players that
    are always in or out are added.

    Attributes:
      num_players: M, the number of free players.
      free: their numbers among all players, int [M], rising.
      num_evaluations: coalitions valued so far, those of functions restricted from
        this one among them.
    """

    def __init__(
        self,
        evaluator: Evaluator,
        sweeps: Sweeps,
        free: np.ndarray,
        inside: np.ndarray,
        chunk_size: int | None,
        progress: Callable[[int], Any] | None,
    ):
        self.free = free
        self.num_players = len(free)
        self.num_evaluations = 0
        self._inside = inside
        self._evaluator = evaluator
        self._sweeps = sweeps
        self._chunk_size = chunk_size
        self._progress = progress
        self._parent: ValueFunction | None = None

    def __repr__(self) -> str:
        return (
            f"ValueFunction({self.num_players} free of {len(self._inside)} players, "
            f"{self.num_evaluations} evaluations)"
        )

    def __call__(self, masks: ArrayLike) -> Float[np.ndarray, " S"]:
        """The value of each coalition.

        Args:
          masks: bool [S, M], True = in; any S.

        Returns:
          float64 [S].

        Raises:
          InputError: masks of another shape or dtype, a value that is not finite, or
            too little memory for one coalition.

        Cost: S evaluations.
        """
        return self._values(self._check(masks))

    def _values(self, masks: np.ndarray, before: int = 0) -> np.ndarray:
        """Values chunk by chunk; `before` is what `progress` has heard of already."""
        values = np.empty(len(masks))
        done = 0
        while done < len(masks):
            chunk = masks[done : done + self._chunk()]
            found = self._evaluate(chunk, few=len(masks) <= self._evaluator.num_at_once)
            if found is None:
                continue
            self._refuse_not_finite(found, chunk, done)
            values[done : done + len(chunk)] = found
            done += len(chunk)
            self._count(len(chunk))
            if self._progress is not None:
                self._progress(before + done)
        return values

    def _chunk(self) -> int:
        tile = self._evaluator.num_at_once * self._evaluator.num_devices
        size = self._chunk_size or TILES_A_CHUNK * tile
        return -(-size // tile) * tile

    def _evaluate(self, masks: np.ndarray, few: bool) -> np.ndarray | None:
        """Values, or None and smaller chunks from now on if memory ran out."""
        evaluator = self._evaluator
        try:
            used = 1 if few else evaluator.num_devices
            return evaluator.join(evaluator.start(self.expand(masks), used))
        except jax.errors.JaxRuntimeError as error:
            if not _is_out_of_memory(error):
                raise
            tile = evaluator.num_at_once * evaluator.num_devices
            if self._chunk() > tile and len(masks) > tile:
                self._chunk_size = min(self._chunk(), len(masks)) // 2
            else:
                evaluator.shrink()
            return None

    def _refuse_not_finite(self, values, masks, first: int) -> None:
        bad = np.flatnonzero(~np.isfinite(values))
        if bad.size:
            raise InputError(
                f"the metric is {values[bad[0]]} for coalition {first + bad[0]}, which "
                f"has {describe_coalition(self.free[masks[bad[0]]])}; {FINITE}"
            )

    def _count(self, number: int) -> None:
        self.num_evaluations += number
        if self._parent is not None:
            self._parent._count(number)

    def _check(self, masks: ArrayLike) -> np.ndarray:
        return as_masks(masks, self.num_players)

    def expand(self, masks: ArrayLike) -> Bool[np.ndarray, "S N"]:
        """The coalitions with everybody in place: bool [S, M] -> bool [S, N].

        Raises:
          InputError: masks of another shape or dtype.
        """
        masks = self._check(masks)
        full = np.tile(self._inside, (len(masks), 1))
        full[:, self.free] = masks
        return full

    def restrict(self, always_in: Any = None, always_out: Any = None) -> ValueFunction:
        """The game among fewer players; shares what is compiled and computed.

        Args:
          always_in: free players that are in from now on: bool [N], numbers in [0, N),
            or names of families; those that are in already may be among them.
          always_out: players that are out from now on, likewise.

        Returns:
          A `ValueFunction` of the players that are left.

        Raises:
          InputError: a player is both in and out, or nobody is left.
        """
        players = self._sweeps.players
        inside = self._inside | select_players(players, always_in, "always_in")
        outside = ~self._inside
        outside[self.free] = False
        outside |= select_players(players, always_out, "always_out")
        other = copy.copy(self)
        other.free = free_players(inside, outside)
        other.num_players = len(other.free)
        other.num_evaluations = 0
        other._inside = inside
        other._parent = self
        return other

    def sample_rows(self, num_rows: int) -> ValueFunction:
        """The game in which every sweep looks at some of the examples only.

        Orders and coalitions differ so much in what a player adds to them that few
        examples tell as much of an index as all, for a fraction of the time. Each
        order of `prefixes` and each coalition of `toggles` has its own examples,
        pseudo-random, and always the same. Their values are unbiased, and standard
        errors of estimates know of what is left to chance. Calls with masks look at all
        examples.

        Args:
          num_rows: examples a sweep, about: in tiles of at most 64, the same number of
            each eighth of the shuffled examples. Where that is most of them, sweeps
            look at all.

        Returns:
          A `ValueFunction` of the same players, whose evaluations are counted here,
          too.

        Raises:
          InputError: num_rows is below 1, or the value function is not incremental, or
            its metric is not a mean over examples.

        Cost: the examples are prepared once more.
        """
        if self._sweeps.get() is None:
            raise InputError(
                "sweeps of this network are no cheaper than full passes, which look at "
                "all examples: see is_incremental"
            )
        other = copy.copy(self)
        other._sweeps = self._sweeps.sampled(num_rows)
        other._sweeps.get()
        other.num_evaluations = 0
        other._parent = self
        return other

    @property
    def is_incremental(self) -> bool:
        """True if `prefixes` and `toggles` cost a small fraction of full passes."""
        return self._sweeps.get() is not None

    def prefixes(self, orders: ArrayLike) -> Float[np.ndarray, "S K"]:
        """The values of nobody and of every prefix of each order.

        Args:
          orders: int [S, M], each row a permutation of 0 to M - 1 (places in `free`).

        Returns:
          float64 [S, M + 1].

        Raises:
          InputError: rows that are no permutations; see also `__call__`.

        Cost: S (M + 1) evaluations; a small fraction of that where incremental.
        """
        orders = np.asarray(orders)
        num = self.num_players
        rising = np.arange(num)
        if orders.shape[1:] != (num,) or (np.sort(orders, axis=1) != rising).any():
            raise InputError(
                f"expected orders int [S, {num}], each row a permutation of 0 to "
                f"{num - 1}; got {orders.dtype} {list(orders.shape)}"
            )
        sweeps = self._sweeps.get()
        if sweeps is not None:
            rows = self.free[orders][:, None]
            return self._swept(lambda row: sweeps.prefixes(row, self._inside), rows)
        place = np.argsort(orders, axis=1)
        steps = np.arange(num + 1)[:, None]
        blocks = (row < steps for row in place)
        return self._blocks(blocks, len(orders))

    def toggles(
        self, masks: ArrayLike
    ) -> tuple[Float[np.ndarray, " S"], Float[np.ndarray, "S M"]]:
        """The value of each coalition, and with each player's membership changed.

        Args:
          masks: bool [S, M].

        Returns:
          (float64 [S], float64 [S, M]): v(C), and v(C without i) where i is in C and
          v(C with i) where not.

        Raises:
          InputError: see `__call__`.

        Cost: S (M + 1) evaluations; a small fraction of that where incremental.
        """
        masks = self._check(masks)
        sweeps = self._sweeps.get()
        if sweeps is not None:

            def both(row):
                return np.column_stack(sweeps.toggles(row, self.free))

            found = self._swept(both, self.expand(masks)[:, None])
        else:
            flips = np.eye(self.num_players + 1, self.num_players, -1, dtype=bool)
            found = self._blocks((mask ^ flips for mask in masks), len(masks))
        return found[:, 0], found[:, 1:]

    def _swept(self, sweep: Callable[..., np.ndarray], rows: np.ndarray) -> np.ndarray:
        """An incremental sweep for each row."""
        size = self.num_players + 1
        values = np.empty((len(rows), size))
        for number, row in enumerate(rows):
            values[number] = sweep(row)[0]
            if not np.isfinite(values[number]).all():
                place = int(np.flatnonzero(~np.isfinite(values[number]))[0])
                raise InputError(
                    f"the metric is {values[number, place]} in sweep {number} at place "
                    f"{place}; {FINITE}"
                )
            self._count(size)
            if self._progress is not None:
                self._progress((number + 1) * size)
        return values

    def _blocks(self, blocks: Iterator[np.ndarray], num: int) -> np.ndarray:
        """Values of blocks of M + 1 coalitions, some blocks at a time."""
        size = self.num_players + 1
        together = max(1, self._chunk() // size)
        values = np.empty((num, size))
        for start in range(0, num, together):
            count = min(together, num - start)
            masks = np.concatenate([next(blocks) for _ in range(count)])
            found = self._values(masks, before=start * size)
            values[start : start + count] = found.reshape(count, size)
        return values


def _is_out_of_memory(error: Exception) -> bool:
    text = str(error).lower()
    return "resource_exhausted" in text or "out of memory" in text
