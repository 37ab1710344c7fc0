"""Every decision of an iterated selection, and the coalitions along the way."""

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from jaxtyping import Bool, Float, Int

from gamepruning.files.npz import CheckpointFile, check_settings
from gamepruning.types import InputError, Scores

Method = Literal["pruning", "building"]


@dataclasses.dataclass(frozen=True, repr=False)
class Round:
    """One round of an iterated selection.

    Attributes:
      number: from 0.
      players: the players that were scored, int [M]: those still in (pruning) or still
        out (building).
      scores: their `Scores` [M].
      decided: the players that this round removed or added, in that order, int [D].
      exchanges: what local search changed after that: pairs (who left, who came).
      kept: who is in at the end of the round, bool [N].
      value: of the coalition `kept`.
      num_evaluations: coalitions that the round had evaluated.
    """

    number: int
    players: Int[np.ndarray, " M"]
    scores: Scores
    decided: Int[np.ndarray, " D"]
    exchanges: tuple[tuple[int, int], ...]
    kept: Bool[np.ndarray, " N"]
    value: float
    num_evaluations: int

    def __repr__(self) -> str:
        decided = ", ".join(map(str, self.decided[:5]))
        more = ", ..." if len(self.decided) > 5 else ""
        return (
            f"Round({self.number}: decided [{decided}{more}] of {len(self.players)} "
            f"scored, {int(self.kept.sum())} of {len(self.kept)} in, value "
            f"{self.value:.4g}, {self.num_evaluations} evaluations)"
        )


@dataclasses.dataclass(frozen=True, repr=False)
class SelectionTrace:
    """What an iterated selection did, round by round.

    Attributes:
      method: "pruning" or "building".
      num_players: N.
      rounds: the `Round`s, in order.
    """

    method: Method
    num_players: int
    rounds: tuple[Round, ...]

    @property
    def order(self) -> Int[np.ndarray, " D"]:
        """Who was removed or added in the rounds, in order.

        Where exchanges brought somebody back, who left again in a later round, a player
        is in it twice.
        """
        return np.concatenate(
            [np.zeros(0, int), *(round.decided for round in self.rounds)]
        )

    @property
    def rank(self) -> Float[np.ndarray, " N"]:
        """When each player changed sides last: last out or first in is highest.

        Pruning puts those who stay above all others, building those who are out at 0.
        Exchanges count as rounds do.
        """
        when, moves = np.zeros(self.num_players), []
        for one in self.rounds:
            moves += [*((k,) for k in one.decided), *one.exchanges]
        for turn, players in enumerate(moves, 1):
            when[list(players)] = turn
        if self.method == "building":
            return np.where(self.mask, len(moves) + 1 - when, 0.0)
        return np.where(self.mask, float(len(moves)), when - 1)

    @property
    def last_scores(self) -> Scores:
        """The scores by which each player was decided on, or last kept waiting.

        Those of the last round that scored it, with their standard errors: each round
        is a game of its own. NaN where there was no round.

        Example: without 1 the others lose 6^2 - 5^2; then 2 leaves, at 5^2 - 3^2.
          >>> import functools, jax
          >>> from gamepruning.selection import greedy_scores, iterated_pruning
          >>> worth = np.array([3.0, 1.0, 2.0])
          >>> scorer = functools.partial(greedy_scores, base="full")
          >>> v = lambda masks: (masks @ worth) ** 2
          >>> key = jax.random.key(0)
          >>> trace = iterated_pruning(key, v, 1, num_players=3, scorer=scorer)
          >>> trace.order.tolist(), trace.last_scores.value.tolist()
          ([1, 2], [21.0, 11.0, 16.0])
        """
        value, stderr = np.full((2, self.num_players), np.nan)
        for round in self.rounds:
            value[round.players] = round.scores.value
            stderr[round.players] = round.scores.stderr
        spent = sum(round.scores.num_evaluations for round in self.rounds)
        return Scores(value, stderr, spent)

    @property
    def mask(self) -> Bool[np.ndarray, " N"]:
        """Who is in at the end, bool [N]."""
        return self.rounds[-1].kept if self.rounds else self._start()

    @property
    def num_evaluations(self) -> int:
        """Coalitions evaluated in all rounds."""
        return sum(round.num_evaluations for round in self.rounds)

    def mask_at(self, size: int) -> Bool[np.ndarray, " N"]:
        """Who was in when there were `size` players.

        Between the ends of two rounds the players of the later one are taken in their
        order. The masks are nested unless local search exchanged players.

        Args:
          size: a number of players between the start and the end of the selection.

        Returns:
          The mask, bool [N].

        Raises:
          InputError: the selection never had this size.

        Example:
          >>> import functools, jax
          >>> from gamepruning.selection import greedy_scores, iterated_building
          >>> worth = np.array([3.0, 1.0, 2.0])
          >>> scorer = functools.partial(greedy_scores, base="empty")
          >>> trace = iterated_building(
          ...     jax.random.key(0),
          ...     lambda masks: masks @ worth,
          ...     2,
          ...     num_players=3,
          ...     scorer=scorer,
          ... )
          >>> trace.mask_at(1).tolist()
          [True, False, False]
          >>> trace
          SelectionTrace(building: 2 of 3 in after 2 rounds, value 5, 9 evaluations)
          >>> trace.rounds[0]
          Round(0: decided [0] of 3 scored, 1 of 3 in, value 3, 5 evaluations)
        """
        kept = self._start()
        ends = sorted((int(kept.sum()), int(self.mask.sum())))
        if not ends[0] <= size <= ends[1]:
            raise InputError(
                f"expected a size between {ends[0]} and {ends[1]}, which this "
                f"{self.method} went through, got {size}: run it to a "
                f"{'smaller' if self.method == 'pruning' else 'larger'} n"
            )
        for round in self.rounds:
            missing = abs(size - int(kept.sum()))
            if missing < len(round.decided):
                kept[round.decided[:missing]] = self.method == "building"
                return kept
            kept = round.kept.copy()
        return kept

    def __repr__(self) -> str:
        value = f", value {self.rounds[-1].value:.4g}" if self.rounds else ""
        return (
            f"SelectionTrace({self.method}: {int(self.mask.sum())} of "
            f"{self.num_players} in after {len(self.rounds)} rounds{value}, "
            f"{self.num_evaluations} evaluations)"
        )

    def _start(self) -> np.ndarray:
        return np.full(self.num_players, self.method == "pruning")


