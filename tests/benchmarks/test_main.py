"""The command runs each benchmark, prints it, and writes it down."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import networks
from benchmarks.__main__ import main
from benchmarks.bench import BENCHES, result_table, run_bench
from gamepruning.types import InputError

STORED = Path(__file__).parents[2] / "experiments" / "benchmarks"


def test_help_names_every_benchmark(capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["--help"])
    assert stopped.value.code == 0
    said = capsys.readouterr().out
    assert all(f"python -m benchmarks {name}" in said for name in BENCHES)


def test_it_is_a_module_that_python_runs():
    command = [sys.executable, "-m", "benchmarks", "nothing"]
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=STORED.parents[1]
    )
    assert done.returncode == 2 and "invalid choice: 'nothing'" in done.stderr


def test_bad_repeats_are_one_line(capsys):
    assert main(["latency", "--repeats", "0"]) == 2
    assert capsys.readouterr().err == "benchmarks: expected --repeats >= 1, got 0\n"
    with pytest.raises(InputError, match="got -1"):
        run_bench("latency", repeats=-1)


def test_a_benchmark_is_printed_and_written_down(tmp_path, monkeypatch, capsys):
    def small(repeats):
        return networks.bench_latency(repeats, batch=16, removed=0.5)

    monkeypatch.setitem(BENCHES, "latency", small)
    assert main(["latency", "--repeats", "2", "--out", str(tmp_path / "a.json")]) == 0
    data = json.loads((tmp_path / "a.json").read_text())
    assert data["command"] == "python -m benchmarks latency --repeats 2"
    assert data["kept"] == [150, 50] and data["ms"]["dense"]["repeats"] == 2
    assert {"jax", "device", "load average"} <= set(data["machine"])
    assert "kept" in capsys.readouterr().out


def test_the_other_networks_run_at_small_sizes():
    gating = networks.bench_gating(1, batch=4, steps=2)
    assert set(gating["ms"]) == {"plain", "gated", "game"}
    sweep = networks.bench_sweep(1, num_points=2, steps=2)
    assert set(sweep["ms"]) == {"1 games", "2 games"}
    for found in (gating, sweep):
        assert all(entry["median"] > 0 for entry in found["ms"].values())


@pytest.mark.parametrize("name", BENCHES)
def test_stored_results_have_a_table_and_a_command(name):
    data = json.loads((STORED / f"{name}.json").read_text())
    assert data["command"] == f"python -m benchmarks {name}"
    assert data["verdict"]["met"] in (True, False)
    names = [row.cells[0] for row in result_table(name, data).rows]
    assert "verdict met" in names
    assert f"`python -m benchmarks {name}`" in (STORED / "README.md").read_text()
