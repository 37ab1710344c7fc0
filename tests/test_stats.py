"""Ranks and tests against scipy and scikit-posthocs, on tables with ties."""

import itertools

import numpy as np
import pandas
import pytest
import scikit_posthocs
from scipy import stats

from gamepruning.stats import (
    cliques,
    compare_methods,
    critical_difference,
    friedman_test,
    holm,
    nemenyi_test,
    proportion_stderr,
    wilcoxon_test,
)
from gamepruning.types import InputError


def tables():
    """Random tables, from none to very many ties."""
    rng = np.random.default_rng(3)
    for blocks, methods in ((20, 6), (8, 3), (36, 12), (5, 4)):
        yield rng.normal(size=(blocks, methods))
        yield np.round(rng.normal(size=(blocks, methods)), 1)
        yield rng.integers(0, 3, (blocks, methods)).astype(float)


@pytest.mark.parametrize("table", list(tables()))
def test_friedman_is_scipys(table):
    found = friedman_test(table)
    expected = stats.friedmanchisquare(*table.T)
    np.testing.assert_allclose(found.statistic, expected.statistic, rtol=1e-10)
    np.testing.assert_allclose(found.p_value, expected.pvalue, rtol=1e-8)


@pytest.mark.parametrize("table", list(tables()))
def test_nemenyi_is_that_of_scikit_posthocs(table):
    expected = scikit_posthocs.posthoc_nemenyi_friedman(table).to_numpy()
    np.testing.assert_allclose(nemenyi_test(table), expected, atol=1e-6)


@pytest.mark.filterwarnings("ignore")  # of scipy, about small samples with ties
@pytest.mark.parametrize("table", list(tables())[::4])  # they take their time
def test_wilcoxon_is_that_of_scikit_posthocs(table):
    blocks, methods = table.shape
    values, groups = table.T.ravel(), np.repeat(np.arange(methods), blocks)
    data = {"y": values, "x": groups}
    expected = scikit_posthocs.posthoc_wilcoxon(
        pandas.DataFrame(data), val_col="y", group_col="x", p_adjust="holm"
    )
    np.testing.assert_allclose(wilcoxon_test(table), expected, rtol=1e-6)


def test_iman_davenport_by_hand():
    """Ranks 123, 123, 132, 213: sums 5, 8, 11.

    chi2 = 12 / (4 3 4) (25 + 64 + 121) - 3 4 4 = 4.5
    F = 3 * 4.5 / (4 * 2 - 4.5) = 27 / 7, with 2 and 6 degrees of freedom
    """
    table = -np.array([[1.0, 2, 3], [1, 2, 3], [1, 3, 2], [2, 1, 3]])
    found = friedman_test(table)
    np.testing.assert_allclose(found.statistic, 4.5)
    np.testing.assert_allclose(found.f_statistic, 27 / 7)
    np.testing.assert_allclose(found.f_p_value, stats.f.sf(27 / 7, 2, 6))


@pytest.mark.parametrize("blocks, methods", [(2, 2), (3, 2), (2, 3), (3, 3)])
def test_no_p_value_is_below_that_of_all_orders(blocks, methods):
    """A method that always wins: the share of all tables of ranks that agree so."""
    orders = list(itertools.permutations(range(methods)))
    agree = [len(set(table)) == 1 for table in itertools.product(orders, repeat=blocks)]
    found = friedman_test(np.arange(methods)[None].repeat(blocks, axis=0))
    assert found.f_statistic == np.inf
    np.testing.assert_allclose(found.f_p_value, np.mean(agree))


def test_equal_counts_tie_however_their_mean_was_rounded():
    """Correct answers of three seeds out of 360, in single precision."""
    counts = np.array([[311, 299, 307], [296, 296, 325], [320, 300, 301]])
    one, two, best = (counts / 360).astype(np.float32).astype(float).mean(axis=1)
    assert one != two and round(1080 * one) == round(1080 * two) == 917
    found = compare_methods([[one, two, best], [two, one, best], [one, two, best]])
    assert found.ranks.tolist() == [2.5, 2.5, 1.0]
    assert found.wilcoxon[0, 1] == 1


