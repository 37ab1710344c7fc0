"""Are the methods different? Ranks, Friedman, Iman and Davenport, Nemenyi, Wilcoxon.

A table has one row a block and one column a method. Blocks are data sets, or whatever
else is independent; several seeds on one data set are not: take their mean first.

Two results of a block that differ by less than a millionth of their size are a tie: in
single precision, equal numbers of correct answers differ by that once they are averaged
over seeds.
"""

import itertools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import scipy  # its `stats` are imported when they are needed: it takes long
from jaxtyping import ArrayLike, Float

from gamepruning.spelling import helpful
from gamepruning.types import InputError

__all__ = [
    "FriedmanResult",
    "MethodComparison",
    "cliques",
    "compare_methods",
    "critical_difference",
    "friedman_test",
    "holm",
    "mean_ranks",
    "nemenyi_test",
    "proportion_stderr",
    "wilcoxon_test",
]
__getattr__, __dir__ = helpful(__name__, __all__)


Table = ArrayLike | Sequence[Sequence[float]]
TIE = 1e-6  # difference of two results over their size, below which they tie


class FriedmanResult(NamedTuple):
    """Friedman's test that M methods are alike over B blocks.

    Attributes:
      statistic: Friedman's chi-squared, corrected for ties, M - 1 degrees of freedom.
      p_value: its p-value.
      f_statistic: that of Iman and Davenport, M - 1 and (M - 1)(B - 1) degrees of
        freedom; less conservative.
      f_p_value: its p-value, but at least (1 / M!)^(B - 1): so often do all blocks
        agree if the methods do not differ, and no test by ranks can be surer.
    """

    statistic: float
    p_value: float
    f_statistic: float
    f_p_value: float


class MethodComparison(NamedTuple):
    """Methods compared over blocks.

    Attributes:
      names: of the M methods.
      ranks: mean rank of each, 1 is best, float [M].
      friedman: the `FriedmanResult`.
      nemenyi: p-values of all pairs, float [M, M], 1 on the diagonal.
      wilcoxon: the same by Wilcoxon's signed ranks, Holm-corrected.
      critical_difference: mean ranks further apart differ at the level alpha by
        Nemenyi's test.
      alpha: the level.
      num_blocks: B.
    """

    names: tuple[str, ...]
    ranks: Float[np.ndarray, " M"]
    friedman: FriedmanResult
    nemenyi: Float[np.ndarray, "M M"]
    wilcoxon: Float[np.ndarray, "M M"]
    critical_difference: float
    alpha: float
    num_blocks: int

    def __repr__(self) -> str:
        order = np.argsort(self.ranks, kind="stable")
        ranked = [f"{self.names[k]} {self.ranks[k]:.2f}" for k in order[:4]]
        more = ", ..." if len(order) > 4 else ""
        return (
            f"MethodComparison({len(self.names)} methods over {self.num_blocks} "
            f"blocks, mean ranks: {', '.join(ranked)}{more}; Friedman p "
            f"{self.friedman.p_value:.2g})"
        )


def proportion_stderr(share: ArrayLike, count: int) -> Float[np.ndarray, "..."]:
    """Binomial standard error of a share of so many cases, such as an accuracy.

    Args:
      share: in [0, 1].
      count: cases, at least one.

    Example:
      >>> float(proportion_stderr(0.5, 100))
      0.05
    """
    share = np.asarray(share, float)
    return np.asarray(np.sqrt(np.maximum(share * (1 - share), 0.0) / max(count, 1)))


def compare_methods(
    table: Table,
    names: Sequence[str] | None = None,
    *,
    alpha: float = 0.05,
    higher_is_better: bool = True,
) -> MethodComparison:
    """Everything there is to say about a table of results.

    Args:
      table: float [B, M], a row a block, a column a method.
      names: of the methods; their numbers if None.
      alpha: the level of the critical difference, in (0, 1).
      higher_is_better: whether the largest result has rank 1.

    Returns:
      `MethodComparison`.

    Raises:
      InputError: the table is not [B >= 2, M >= 2] of finite numbers.

    Example:
      >>> table = [[0.9, 0.8, 0.7], [0.8, 0.7, 0.6], [0.9, 0.85, 0.8], [0.7, 0.6, 0.5]]
      >>> found = compare_methods(table, ["a", "b", "c"])
      >>> found.ranks.tolist(), round(found.friedman.p_value, 4)
      ([1.0, 2.0, 3.0], 0.0183)
      >>> found  # doctest: +NORMALIZE_WHITESPACE
      MethodComparison(3 methods over 4 blocks, mean ranks: a 1.00, b 2.00, c 3.00;
        Friedman p 0.018)

    References:
      Demsar, Statistical comparisons of classifiers over multiple data sets, JMLR 7
      (2006).
    """
    table = _checked(table, names)
    num_blocks, num_methods = table.shape
    if names is None:
        names = [str(k) for k in range(num_methods)]
    oriented = table if higher_is_better else -table
    return MethodComparison(
        tuple(names),
        mean_ranks(oriented),
        friedman_test(oriented),
        nemenyi_test(oriented),
        wilcoxon_test(oriented),
        critical_difference(num_methods, num_blocks, alpha),
        alpha,
        num_blocks,
    )


