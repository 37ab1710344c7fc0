"""Ridge regression for very many players: by conjugate gradients, never N x N.

The rows are drawn again for every product with them. What the dense fit reads off the
inverse matrix is known here from the law of the rows, whose entries are independent and
alike: degrees of freedom and mean squares from the Marchenko-Pastur law, standard
errors from residuals with random signs.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from gamepruning.coalitions.estimators import ridge, sampling
from gamepruning.coalitions.estimators.base import (
    SKEW,
    Estimate,
    OwnWork,
    effective_number,
    observed_freedom,
    widening,
)
from gamepruning.coalitions.estimators.draws import Draws
from gamepruning.coalitions.estimators.ridge import RidgeFit, fading

_PROBES = 4
_OPERATIONS_AN_ENTRY = 20  # of a product
_ADDITIVE = 1e-9
_ERROR = 0.01  # of a standard error, that conjugate gradients leave
_LOOSE = 0.02  # of the norm, for the probes
_SMALLEST = 1e-6  # of the norm: float32
_MOST_STEPS = 100
_MOST_PENALTY = 1e4  # times the mean eigenvalue


class RegressionRows(NamedTuple):
    """A regression y = w (z - c) b + t a, of coalitions z that are drawn.

    Attributes:
      centre: c, float [m].
      weight: w, float [m].
      sizes: how many players are in, float [m].
      t: regressors that only take away what is not the players', float [m, T],
        weighted already.
      y: responses, float [m], weighted already.
    """

    centre: Float[np.ndarray, " m"]
    weight: Float[np.ndarray, " m"]
    sizes: Float[np.ndarray, " m"]
    t: Float[np.ndarray, "m T"]
    y: Float[np.ndarray, " m"]

    def norms(self, num_players: int) -> Float[np.ndarray, " m"]:
        """The squared norm of each row of the players' regressors."""
        inside = self.sizes * (1 - self.centre) ** 2
        return self.weight**2 * (inside + (num_players - self.sizes) * self.centre**2)


