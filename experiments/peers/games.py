"""Games to compare estimators of power indices on, in numpy and scikit-learn's data.

Both libraries import this file, each in its own interpreter.
"""

import itertools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from sklearn.datasets import load_digits

PLAYERS, ROWS, INPUTS = 50, 256, 16
TRAINED = 400, 120, 84
QUOTA = 0.5


class Peer(NamedTuple):
    """A game: masks bool [S, N] -> float64 [S].

    Attributes:
      num_players: N.
      values: the value function.
      exact: the exact indices by name, "shapley" and "banzhaf", where they are known.
    """

    num_players: int
    values: Callable[[np.ndarray], np.ndarray]
    exact: dict[str, np.ndarray]


def votes() -> np.ndarray:
    """The weights of the voters, whole numbers from 1 to 20."""
    return np.random.default_rng(0).integers(1, 21, PLAYERS)


def quota() -> int:
    """More than half of the votes."""
    return int(QUOTA * votes().sum()) + 1


def voting() -> Peer:
    """1 where a coalition has more than half of the votes."""
    weights = votes()
    return Peer(PLAYERS, lambda z: (np.asarray(z) @ weights >= quota()) * 1.0, {})


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

    exact = {"shapley": worth / sizes, "banzhaf": worth * 0.5 ** (sizes - 1)}
    return Peer(PLAYERS, values, {name: one @ needed for name, one in exact.items()})


def airport() -> Peer:
    """What the most expensive member costs (Littlechild and Owen, 1973)."""
    costs = np.sort(np.random.default_rng(2).exponential(size=PLAYERS))
    steps = np.diff(costs, prepend=0) / np.arange(PLAYERS, 0, -1)
    banzhaf, below = np.zeros(PLAYERS), 0.0
    for player, cost in enumerate(costs):  # below: E of the dearest of those before
        banzhaf[player] = (cost - below) * 0.5 ** (PLAYERS - 1 - player)
        below = (below + cost) / 2
    exact = {"shapley": np.cumsum(steps), "banzhaf": banzhaf}
    return Peer(PLAYERS, lambda z: (np.asarray(z) * costs).max(axis=1), exact)


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
            logits = hidden @ (mask[:, None] * out)
            logits -= logits.max(axis=1, keepdims=True)
            chosen = logits[np.arange(ROWS), labels]
            found.append((chosen - np.log(np.exp(logits).sum(axis=1))).mean())
        return np.array(found)

    return Peer(64, values, {})


def trained() -> Peer:
    """The mean probability of the true digit, 604 hidden units of a trained network.

    64-400-120-84-10 with ReLU, 150 steps of Adam on 1,500 digits of 8 x 8 pixels; the
    value is that on 64 others.
    """
    x, y = (np.asarray(part) for part in load_digits(return_X_y=True))
    x, rng = x / 16, np.random.default_rng(4)
    sizes = (64, *TRAINED, 10)
    weights = [
        rng.normal(size=(a, b)) * np.sqrt(2 / a) for a, b in itertools.pairwise(sizes)
    ]
    _train(weights, x[:1500], np.eye(10)[y[:1500]])
    cast = [weight.astype(np.float32) for weight in weights]
    rows, labels = x[1500:1564].astype(np.float32), y[1500:1564]
    ends = np.cumsum(TRAINED)[:-1]

    def some(masks: np.ndarray) -> np.ndarray:
        hidden = rows
        parts = np.split(masks.astype(np.float32), ends, axis=1)
        for weight, mask in zip(cast, parts, strict=False):
            hidden = np.maximum(hidden @ weight, 0) * mask[:, None]
        logits = hidden @ cast[-1]
        odds = np.exp(logits - logits.max(axis=2, keepdims=True))
        right = odds[:, np.arange(len(rows)), labels] / odds.sum(axis=2)
        return right.mean(axis=1, dtype=float)

    def values(z: np.ndarray) -> np.ndarray:
        masks = np.atleast_2d(z)
        parts = np.array_split(masks, -(-len(masks) // 64))
        return np.concatenate([some(part) for part in parts])

    return Peer(sum(TRAINED), values, {})


def _train(weights: list[np.ndarray], x: np.ndarray, wanted: np.ndarray) -> None:
    """150 full steps of Adam on the cross-entropy, in place."""
    means = [np.zeros_like(weight) for weight in weights]
    squares = [np.zeros_like(weight) for weight in weights]
    for step in range(1, 151):
        layers = [x]
        for weight in weights[:-1]:
            layers.append(np.maximum(layers[-1] @ weight, 0))
        logits = layers[-1] @ weights[-1]
        odds = np.exp(logits - logits.max(axis=1, keepdims=True))
        back = (odds / odds.sum(axis=1, keepdims=True) - wanted) / len(x)
        for at in reversed(range(len(weights))):
            gradient = layers[at].T @ back
            back = (back @ weights[at].T) * (layers[at] > 0)
            means[at] += 0.1 * (gradient - means[at])
            squares[at] += 0.001 * (gradient**2 - squares[at])
            scale = np.sqrt(squares[at] / (1 - 0.999**step)) + 1e-8
            weights[at] -= 2e-3 * means[at] / (1 - 0.9**step) / scale


GAMES: dict[str, Callable[[], Peer]] = {
    "voting": voting,
    "unanimity": unanimity,
    "airport": airport,
    "network": network,
    "trained": trained,
}
TIMES = (10, 40, 160)  # evaluations a player
SEEDS = tuple(range(5))
BUDGETS = {name: tuple(itertools.product(TIMES, SEEDS)) for name in GAMES}
