"""The market without training: how much each family keeps, and who stays.

Families sell size to each other. One price clears the budget; then a family gives up
its next players to leave, and another takes back those of its own that left last, as
long as the network after repair gets better.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int, PyTree

from gamepruning.options import as_config
from gamepruning.players import Players
from gamepruning.players.sizes import Size, size_of
from gamepruning.reconstruction.scores import (
    Curves,
    ReconstructionConfig,
    family_curves,
    price,
)
from gamepruning.types import InputError, Params, brief_repr

Progress = Callable[[str, int, int], None]  # (what, number, of how many)
SHARES = (1 / 4, 1 / 8, 1 / 16, 1 / 32, 0.0)  # of its players a family gives at once


class Traded(NamedTuple):
    """Who stays, and what the network loses.

    Attributes:
      mask: who stays, bool [N].
      size: what they come to, in the unit asked for.
      cleared: what the network lost at one price for all, after one-shot repair.
      loss: what it loses after the trades.
      num_evaluations: networks evaluated.
    """

    mask: Bool[np.ndarray, " N"]
    size: float
    cleared: float
    loss: float
    num_evaluations: int

    __repr__ = brief_repr


def trade(
    players: Players,
    params: Params,
    inputs: PyTree,
    target: float,
    *,
    unit: str | Size = "players",
    num_evaluations: int = 200,
    config: ReconstructionConfig | None = None,
    progress: Progress | None = None,
) -> Traded:
    """Choose who stays by elimination, at one price for all families, then by trades.

    Args:
      players: what `find_players` found, N players, units or layers; not those of
        layers="each".
      params: the full network's parameters.
      inputs: calibration examples, [B, ...] or a tuple of inputs; no labels.
      target: the size to keep, in `unit`.
      unit: "players", "params", "bytes" or "macs", or a `Size` such as what
        `gp.compaction.latency_of` measured: see `gp.players.size_of`.
      num_evaluations: networks evaluated at most (one always is), each with its
        one-shot repair.
      config: see `ReconstructionConfig`; `across` is "network".
      progress: called with (family, number, of how many) and ("trades", number, most).

    Returns:
      `Traded`. Repair the network with its mask: see `gp.repair`.

    Raises:
      InputError: the target is not a number, or no network is that small: families keep
        one player each; `across` is not "network"; the outputs are not finite.

    Cost: that of `reconstruction_scores`, and for each evaluation the solves of the
    readers that are cut and one pass over `config.num_examples`.

    Example: the second family repeats itself, and sells all but one of its players.
      >>> import jax, jax.numpy as jnp, gamepruning as gp
      >>> def apply(params, x):
      ...     return (jnp.tanh(x @ params["a"]) @ params["b"]) @ params["c"]
      >>> keys = jax.random.split(jax.random.key(0), 3)
      >>> params = {
      ...     "a": jax.random.normal(keys[0], (3, 6)),
      ...     "b": jnp.ones((6, 4)),
      ...     "c": jax.random.normal(keys[1], (4, 2)),
      ... }
      >>> x = jax.random.normal(keys[2], (99, 3))
      >>> players = gp.find_players(apply, params, x)
      >>> found = trade(players, params, x, 6)
      >>> [int(found.mask[f.start : f.stop].sum()) for f in players.families]
      [5, 1]
    """
    config = as_config(config, ReconstructionConfig)
    if config.across != "network":
        raise InputError(f"across={config.across!r}: expected network")
    _check_target(target, unit)
    curves = family_curves(players, params, inputs, config=config, progress=progress)
    return trade_curves(
        players,
        curves,
        target,
        unit=unit,
        num_evaluations=num_evaluations,
        progress=progress,
    )


def trade_curves(
    players: Players,
    curves: Curves,
    target: float,
    *,
    unit: str | Size = "players",
    num_evaluations: int = 200,
    progress: Progress | None = None,
) -> Traded:
    """The same for families that are eliminated already: for several targets.

    Args:
      players: what `find_players` found, N players, units or layers; not those of
        layers="each".
      curves: what `family_curves` found.
      target, unit, num_evaluations: as for `trade`.
      progress: called with ("trades", number, most) before each trade.

    Returns:
      `Traded`.

    Raises:
      InputError: the target is not a number, or no network is that small.

    Cost: a one-shot repair and a forward pass for each evaluation.
    """
    _check_target(target, unit)
    market = _Market(players, curves, size_of(players, unit), float(target))
    found = market.clear()
    best = cleared = curves.ask(found)
    tried = 1
    for share in SHARES:
        helped = True
        while helped and tried < num_evaluations:
            helped = False
            for other in market.trades(found, share):
                if tried >= num_evaluations:
                    break
                if progress is not None:
                    progress("trades", tried, num_evaluations)
                tried += 1
                loss = curves.ask(other)
                if loss < best:
                    best, found, helped = loss, other, True
                    break
    return Traded(found, float(market.size.count(found)), cleared, best, tried)


def _check_target(target: float, unit: str | Size) -> None:
    value = np.asarray(target)
    if value.ndim or value.dtype.kind not in "iuf" or np.isnan(value):
        told = " ".join(f"{target!r:.60}".split())
        raise InputError(f"target={told}: expected a size in {unit}, one number")


@dataclass(frozen=True, eq=False)
class _Market:
    """Families, the order in which their players leave, and a budget."""

    players: Players
    curves: Curves
    size: Size
    target: float

    def clear(self) -> Bool[np.ndarray, " N"]:
        """All who are worth the price at which the budget is met."""
        everyone = np.ones(self.players.num_players, bool)
        price_of = np.zeros(len(everyone))
        for curve in self.curves.families:
            price_of[curve.order] = price(curve)
            price_of[curve.order[-1]] = np.inf  # one stays
        each = np.maximum(np.asarray(self.size.marginal(everyone), float), 1e-30)
        leaving = np.argsort(price_of / each, kind="stable")
        most = len(leaving) - len(self.curves.families)
        low, high = 0, most
        while low < high:
            middle = (low + high) // 2
            if self._fits(self._without(leaving[:middle])):
                high = middle
            else:
                low = middle + 1
        found = self._without(leaving[:low])
        if not self._fits(found):
            raise InputError(
                f"no network of {self.target:,g} {self.size.unit}: with one player of "
                f"each family left it still has {self.size.count(found):,}"
            )
        return found

    def trades(
        self, mask: Bool[np.ndarray, " N"], share: float
    ) -> Iterator[Bool[np.ndarray, " N"]]:
        """What one family gives, and another takes."""
        families = self.curves.families
        numbers = np.random.default_rng(int(mask.sum()))
        pairs = [(a, b) for a in families for b in families if a is not b]
        for k in numbers.permutation(len(pairs)):
            giver, taker = pairs[int(k)]
            there = giver.order[mask[giver.order]]
            gone = taker.order[~mask[taker.order]][::-1]
            number = max(1, round(share * len(there)))
            if number >= len(there) or not len(gone):
                continue
            other = mask.copy()
            other[there[:number]] = False
            taken = self._room(other, gone)
            if taken:
                other[gone[:taken]] = True
                yield other

    def _room(self, mask: Bool[np.ndarray, " N"], gone: Int[np.ndarray, " k"]) -> int:
        """How many of those that left may come back."""
        low, high = 0, len(gone)
        while low < high:
            middle = (low + high + 1) // 2
            other = mask.copy()
            other[gone[:middle]] = True
            low, high = (middle, high) if self._fits(other) else (low, middle - 1)
        return low

    def _without(self, leaving: Int[np.ndarray, " k"]) -> Bool[np.ndarray, " N"]:
        mask = np.ones(self.players.num_players, bool)
        mask[leaving] = False
        return mask

    def _fits(self, mask: Bool[np.ndarray, " N"]) -> bool:
        return self.size.count(mask) <= self.target
