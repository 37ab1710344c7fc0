"""How large the network may be: in the end, and while the budget falls."""

import dataclasses
import math
import numbers
from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple, Required, TypedDict, get_args

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Bool, Float, Int

from gamepruning.players import Players, Size
from gamepruning.types import InputError, brief_repr, is_share

Unit = Literal["players", "params", "bytes", "macs"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Budget:
    """How large the network may be in the end.

    Attributes:
      keep: a fraction of the whole in (0, 1], a number in the unit, or a number of
        players for each family, in their order or by name.
      unit: what is counted: "players", "params", "bytes" or "macs"; or a `Size`, such
        as what `gp.compaction.latency_of` measured.
      min_units: players that each family keeps at least.

    Raises:
      InputError: the numbers make no sense.

    Example:
      >>> Budget(keep=0.1, unit="params")
      Budget(keep=0.1, unit='params', min_units=1)
    """

    keep: Any
    unit: Unit | Size = "players"
    min_units: int = 1

    def __post_init__(self):
        if not isinstance(self.unit, Size) and self.unit not in get_args(Unit):
            raise InputError(
                f"expected a budget of {', '.join(get_args(Unit))}, got {self.unit!r}"
            )
        if not isinstance(self.min_units, numbers.Integral) or self.min_units < 1:
            raise InputError(
                f"expected min_units >= 1, a whole number, got {self.min_units}"
            )
        keep = self.keep
        if isinstance(keep, Mapping | list | tuple | np.ndarray):
            counts = keep.values() if isinstance(keep, Mapping) else keep
            whole = all(isinstance(k, int | np.integer) and k >= 1 for k in counts)
            if self.unit != "players" or not whole:
                raise InputError(
                    f"expected at least one player a family, got {keep} {self.unit}"
                )
            fixed = dict(keep) if isinstance(keep, Mapping) else tuple(map(int, keep))
            object.__setattr__(self, "keep", fixed)
        elif isinstance(keep, bool) or not isinstance(keep, numbers.Real):
            raise InputError(
                "expected a fraction in (0, 1], a whole number, or a number of players "
                f"for each family, got {type(keep).__name__} {keep!r:.60}"
            )
        elif not 0 < self.keep < math.inf or (
            self.keep > 1 and self.keep != int(self.keep)
        ):
            raise InputError(
                f"expected a fraction in (0, 1] or a whole number, got {self.keep}"
            )


class Seats(NamedTuple):
    """How many players of each family may take part, and how much in all.

    Attributes:
      limits: most players of each family, float [F].
      size: the largest size.
      least: the smallest choice of the fewest players of each family, bool [N]; None
        where all players of a family are of one size.
    """

    limits: Float[Array, " F"]
    size: Float[Array, ""]
    least: Bool[Array | np.ndarray, " N"] | None = None

    __repr__ = brief_repr


class MarketKeywords(TypedDict, total=False):
    """The schedule of `make_market_step`; see there."""

    num_steps: Required[int]
    start: float
    end: float
    every: int
    decay: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class MarketSchedule:
    """When the budget falls and the market is cleared; see `make_market_step`.

    Raises:
      InputError: the numbers make no sense.

    Example:
      >>> schedule = MarketSchedule(num_steps=1000)
      >>> schedule.first, schedule.last
      (100.0, 800)
    """

    num_steps: int
    start: float = 0.1
    end: float = 0.8
    every: int = 20
    decay: float = 0.98

    def __post_init__(self):
        if not 0 <= self.start < self.end <= 1:
            raise InputError(
                f"expected 0 <= start < end <= 1, got {self.start} and {self.end}"
            )
        if not 1 <= self.every <= self.num_steps * self.end:
            raise InputError(
                f"expected every, the steps between two clearings, in [1, "
                f"{self.num_steps * self.end:.0f}], the steps until the budget has "
                f"fallen, got {self.every}: give a smaller every= or more num_steps"
            )
        if not self.first < self.last:
            raise InputError(
                f"the last clearing by step {self.num_steps * self.end:.0f} is at "
                f"{self.last}, and the budget begins to fall at {self.first:.0f}: give "
                "a smaller every=, an earlier start= or more num_steps"
            )
        if not 0 <= self.decay < 1:
            raise InputError(f"expected decay in [0, 1), got {self.decay}")

    @property
    def first(self) -> float:
        """The step at which the budget begins to fall."""
        return self.num_steps * self.start

    @property
    def last(self) -> int:
        """The step of the last clearing, at which the budget has fallen."""
        return max(
            int(self.num_steps * self.end) // self.every * self.every, self.every
        )

    def is_due(self, steps: Int[Array, ""]) -> Bool[Array, ""]:
        """True at the steps at which the market is cleared."""
        return (steps % self.every == 0) & (steps <= self.last)


def falling_budget(
    players: Players, size: Size, budget: Budget, first: float, last: float
) -> Callable[[Array], Seats]:
    """How the budget falls with the steps: geometrically from the whole to its end.

    Args:
      players: the `Players` of the network.
      size: mask -> size in the budget's unit.
      budget: what stays in the end.
      first: the step at which it begins to fall.
      last: the step at which it has reached its end.

    Returns:
      Steps made -> `Seats`.

    Raises:
      InputError: the budget cannot be met by these players.
    """
    sizes = np.array([family.size for family in players.families], float)
    whole = float(size(np.ones(players.num_players)))
    least = _least(players, size, budget.min_units)
    smallest = float(size(least))
    limits, target = sizes, _in_order(budget.keep, players)
    if isinstance(target, tuple):
        limits = np.array(target, float)
        if limits.shape != sizes.shape or (limits > sizes).any():
            names = ", ".join(f"{f.name} {f.size}" for f in players.families)
            raise InputError(
                f"expected one count a family, at most all of it ({names}), got "
                f"{'/'.join(map(str, target))}"
            )
        if (limits < np.minimum(sizes, budget.min_units)).any():
            raise InputError(
                f"expected at least min_units={budget.min_units} in each family, got "
                f"{'/'.join(map(str, target))}"
            )
        target = limits.sum()
    elif is_share(target):
        target = target * whole
    target = np.round(target)
    unit = budget.unit.unit if isinstance(budget.unit, Size) else budget.unit
    if not smallest <= target <= whole:
        raise InputError(
            f"expected a budget between {smallest:,.0f} {unit} "
            f"({budget.min_units} in each family) and {whole:,.0f} (everybody), got "
            f"{target:,.0f}"
        )

    def at(count: Array) -> Seats:
        fallen = jnp.clip((count - first) / (last - first), 0.0, 1.0)
        return Seats(
            _between(sizes, limits, fallen), _between(whole, target, fallen), least
        )

    return at


def _in_order(keep: Any, players: Players) -> Any:
    """Counts by the names of families in the order of the families."""
    if not isinstance(keep, Mapping):
        return keep
    names = [family.name for family in players.families]
    odd = sorted(set(keep) ^ set(names))
    if odd:
        raise InputError(
            f"expected a number of players for each family by its name, {odd[0]!r} "
            f"differs: the families are {', '.join(names)}"
        )
    return tuple(keep[name] for name in names)


def _between(first: ArrayLike, last: ArrayLike, share: Array) -> Array:
    """From first to last, by equal factors; exact at both ends."""
    first, last = jnp.asarray(first, jnp.float32), jnp.asarray(last, jnp.float32)
    here = first * (last / first) ** share
    return jnp.where(share >= 1, last, jnp.round(here))


def _least(players: Players, size: Size, min_units: int) -> np.ndarray:
    """The smallest `min_units` of each family: the first ones where all are alike."""
    mask = np.zeros(players.num_players, bool)
    added = np.asarray(size.marginal(np.ones(players.num_players)))
    for family in players.families:
        here = added[family.start : family.stop]
        order = np.arange(family.size)
        if family.size > min_units and np.ptp(here) > 1e-4 * here.max():
            alone = np.arange(family.start, family.stop)[:, None]
            masks = alone == np.arange(players.num_players)
            order = np.argsort([size.count(own) for own in masks], kind="stable")
        mask[family.start + order[:min_units]] = True
    return mask
