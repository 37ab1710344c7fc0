"""Learning a game that is a function of a weighted sum, such as a vote."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from scipy.special import roots_jacobi

from gamepruning.coalitions.estimators.proxies import Proxy, SeenCoalitions, constant
from gamepruning.coalitions.semivalues import Semivalue

_WAVES = (2, 4, 8, 16, 32)
_ROWS_A_WAVE = 12
_STEPS = 4  # of Gauss and Newton, for each number of waves
_PENALTIES = np.logspace(-4, 3, 15)
_SMOOTH = 1e-4
_NODES = 128  # of the integral over t: more than 32 waves need


class _Waves(NamedTuple):
    """A function of u = (2 z - 1) direction: sum_k sine sin(f u) + cosine cos(f u).

    Attributes:
      direction: float [N], such that |u| <= 1 where it was seen.
      frequencies: f, float [K].
      sine: float [K].
      cosine: float [K].
    """

    direction: Float[np.ndarray, " N"]
    frequencies: Float[np.ndarray, " K"]
    sine: Float[np.ndarray, " K"]
    cosine: Float[np.ndarray, " K"]

    def values(self, masks: Bool[np.ndarray, "S N"]) -> Float[np.ndarray, " S"]:
        angle = np.outer((2.0 * masks - 1) @ self.direction, self.frequencies)
        found = np.sin(angle) @ self.sine
        return found + np.cos(angle) @ self.cosine if self.cosine.any() else found

    def semivalues(self, semivalue: Semivalue) -> tuple[np.ndarray, float]:
        """Its indices and its mean, exactly.

        E exp(i f u) is a product over the players for each t; the integral over t is by
        Gauss and Jacobi. Cost: K N operations for each of up to 128 points.
        """
        points, shares = _points(semivalue)
        turn = np.exp(1j * np.outer(self.frequencies, self.direction))
        load = self.cosine - 1j * self.sine
        found, mean = np.zeros(semivalue.num_players), 0.0
        for t, share in zip(points, shares, strict=True):
            each = t * turn + (1 - t) / turn
            before = np.cumprod(each, axis=1)
            others = np.ones_like(each)
            others[:, 1:] = before[:, :-1]
            others[:, :-1] *= np.cumprod(each[:, :0:-1], axis=1)[:, ::-1]
            found += share * (load @ (others * (turn - 1 / turn))).real
            mean += share * float((load @ before[:, -1]).real)
        return found, mean


def fit_sum(semivalue: Semivalue, seen: SeenCoalitions) -> Proxy:
    """A sum of up to 32 waves of a weighted sum of the players.

    v(S) = f(sum_i a_i (2 z_i - 1)). a and f are fitted in turn by Gauss and Newton,
    with 2 waves first and twice as many then; a is drawn towards equal weights. Penalty
    and number of waves are those of the least generalised cross-validation. Where only
    odd parts matter f is odd.

    Args:
      semivalue: the power index.
      seen: coalitions and their values.

    Cost: see `sum_operations`.

    References:
      Golub and Pereyra, The differentiation of pseudo-inverses and nonlinear least
      squares problems whose variables separate, SIAM J. Numer. Anal. 10 (1973).
    """
    odd, signs = seen.odd, 2.0 * seen.masks - 1
    level = float(seen.values.mean()) if odd is None else seen.centre
    y = seen.values - level if odd is None else odd
    scale = float(y.std())
    if not scale > 0:
        return constant(level, semivalue.num_players)
    y, x = seen.weight * y / scale, seen.weight[:, None] * signs
    a, _ = _shrunk(x, y, np.zeros(x.shape[1]))
    best, lowest = None, np.inf
    for waves in _WAVES:
        if waves > max(_WAVES[0], len(y) // _ROWS_A_WAVE):
            break
        frequencies = np.pi * (np.arange(waves) + 0.5)
        for _ in range(_STEPS):
            a = a / max(np.abs(signs @ a).max(), 1e-12)
            basis, slopes = _basis(signs @ a, frequencies, is_odd=odd is not None)
            coef, used = _ridge(seen.weight[:, None] * basis, y)
            left = y - seen.weight * (basis @ coef)
            step, freedom = _shrunk((slopes @ coef)[:, None] * x, left, a)
            spare = max(1 - (freedom + used) / len(y), 0.05)
            if left @ left / spare**2 < lowest:
                lowest, best = left @ left / spare**2, (a, frequencies, coef)
            a = a + step
    assert best is not None
    a, frequencies, coef = best
    waves, cosine = len(frequencies), np.zeros(len(frequencies))
    if odd is None:
        cosine, level = coef[waves:-1], level + scale * float(coef[-1])
    found = _Waves(a, frequencies, coef[:waves], cosine)
    indices, mean = found.semivalues(semivalue)

    def predict(masks: np.ndarray) -> np.ndarray:
        return level + scale * found.values(masks)

    return Proxy(predict, scale * indices, level + scale * mean)


def sum_operations(num_players: int, num_evaluations: int) -> float:
    """About what a fit takes; measured."""
    a_row = 1.5 * num_players**2 + 5e3
    a_step = num_evaluations * a_row + 20.0 * num_players**3 + 2e6
    return _STEPS * len(_WAVES) * a_step


def _points(semivalue: Semivalue) -> tuple[np.ndarray, np.ndarray]:
    """Where t is looked at, and the shares of these points."""
    if semivalue.bias is not None:
        return np.array([semivalue.bias]), np.ones(1)
    alpha, beta = semivalue.parameters or (1.0, 1.0)
    number = min(semivalue.num_players // 2 + 1, _NODES)
    points, shares = roots_jacobi(number, alpha - 1, beta - 1)
    return (points + 1) / 2, shares / shares.sum()


def _basis(
    u: np.ndarray, frequencies: np.ndarray, *, is_odd: bool
) -> tuple[np.ndarray, np.ndarray]:
    """The waves at u, and how they rise; a constant comes last where not only odd."""
    angle = np.outer(u, frequencies)
    sine, cosine = np.sin(angle), np.cos(angle)
    if is_odd:
        return sine, cosine * frequencies
    one = np.ones((len(u), 1))
    rise = cosine * frequencies, -sine * frequencies, 0 * one
    return np.concatenate([sine, cosine, one], axis=1), np.concatenate(rise, axis=1)


def _ridge(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, float]:
    """Coefficients with a small penalty, and their degrees of freedom."""
    gram = x.T @ x
    w, vectors = np.linalg.eigh(gram)
    inverse = 1 / (np.maximum(w, 0) + _SMOOTH * np.trace(gram) / len(gram))
    coef = vectors @ (inverse * (vectors.T @ (x.T @ y)))
    return coef, float((np.maximum(w, 0) * inverse).sum())


def _shrunk(x: np.ndarray, y: np.ndarray, a: np.ndarray) -> tuple[np.ndarray, float]:
    """The step d of least |y - x d|^2 + L |c - mean(c)|^2, c = a + d; L by GCV.

    Returns:
      d [N], and its degrees of freedom.
    """
    y = y + x @ a
    column, mean = x.sum(axis=1), np.zeros(len(a))
    total = float(column @ column)
    if total > 0:  # the part that all players have alike is free
        mean = x.T @ column / total
    inner = x - np.outer(column, mean)
    share = float(column @ y) / total if total > 0 else 0.0
    y = y - share * column
    w, vectors = np.linalg.eigh(inner.T @ inner)
    loads = vectors.T @ (inner.T @ y)
    w = np.where(w > 1e-12 * max(w[-1], 1e-300), w, 0.0)
    with_penalty = w + max(w.mean(), 1e-300) * _PENALTIES[:, None]
    inverse = (w > 0) / with_penalty
    freedom = 1 + (w * inverse).sum(axis=1)
    left = y @ y - (loads**2 * inverse * (2 - w * inverse)).sum(axis=1)
    scores = left / np.maximum(1 - freedom / len(y), 0.05) ** 2
    least = int(scores.argmin())
    apart = vectors @ (inverse[least] * loads)
    return apart + share - mean @ apart - a, float(freedom[least])