def mean_ranks(
    table: Table, *, higher_is_better: bool = True
) -> Float[np.ndarray, " M"]:
    """Mean rank of each method over the blocks; 1 is best, ties share their ranks.

    Args:
      table: float [B, M].
      higher_is_better: whether the largest result has rank 1.

    Returns:
      float [M].

    Raises:
      InputError: see `compare_methods`.

    Example:
      >>> mean_ranks([[3.0, 1.0, 1.0], [2.0, 3.0, 1.0]]).tolist()
      [1.5, 1.75, 2.75]
    """
    return _ranks(_checked(table), higher_is_better).mean(axis=0)


def friedman_test(table: Table) -> FriedmanResult:
    """Friedman's test of equal methods, and the correction by Iman and Davenport.

    F = (B - 1) chi2 / (B (M - 1) - chi2)

    Args:
      table: float [B, M].

    Returns:
      `FriedmanResult`; with two methods it is a sign test in effect. All p-values are
      1 where every block ties all methods.

    Raises:
      InputError: see `compare_methods`.

    References:
      Friedman, JASA 32 (1937). Iman and Davenport, Comm. Statist. A9 (1980).
    """
    table = _checked(table)
    blocks, methods = table.shape
    ranks = _ranks(table, True)
    spread = np.sum((ranks - (methods + 1) / 2) ** 2)
    if spread == 0:
        return FriedmanResult(0.0, 1.0, 0.0, 1.0)
    sums = ranks.sum(axis=0)
    between = np.sum((sums - blocks * (methods + 1) / 2) ** 2)
    statistic = float((methods - 1) * between / spread)
    rest = blocks * (methods - 1) - statistic
    f_statistic = (blocks - 1) * statistic / rest if rest > 1e-9 else math.inf
    freedom = methods - 1, (methods - 1) * (blocks - 1)
    return FriedmanResult(
        statistic,
        float(scipy.stats.chi2.sf(statistic, methods - 1)),
        float(f_statistic),
        max(float(scipy.stats.f.sf(f_statistic, *freedom)), _surest(blocks, methods)),
    )


def nemenyi_test(table: Table) -> Float[np.ndarray, "M M"]:
    """p-values of all pairs by the difference of their mean ranks.

    q = |R_i - R_j| / sqrt(M (M + 1) / (12 B)), a studentised range of M groups

    Args:
      table: float [B, M].

    Returns:
      float [M, M], 1 on the diagonal; already corrected for all pairs.

    Raises:
      InputError: see `compare_methods`.

    References:
      Nemenyi, Distribution-free multiple comparisons (1963).
    """
    table = _checked(table)
    blocks, methods = table.shape
    ranks = mean_ranks(table)
    apart = np.abs(ranks[:, None] - ranks)
    statistic = apart / math.sqrt(methods * (methods + 1) / (12 * blocks))
    found = scipy.stats.studentized_range.sf(statistic, methods, np.inf)
    np.fill_diagonal(found, 1.0)
    return np.clip(found, 0.0, 1.0)


def critical_difference(
    num_methods: int, num_blocks: int, alpha: float = 0.05
) -> float:
    """How far apart two mean ranks must be for Nemenyi's test to tell them apart.

    Args:
      num_methods: M >= 2.
      num_blocks: B >= 2.
      alpha: the level, in (0, 1).

    Returns:
      The difference in mean ranks.

    Raises:
      InputError: an argument is out of range.

    Example: four methods, fourteen data sets (Demsar, section 3.2.2).
      >>> round(critical_difference(4, 14, 0.05), 2)
      1.25
    """
    if num_methods < 2 or num_blocks < 2 or not 0 < alpha < 1:
        raise InputError(
            "expected at least two methods, two blocks and alpha in (0, 1), got "
            f"{num_methods}, {num_blocks} and {alpha}"
        )
    quantile = scipy.stats.studentized_range.ppf(1 - alpha, num_methods, np.inf)
    return float(
        quantile * math.sqrt(num_methods * (num_methods + 1) / 12 / num_blocks)
    )


