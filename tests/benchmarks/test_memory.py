"""What a value function holds is counted, and is within its limit."""

import pytest

from benchmarks.memory import Case, bench_memory


@pytest.mark.parametrize("name", ["lenet_300_100", "transformer"])
def test_a_value_function_holds_little(name):
    found = bench_memory(cases=(Case(name, (28, 28, 1), 600),))
    row = found[name]
    assert row["rows at once"] < row["rows"] == 600
    assert row["MB held"] > 0 and row["MB of an activation"] > 0
    assert 0 < row["share of the limit"] <= 1 and found["verdict"]["met"]