class _System:
    """The regression on deviations of b from its mean, of what t leaves over."""

    def __init__(self, draws: Draws, rows: RegressionRows, has_total: bool):
        self.draws, self.rows = draws, rows
        self.num_players = draws.semivalue.num_players
        total = rows.weight * (rows.sizes - self.num_players * rows.centre)
        self.t = np.column_stack([rows.t, total]) if has_total else rows.t
        self.t_inverse = np.linalg.pinv(self.t.T @ self.t, hermitian=True)
        self.has_total = has_total
        self.x_t = (
            self._transposed(self.t)
            if self.t.shape[1]
            else np.zeros((self.num_players, 0))
        )

    @property
    def num_fixed(self) -> int:
        return self.t.shape[1]

    def without_t(self, columns: np.ndarray) -> np.ndarray:
        """What t leaves over of columns [m, q]."""
        return columns - self.t @ (self.t_inverse @ (self.t.T @ columns))

    def moments(self, columns: np.ndarray) -> np.ndarray:
        """X^T of columns [m, q] that t has left over; each sums to zero."""
        return self._transposed(self.without_t(columns))

    def _transposed(self, columns: np.ndarray) -> np.ndarray:
        weighted = self.rows.weight[:, None] * columns
        return _centred(self.draws.transposed(weighted, self.rows.centre))

    def gram_times(self, matrix: np.ndarray) -> np.ndarray:
        """X^T X B of what t leaves over of X."""
        weight = self.rows.weight**2
        own = self.draws.gram_times(matrix, self.rows.centre, weight)
        return _centred(own) - self.x_t @ (self.t_inverse @ (self.x_t.T @ matrix))

    def of_t(self, deviations: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """The coefficients of t, [T, q], beside deviations [N, q]."""
        return self.t_inverse @ (self.t.T @ columns - self.x_t.T @ deviations)

    def coefficients(self, deviations: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """b, [N, q]: deviations, and their mean."""
        if not self.has_total:
            return deviations
        return deviations + self.of_t(deviations, columns)[-1]

    def residuals(self, deviations: np.ndarray) -> np.ndarray:
        """What the fit leaves of y, [m]."""
        y = self.rows.y[:, None]
        fitted = self.draws.times(deviations, len(y), self.rows.centre)
        fitted *= self.rows.weight[:, None]
        return (y - fitted - self.t @ self.of_t(deviations, y))[:, 0]


def fit(draws: Draws, rows: RegressionRows, *, has_total: bool) -> RidgeFit:
    """The fit of `ridge.fit`, in memory of order N + m.

    The penalty is that of the best linear prediction if the players' deviations are
    normal, sigma^2 N / |b|^2, with both by the method of moments; it fades from 2 rows
    a coefficient on and is 0 from 3 on; errors count with a |b|^2 that is two standard
    deviations larger. Conjugate gradients end where what they leave
    is a hundredth of the standard errors, or single precision ends.

    The variance of player i is that of K X^T D^(1/2) s for random signs s, D = e^2 / (1
    - h): its mean over players from four draws of s, which are four more columns of
    conjugate gradients, and its differences between players from sum_j x_ij^2 D_j, as
    far as the draws bear them out. One of the four has the sign of the sample's
    parity: it tells the two halves apart.

    Args:
      draws: the coalitions.
      rows: the regression on them.
      has_total: False where every row of x sums to zero, so that only the differences
        of the coefficients can be told.

    Cost: ten to twenty products with the rows, at 3 to 10 rows a player; see `work`.

    References:
      Hestenes and Stiefel, Journal of Research of the NBS 49 (1952). Marchenko and
      Pastur, Mathematics of the USSR-Sbornik 1 (1967). Wu, Annals of Statistics 14
      (1986), for signs. Dicker, Biometrika 101 (2014), for the moments.
    """
    system = _System(draws, rows, has_total)
    n, num = system.num_players, len(rows.y)
    y = system.without_t(rows.y[:, None])
    moment, energy = system.moments(rows.y[:, None]), float((y**2).sum())
    scale = float(rows.norms(n).sum()) / n  # the mean eigenvalue
    law = _Law(n - 1, num - system.num_fixed, scale / num)
    penalty, spread = _choose_penalty(law, float((moment**2).sum()), energy)
    freedom_x = law.freedom(penalty)
    left = max(num - system.num_fixed - freedom_x, 1.0)

    def is_solved(deviations: np.ndarray, residual: np.ndarray) -> bool:
        size = float((residual**2).sum())
        if size <= _SMALLEST**2 * float((moment**2).sum()):
            return True
        explained = float((deviations * (moment + residual)).sum())
        unexplained = energy - explained - penalty * float((deviations**2).sum())
        if unexplained <= _ADDITIVE * energy:
            return False
        return size <= _ERROR**2 * unexplained / left * scale * n

    deviations, unsolved = _solve(system, penalty, moment, is_solved)
    value = system.coefficients(deviations, rows.y[:, None])[:, 0]
    residual = system.residuals(deviations)
    unexplained = float((residual**2).sum())
    spared = np.maximum(1 - _leverages(system, freedom_x), 1e-6)
    square = residual**2 / spared
    terms = _own_terms(draws, rows, square)
    probes = _probe(system, penalty, np.sqrt(square) * np.sign(residual))
    variance = _spread(probes, terms[0])
    support = np.minimum(effective_number(*terms), num)
    freedom = np.minimum(left, observed_freedom(support, num, skew=SKEW))
    if unexplained <= _ADDITIVE * energy:  # all rows agree
        support = np.full(n, float(num))
    bias = max(unexplained / left * penalty, spread * penalty**2)
    variance += bias * law.inverse_square(penalty) / n
    variance += (unsolved / law.smallest(penalty)) ** 2 / n  # and rounding
    apart = probes[:, 0] / np.sqrt(spared.mean())  # half of the rows fit worse
    estimate = Estimate(
        value,
        np.sqrt(variance) * widening(freedom),
        np.stack([value + apart, value - apart]),
        support,
        is_shrunk=penalty > 0,
    )
    return RidgeFit(estimate, freedom)


def work(num_rows: int, num_players: int) -> OwnWork:
    """What a fit costs: dense, or the products with rows that are drawn again."""
    if num_players <= sampling.WIDE:
        return ridge.work(num_rows, num_players)
    rows_each = max(num_rows / num_players, 3.0)
    products = 6 + 14 / np.log(rows_each)
    operations = _OPERATIONS_AN_ENTRY * products * float(num_rows) * num_players
    return OwnWork(operations, 400.0 * num_players + 100.0 * num_rows)


class _Law(NamedTuple):
    """The spectrum of X^T X, of `num` rows of independent entries, as it tends to be.

    Attributes:
      size: directions, N - 1.
      num: rows.
      entry: the mean square of an entry.
    """

    size: int
    num: int
    entry: float

    def freedom(self, penalty: float) -> float:
        """tr X^T X (X^T X + L)^-1: N - 1, or fewer where L > 0 or rows are few.

        Solves L = k (num - df), df = size entry / (entry + k), by bisection.
        """
        if penalty <= 0:
            return float(min(self.size, self.num))
        low, high = (
            0.0,
            penalty / max(self.num - self.size, 1e-3) + self.entry * self.size,
        )
        high = max(high, penalty)
        for _ in range(200):
            middle = (low + high) / 2
            freedom = self.size * self.entry / (self.entry + middle)
            below = middle * (self.num - freedom) < penalty
            low, high = (middle, high) if below else (low, middle)
        return self.size * self.entry / (self.entry + high)

    def smallest(self, penalty: float) -> float:
        """The smallest eigenvalue of X^T X + L, of those that are seen."""
        edge = abs(1 - np.sqrt(self.size / self.num))
        return max(penalty, self.num * self.entry * max(edge, 1e-3) ** 2)

    def inverse_square(self, penalty: float) -> float:
        """tr (X^T X + L)^-2, unseen directions among them."""
        if penalty <= 0:
            return 0.0
        step = 1e-3 * penalty

        def trace(at: float) -> float:
            return (self.size - self.freedom(at)) / at

        return (trace(penalty - step) - trace(penalty + step)) / (2 * step)


def _choose_penalty(law: _Law, moment: float, energy: float) -> tuple[float, float]:
    """sigma^2 N / |b|^2, from |X^T y|^2 and |y|^2; and |b|^2 / N, if it may be more.

    E |X^T y|^2 = (m v)^2 |b|^2 + m v N |y|^2 / m and E |y|^2 = m (sigma^2 + v |b|^2),
    v the mean square of an entry. Without b, |X^T y|^2 has a standard deviation of
    about v |y|^2 sqrt(2 N): two of them more are not ruled out.
    """
    fades = fading(law.num / law.size)
    mean = law.num * law.entry
    if fades <= 0 or energy <= 0 or mean <= 0:
        return 0.0, 0.0
    signal = (moment - law.entry * law.size * energy) / mean**2
    noise = energy / law.num - law.entry * max(signal, 0.0)
    least, most = _SMALLEST * mean, _MOST_PENALTY * mean
    unsure = 2 * law.entry * energy * np.sqrt(2 * law.size) / mean**2
    spread = float(min(max(signal, 0.0) + unsure, energy / mean)) / law.size
    if signal * most <= noise * law.size:
        return fades * most, spread
    return fades * float(np.clip(noise * law.size / signal, least, most)), spread


def _solve(
    system: _System,
    penalty: float,
    moments: np.ndarray,
    is_solved: Callable[[np.ndarray, np.ndarray], bool],
) -> tuple[np.ndarray, float]:
    """(X^T X + L) B = moments, column by column, by conjugate gradients.

    Returns:
      B, and the norm of what is left of the moments.
    """
    found = np.zeros_like(moments)
    residual, direction = moments.copy(), moments.copy()
    size = (residual**2).sum(axis=0)
    for _ in range(_MOST_STEPS):
        if not size.any() or is_solved(found, residual):
            break
        image = system.gram_times(direction) + penalty * direction
        curve = (direction * image).sum(axis=0)
        step = np.where(curve > 0, size / np.where(curve > 0, curve, 1.0), 0.0)
        found += step * direction
        residual -= step * image
        new = (residual**2).sum(axis=0)
        direction = residual + new / np.where(size > 0, size, 1.0) * direction
        size = new
    least = _SMALLEST * float(np.linalg.norm(moments))
    return found, max(float(np.sqrt(size.sum())), least)


def _leverages(system: _System, freedom: float) -> np.ndarray:
    """h of each row: that of t, and an equal share for equal norms."""
    of_t = ((system.t @ system.t_inverse) * system.t).sum(axis=1)
    norms = system.rows.norms(system.num_players)
    return of_t + freedom * norms / max(norms.sum(), 1e-300)


def _own_terms(draws: Draws, rows: RegressionRows, square: np.ndarray) -> np.ndarray:
    """For each player sum_j x_ij^2 D_j, and the sum of the squares of the terms."""
    c, d = rows.centre, rows.weight**2 * square
    inside = np.stack([d * ((1 - c) ** 2 - c**2), d**2 * ((1 - c) ** 4 - c**4)], 1)
    outside = [(d * c**2).sum(), (d**2 * c**4).sum()]
    return draws.transposed(inside).T + np.array(outside)[:, None]


def _probe(system: _System, penalty: float, residual: np.ndarray) -> np.ndarray:
    """The change of b for residuals of other signs, [N, probes].

    The first has those of the samples with even numbers less those of the others.
    """
    rng = np.random.default_rng(0)
    signs = rng.choice([-1.0, 1.0], (len(residual), _PROBES))
    signs[:, 0] = 1 - 2 * (np.arange(len(residual)) % 2)
    columns = signs * residual[:, None]
    moments = system.moments(columns)
    bound = _LOOSE**2 * (moments**2).sum()

    def is_solved(_: np.ndarray, left: np.ndarray) -> bool:
        return bool((left**2).sum() <= bound)

    deviations, _ = _solve(system, penalty, moments, is_solved)
    return system.coefficients(deviations, columns)


def _spread(probes: np.ndarray, terms: np.ndarray) -> np.ndarray:
    """The variance of each player from probes, smoothed by what its own rows say."""
    squares = (probes**2).mean(axis=1)
    mean, apart = squares.mean(), terms - terms.mean()
    if not mean > 0:
        return np.zeros_like(terms)
    relative = apart / terms.mean()
    slope = (squares / mean - 1) @ relative / max(relative @ relative, 1e-300)
    return mean * (1 + np.clip(slope, 0, 1) * relative)


def _centred(matrix: np.ndarray) -> np.ndarray:
    """Columns less their means."""
    return matrix - matrix.mean(axis=0)
