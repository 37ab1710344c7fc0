"""Four games to compare estimators of Shapley values on, in numpy alone.

Both libraries import this file, each in its own interpreter.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

PLAYERS, ROWS, INPUTS = 50, 256, 16
QUOTA = 0.5


class Peer(NamedTuple):
    """A game: masks bool [S, N] -> float64 [S].

    Attributes:
      num_players: N.
      values: the value function.
      shapley: the exact Shapley values; None where they are not known.
    """

    num_players: int
    values: Callable[[np.ndarray], np.ndarray]
    shapley: np.ndarray | None


def votes() -> np.ndarray:
    """The weights of the voters, whole numbers from 1 to 20."""
    return np.random.default_rng(0).integers(1, 21, PLAYERS)


def quota() -> int:
    """More than half of the votes."""
    return int(QUOTA * votes().sum()) + 1


def voting() -> Peer:
    """1 where a coalition has more than half of the votes."""
    weights = votes()
    return Peer(PLAYERS, lambda z: (np.asarray(z) @ weights >= quota()) * 1.0, None)


def unanimity() -> Peer:
    """A sum of 150 games in which some players, 1 to 5, have to agree."""
    rng = np.random.default_rng(1)
    needed = np.zeros((150, PLAYERS), bool)
    for row, size in zip(needed, rng.integers(1, 6, 150), strict=True):
        row[rng.permutation(PLAYERS)[:size]] = True
    worth, sizes = rng.normal(size=150), needed.sum(axis=1)

    def values(z: np.ndarray) -> np.ndarray:
        present = np.asarray(z, float) @ needed.T.astype(float)
        return (present >= sizes) @ worth

    return Peer(PLAYERS, values, (worth / sizes) @ needed)


def airport() -> Peer:
    """What the most expensive member costs (Littlechild and Owen, 1973)."""
    costs = np.sort(np.random.default_rng(2).exponential(size=PLAYERS))
    steps = np.diff(costs, prepend=0) / np.arange(PLAYERS, 0, -1)
    return Peer(
        PLAYERS, lambda z: (np.asarray(z) * costs).max(axis=1), np.cumsum(steps)
    )


def network() -> Peer:
    """The mean log-likelihood of a random network 16-64-4 by its 64 hidden units."""
    rng = np.random.default_rng(3)
    hidden = np.maximum(
        rng.normal(size=(ROWS, INPUTS)) @ rng.normal(size=(INPUTS, 64)), 0
    )
    out = rng.normal(size=(64, 4)) / 8
    labels = (hidden @ out).argmax(axis=1)

    def values(z: np.ndarray) -> np.ndarray:
        found = []
        for mask in np.atleast_2d(np.asarray(z, float)):
            logits = (hidden * mask) @ out
            logits -= logits.max(axis=1, keepdims=True)
            chosen = logits[np.arange(ROWS), labels]
            found.append((chosen - np.log(np.exp(logits).sum(axis=1))).mean())
        return np.array(found)

    return Peer(64, values, None)


GAMES: dict[str, Callable[[], Peer]] = {
    "voting": voting,
    "unanimity": unanimity,
    "airport": airport,
    "network": network,
}
TIMES = (10, 40, 160)  # evaluations a player
SEEDS = tuple(range(5))
