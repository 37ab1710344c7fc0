"""The game of a network: coalitions of its players, and what each is worth."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cached_property, partial
from typing import Any

import jax
import numpy as np
from jaxtyping import ArrayLike, Bool, Float, Int

from gamepruning.coalitions.evaluation.by_depth import ByDepth, Deep, TooLarge
from gamepruning.coalitions.evaluation.chunks import Chunks
from gamepruning.coalitions.evaluation.related import Incremental, LazyIncremental
from gamepruning.coalitions.free import FINITE, NetworkGame
from gamepruning.coalitions.games import flipped, toggled_rows
from gamepruning.coalitions.restrict import describe_coalition
from gamepruning.players import Players
from gamepruning.types import InputError

WALKS = 16  # that each process takes between two exchanges


class ChunkedGame(NetworkGame):
    """Coalitions of the free players, bool [S, M] -> values, float64 [S], in chunks.

    Attributes: see `NetworkGame`.
    """

    def __init__(
        self,
        players: Players,
        chunks: Chunks,
        free: Int[np.ndarray, " M"],
        inside: Bool[np.ndarray, " N"],
        progress: Callable[[int], Any] | None,
        parent: NetworkGame | None = None,
    ):
        super().__init__(players, free, inside, parent)
        self._chunks = chunks
        self._progress = progress
        self.processes = chunks.evaluator.layout.processes

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}({self.num_players} free of {len(self._inside)} "
            f"players, {self.num_evaluations} evaluations)"
        )

    @property
    def num_at_once(self) -> int:
        """Coalitions that the devices value side by side; fewer take as long."""
        return self._chunks.tile

    def lower(self) -> jax.stages.Lowered:
        """The program that values one tile of coalitions in each group of devices.

        Compile it to see what it takes and exchanges: `memory_analysis()`, `as_text()`.
        """
        return self._chunks.evaluator.lower()

    def _values(self, masks: np.ndarray, before: int = 0) -> np.ndarray:
        """Values chunk by chunk; `before` is what `progress` has heard of already."""
        self._refuse_different(masks)
        values = np.empty(len(masks))
        for start, found in self._finite_values(self._chunks, masks):
            stop = start + len(found)
            values[start:stop] = found
            self._count(len(found))
            if self._progress is not None:
                self._progress(before + stop)
        return values

    def _finite_values(
        self, chunks: Chunks, masks: np.ndarray
    ) -> Iterator[tuple[int, np.ndarray]]:
        """Pairs (number of the first coalition, values of a chunk), in order."""
        for start, found in chunks.values(masks, self.expand):
            self._refuse_not_finite(found, masks[start : start + len(found)], start)
            yield start, found

    def _refuse_different(self, asked: np.ndarray) -> None:
        """Refuse coalitions or orders that are not the same on every process."""
        if self.processes is not None and not self.processes.agree(asked):
            raise InputError(
                "the processes ask about different coalitions, or call different "
                "functions: let every process of a mesh run the same program, with the "
                "same seeds"
            )

    def _refuse_not_finite(
        self, values: np.ndarray, masks: np.ndarray, first: int
    ) -> None:
        bad = np.flatnonzero(~np.isfinite(values))
        if bad.size:
            raise InputError(
                f"the metric is {values[bad[0]]} for coalition {first + bad[0]}, which "
                f"has {describe_coalition(self.free[masks[bad[0]]])}"
                f"{self._blame()}; {FINITE}"
            )

    def _blame(self) -> str:
        """What a value that is not finite comes from, if that is known."""
        return ""


class ValueFunction(ChunkedGame):
    """Coalitions of the free players, bool [S, M] -> values, float64 [S].

    Made by `value_function`. A mask names who of the free players is in; players that
    are always in or out are added.

    Attributes: see `NetworkGame`.
    """

    def __init__(
        self,
        chunks: Chunks,
        related: LazyIncremental,
        free: Int[np.ndarray, " M"],
        inside: Bool[np.ndarray, " N"],
        progress: Callable[[int], Any] | None,
        parent: ValueFunction | None = None,
    ):
        super().__init__(related.players, chunks, free, inside, progress, parent)
        self._related = related
        self._depths = ByDepth(chunks) if parent is None else parent._depths

    @cached_property
    def _deep(self) -> Deep | None:
        """How toggles run from a cut; None where that does not pay."""
        return self._depths.best(self.free)

    def _blame(self) -> str:
        return self._related.blame()

    def sample_rows(self, num_rows: int) -> ValueFunction:
        """The game whose prefixes and toggles look at some of the examples only.

        Orders and coalitions differ so much in what a player adds to them that few
        examples tell as much of an index as all, for a fraction of the time. Each
        order of `prefixes` and each coalition of `toggles` has its own examples,
        pseudo-random, and always the same. Their values are unbiased, and standard
        errors of estimates know of what is left to chance. Calls with masks look at all
        examples.

        Args:
          num_rows: examples for each order or coalition, about: in tiles of at most
            64, the same number of each eighth of the shuffled examples. Where that is
            most of them, all are looked at.

        Returns:
          A `ValueFunction` of the same players, whose evaluations are counted here,
          too.

        Raises:
          InputError: num_rows is below 1, or the value function is not incremental, or
            its metric is not a mean over examples.

        Cost: the examples are prepared once more.
        """
        if self._related.get() is None:
            raise InputError(
                "prefixes and toggles of this network are no cheaper than full passes, "
                "which look at all examples: see is_incremental"
            )
        related = self._related.sampled(num_rows)
        related.get()
        return self._of(related, self.free, self._inside)

    def all_rows(self) -> ValueFunction:
        """The game before `sample_rows`: whoever compares coalitions needs that."""
        whole = self._related.whole()
        same = whole is self._related
        return self if same else self._of(whole, self.free, self._inside)

    def _among(
        self, free: Int[np.ndarray, " M"], inside: Bool[np.ndarray, " N"]
    ) -> ValueFunction:
        return self._of(self._related, free, inside)

    def _of(
        self,
        related: LazyIncremental,
        free: Int[np.ndarray, " M"],
        inside: Bool[np.ndarray, " N"],
    ) -> ValueFunction:
        chunks, progress = self._chunks, self._progress
        return ValueFunction(chunks, related, free, inside, progress, parent=self)

    @property
    def evaluation_seconds(self) -> float:
        """About how long an evaluation takes, from the size of the network."""
        return self._related.seconds

    @property
    def is_incremental(self) -> bool:
        """True if `prefixes` and `toggles` cost a small fraction of full passes."""
        return self._related.get() is not None

    def prefixes(self, orders: ArrayLike) -> Float[np.ndarray, "S K"]:
        """The values of nobody and of every prefix of each order.

        Args:
          orders: int [S, M], each row a permutation of 0 to M - 1 (places in `free`).

        Returns:
          float64 [S, M + 1].

        Raises:
          InputError: rows that are not permutations; see also `__call__`.

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
        related = self._related.get()
        if related is not None:
            rows = self.free[orders][:, None]
            return self._each(lambda row: related.prefixes(row, self._inside), rows)
        place = np.argsort(orders, axis=1)

        def some(start: int, stop: int) -> np.ndarray:
            order, length = np.divmod(np.arange(start, stop), num + 1)
            return place[order] < length[:, None]

        return self._in_pieces(some, len(orders))

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

        Cost: S (M + 1) evaluations; a small fraction of that where incremental. In
        another deep network about half of that: a coalition's values are kept at up to
        7 cuts, one after the other, and who is gated behind a cut only is toggled from
        there, where the multiply-adds saved are worth the programs to compile.
        """
        masks = self._check(masks)
        related = self._related.get()
        if related is not None:

            def both(row: np.ndarray) -> np.ndarray:
                return np.column_stack(related.toggles(row, self.free))

            if self.processes is not None and len(masks) < self.processes.num:
                found = self._shared_toggles(related, self.expand(masks))
            else:
                found = self._each(both, self.expand(masks)[:, None])
        else:
            found = self._toggles_by_passes(masks)
        return found[:, 0], found[:, 1:]

    def _each(self, walk: Callable[..., np.ndarray], rows: np.ndarray) -> np.ndarray:
        """The values of an incremental walk for each row.

        Processes share the rows, some walks each between two exchanges.
        """
        self._refuse_different(rows)
        size, shared = self.num_players + 1, self.processes
        values = np.empty((len(rows), size))
        step = 1 if shared is None else WALKS * shared.num

        def work(some: np.ndarray) -> np.ndarray:
            return np.concatenate([walk(row) for row in some])

        for start in range(0, len(rows), step):
            some = rows[start : start + step]
            found = work(some) if shared is None else shared.share(work, some)
            self._refuse_places(found, start)
            values[start : start + len(some)] = found
            self._count(found.size)
            if self._progress is not None:
                self._progress((start + len(some)) * size)
        return values

    def _refuse_places(self, values: np.ndarray, first: int) -> None:
        """Refuse values of walks that are not finite."""
        bad = np.argwhere(~np.isfinite(values))
        if len(bad):
            row, place = bad[0]
            raise InputError(
                f"the metric is {values[row, place]} in row {first + row} at place "
                f"{place}{self._blame()}; {FINITE}"
            )

    def _shared_toggles(self, related: Incremental, masks: np.ndarray) -> np.ndarray:
        """The values of few coalitions, whose toggles the processes share."""
        assert self.processes is not None
        self._refuse_different(masks)
        values = np.empty((len(masks), self.num_players + 1))
        for number, mask in enumerate(masks):

            def work(candidates: np.ndarray, mask: np.ndarray = mask) -> np.ndarray:
                base, flipped = related.toggles(mask[None], candidates)
                return np.column_stack([np.full(len(candidates), base), flipped[0]])

            found = self.processes.share(work, self.free)
            values[number] = [found[0, 0], *found[:, 1]]
            self._refuse_places(values[number][None], number)
            self._count(len(self.free) + 1)
            if self._progress is not None:
                self._progress((number + 1) * (len(self.free) + 1))
        return values

    def _toggles_by_passes(self, masks: np.ndarray) -> np.ndarray:
        """Values of each coalition and its toggles, from cuts where that pays."""
        if self._deep is not None and not self._deep.is_too_large:
            try:
                return self._toggles_by_depth(self._deep, masks)
            except TooLarge:
                pass
        return self._in_pieces(partial(toggled_rows, masks), len(masks))

    def _toggles_by_depth(self, deep: Deep, masks: np.ndarray) -> np.ndarray:
        """Values of each coalition and its toggles, each run from a cut.

        The programs of two cuts may round differently. So each values the coalition
        itself, too, and the marginals are those of one program: a player who does
        nothing adds exactly 0.
        """
        self._refuse_different(masks)
        values = np.full((len(masks), self.num_players + 1), np.nan)
        known = 0
        for mask, own in zip(masks, values, strict=True):
            for chunks, places in deep.groups(self.free, self.expand(mask[None])[0]):
                found, is_first = self._toggled(chunks, mask, places), np.isnan(own[0])
                own[0] = found[0] if is_first else own[0]
                own[1 + places] = found[1:] + (own[0] - found[0])
                new = len(places) + int(is_first)
                self._count(new)
                known += new
                if self._progress is not None:
                    self._progress(known)
        return values

    def _toggled(
        self, chunks: Chunks, mask: np.ndarray, places: np.ndarray
    ) -> Float[np.ndarray, " K"]:
        """The values of a coalition, and with each of some players changed."""
        values = np.empty(len(places) + 1)
        for start in range(0, len(values), size := chunks.size):
            masks = flipped(mask, np.concatenate([[-1], places])[start : start + size])
            for first, found in self._finite_values(chunks, masks):
                values[start + first : start + first + len(found)] = found
        return values

    def _in_pieces(
        self, masks_of: Callable[[int, int], np.ndarray], num: int
    ) -> Float[np.ndarray, "S K"]:
        """Values of `num` rows of M + 1 coalitions, made a chunk at a time.

        Args:
          masks_of: (start, stop) -> these coalitions, row after row.
          num: how many rows.
        """
        values = np.empty(num * (self.num_players + 1))
        for start in range(0, len(values), size := self._chunks.size):
            masks = masks_of(start, min(start + size, len(values)))
            values[start : start + size] = self._values(masks, before=start)
        return values.reshape(num, self.num_players + 1)
