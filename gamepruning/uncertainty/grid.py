"""From moments by coalition size to the variance at any p and q, and its peak."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from gamepruning.uncertainty.moments import SizeMoments


class Jackknifed(NamedTuple):
    """A number and its standard error, or arrays of both."""

    value: np.ndarray
    stderr: np.ndarray


class SizeLaw(NamedTuple):
    """How likely each size is at some points of the grid.

    A size between two measured ones has moments between theirs: its mean lies on the
    line between their means, and so does its variance.

    Attributes:
      weights: of each measured size; one between two counts for both, the nearer one
        more; float [*points, L].
      between: of each gap between measured sizes, share (1 - share) for how far a size
        is along it: what to take off so that two sizes are not a mixture; float
        [*points, L - 1].
    """

    weights: Float[np.ndarray, "*points L"]
    between: Float[np.ndarray, "*points L-1"]


def size_law(
    p: Float[np.ndarray, " P"],
    q: Float[np.ndarray, " Q"],
    num_players: int,
    sizes: Int[np.ndarray, " L"],
) -> SizeLaw:
    """How often MCUE(p, q) meets each size, at all p and q.

    Of the m = (1 - q) n players of the first stage, to the nearest integer, each stays
    with probability 1 - p: the size is binomial.

    Example: n = 2 players, q = 0 and p = 1/2.
      >>> law = size_law(np.array([0.5]), np.zeros(1), 2, np.arange(3))
      >>> law.weights.round(6).tolist(), law.between.tolist()
      ([[[0.25, 0.5, 0.25]]], [[[0.0, 0.0]]])
    """
    from scipy import stats  # takes half a second to import

    every = np.arange(num_players + 1)
    gap = (np.searchsorted(sizes, every) - 1).clip(0)
    share = (every - sizes[gap]) / (sizes[gap + 1] - sizes[gap])
    first = np.floor((1 - q) * num_players + 0.5).astype(int)
    weights = np.zeros((len(p), len(q), len(sizes)))
    between = np.zeros((len(p), len(q), len(sizes) - 1))
    for i, drop in enumerate(p):
        for j, most in enumerate(first):
            chance = np.zeros(num_players + 1)
            chance[: most + 1] = stats.binom.pmf(every[: most + 1], most, 1 - drop)
            weights[i, j, 1:] += np.bincount(gap, chance * share)
            weights[i, j, :-1] += np.bincount(gap, chance * (1 - share))
            between[i, j] = np.bincount(gap, chance * share * (1 - share))
    return SizeLaw(weights, between)


def variance_of(
    moments: SizeMoments, law: SizeLaw, groups: np.ndarray | None = None
) -> Float[np.ndarray, "*points"]:
    """Variance of the output when the size follows a law: unbiased at measured sizes.

        Var t = sum_k w_k s_k - sum_j b_j |m_(j+1) - m_j|^2 - |sum_k w_k m_k|^2

    with s the mean squares, m the means, w and b the two parts of the law; <m_k, m_k>
    leaves out the products of a sample with itself.

    Args:
      moments: by size.
      law: of the sizes.
      groups: which groups of samples to use; all if None.
    """
    chosen = np.arange(len(moments.counts)) if groups is None else groups
    counts = moments.counts[chosen]
    total = counts.sum()
    part = counts / total
    square, own = (_times(x[:, chosen], part) for x in (moments.square, moments.own))
    gram = moments.gram[:, chosen][..., chosen]
    gram = np.einsum("kglh,g,h->kl", gram, part, part)
    every = np.arange(len(gram))
    gram[every, every] = (total * gram[every, every] - own) / (total - 1)
    norms = gram[every, every]
    steps = norms[1:] + norms[:-1] - 2 * gram[every[1:], every[:-1]]
    half = np.einsum("...k,kl->...l", law.weights, gram)
    mean = np.einsum("...l,...l->...", half, law.weights)
    return _times(law.weights, square) - _times(law.between, steps) - mean


def _times(matrix: np.ndarray, vector: np.ndarray) -> np.ndarray:
    """The product, summed in one order: that of BLAS depends on where arrays lie."""
    return np.einsum("...k,k->...", matrix, vector)


def peak_of(
    grid: Float[np.ndarray, " P"], curve: Float[np.ndarray, " P"]
) -> Float[np.ndarray, ""]:
    """Where a curve is largest: the top of the parabola through three points.

    The middle one is the largest point of the grid, so that the peak is within half a
    step of it; at an end of the grid it is that end.

    Example:
      >>> float(peak_of(np.array([0.0, 0.5, 1.0]), np.array([0.0, 1.0, 0.0])))
      0.5
    """
    best = int(np.argmax(curve))
    if best in (0, len(grid) - 1):
        return np.asarray(grid[best])
    left, top, right = curve[best - 1 : best + 2]
    bend = left - 2 * top + right
    shift = 0.5 * (left - right) / bend if bend < 0 else 0.0
    return np.asarray(grid[best] + shift * (grid[1] - grid[0]))


def jackknife(
    function: Callable[[np.ndarray], np.ndarray], moments: SizeMoments
) -> Jackknifed:
    """Value of `function(groups)` and its standard error, one group left out at a time.

    Args:
      function: group numbers -> array.
      moments: whose groups they are.
    """
    every = np.arange(len(moments.counts))
    values = np.stack([function(np.delete(every, group)) for group in every])
    spread = np.square(values - values.mean(0)).sum(0)
    return Jackknifed(function(every), np.sqrt(spread * (len(every) - 1) / len(every)))
