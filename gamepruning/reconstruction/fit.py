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
        level: Float[np.ndarray, "G K"] | None = None,
    ):
        """Diagonalise the second moments of the inputs.

        Args:
          train: sums over the rows to fit to.
          held: sums over other rows, which choose the ridge; 0 rows if there are none.
          has_bias: there is a bias to fit, too.
          ridges: what to choose from, as multiples of the mean square of an input.
          level: what was subtracted from the inputs; what varies by less than it is
            rounded to does not vary.

        Cost: an eigendecomposition of K x K a group; two if rows are held out.
        """
        numbers, every = range(len(train.x)), train.plus(held)
        self._ridges = ridges
        levels = np.zeros(every.x.shape) if level is None else level
        pairs = [(g, _floor(levels[g])) for g in numbers]
        self._groups = [_Group(every, g, has_bias, floor) for g, floor in pairs]
        self._trial = self._groups
        if held.rows:
            self._trial = [_Group(train, g, has_bias, floor) for g, floor in pairs]

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
        errors = np.where(np.isfinite(errors), errors, np.inf)
        best = int(np.argmin(errors)) if held.rows else len(ridges) // 2
        none = np.zeros(every.xe.shape), np.zeros(every.e.shape)
        nothing_helps = ReaderFit(*none, np.inf, condition, before, before)
        if held.rows and not errors[best] < nothing:
            return nothing_helps
        ridge = ridges[best]
        changes = [group.solve(every, ridge) for group in self._groups]
        after = sum(group.error(every, every, ridge) for group in self._groups)
        weights, bias = (np.stack(parts) for parts in zip(*changes, strict=True))
        if not (np.isfinite(after) and np.isfinite(weights).all()):
            return nothing_helps
        return ReaderFit(weights, bias, float(ridge), condition, before, float(after))

    def rounded(
        self, found: ReaderFit, every: Moments, weights: Float[np.ndarray, "G K M"]
    ) -> ReaderFit:
        """The fit whose weights change by what their type can hold of it.

        Args:
          found: the fit.
          every: sums over all rows.
          weights: what the weights really change by.

        Returns:
          The fit with the best bias for it; none if that is no better than before.
        """
        groups = list(zip(self._groups, weights, strict=True))
        bias = np.stack([group.bias_of(every, own) for group, own in groups])
        pairs = zip(groups, bias, strict=True)
        after = float(sum(x.judged(every, own, shift) for (x, own), shift in pairs))
        found = found._replace(weights=weights, bias=bias, after=after)
        if after < found.before:
            return found
        zeros = 0.0 * weights, 0.0 * bias
        return ReaderFit(*zeros, np.inf, found.condition, found.before, found.before)


def _floor(level: Float[np.ndarray, " K"]) -> float:
    """The variance that rounding alone gives to inputs at this level."""
    rounding = 4 * float(np.finfo(np.float32).eps)
    return float(np.square(rounding * level).sum())


class _Group:
    """The inputs of one matrix of weights, their moments diagonalised."""

    def __init__(self, sums: Moments, group: int, has_bias: bool, floor: float):
        self._group, self._has_bias = group, has_bias
        self._count = max(float(sums.rows), 1.0)
        self._mean = sums.x[group] / self._count * has_bias
        xx = sums.xx[group] / self._count - np.outer(self._mean, self._mean)
        self._scale = float(np.trace(xx)) / max(len(xx), 1)
        self._values, self._vectors = np.linalg.eigh(xx)
        self._values = np.where(self._values > floor, self._values, 0)

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
        inverse = np.where(self._values > 0, 1 / size, 0)
        weights = self._vectors @ (self._vectors.T @ xe * inverse[:, None])
        return weights, self.bias_of(sums, weights)

    def bias_of(self, sums: Moments, weights: np.ndarray) -> np.ndarray:
        """The best c for a D."""
        mean_e = sums.e[self._group] / self._count * self._has_bias
        return mean_e - self._mean @ weights

    def error(self, sums: Moments, judge: Moments, ridge: float) -> float:
        """The sum of squares over the rows of `judge`, fitted to those of `sums`."""
        return self.judged(judge, *self.solve(sums, ridge))

    def judged(self, judge: Moments, weights: np.ndarray, bias: np.ndarray) -> float:
        """The sum of squares over some rows after a change."""
        g = self._group
        fitted = 2 * (weights * judge.xe[g]).sum() + 2 * bias @ judge.e[g]
        square = (weights * (judge.xx[g] @ weights)).sum()
        cross = 2 * bias @ (judge.x[g] @ weights) + judge.rows * bias @ bias
        return float(judge.ee[g].sum() - fitted + square + cross)
