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


class ReaderFit(NamedTuple):
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

    def times(self, factor: float) -> "ReaderFit":
        """The change, so many times."""
        return self._replace(weights=factor * self.weights, bias=factor * self.bias)

    def plus(self, other: "ReaderFit", factor: float) -> "ReaderFit":
        """This change and so many times another."""
        weights = self.weights + factor * other.weights
        return self._replace(weights=weights, bias=self.bias + factor * other.bias)


class Solver:
    """Fits of one matrix: what it reads is diagonalised once for all of them."""

    def __init__(
        self,
        train: Moments,
        held: Moments,
        has_bias: bool,
        ridges: Sequence[float] = RIDGES,
    ):
        """Diagonalise the second moments of the inputs.

        Args:
          train: sums over the rows to fit to.
          held: sums over other rows, which choose the ridge; 0 rows if there are none.
          has_bias: there is a bias to fit, too.
          ridges: what to choose from, as multiples of the mean square of an input.

        Cost: an eigendecomposition of K x K a group; two if rows are held out.
        """
        numbers, every = range(len(train.x)), train.plus(held)
        self._ridges = ridges
        self._groups = [_Group(every, g, has_bias) for g in numbers]
        self._trial = self._groups
        if held.rows:
            self._trial = [_Group(train, g, has_bias) for g in numbers]

    def fit(self, train: Moments, held: Moments) -> ReaderFit:
        """The change for the rows of both, with the ridge that held-out rows choose.

        Args:
          train: sums over the rows to fit to; what they say of the inputs is as before.
          held: sums over the others.
        """
        every, ridges = train.plus(held), self._ridges
        before, nothing = float(every.ee.sum()), float(held.ee.sum())
        condition = max((group.condition for group in self._groups), default=1.0)
        errors = [sum(x.error(train, held, r) for x in self._trial) for r in ridges]
        best = int(np.argmin(errors)) if held.rows else len(ridges) // 2
        if held.rows and not errors[best] < nothing:
            none = np.zeros(every.xe.shape), np.zeros(every.e.shape)
            return ReaderFit(*none, np.inf, condition, before, before)
        ridge = ridges[best]
        changes = [group.solve(every, ridge) for group in self._groups]
        after = sum(group.error(every, every, ridge) for group in self._groups)
        return ReaderFit(
            np.stack([change for change, _ in changes]),
            np.stack([shift for _, shift in changes]),
            float(ridge),
            condition,
            before,
            float(after),
        )


class _Group:
    """The inputs of one matrix of weights, their moments diagonalised."""

    def __init__(self, sums: Moments, group: int, has_bias: bool):
        self._group, self._has_bias = group, has_bias
        self._count = max(float(sums.rows), 1.0)
        self._mean = sums.x[group] / self._count * has_bias
        xx = sums.xx[group] / self._count - np.outer(self._mean, self._mean)
        self._scale = float(np.trace(xx)) / max(len(xx), 1)
        self._values, self._vectors = np.linalg.eigh(xx)
        self._values = np.maximum(self._values, 0)

    @property
    def condition(self) -> float:
        """Largest over smallest eigenvalue."""
        if not len(self._values) or not self._values[-1] > 0:
            return 1.0
        return float(self._values[-1] / max(self._values[0], 1e-300))

    def solve(self, sums: Moments, ridge: float) -> tuple[np.ndarray, np.ndarray]:
        """(D, c) for a ridge."""
        mean_e = sums.e[self._group] / self._count * self._has_bias
        xe = sums.xe[self._group] / self._count - np.outer(self._mean, mean_e)
        size = self._values + max(ridge * self._scale, 1e-300)
        weights = self._vectors @ (self._vectors.T @ xe / size[:, None])
        return weights, mean_e - self._mean @ weights

    def error(self, sums: Moments, judge: Moments, ridge: float) -> float:
        """The sum of squares over the rows of `judge`, fitted to those of `sums`."""
        weights, bias = self.solve(sums, ridge)
        g = self._group
        fitted = 2 * (weights * judge.xe[g]).sum() + 2 * bias @ judge.e[g]
        square = (weights * (judge.xx[g] @ weights)).sum()
        cross = 2 * bias @ (judge.x[g] @ weights) + judge.rows * bias @ bias
        return float(judge.ee[g].sum() - fitted + square + cross)
