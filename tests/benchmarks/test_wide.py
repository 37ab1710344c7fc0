"""Coalitions of one wide layer, beside the product of the same size."""

import json

from benchmarks import wide


def test_rates_stand_beside_each_other(tmp_path):
    place = tmp_path / "wide.json"
    assert wide.main(["--widths", "300", "--repeats", "3", "--out", str(place)]) == 0
    (row,) = json.loads(place.read_text())["rows"]
    assert row["players"] == 300
    assert len(row["shares"]) == 3 and all(share > 0 for share in row["shares"])
    assert row["GFLOP/s, coalitions"] > 0