def wilcoxon_test(table: Table) -> Float[np.ndarray, "M M"]:
    """Two-sided Wilcoxon signed-rank p-values of all pairs, corrected by Holm.

    Args:
      table: float [B, M].

    Returns:
      float [M, M], 1 on the diagonal and where two methods tie in every block. Blocks
      that tie are left out, as Wilcoxon did.

    Raises:
      InputError: see `compare_methods`.

    References:
      Wilcoxon, Biometrics 1 (1945). Holm, Scand. J. Statist. 6 (1979).
    """
    table = _checked(table)
    pairs = list(itertools.combinations(range(table.shape[1]), 2))
    raw = np.array([_signed_rank(table[:, i], table[:, j]) for i, j in pairs])
    found = np.ones((table.shape[1],) * 2)
    for (i, j), value in zip(pairs, holm(raw), strict=True):
        found[i, j] = found[j, i] = value
    return found


def holm(p_values: Sequence[float] | np.ndarray) -> Float[np.ndarray, " T"]:
    """p-values of T tests, corrected so that any false one has probability alpha.

    Args:
      p_values: float [T], uncorrected.

    Returns:
      float [T], in the same order.

    Example:
      >>> holm([0.01, 0.04, 0.03]).tolist()
      [0.03, 0.06, 0.06]
    """
    p_values = np.asarray(p_values, float)
    order = np.argsort(p_values, kind="stable")
    factors = np.arange(len(p_values), 0, -1)
    raised = np.maximum.accumulate(np.minimum(p_values[order] * factors, 1.0))
    found = np.empty_like(raised)
    found[order] = raised
    return found


def cliques(comparison: MethodComparison) -> list[tuple[int, ...]]:
    """Groups of methods, by rank, whose mean ranks all lie within the critical one.

    Args:
      comparison: from `compare_methods`.

    Returns:
      Tuples of method numbers, best first; groups inside another are left out. These
      are the bars of a critical-difference diagram.

    Example:
      >>> import numpy as np
      >>> table = np.array([[3.0, 2.9, 0.0]] * 2 + [[2.9, 3.0, 0.0]] * 2)
      >>> cliques(compare_methods(table, alpha=0.05))
      [(0, 1, 2)]
    """
    order = np.argsort(comparison.ranks, kind="stable")
    ranks = comparison.ranks[order]
    found: list[tuple[int, ...]] = []
    last = 0
    for start in range(len(order)):
        within = ranks - ranks[start] < comparison.critical_difference
        stop = max(k for k in range(start, len(order)) if within[k]) + 1
        if stop > last and stop - start > 1:
            found.append(tuple(int(k) for k in order[start:stop]))
        last = max(last, stop)
    return found


def _ranks(table: np.ndarray, higher_is_better: bool) -> np.ndarray:
    return scipy.stats.rankdata(-table if higher_is_better else table, axis=1)


def _surest(blocks: int, methods: int) -> float:
    """The probability that all blocks agree by chance."""
    return math.exp(-(blocks - 1) * math.lgamma(methods + 1))


def _signed_rank(one: np.ndarray, two: np.ndarray) -> float:
    if (one == two).all():
        return 1.0
    one, two = one[one != two], two[one != two]  # ties of blocks say nothing
    apart = one - two
    sizes = _tied(np.abs(apart), TIE * np.maximum(np.abs(one), np.abs(two)))
    found: Any = scipy.stats.wilcoxon(np.sign(apart) * sizes, zero_method="wilcox")
    return float(found.pvalue)


def _tied(values: np.ndarray, slack: np.ndarray) -> np.ndarray:
    """Values [K], made equal where neighbours differ by at most their slack [K]."""
    order = np.argsort(values, kind="stable")
    ordered, allowed = values[order], slack[order]
    is_new = np.diff(ordered) > np.maximum(allowed[1:], allowed[:-1])
    first = np.concatenate([[0], np.flatnonzero(is_new) + 1])
    group = np.concatenate([[0], np.cumsum(is_new)])
    found = np.empty_like(values)
    found[order] = ordered[first][group]
    return found


def _checked(table: Table, names: Sequence[str] | None = None) -> np.ndarray:
    """The table as numbers, with its ties."""
    try:
        table = np.asarray(table, float)
    except (TypeError, ValueError) as error:
        raise InputError(
            "expected a table of numbers, with a row of the same length for each block"
        ) from error
    if table.ndim != 2 or min(table.shape) < 2:
        raise InputError(
            "expected a table [blocks, methods] with at least two of each, got shape "
            f"{list(table.shape)}"
        )
    if names is not None and len(names) != table.shape[1]:
        raise InputError(
            f"expected a name for each of the {table.shape[1]} methods, got "
            f"{len(names)}"
        )
    if not np.isfinite(table).all():
        block, method = np.argwhere(~np.isfinite(table))[0]
        name = method if names is None else names[method]
        raise InputError(
            f"the result of method {name} on block {block} is {table[block, method]}:"
            " leave that block out, or the method"
        )
    return np.array([_tied(row, TIE * np.abs(row)) for row in table])
