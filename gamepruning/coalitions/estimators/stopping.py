"""How sure a ranking is: two estimates from two halves of the samples, compared.

The halves are independent. Where they agree with correlation rho, both together agree
with the truth with about sqrt(2 rho / (1 + rho)).
"""

import numpy as np
from jaxtyping import Float
from scipy.special import ndtr, ndtri

Vector = Float[np.ndarray, " N"]
_NODES, _NODE_WEIGHTS = np.polynomial.legendre.leggauss(64)


def rank_correlation(a: Vector, b: Vector) -> float:
    """Spearman's correlation, ties at their mean rank; 0 where one side is constant.

    Example:
      >>> import numpy as np
      >>> rank_correlation(np.array([1.0, 2.0, 3.0]), np.array([1.0, 4.0, 9.0]))
      1.0
    """
    a, b = _centred_ranks(a), _centred_ranks(b)
    scale = np.sqrt((a @ a) * (b @ b))
    return round(float(a @ b / scale), 12) if scale > 0 else 0.0


def predicted_agreement(half_a: Vector, half_b: Vector) -> float:
    """The rank correlation with the truth to expect of the whole estimate.

    sqrt(2 rho / (1 + rho)), rho = Spearman between the halves (Spearman and Brown's
    correction); 0 where rho <= 0; 1 for a single player.

    Args:
      half_a: the scores from one half of the samples, float [N].
      half_b: the scores from the other half, float [N].

    Returns:
      A number in [0, 1].

    Example:
      >>> import numpy as np
      >>> half_a, half_b = (
      ...     np.array([1.0, 2.0, 3.0, 4.0]),
      ...     np.array([1.0, 3.0, 2.0, 4.0]),
      ... )
      >>> round(predicted_agreement(half_a, half_b), 3)  # rho = 0.8
      0.943
    """
    if len(half_a) == 1:
        return 1.0
    return _of_both(rank_correlation(half_a, half_b))


def predicted_overlap(half_a: Vector, half_b: Vector, cut: int) -> float:
    """Which share of the `cut` lowest players can be expected to be right.

    The overlap of the halves' lowest players, ties being broken by chance, is turned
    into the correlation at which two normal variables overlap as much, that into the
    correlation of the whole with the truth (see `predicted_agreement`), and this back
    into an overlap.

    Args:
      half_a: the scores from one half of the samples, float [N].
      half_b: the scores from the other half, float [N].
      cut: how many players lie below the cut, in [1, N).

    Returns:
      A number in [0, 1]; about cut / N means chance.

    Example:
      >>> import numpy as np
      >>> half = np.arange(10.0)
      >>> predicted_overlap(half, half, 3), round(predicted_overlap(half, -half, 3), 3)
      (1.0, 0.3)
    """
    share = cut / len(half_a)
    overlap = float(_chance_of_lowest(half_a, cut) @ _chance_of_lowest(half_b, cut))
    overlap /= cut
    if overlap == 1:
        return 1.0
    return normal_overlap(_of_both(_correlation_of(overlap, share)), share)


def _chance_of_lowest(half: Vector, cut: int) -> Vector:
    """The chance of each player to be among the lowest where lots decide ties."""
    edge = np.partition(half, cut - 1)[cut - 1]
    below, tied = half < edge, half == edge
    return below + tied * (cut - below.sum()) / tied.sum()


def reliability(value: Vector, stderr: Vector) -> float:
    """sqrt(1 - mean(stderr^2) / variance of the values): 0 if all may be noise.

    Another prediction of the correlation with the truth, from the standard errors.

    Example:
      >>> import numpy as np
      >>> reliability(np.array([1.0, -1.0]), np.array([0.6, 0.6]))
      0.8
    """
    if len(value) == 1:
        return 1.0
    spread = float(np.var(value))
    noise = float(np.mean(np.square(stderr)))
    return float(np.sqrt(max(0.0, 1 - noise / spread))) if spread > 0 else 0.0


def normal_overlap(correlation: float, share: float) -> float:
    """P(Y is in its lowest share | X is), X and Y standard normal and correlated.

    Args:
      correlation: in [0, 1].
      share: in (0, 1).

    Returns:
      P(X < a, Y < a) / share with Phi(a) = share, by integrating over the correlation.

    Example:
      >>> normal_overlap(0.0, 0.25), round(normal_overlap(0.5, 0.5), 6)
      (0.25, 0.666667)
    """
    edge, angle = ndtri(share), np.arcsin(correlation)
    angles = angle * (_NODES + 1) / 2
    density = np.exp(-(edge**2) / (1 + np.sin(angles)))
    added = angle / 2 * (_NODE_WEIGHTS @ density) / (2 * np.pi)
    return float(ndtr(edge) + added / share)


def _of_both(rho: float) -> float:
    return float(np.sqrt(2 * rho / (1 + rho))) if rho > 0 else 0.0


def _correlation_of(overlap: float, share: float) -> float:
    """The inverse of `normal_overlap` by bisection; 0 at or below chance."""
    low, high = 0.0, 1.0
    if overlap <= share:
        return 0.0
    for _ in range(40):
        middle = (low + high) / 2
        below = normal_overlap(middle, share) < overlap
        low, high = (middle, high) if below else (low, middle)
    return (low + high) / 2


def _centred_ranks(values: np.ndarray) -> np.ndarray:
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    return ranks - ranks.mean()
