"""What a game is learned by: fitted to some coalitions, its own indices known."""

import functools
import importlib
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from threadpoolctl import ThreadpoolController

from gamepruning.coalitions.estimators.conjunctions import Conjunctions
from gamepruning.coalitions.semivalues import Semivalue

TREES = 100
_LEAVES, _LEAST_ROWS, _RATE = 31, 5, 0.2
DIGITS = 9  # of scaled values: rounding of v must not decide what is chosen


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


class SeenCoalitions(NamedTuple):
    """Coalitions and their values.

    Attributes:
      masks: bool [R, N].
      values: float [R].
      weight: how much the rows count, float [R].
      twins: values of the complements, float [R], nan where they are not known; None
        where they do not matter.
      centre: the mean of all values.
    """

    masks: Bool[np.ndarray, "R N"]
    values: Float[np.ndarray, " R"]
    weight: Float[np.ndarray, " R"]
    twins: Float[np.ndarray, " R"] | None
    centre: float

    @property
    def odd(self) -> Float[np.ndarray, " R"] | None:
        """(v(S) - v(not S)) / 2; None where complements do not matter."""
        if self.twins is None:
            return None
        known = np.isfinite(self.twins)
        return np.where(
            known, (self.values - self.twins) / 2, self.values - self.centre
        )

    def where(self, own: Bool[np.ndarray, " R"]) -> "SeenCoalitions":
        """Some of the rows."""
        twins = None if self.twins is None else self.twins[own]
        rows = self.masks[own], self.values[own], self.weight[own]
        return self._replace(masks=rows[0], values=rows[1], weight=rows[2], twins=twins)

    def with_twins(self) -> "SeenCoalitions":
        """Complements that are known as rows of their own."""
        if self.twins is None:
            return self
        known = np.isfinite(self.twins)
        return self._replace(
            masks=np.concatenate([self.masks, ~self.masks[known]]),
            values=np.concatenate([self.values, self.twins[known]]),
            weight=np.concatenate([self.weight, self.weight[known]]),
            twins=None,
        )


class Learner(NamedTuple):
    """A way to learn a game.

    Attributes:
      fit: (semivalue, seen) -> `Proxy`.
      operations: (N, evaluations seen) -> about what a fit takes, 1e10 a second.
    """

    fit: Callable[[Semivalue, SeenCoalitions], Proxy]
    operations: Callable[[int, int], float]


def fit_trees(semivalue: Semivalue, seen: SeenCoalitions) -> Proxy:
    """A hundred boosted trees of up to 31 leaves, by scikit-learn.

    On one thread, so that the result does not depend on how many there are. Values are
    scaled first, and rounded to nine digits: a multiple of a game has the same trees.

    Args:
      semivalue: the power index.
      seen: coalitions and their values; they count alike.

    Cost: 0.2 s for S = 500, 0.4 s for S = 8000 with 50 players; of order S N from some
    thousand S on.
    """
    rows = seen.with_twins()
    masks, values = rows.masks, rows.values
    level, scale = values.mean(), values.std()
    if not scale > 0:
        return constant(float(level), semivalue.num_players)
    from sklearn.ensemble import HistGradientBoostingRegressor  # slow to import

    trees = HistGradientBoostingRegressor(
        max_iter=TREES,
        learning_rate=_RATE,
        max_leaf_nodes=_LEAVES,
        min_samples_leaf=_LEAST_ROWS,
        random_state=0,
    )
    trees.set_params(early_stopping=False)
    with one_thread():
        trees.fit(masks.astype(np.float32), np.round((values - level) / scale, DIGITS))
    leaves = leaves_of(trees)
    base = float(trees._baseline_prediction.item())

    def predict(masks: np.ndarray) -> np.ndarray:
        with one_thread():
            return level + scale * trees.predict(masks.astype(np.float32))

    return Proxy(
        predict,
        scale * leaves.semivalues(semivalue),
        float(level + scale * (base + leaves.mean(semivalue))),
    )


def tree_operations(num_players: int, num_evaluations: int) -> float:
    """About what a fit takes: 0.2 s, and half a microsecond an entry; measured."""
    return 2e9 + 5e3 * num_players * num_evaluations


def one_thread():
    """A context without other threads: sums are the same however many there are."""
    return _threads().limit(limits=1)


@functools.cache
def _threads() -> ThreadpoolController:
    """The thread pools, looked for once: that takes a while.

    Those of scikit-learn are there once it is imported, which takes a while, too.
    """
    importlib.import_module("sklearn.ensemble")
    return ThreadpoolController()


def constant(level: float, num_players: int) -> Proxy:
    """A game of one value."""
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
