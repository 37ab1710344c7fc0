"""Compression curves: what a network is worth at every size that a method leaves."""

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import ArrayLike, Bool, Float, Int

from gamepruning.coalitions.games import coalition_values
from gamepruning.players import Players
from gamepruning.selection.top_n import (
    Scope,
    Size,
    as_count,
    check_scores,
    is_by_family,
    top_n,
    warn_if_blind,
)
from gamepruning.selection.trace import SelectionTrace
from gamepruning.types import InputError, Scores, ValueFn


@dataclasses.dataclass(frozen=True, repr=False)
class Curve:
    """The value of the players that a method keeps, at several sizes.

    Attributes:
      sizes: players kept, rising, int [K].
      values: what they are worth, float [K].
      num_players: N.
    """

    sizes: Int[np.ndarray, " K"]
    values: Float[np.ndarray, " K"]
    num_players: int

    def __repr__(self) -> str:
        return (
            f"Curve({len(self.sizes)} sizes, {self.sizes[0]} to {self.sizes[-1]} of "
            f"{self.num_players} players, values {self.values.min():.4g} to "
            f"{self.values.max():.4g})"
        )

    @property
    def fractions(self) -> Float[np.ndarray, " K"]:
        """The sizes as fractions of all players."""
        return self.sizes / self.num_players

    def value_at(self, fraction: float) -> float:
        """The value at a size in between, on the straight line of its neighbours.

        Raises:
          InputError: the curve does not reach there.
        """
        low, high = self.fractions[[0, -1]]
        if not low - 1e-9 <= fraction <= high + 1e-9:
            raise InputError(
                f"expected a fraction that the curve covers, {low:.4g} to {high:.4g}, "
                f"got {fraction:.4g}: evaluate it at more sizes"
            )
        return float(np.interp(fraction, self.fractions, self.values))

    def area(self, low: float = 0.05, high: float = 0.6) -> float:
        """The mean height between two sizes: the area over high - low.

        Args:
          low: from this fraction of the players.
          high: to this one.

        Raises:
          InputError: the curve does not cover them, or high is not above low.

        Example:
          >>> curve = Curve(np.array([1, 5, 10]), np.array([0.0, 0.8, 1.0]), 10)
          >>> round(curve.area(0.1, 0.5), 6)
          0.4
          >>> curve
          Curve(3 sizes, 1 to 10 of 10 players, values 0 to 1)
        """
        if not low < high:
            raise InputError(f"expected low < high, got {low} and {high}")
        ends = np.array([self.value_at(low), self.value_at(high)])
        inner = (self.fractions > low) & (self.fractions < high)
        x = np.concatenate([[low], self.fractions[inner], [high]])
        y = np.concatenate([ends[:1], self.values[inner], ends[1:]])
        return float(np.trapezoid(y, x) / (high - low))

    def to_dict(self) -> dict[str, Any]:
        """The curve as JSON-able data."""
        return {
            "num_players": self.num_players,
            "sizes": [int(size) for size in self.sizes],
            "values": [float(value) for value in self.values],
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Curve":
        """The inverse of `to_dict`.

        Raises:
          InputError: it is no such dict.

        Example:
          >>> curve = Curve(np.array([1, 2]), np.array([0.5, 1.0]), 2)
          >>> Curve.from_dict(curve.to_dict()).values.tolist()
          [0.5, 1.0]
        """
        try:
            sizes = np.array(data["sizes"], int)
            values = np.array(data["values"], float)
            return cls(sizes, values, int(data["num_players"]))
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(
                "expected a dict with num_players, sizes and values, as Curve.to_dict "
                f"makes it: {error}"
            ) from error


def compression_curve(
    source: SelectionTrace | Scores | ArrayLike,
    value_fn: ValueFn,
    sizes: Sequence[Size],
    *,
    players: Players | None = None,
    min_units: int = 1,
) -> Curve:
    """What the players that a method keeps are worth, at each size.

    Choose on validation data and draw the curve on test data: `value_fn` may be another
    one than the method used. Where it evaluates `players.gated` with gates 0 and 1, as
    `gp.value_function` does, its values are exactly those of the network after removal.

    Args:
      source: who stays at each size: the `SelectionTrace` of one run, `Scores` or
        numbers [N] (the best stay, `top_n`), or masks, bool [K, N], one a size.
      value_fn: coalitions, bool [S, N] -> values [S].
      sizes: numbers of players, or fractions in (0, 1] of all; any order, no two equal.
        For scores also counts by family, as `top_n` takes them.
      players: the `Players`, with which scores keep `min_units` in every family.
      min_units: see players.

    Returns:
      The `Curve`, sizes rising. Cost: one evaluation a size.

    Raises:
      InputError: a size is out of range or not the mask's, or values are not finite.

    Example:
      >>> worth = np.array([1.0, 4.0, 2.0])
      >>> curve = compression_curve(worth, lambda masks: masks @ worth, [1, 2, 3])
      >>> curve.values.tolist()
      [4.0, 6.0, 7.0]

    References:
      Diaz-Ortiz et al., arXiv 2311.10468, section IV-B (compression curves).
    """
    masks = masks_at(source, sizes, players=players, min_units=min_units)
    values = coalition_values(value_fn, masks)
    return Curve(masks.sum(axis=1), values, masks.shape[1])


def masks_at(
    source: SelectionTrace | Scores | ArrayLike,
    sizes: Sequence[Size],
    *,
    players: Players | None = None,
    min_units: int = 1,
    scope: Scope = "global",
) -> Bool[np.ndarray, "K N"]:
    """Who stays at each size.

    Args:
      source: a trace, scores or masks, as `compression_curve` takes them.
      sizes: numbers of players, or fractions in (0, 1] of all; for scores also counts
        by family.
      players: the `Players`, with which scores keep `min_units` in every family.
      min_units: see players.
      scope: of scores: all players against each other ("global"), or the same share of
        every family ("family"); see `top_n`.

    Returns:
      Masks, bool [K, N], in rising order of their sizes.

    Raises:
      InputError: a size is out of range, or not the mask's.

    Example:
      >>> masks_at(np.array([1.0, 4.0, 2.0]), [1, 1.0]).tolist()
      [[False, True, False], [True, True, True]]
    """
    if isinstance(source, SelectionTrace):
        counts = _counts(sizes, source.num_players)
        return np.stack([source.mask_at(count) for count in counts])
    given = None if isinstance(source, Scores) else np.asarray(source)
    if given is not None and given.dtype == bool:
        return _listed(given, sizes)
    value = check_scores(source, players)
    warn_if_blind(source)
    floor = 0 if players is None else min_units
    best = functools.partial(
        top_n, value, players=players, min_units=floor, scope=scope
    )
    by_family = [size for size in sizes if is_by_family(size)]
    rest = [size for size in sizes if not is_by_family(size)]
    counts = _counts(rest, len(value)) if rest or not by_family else []
    everybody = np.ones(len(value), bool)
    masks = [np.asarray(best(size)) for size in by_family]
    masks += [everybody if n == len(value) else np.asarray(best(n)) for n in counts]
    return np.stack(sorted(masks, key=np.sum))


def possible_sizes(sizes: Sequence[float], players: Players) -> tuple[float, ...]:
    """Those of the sizes that a network can have, one of each number of players.

    Args:
      sizes: numbers of players, or fractions in (0, 1] of all.
      players: the `Players`: each family keeps one, and not everybody stays.

    Returns:
      The sizes, rising; of those that keep as many players the last one.

    Example:
      >>> import jax.numpy as jnp, gamepruning as gp
      >>> apply = lambda params, x: jnp.tanh(x @ params["in"]) @ params["out"]
      >>> params = {"in": jnp.ones((2, 8)), "out": jnp.ones((8, 3))}
      >>> players = gp.find_players(apply, params, jnp.ones((1, 2)))
      >>> possible_sizes([0.1, 0.15, 0.5, 1.0], players)
      (0.15, 0.5)
    """
    total, least = players.num_players, len(players.families)
    found = {as_count(size, total): size for size in sizes}
    return tuple(found[count] for count in sorted(found) if least <= count < total)


def _listed(masks: np.ndarray, sizes: Sequence[Any]) -> np.ndarray:
    if masks.ndim != 2:
        raise InputError(f"expected masks [K, N], one a size, got shape {masks.shape}")
    masks = masks[np.argsort(masks.sum(axis=1), kind="stable")]
    counts, have = _counts(sizes, masks.shape[1]), masks.sum(axis=1).tolist()
    if have != counts:
        raise InputError(
            f"expected one mask for each of the sizes {counts}, got masks that keep "
            f"{have}"
        )
    return masks


def _counts(sizes: Sequence[Any], num_players: int) -> list[int]:
    """Sizes as counts, rising."""
    counts = []
    for size in sizes:
        if is_by_family(size):
            raise InputError(
                f"counts by family, {size!r:.60}, need scores to choose by: a trace "
                "and masks have sizes of their own"
            )
        count = as_count(size, num_players)
        if not 1 <= count <= num_players:
            raise InputError(
                f"expected sizes as fractions in (0, 1] or as numbers of players, 1 to "
                f"{num_players}, got {size}"
            )
        counts.append(count)
    counts.sort()
    if not counts or len(set(counts)) < len(counts):
        raise InputError(
            f"expected different sizes, at least one, got {list(sizes)}, which are "
            f"{counts} of {num_players} players"
        )
    return counts
