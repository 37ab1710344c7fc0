"""The table of what compaction saved."""

import json
import pickle

import jax
import jax.numpy as jnp
import pytest

from gamepruning.compaction import report as report_module
from gamepruning.compaction.measure import Latency
from gamepruning.compaction.report import (
    Change,
    CompactionReport,
    FamilyCount,
    LatencyChange,
    make_report,
)

LATENCIES = {
    "before": Latency(median=2e-3, p10=1.8e-3, p90=2.5e-3, repeats=10),
    "after": Latency(median=2.5e-4, p10=2.4e-4, p90=3e-4, repeats=10),
}
FAMILIES = [("dense_0", 512, 9), ("dense_1", 256, 7)]


def apply(params, x):
    for w in params["hidden"]:
        x = jnp.tanh(x @ w)
    return x @ params["out"]


def make_params(*widths):
    *hidden, out = (
        jnp.ones(shape) for shape in zip(widths[:-1], widths[1:], strict=True)
    )
    return {"hidden": hidden, "out": out}


@pytest.fixture
def timed(monkeypatch):
    """How often the latency was measured; the clock is a fake."""
    times = []

    def measure(calls):
        times.append(calls)
        return LATENCIES

    monkeypatch.setattr(report_module, "measure_latency", measure)
    return times


@pytest.fixture
def report(timed):
    x = jax.ShapeDtypeStruct((100, 784), jnp.float32)
    return make_report(
        (apply, (make_params(784, 512, 256, 10), x)),
        (apply, (make_params(784, 9, 7, 10), x)),
        families=FAMILIES,
        max_error=2.5e-7,
    )


def test_the_numbers(report):
    before, after = 784 * 512 + 512 * 256 + 256 * 10, 784 * 9 + 9 * 7 + 7 * 10
    assert report.params == (before, after)
    assert report.bytes == (4 * before, 4 * after)
    assert report.macs == (100 * before, 100 * after)
    assert report.macs.ratio == before / after
    assert report.players == (768, 16)
    assert report.families == (("dense_0", 512, 9), ("dense_1", 256, 7))
    assert report.max_error == 2.5e-7
    assert report.notes == ()


def test_the_table(report):
    assert str(report).splitlines() == [
        "                     before     after",
        "parameters          535,040     7,189  74.4 x smaller",
        "bytes               2.14 MB  28.76 kB  74.4 x smaller",
        "multiply-adds    53,504,000   718,900  74.4 x smaller",
        "latency, median        2 ms    250 us     8 x smaller",
        "latency, p10         1.8 ms    240 us",
        "latency, p90         2.5 ms    300 us",
        "",
        "players  before  after   kept",
        "dense_0     512      9  1.8 %",
        "dense_1     256      7  2.7 %",
        "all         768     16  2.1 %",
        "",
        "largest difference from the gated full model: 2.5e-07 of the largest output",
    ]


def test_the_latency_is_measured_once_and_only_when_asked(report, timed):
    assert "16 of 768 players" in repr(report)
    assert "latency" not in report.to_dict(measure=False)
    assert timed == []
    assert report.latency == LatencyChange(**LATENCIES)
    assert report.latency.ratio == 8
    assert str(report) == str(report)
    assert [list(calls) for calls in timed] == [["before", "after"]]
    assert report.to_dict(measure=False)["latency"]["ratio"] == 8


def test_the_latency_is_real():
    small = (apply, (make_params(8, 4, 3), jax.ShapeDtypeStruct((2, 8), jnp.float32)))
    large = (apply, (make_params(800, 900, 3), jnp.ones((200, 800))))
    report = make_report(large, small, families=FAMILIES, max_error=0.0)
    assert report.latency is not None
    assert report.latency.ratio > 1


def test_as_json(report):
    data = json.loads(json.dumps(report.to_dict()))
    assert data["params"]["before"] == 535_040
    assert data["players"] == {"before": 768, "after": 16, "ratio": 48}
    assert data["families"][1] == {"name": "dense_1", "before": 256, "after": 7}
    assert data["latency"]["after"]["median"] == 2.5e-4
    assert data["max_error"] == 2.5e-7


def test_pickle_leaves_the_models_behind(report):
    again = pickle.loads(pickle.dumps(report))
    assert again == report
    assert again.calls is None
    assert again.latency is None
    assert "latency" not in str(again)
    assert report.latency is not None
    assert pickle.loads(pickle.dumps(report)).latency == report.latency
    assert report.calls is not None


def test_notes_and_many_families(timed):
    families = tuple(FamilyCount(f"layer_{i}", 10, 5) for i in range(30))
    report = CompactionReport(
        Change(10, 5), Change(40, 20), Change(0, 0), families, 0.0, ("a note",)
    )
    lines = str(report).splitlines()
    assert lines[-1] == "note: a note"
    assert any(line.startswith("6 more families") for line in lines)
    assert any(line.split() == ["all", "300", "150", "50.0", "%"] for line in lines)


def test_notes_of_the_counter_are_passed_on(timed):
    def loop(w, x):
        return jax.lax.while_loop(lambda c: c.sum() < 0, lambda c: c @ w, x)

    call = (loop, (jnp.ones((2, 2)), jnp.ones((2, 2))))
    report = make_report(call, call, families=[], max_error=0.0)
    assert report.notes == ("the body of a while loop counts once",)
    assert "\nnote: the body of a while loop" in str(report)
    assert "all           0      0     -" in str(report)


@pytest.mark.parametrize(
    "before,after,ratio", [(10, 5, 2.0), (0, 0, 1.0), (3, 0, float("inf")), (1, 2, 0.5)]
)
def test_ratios(before, after, ratio):
    assert Change(before, after).ratio == ratio


def test_a_model_may_get_slower():
    assert report_module._less(0.5) == "2 x larger"
