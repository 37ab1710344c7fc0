"""The game of a network after repair: coalitions whose weights are fitted anew."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Int, PyTree

from gamepruning.coalitions.free import FINITE, NetworkGame
from gamepruning.coalitions.restrict import describe_coalition
from gamepruning.players import Players
from gamepruning.players.examples import Examples
from gamepruning.reconstruction.gram import Grams
from gamepruning.types import InputError, Metric

AT_ONCE = 16  # coalitions in one pass: each has weights of its own


class RepairedValueFunction(NetworkGame):
    """Coalitions of the free players, bool [S, M] -> values after repair, float64 [S].

    Made by `value_function(..., repair=grams)`.

    Attributes: see `NetworkGame`.
    """

    def __init__(
        self,
        players: Players,
        grams: Grams,
        metric: Metric,
        examples: Examples,
        inside: Bool[np.ndarray, " N"],
        free: Int[np.ndarray, " M"],
        progress: Callable[[int], Any] | None = None,
    ):
        super().__init__(players, free, inside)
        self._grams = grams
        self._examples = examples
        self._progress = progress
        value = _make_value(players, grams, metric)
        self._value = jax.jit(jax.vmap(value, in_axes=(0, 0, None)))

    def __repr__(self) -> str:
        return (
            f"RepairedValueFunction({self.num_players} free of {len(self._inside)} "
            f"players, {self.num_evaluations} evaluations)"
        )

    def _values(self, masks: np.ndarray) -> np.ndarray:
        full = self.expand(masks)
        values = np.empty(len(masks))
        for start in range(0, len(masks), AT_ONCE):
            part = full[start : start + AT_ONCE]
            values[start : start + len(part)] = self._some(part)
            self._count(len(part))
            if self._progress is not None:
                self._progress(start + len(part))
        bad = np.flatnonzero(~np.isfinite(values))
        if bad.size:
            raise InputError(
                f"the metric is {values[bad[0]]} for coalition {bad[0]}, which has "
                f"{describe_coalition(self.free[masks[bad[0]]])}; {FINITE}"
            )
        return values

    def _some(self, masks: np.ndarray) -> np.ndarray:
        """Values of at most AT_ONCE coalitions, made up to a power of two."""
        short = (1 << (len(masks) - 1).bit_length()) - len(masks)
        rows = np.concatenate([masks, np.repeat(masks[-1:], short, axis=0)])
        leaves = [self._grams.repaired(mask) for mask in masks]
        leaves += leaves[-1:] * short
        changed = self._grams.changed
        stacks = [np.stack([row[k] for row in leaves]) for k in changed]
        values = self._value(stacks, rows, self._examples)
        return np.asarray(values, float)[: len(masks)]


def _make_value(players: Players, grams: Grams, metric: Metric):
    """(the parameters that change, mask, examples) -> value."""
    passes, changed = grams.run.passes, grams.changed

    def value(leaves: PyTree, mask: Any, examples: Examples) -> Any:
        own = list(grams.run.params)
        for k, leaf in zip(changed, leaves, strict=True):
            own[k] = leaf
        outputs = players.gated(passes.with_params(own), mask, *examples.inputs)
        return jnp.asarray(metric(outputs, examples.labels))

    return value
