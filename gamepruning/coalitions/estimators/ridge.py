"""Ridge regression on coalitions that are drawn again instead of kept.

Two passes over the rows: sums for the fit, then the residuals for the standard errors.
Memory: a few N x N matrices, whatever the number of rows.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from gamepruning.coalitions.estimators.base import (
    SKEW,
    Estimate,
    OwnWork,
    effective_number,
    observed_freedom,
    widening,
)

_PENALTIES = np.logspace(-6, 4, 81)
_ADDITIVE = 1e-10
_RULED_OUT = 3.84  # twice a difference of log-likelihoods: 5 % of right ones are beyond
_FADES_FROM, _FADES_TO = 2, 3  # rows a coefficient


class Equations(NamedTuple):
    """Some equations x b + t c = y of a regression, weighted already.

    Attributes:
      x: regressors, one a player, float [K, N].
      t: regressors that only take away what is not the players', float [K, T].
      y: responses, float [K].
      first: the number of the first row.
    """

    x: np.ndarray
    t: np.ndarray
    y: np.ndarray
    first: int


class RidgeFit(NamedTuple):
    """Estimates, and the degrees of freedom that their errors were widened for, [N]."""

    estimate: Estimate
    freedom: np.ndarray


class Sums(NamedTuple):
    """Sums of products over rows, [2, ...] for those with even and with odd numbers."""

    xx: np.ndarray
    xt: np.ndarray
    xy: np.ndarray
    tt: np.ndarray
    ty: np.ndarray
    yy: np.ndarray
    num: np.ndarray


class _Reduced(NamedTuple):
    """The regression on x alone, of what t leaves over of x and y."""

    gram: np.ndarray
    moment: np.ndarray
    square: float  # of what is left of y
    t_inverse: np.ndarray
    x_on_t: np.ndarray  # coefficients of x on t
    y_on_t: np.ndarray


class _Sandwich(NamedTuple):
    """Sums over rows, [N] each: of k^2 e^2, its square, k^2 and its square."""

    variance: np.ndarray
    fourth: np.ndarray
    influence_2: np.ndarray
    influence_4: np.ndarray

    @property
    def support(self) -> np.ndarray:
        """How many equal terms would vary as much."""
        return effective_number(self.variance, self.fourth)

    def freedom(self, num_rows: float, left: float) -> np.ndarray:
        """Degrees of freedom; `left` are those of the residuals."""
        alike = effective_number(self.influence_2, self.influence_4)
        observed = observed_freedom(self.support, num_rows, skew=SKEW)
        return np.maximum(np.minimum(left * alike / num_rows, observed), 1.0)


class _Spectrum(NamedTuple):
    eigenvalues: np.ndarray
    vectors: np.ndarray
    loads: np.ndarray  # of the moment on the vectors
    unexplained: float  # residual sum of squares without a penalty
    num_rows: float
    fixed: int  # unpenalised degrees of freedom

    @property
    def num_needed(self) -> int:
        """Rows that are more than there are coefficients."""
        return self.fixed + int((self.eigenvalues > 0).sum()) + 1

    def is_exact(self, square: float) -> bool:
        """True if nothing is left of y but rounding."""
        return bool(self.unexplained <= _ADDITIVE * square)


def fit(
    rows: Callable[[], Iterator[Equations]],
    num_players: int,
    num_nuisance: int,
    *,
    has_total: bool,
) -> RidgeFit:
    """Fit, choose the penalty by generalised cross-validation, and give true errors.

    The penalty is on the deviations of the coefficients from their mean, so what it
    shrinks towards is "all players alike":
    min |y - X b - T c|^2 + L |b - mean(b)|^2. L is chosen by GCV up to 2 rows a
    coefficient, fades from there and is 0 from 3 on, or where the game is additive to
    rounding: ordinary least squares, without bias of its own.

    The variance is the HC2 sandwich K (sum_j x_j x_j^T e_j^2 / (1 - h_j)) K, unbiased
    where all errors are alike. It is widened by Student's t. Its degrees of freedom are
    Satterthwaite's, for rows of unequal influence, or those that the spread of the
    terms of the sum suggests, if that is fewer: a few rows may carry it all. While
    L > 0, to it comes the expected square of the bias, tau^2 L^2 H^2. tau^2 is the
    variance of the coefficients: sigma^2 over the least L whose GCV score is within
    what a likelihood ratio of 5 % allows, at most what all of y would have. So errors
    hold also where few rows do not tell the players apart. As in Wahba's Bayesian
    intervals, that is right on average over the players, not for each of them.

    Args:
      rows: gives the rows, drawn again at each call.
      num_players: N.
      num_nuisance: T.
      has_total: False where every row of x sums to zero, so that only the differences
        of the coefficients can be told.

    Returns:
      `RidgeFit`.

    References:
      Golub, Heath and Wahba, Technometrics 21 (1979). MacKinnon and White, Journal of
      Econometrics 29 (1985), HC2. Bell and McCaffrey, Survey Methodology 28 (2002).
      Wahba, JRSS B 45 (1983).
    """
    sums = _sum_up(rows(), num_players, num_nuisance)
    both = Sums(*(part.sum(axis=0) for part in sums))
    reduced, num = _reduce(both), float(both.num)
    spectrum = _spectrum(reduced, num, num_nuisance, has_total)
    if spectrum.is_exact(reduced.square):
        distinct = _num_distinct(rows(), spectrum.num_needed)
        if distinct < spectrum.num_needed and not _is_all(distinct, spectrum):
            spectrum = spectrum._replace(num_rows=float(distinct))
    penalty, least = _choose_penalty(spectrum)
    inverse = _inverse(reduced.gram, penalty, spectrum, has_total)
    value = inverse @ reduced.moment
    sandwich = _sandwich(rows(), reduced, inverse, value)
    bias, freedom = _squared_bias(spectrum, penalty, least)
    freedom = sandwich.freedom(num, freedom)
    stderr = np.sqrt(sandwich.variance + bias) * widening(freedom)
    halves = [
        _half(_reduce(Sums(*(part[half] for part in sums))), penalty, has_total)
        for half in (0, 1)
    ]
    support = sandwich.support
    if spectrum.unexplained <= _ADDITIVE * reduced.square:  # all rows agree
        support = np.full_like(value, num)
    estimate = Estimate(value, stderr, np.array(halves), support)
    return RidgeFit(estimate._replace(is_shrunk=penalty > 0), freedom)


def work(num_rows: int, num_players: int) -> OwnWork:
    """What a fit costs: Gram matrix, sandwich, eigenvectors, and ten N x N matrices."""
    n = float(num_players)
    return OwnWork(4 * num_rows * n**2 + 30 * n**3, 80 * n**2)


def _sum_up(rows: Iterator[Equations], n: int, q: int) -> Sums:
    shapes = (n, n), (n, q), (n,), (q, q), (q,), (), ()
    sums = Sums(*(np.zeros((2, *shape)) for shape in shapes))
    for x, t, y, first in rows:
        for half in (0, 1):
            own = slice((half - first) % 2, None, 2)
            xs, ts, ys = x[own], t[own], y[own]
            products = xs.T @ xs, xs.T @ ts, xs.T @ ys, ts.T @ ts, ts.T @ ys, ys @ ys
            for total, added in zip(sums, (*products, len(ys)), strict=True):
                total[half] += added
    return sums


def _num_distinct(rows: Iterator[Equations], enough: int) -> int:
    """How many equations differ by more than a factor, up to what is enough."""
    seen: set[bytes] = set()
    for x, t, _, _ in rows:
        both = np.column_stack([x, t])
        size = np.maximum(np.abs(both).max(axis=1, keepdims=True), 1e-300)
        whole = np.rint(both / size * 1e9).astype(np.int64)
        first = np.take_along_axis(whole, (whole != 0).argmax(axis=1)[:, None], axis=1)
        seen.update(row.tobytes() for row in np.where(first < 0, -whole, whole))
        if len(seen) >= enough:
            break
    return len(seen)


def _is_all(distinct: int, spectrum: _Spectrum) -> bool:
    """True if these are all pairs of complements, and tell all players apart."""
    n = len(spectrum.eigenvalues)
    unseen = int((spectrum.eigenvalues <= 0).sum())
    return n < 20 and distinct >= 2 ** (n - 1) - 1 and unseen <= 1


def _reduce(sums: Sums) -> _Reduced:
    t_inverse = np.linalg.pinv(sums.tt, hermitian=True) if sums.tt.size else sums.tt
    x_on_t, y_on_t = t_inverse @ sums.xt.T, t_inverse @ sums.ty
    return _Reduced(
        sums.xx - sums.xt @ x_on_t,
        sums.xy - sums.xt @ y_on_t,
        float(sums.yy - sums.ty @ y_on_t),
        t_inverse,
        x_on_t,
        y_on_t,
    )


def _without_total(gram: np.ndarray, moment: np.ndarray):
    """What is left of the regressors once their sum is accounted for."""
    column = gram.sum(axis=1)
    total = column.sum()
    scale = 1 / total if total > 0 else 0.0
    share = moment.sum() * scale
    left = gram - np.outer(column, column) * scale
    return left, moment - column * share, column * scale, share


def _spectrum(reduced: _Reduced, num: float, fixed: int, has_total: bool):
    gram, moment, explained = reduced.gram, reduced.moment, 0.0
    if has_total:
        whole = moment.sum()
        gram, moment, _, share = _without_total(gram, moment)
        explained, fixed = whole * share, fixed + 1
    eigenvalues, vectors = np.linalg.eigh(gram)
    eigenvalues = np.maximum(eigenvalues, 0.0)
    largest = reduced.gram.diagonal().max()
    eigenvalues[eigenvalues <= 1e-13 * largest * len(gram)] = 0.0
    loads = np.where(eigenvalues > 0, vectors.T @ moment, 0.0)
    explained += float((loads**2 * _reciprocal(eigenvalues)).sum())
    unexplained = max(reduced.square - explained, 0.0)
    return _Spectrum(eigenvalues, vectors, loads, unexplained, num, fixed)


def _choose_penalty(spectrum: _Spectrum) -> tuple[float, float]:
    """The penalty, faded, and the least one that the rows do not rule out."""
    w, _, loads, unexplained, num, fixed = spectrum
    seen = w > 0
    if not seen.any():
        return 0.0, 0.0
    w, loads = w[seen], loads[seen]
    energy = unexplained + float((loads**2 / w).sum())
    spare = num - fixed - len(w)
    tells_all_apart = seen.sum() >= len(seen) - 1
    if spare >= 1 and tells_all_apart and unexplained <= _ADDITIVE * energy:
        return 0.0, 0.0
    penalties = w.mean() * _PENALTIES
    shrunk = penalties[:, None] / (w + penalties[:, None])
    left = unexplained + (loads**2 / w * shrunk**2).sum(axis=1)
    freedom = fixed + (1 - shrunk).sum(axis=1)
    scores = left / np.maximum(1 - freedom / num, 1e-9) ** 2
    best = int(np.argmin(scores))
    likely = scores <= scores[best] * np.exp(_RULED_OUT / num)
    least = float(penalties[int(np.argmax(likely))])
    return fading(num / (fixed + len(w))) * float(penalties[best]), least


def fading(rows_each: float) -> float:
    """How much of a penalty stays: all up to 2 rows a coefficient, none from 3 on."""
    return float(np.clip((_FADES_TO - rows_each) / (_FADES_TO - _FADES_FROM), 0, 1))


def _inverse(gram, penalty: float, spectrum: _Spectrum, has_total: bool) -> np.ndarray:
    """K with coefficients = K moment; symmetric."""
    w, vectors = spectrum.eigenvalues, spectrum.vectors
    inner = (vectors * _reciprocal(w, penalty)) @ vectors.T
    if not has_total:
        return inner
    column = gram.sum(axis=1)
    total = column.sum()
    if total <= 0:
        return inner
    left = inner @ column / total  # (I - 1 g^T / c) H (I - g 1^T / c) + 1 1^T / c
    corner = (column @ left + 1) / total
    return inner - left[None, :] - left[:, None] + corner


def _sandwich(
    rows: Iterator[Equations], reduced: _Reduced, inverse, value
) -> _Sandwich:
    variance, fourth, influence_2, influence_4 = np.zeros((4, len(value)))
    for x, t, y, _ in rows:
        x = x - t @ reduced.x_on_t
        influence = x @ inverse
        residual = y - t @ reduced.y_on_t - x @ value
        nuisance = ((t @ reduced.t_inverse) * t).sum(axis=1)
        leverage = (influence * x).sum(axis=1) + nuisance
        square = residual**2 / np.maximum(1 - leverage, 1e-6)
        influence = np.square(influence)
        variance += influence.T @ square
        influence_2 += influence.sum(axis=0)
        influence = np.square(influence)
        fourth += influence.T @ np.square(square)
        influence_4 += influence.sum(axis=0)
    return _Sandwich(variance, fourth, influence_2, influence_4)


def _squared_bias(spectrum: _Spectrum, penalty: float, least: float):
    """(tau^2 L^2 diag(H^2), degrees of freedom that are left).

    tau^2 is the variance of the coefficients: by the moments, or sigma^2 over the least
    penalty that is not ruled out, but no more than all of y says. Directions that no
    row has keep it whole.
    """
    w, vectors, loads, unexplained, num, fixed = spectrum
    inverse, seen = _reciprocal(w, penalty), w > 0
    shrunk = penalty * inverse
    found = loads**2 * _reciprocal(w)
    left = unexplained + (found * shrunk**2).sum()
    freedom = max(num - fixed - (w * inverse).sum(), 1.0)
    squares, variance = vectors**2, left / freedom
    unseen = np.maximum(1 - 1 / len(w) - squares @ seen, 0.0)
    if not seen.any() or (penalty <= 0 and seen.sum() >= len(w) - 1):
        return np.zeros(len(w)), freedom
    spread = max(found.sum() - variance * seen.sum(), 0.0) / w.sum()
    if penalty > 0:
        most = min(variance / least, (unexplained + found.sum()) / w.sum())
        spread = max(spread, most, variance / penalty)
    return spread * (penalty**2 * (squares @ inverse**2) + unseen), freedom


def _half(reduced: _Reduced, penalty: float, has_total: bool) -> np.ndarray:
    gram, moment = reduced.gram, reduced.moment
    left, rest, column, share = gram, moment, np.zeros(len(gram)), 0.0
    if has_total:
        left, rest, column, share = _without_total(gram, moment)
    scale = np.trace(left) / len(left)
    least = 1e-9 * scale if scale > 0 else 1.0
    diagonal = max(penalty / 2, least) * np.eye(len(left))
    deviation = np.linalg.solve(left + diagonal, rest)
    return deviation + share - column @ deviation


def _reciprocal(w: np.ndarray, penalty: float = 0.0) -> np.ndarray:
    """1 / (w + penalty); 0 in directions that no row has."""
    return np.where(w > 0, 1 / np.where(w > 0, w + penalty, 1.0), 0.0)
