"""Reference indices: unbiased, long, in two halves with keys of their own."""

import math
from pathlib import Path

import jax
import numpy as np
from scipy.stats import spearmanr

from gamepruning.coalitions.indices import banzhaf_values, shapley_values

VALUES = {"banzhaf": banzhaf_values, "shapley": shapley_values}
UNBIASED = {"banzhaf": "toggle_all", "shapley": "antithetic"}
SEED = 2**20  # far from the keys that are measured


def make_reference(
    path: Path, game, index: str, *, wanted: float, piece: int, most: int
) -> dict:
    """Add pieces until the two halves predict a rank correlation that high.

    With rho between the halves, their mean is expected to correlate with the exact
    index by sqrt(2 rho / (1 + rho)) (Spearman and Brown). The file keeps the pieces.

    Args:
      path: the file.
      game: the value function.
      index: "banzhaf" or "shapley".
      wanted: the rank correlation.
      piece: evaluations a piece.
      most: evaluations in all.

    Returns:
      value [N], predicted, evaluations, method.
    """
    num = game.num_players
    sums, pieces = np.zeros((2, num)), 0
    if path.exists():
        with np.load(path) as found:
            sums, pieces = found["sums"], int(found["pieces"])
    while pieces < 2 or predict(sums) < wanted and (pieces + 2) * piece <= most:
        for half in (0, 1):
            key = jax.random.fold_in(jax.random.key(SEED), pieces)
            given = {"num_evaluations": piece, "method": UNBIASED[index]}
            sums[half] += VALUES[index](key, game, num, **given).value
            pieces += 1
        np.savez(path, allow_pickle=False, sums=sums, pieces=pieces)
    return {
        "value": sums.sum(axis=0) / pieces,
        "predicted": predict(sums),
        "evaluations": pieces * piece,
        "method": UNBIASED[index],
    }


def predict(halves: np.ndarray) -> float:
    between = float(spearmanr(*halves).statistic)
    return math.sqrt(max(2 * between / (1 + between), 0.0))
