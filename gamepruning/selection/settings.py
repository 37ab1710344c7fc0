"""The settings of an iterated selection, and where a selection stands."""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypedDict, runtime_checkable

import jax
import numpy as np
from jaxtyping import Bool

from gamepruning.selection.trace import Round
from gamepruning.types import InputError, Scores, ValueFn, brief_repr, is_share


@runtime_checkable
class GameScorer(Protocol):
    """Scores the players of a cooperative game, such as `gp.shapley_values`."""

    def __call__(
        self,
        key: jax.Array,
        value_fn: ValueFn,
        num_players: int,
        /,
        *args: Any,
        **budget: Any,
    ) -> Scores: ...


class Progress(NamedTuple):
    """Where an iterated selection stands before a round.

    Attributes:
      number: of the round, from 0.
      kept: who is in, bool [N].
      num_free: players that the round scores: those still in (pruning) or still out
        (building).
      num_fixed: players who are in every coalition of the round: 0 when pruning.
      target: how many will be in at the end.
    """

    number: int
    kept: Bool[np.ndarray, " N"]
    num_free: int
    num_fixed: int
    target: int

    __repr__ = brief_repr

    def bias_for(self, size: int) -> float:
        """With what probability free players join coalitions of `size` on average.

        When building, coalitions of a fixed bias grow with what is retained; with this
        one their mean size stays, (size - fixed) / free, until the retained alone are
        that many. It is kept in [1 / (M + 1), M / (M + 1)] for M free players.

        Example:
          >>> Progress(3, np.ones(4, bool), 10, 4, 7).bias_for(9)
          0.5
        """
        free = self.num_free
        share = (size - self.num_fixed) / free
        return float(min(max(share, 1 / (free + 1)), free / (free + 1)))


class IterationKeywords(TypedDict, total=False):
    """The rarer keywords of `iterated_building`; see there."""

    make_scorer: Callable[[Progress], GameScorer] | None
    num_players: int | None
    min_units: int
    protect: Sequence[str]
    swaps: int
    swaps_at_once: int
    checkpoint: str | Path | None
    about: Mapping[str, Any] | None
    callback: Callable[[Round], None] | None
    until: Callable[[np.ndarray], bool] | None


class PruningKeywords(IterationKeywords, total=False):
    """The rarer keywords of `iterated_pruning`; see there."""

    max_drop: float | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class IterationOptions:
    """The rarer settings of `iterated_building`; see there.

    Raises:
      InputError: numbers that make no sense.
    """

    make_scorer: Callable[[Progress], GameScorer] | None = None
    num_players: int | None = None
    min_units: int = 1
    protect: Sequence[str] = ()
    swaps: int = 0
    swaps_at_once: int = 1
    checkpoint: str | Path | None = None
    about: Mapping[str, Any] | None = None
    callback: Callable[[Round], None] | None = None
    until: Callable[[np.ndarray], bool] | None = None

    def __post_init__(self):
        if self.swaps < 0:
            raise InputError(f"expected swaps >= 0, got {self.swaps}")
        if self.swaps_at_once < 1:
            raise InputError(f"expected swaps_at_once >= 1, got {self.swaps_at_once}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class PruningOptions(IterationOptions):
    """The rarer settings of `iterated_pruning`; see there.

    Raises:
      InputError: numbers that make no sense.
    """

    max_drop: float | None = None

    def __post_init__(self):
        super().__post_init__()
        if self.max_drop is not None and not 0 <= self.max_drop < math.inf:
            raise InputError(f"expected max_drop >= 0, got {self.max_drop}")


@dataclasses.dataclass(frozen=True)
class Pace:
    """How far a selection goes, and in what steps.

    Attributes:
      n: players in at the end, settled as a number before the first round.
      step: players decided on in a round, or a share in (0, 1] of those who are in.
    """

    n: Any
    step: int | float

    def check(self, method: str, num_players: int) -> None:
        """Check that the numbers fit a game.

        Raises:
          InputError: they do not.
        """
        if self.n != int(self.n) or not 0 < self.n < num_players:
            raise InputError(
                f"expected 0 < n < {num_players}, the number of players left by "
                f"{method}, got {self.n}"
            )
        is_number = 1 <= self.step < math.inf and self.step == int(self.step)
        if not (is_share(self.step) or is_number):
            raise InputError(
                "expected step to be a number of players >= 1, or a fraction in (0, 1] "
                f"of those who are in, got {self.step}"
            )

    def count(self, num_in: int) -> int:
        """How many players a round decides on while `num_in` are in."""
        count = self.step * num_in if is_share(self.step) else self.step
        return min(max(int(count), 1), abs(self.n - num_in))
