"""The benchmark of an accelerator runs in its small setting, and survives failures."""

import json

import jax
import jax.numpy as jnp
import pytest

from benchmarks import device
from benchmarks.cases import FULL, SMALL, network_of, players_of, value_fn_of
from benchmarks.device import PARTS, Part, Record, main, run_parts
from benchmarks.gpt2 import GPT2
from benchmarks.products import Shape


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """(exit code, JSON) of the whole command in the small setting."""
    out = tmp_path_factory.mktemp("device") / "device.json"
    code = main(["--small", "--out", str(out)])
    return code, json.loads(out.read_text())


def test_every_part_is_measured(small):
    code, found = small
    assert code == 0
    assert set(found["parts"]) == set(found["seconds"]) == set(PARTS)
    assert found["platform"] == "cpu" and found["small"]
    assert {"card", "jax", "machine", "command"} <= set(found)


def test_shares_are_of_the_products_rate(small):
    coalitions = small[1]["parts"]["coalitions"]
    exact = coalitions.pop("lenet_300_100 highest")
    assert exact["rounding of the default / spread of the values"] < 0.01
    for found in coalitions.values():
        rate = found["values a second"] * found["GFLOP a value"] / 1e3
        share = found["verdict"]["share of the products' rate"]
        assert share == pytest.approx(rate / found["TFLOP/s of products"])
        assert found["same bits in a smaller call"]


def test_values_are_measured_on_one_device():
    """The rate of products, which theirs is compared with, is that of one."""
    value_fn = value_fn_of("lenet_300_100", "float32", SMALL)
    assert len(jax.local_devices()) > 1
    assert value_fn._chunks.evaluator.layout.mesh.size == 1


def test_updates_give_the_values_of_full_forwards(small):
    for found in small[1]["parts"]["prefixes"].values():
        assert found["rows look independent in default precision"]
        for kind in ("prefixes", "toggles"):
            assert found[kind]["largest difference"] <= 1 / SMALL.lenet_rows
            is_faster = found[kind]["updates / full"] > 1
            assert found[kind]["faster"] == ("full forwards", "updates")[is_faster]


def test_banzhaf_says_how_sure_it_is(small):
    found = small[1]["parts"]["gpt2_banzhaf"]["gpt2"]
    assert found["players"] == players_of("gpt2", SMALL).num_players
    assert found["evaluations"] >= SMALL.pilot
    assert (
        0 < found["median standard error"] < found["standard deviation of the values"]
    )
    whole = found["seconds in forwards"] + found["seconds outside"]
    assert whole == pytest.approx(found["seconds"])


def test_a_failure_is_one_line_and_the_rest_goes_on(tmp_path, monkeypatch, capsys):
    def fail():
        raise RuntimeError("out of memory\nand a long trace")

    parts = {
        "broken": Part(lambda sizes: 1 / 0, 9.0),
        "mixed": Part(lambda sizes: {"bad": fail, "good": lambda: {"ms": 1.0}}, 9.0),
        "late": Part(lambda sizes: {"never": fail}, -1.0),
    }
    monkeypatch.setattr(device, "PARTS", parts)
    out = tmp_path / "device.json"
    assert main(["--small", "--out", str(out), "--part", *parts]) == 1
    found = json.loads(out.read_text())["parts"]
    assert found["broken"]["error"]["error"].startswith("ZeroDivisionError")
    assert found["mixed"]["bad"]["error"] == "RuntimeError: out of memory"
    assert found["mixed"]["good"]["ms"] == 1.0
    assert "left out" in found["late"]["never"]
    assert "mixed, good: ms: 1" in capsys.readouterr().out


def test_nothing_begins_after_the_limit(monkeypatch):
    def fail():
        raise AssertionError

    monkeypatch.setitem(PARTS, "products", Part(lambda sizes: {"x": fail}, 9.0))
    record = Record("command", None, True)
    run_parts(["products"], SMALL, record, limit=0.0)
    assert record.data["parts"]["products"] == {
        "x": {"left out": "the part's time is spent"}
    }


def test_an_endless_entry_ends_the_process(tmp_path, monkeypatch):
    codes = []
    monkeypatch.setattr(device.os, "_exit", codes.append)
    out = tmp_path / "device.json"
    device._give_up(Record("command", out, True))
    assert (
        codes == [1]
        and "longer than the limit" in json.loads(out.read_text())["stopped"]
    )


def test_bad_input_is_one_line(tmp_path, capsys):
    assert main(["--small", "--out", str(tmp_path)]) == 2
    said = capsys.readouterr().err
    assert (
        said.startswith("benchmarks.device: expected a file") and said.count("\n") == 1
    )
    with pytest.raises(SystemExit):
        main(["--part", "nothing"])


def test_the_full_sizes_are_those_of_the_papers():
    network = GPT2()
    assert (network.layers, network.width, network.heads) == (12, 768, 12)
    assert FULL.gpt2 == () and dict(FULL.resnet) == {"blocks": 9}


def test_in_another_precision_tokens_stay_integers():
    half = network_of("gpt2", "bfloat16", SMALL)
    assert half.inputs.dtype == jnp.int32
    assert {leaf.dtype for leaf in jax.tree.leaves(half.params)} == {jnp.bfloat16.dtype}
    assert half.apply(half.params, half.inputs).dtype == jnp.float32


def test_flops_of_products():
    assert Shape(2, 3, 5, 7).flops == 2 * 2 * 3 * 5 * 7