def save_trace(
    file: CheckpointFile, trace: SelectionTrace, about: Mapping[str, Any]
) -> None:
    """Write the rounds as one `.npz` file, whole or not at all.

    Args:
      file: where to.
      trace: the rounds so far.
      about: JSON-able facts of the selection; a run resumes only under the same ones.
    """
    rounds = trace.rounds
    arrays = {
        "value": _join(round.scores.value for round in rounds),
        "stderr": _join(round.scores.stderr for round in rounds),
        "decided": _join(round.decided for round in rounds).astype(np.int64),
        "exchanges": np.array(
            [pair for round in rounds for pair in round.exchanges], np.int64
        ).reshape(-1, 2),
        "counts": np.array(
            [
                (len(r.decided), len(r.exchanges), r.num_evaluations)
                + (r.scores.num_evaluations,)
                for r in rounds
            ],
            np.int64,
        ).reshape(-1, 4),
        "values": np.array([round.value for round in rounds], np.float64),
    }
    file.save(dict(about), arrays)


def load_trace(
    file: CheckpointFile, method: Method, num_players: int, about: Mapping[str, Any]
) -> SelectionTrace:
    """Read what `save_trace` wrote; no rounds where there is no file.

    Raises:
      InputError: the file is damaged, or of another selection.
    """
    start = SelectionTrace(method, num_players, ())
    found = file.load()
    if found is None:
        return start
    check_settings(file.path, found.settings, dict(about))
    return _replay(start, found.arrays)


def _replay(trace: SelectionTrace, arrays: Mapping[str, np.ndarray]) -> SelectionTrace:
    """The rounds, decided again as the file says."""
    kept, rounds = trace.mask.copy(), []
    building = trace.method == "building"
    scored = decided = exchanged = 0
    for number, row in enumerate(arrays["counts"].tolist()):
        num_decided, num_exchanges, total, own = row
        players = np.flatnonzero(kept != building)
        part = slice(scored, scored + len(players))
        scores = Scores(arrays["value"][part], arrays["stderr"][part], own)
        chosen = arrays["decided"][decided : decided + num_decided]
        pairs = arrays["exchanges"][exchanged : exchanged + num_exchanges].tolist()
        kept[chosen] = building
        for out, new in pairs:
            kept[[out, new]] = False, True
        value = float(arrays["values"][number])
        exchanges = tuple((out, new) for out, new in pairs)
        rounds.append(
            Round(number, players, scores, chosen, exchanges, kept.copy(), value, total)
        )
        scored += len(players)
        decided += num_decided
        exchanged += num_exchanges
    return dataclasses.replace(trace, rounds=tuple(rounds))


def _join(parts) -> np.ndarray:
    return np.concatenate([np.zeros(0), *(np.asarray(part) for part in parts)])
