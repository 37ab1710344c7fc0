"""What a game is learned by: fitted to some coalitions, its own indices known."""

import functools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from threadpoolctl import ThreadpoolController

from gamepruning.coalitions.estimators.conjunctions import Conjunctions
from gamepruning.coalitions.semivalues import Semivalue

TREES = 100
_LEAVES, _LEAST_ROWS, _RATE = 31, 5, 0.2
_DIGITS = 9  # of scaled values: rounding of v must not decide where trees split


class Proxy(NamedTuple):
    """A game that stands for another one.

    Attributes:
      values: coalitions bool [S, N] -> float [S].
      indices: its power indices, float [N].
      mean: its mean value over the coalitions of the index.
    """

    values: Callable[[Bool[np.ndarray, "S N"]], Float[np.ndarray, " S"]]
    indices: Float[np.ndarray, " N"]
    mean: float


# (semivalue, coalitions bool [S, N], values float [S]) -> Proxy
Learner = Callable[[Semivalue, np.ndarray, np.ndarray], Proxy]


def fit_trees(
    semivalue: Semivalue,
    masks: Bool[np.ndarray, "S N"],
    values: Float[np.ndarray, " S"],
) -> Proxy:
    """A hundred boosted trees of up to 31 leaves, by scikit-learn.

    On one thread, so that the result does not depend on how many there are. Values are
    scaled first, and rounded to nine digits: a multiple of a game has the same trees.

    Args:
      semivalue: the power index.
      masks: the coalitions.
      values: their values.

    Cost: 0.2 s for S = 500, 0.4 s for S = 8000 with 50 players; of order S N from some
    thousand S on.
    """
    level, scale = values.mean(), values.std()
    if not scale > 0:
        return _constant(float(level), semivalue.num_players)
    from sklearn.ensemble import HistGradientBoostingRegressor  # slow to import

    trees = HistGradientBoostingRegressor(
        max_iter=TREES,
        learning_rate=_RATE,
        max_leaf_nodes=_LEAVES,
        min_samples_leaf=_LEAST_ROWS,
        random_state=0,
    )
    trees.set_params(early_stopping=False)
    with _one_thread():
        trees.fit(masks.astype(np.float32), np.round((values - level) / scale, _DIGITS))
    leaves = leaves_of(trees)
    base = float(trees._baseline_prediction.item())

    def predict(masks: np.ndarray) -> np.ndarray:
        with _one_thread():
            return level + scale * trees.predict(masks.astype(np.float32))

    return Proxy(
        predict,
        scale * leaves.semivalues(semivalue),
        float(level + scale * (base + leaves.mean(semivalue))),
    )


def _one_thread():
    return _threads().limit(limits=1, user_api="openmp")


@functools.cache
def _threads() -> ThreadpoolController:
    """The thread pools, looked for once: that takes a while."""
    return ThreadpoolController()


def _constant(level: float, num_players: int) -> Proxy:
    return Proxy(lambda masks: np.full(len(masks), level), np.zeros(num_players), level)


def leaves_of(trees) -> Conjunctions:
    """The leaves of all trees; a player is in where its column, 0 or 1, is high."""
    weights, literals = [], []
    for (tree,) in trees._predictors:  # scikit-learn has no other way to its nodes
        nodes = tree.nodes
        left, right = nodes["left"].tolist(), nodes["right"].tolist()
        player, is_leaf = nodes["feature_idx"].tolist(), nodes["is_leaf"].tolist()
        worth = nodes["value"].tolist()
        waiting: list[tuple[int, tuple[tuple[int, bool], ...]]] = [(0, ())]
        while waiting:
            at, path = waiting.pop()
            if is_leaf[at]:
                literals += [(len(weights), *literal) for literal in path]
                weights.append(worth[at])
            else:
                waiting.append((left[at], (*path, (player[at], False))))
                waiting.append((right[at], (*path, (player[at], True))))
    term, player, is_in = np.array(literals, int).reshape(-1, 3).T
    return Conjunctions(np.array(weights), term, player, is_in.astype(bool))
