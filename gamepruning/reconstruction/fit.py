"""Least squares for what is missing, with a ridge that held-out rows choose.

Let e = z - x W be the target of a reader less what its inputs give with the weights as
they are. The change of the weights D and of the bias c minimise

    sum |e - x D - c|^2 + r |D|^2,

so that a large ridge r leaves the weights alone, and inputs that miss nothing change
nothing. Held-out rows choose r, or no change at all.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from gamepruning.reconstruction.moments import Moments

RIDGES = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)  # of the mean square of an input


class Fit(NamedTuple):
    """What to add to the weights and the bias of a reader.

    Attributes:
      weights: D, [G, K, M].
      bias: c, [G, M]; 0 without a bias.
      ridge: the ridge that held-out rows chose; infinite where all stays as it is.
      condition: the largest eigenvalue of the inputs' moments over the smallest, the
        largest of the groups.
      before: sum of squares of the errors over all rows, as cut.
      after: the same after the repair.
    """

    weights: Float[np.ndarray, "G K M"]
    bias: Float[np.ndarray, "G M"]
    ridge: float
    condition: float
    before: float
    after: float

    def times(self, factor: float) -> "Fit":
        """The change, so many times."""
        return self._replace(weights=factor * self.weights, bias=factor * self.bias)

    def plus(self, other: "Fit", factor: float) -> "Fit":
        """This change and so many times another."""
        weights = self.weights + factor * other.weights
        return self._replace(weights=weights, bias=self.bias + factor * other.bias)


def fit(
    train: Moments, held: Moments, has_bias: bool, ridges: Sequence[float] = RIDGES
) -> Fit:
    """Fit a reader's weights.

    Args:
      train: sums over the rows to fit to.
      held: sums over other rows, which choose the ridge; 0 rows if there are none.
      has_bias: there is a bias to fit, too.
      ridges: what to choose from, as multiples of the mean square of an input.

    Returns:
      The change, fitted to the rows of both with the ridge chosen. Cost: an
      eigendecomposition of K x K a group, twice.
    """
    every = train.plus(held)
    before = float(every.ee.sum())
    nothing = float(held.ee.sum())
    trial = [_Group(train, g, has_bias) for g in range(len(train.x))]
    errors = [sum(x.error(held, r) for x in trial) for r in ridges]
    best = int(np.argmin(errors)) if held.rows else len(ridges) // 2
    groups = [_Group(every, g, has_bias) for g in range(len(train.x))]
    if held.rows and not errors[best] < nothing:
        shape = every.xe.shape
        return Fit(
            np.zeros(shape),
            np.zeros(every.e.shape),
            np.inf,
            max((group.condition for group in groups), default=1.0),
            before,
            before,
        )
    ridge = ridges[best]
    changes = [group.solve(ridge) for group in groups]
    after = sum(group.error(every, ridge) for group in groups)
    return Fit(
        np.stack([change for change, _ in changes]),
        np.stack([shift for _, shift in changes]),
        float(ridge),
        max(group.condition for group in groups),
        before,
        float(after),
    )


class _Group:
    """One matrix of weights; its moments diagonalised once for all ridges."""

    def __init__(self, sums: Moments, group: int, has_bias: bool):
        self._group = group
        count = max(float(sums.rows), 1.0)
        self._mean_x = sums.x[group] / count if has_bias else 0 * sums.x[group]
        self._mean_e = sums.e[group] / count if has_bias else 0 * sums.e[group]
        xx = sums.xx[group] / count - np.outer(self._mean_x, self._mean_x)
        xe = sums.xe[group] / count - np.outer(self._mean_x, self._mean_e)
        self._scale = float(np.trace(xx)) / max(len(xx), 1)
        self._values, self._vectors = np.linalg.eigh(xx)
        self._values = np.maximum(self._values, 0)
        self._xe = self._vectors.T @ xe

    @property
    def condition(self) -> float:
        """Largest over smallest eigenvalue."""
        if not len(self._values) or not self._values[-1] > 0:
            return 1.0
        return float(self._values[-1] / max(self._values[0], 1e-300))

    def solve(self, ridge: float) -> tuple[np.ndarray, np.ndarray]:
        """(D, c) for a ridge."""
        size = self._values + max(ridge * self._scale, 1e-300)
        weights = self._vectors @ (self._xe / size[:, None])
        return weights, self._mean_e - self._mean_x @ weights

    def error(self, sums: Moments, ridge: float) -> float:
        """Sum of squares over the rows of `sums`."""
        weights, bias = self.solve(ridge)
        g = self._group
        fitted = 2 * (weights * sums.xe[g]).sum() + 2 * bias @ sums.e[g]
        square = (weights * (sums.xx[g] @ weights)).sum()
        cross = 2 * bias @ (sums.x[g] @ weights) + sums.rows * bias @ bias
        return float(sums.ee[g].sum() - fitted + square + cross)
