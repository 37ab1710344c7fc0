"""The benchmarks of coalition values run and add up, at sizes too small to count."""

import pytest

from benchmarks.coalitions import bench_coalitions, bench_repair, bench_scaling
from gamepruning.types import InputError


def test_speed_is_a_share_of_the_products_rate():
    found = bench_coalitions(1, rows=20, num_coalitions=4)
    assert found["MFLOP a value"] == 20 * (300 * 100 + 100 * 10) * 2 / 1e6
    rate = found["values_per_second"] * found["MFLOP a value"] / 1e3
    share = rate / max(found["GFLOP/s of products"].values())
    assert found["verdict"]["share of the products' rate"] == pytest.approx(share)
    assert found["verdict"]["met"] == (share >= 0.5)


def test_a_value_after_repair_is_timed_against_one_without():
    found = bench_repair(1, rows=20, num_coalitions=4)
    assert set(found["ms a value"]) == {"plain", "repaired"}
    ratio = found["verdict"]["repaired / plain"]
    assert found["verdict"]["met"] == (ratio <= 1.3)


def test_scaling_has_a_row_for_each_size():
    with pytest.raises(InputError, match="repeats >= 1"):
        bench_scaling(0)
    found = bench_scaling(coalitions=(4, 8, 16), rows=(20, 40))
    assert [row["coalitions"] for row in found["by coalitions"]] == [4, 8, 16]
    assert [row["rows"] for row in found["by rows"]] == [20, 40]
    assert found["verdict"]["met"]