def test_wilcoxon_sees_ties_of_differences():
    """Differences of 1/360 and 3/360, from other levels in each block."""
    rng = np.random.default_rng(0)
    steps = np.array([1, 1, 1, 1, -3, 1, 1, -1, 3, 1, -1, 1])
    base = rng.integers(100, 300, len(steps))
    exact = np.stack([base + steps, base], axis=1)
    rounded = (exact / np.float32(360)).astype(np.float32)
    differences = rounded[:, 0].astype(float) - rounded[:, 1]
    assert len(set(np.abs(differences))) > 2
    np.testing.assert_allclose(wilcoxon_test(rounded), wilcoxon_test(exact))


def test_what_differs_is_no_tie():
    table = [[0.5, 0.50001], [0.2, 0.20001], [1e-9, 2e-9], [-1e6, -1e6 + 10]]
    assert compare_methods(table).ranks.tolist() == [2, 1]


def test_critical_difference_of_published_tables():
    """Demsar (2006), table 5a, q at 5 %: 2.569 for 4 methods, 3.164 for 10."""
    for methods, quantile in ((4, 2.569), (10, 3.164)):
        found = critical_difference(methods, 25)
        expected = quantile * np.sqrt(methods * (methods + 1) / (6 * 25))
        np.testing.assert_allclose(found, expected, rtol=1e-3)


def test_holm_by_hand():
    """.01 x 4, then .02 x 3 = .06, then max(.06, .03 x 2), then .9."""
    np.testing.assert_allclose(holm([0.02, 0.9, 0.01, 0.03]), [0.06, 0.9, 0.04, 0.06])


def test_a_table_of_ties_tells_nobody_apart():
    found = compare_methods(np.ones((5, 3)))
    assert found.friedman.p_value == found.friedman.f_p_value == 1
    assert (found.nemenyi == 1).all() and (found.wilcoxon == 1).all()
    assert found.ranks.tolist() == [2, 2, 2]
    assert cliques(found) == [(0, 1, 2)]


def test_cliques_join_what_is_within_the_critical_difference():
    rng = np.random.default_rng(0)
    level = np.array([0.0, 0.05, 3.0, 3.05, 9.0])
    found = compare_methods(level + 0.1 * rng.normal(size=(60, 5)), list("abcde"))
    groups = cliques(found)
    assert groups == [(3, 2), (1, 0)] or groups == [(2, 3), (1, 0)]
    for group in groups:
        ranks = found.ranks[list(group)]
        assert np.ptp(ranks) < found.critical_difference


def test_lower_is_better():
    table = np.random.default_rng(0).normal(size=(6, 4))
    one = compare_methods(table, higher_is_better=False)
    two = compare_methods(-table)
    np.testing.assert_array_equal(one.ranks, two.ranks)
    np.testing.assert_array_equal(one.wilcoxon, two.wilcoxon)


@pytest.mark.parametrize(
    "table, message",
    [
        (np.ones((1, 3)), "at least two of each"),
        (np.ones(3), "at least two of each"),
        (np.array([[1.0, np.nan], [1, 2]]), "method 1 on block 0 is nan"),
        (np.array([["a", "b"], ["c", "d"]]), "a table of numbers"),
        ([[1.0, 2.0], [1.0]], "a table of numbers"),
    ],
)
def test_bad_tables(table, message):
    for test in (compare_methods, friedman_test, nemenyi_test, wilcoxon_test):
        with pytest.raises(InputError, match=message):
            test(table)
    with pytest.raises(InputError, match="method ucb1 on block 1 is inf"):
        compare_methods([[1, 2], [np.inf, 3]], ["ucb1", "random"])
    with pytest.raises(InputError, match="a name for each"):
        compare_methods(np.ones((3, 2)), ["a"])
    with pytest.raises(InputError, match="alpha"):
        critical_difference(4, 5, 1.0)


def test_the_standard_error_of_a_share_is_binomial():
    found = proportion_stderr(np.array([0.5, 1.0, 0.2]), 100)
    np.testing.assert_allclose(found, [0.05, 0.0, 0.04])


def test_a_block_that_is_tied_counts_for_nothing():
    scores = [[1e7, 1e7], [0.9, 0.5], [0.95, 0.35], [0.8, 0.1], [0.7, 0.6]]
    scores += [[0.99, 0.2], [0.85, 0.05], [0.77, 0.13]]
    assert wilcoxon_test(scores)[0, 1] == wilcoxon_test(scores[1:])[0, 1] == 0.015625
