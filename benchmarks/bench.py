"""Run one benchmark, print it and write it down; both sides are timed in turns."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.coalitions import bench_coalitions, bench_repair, bench_scaling
from benchmarks.memory import bench_memory
from benchmarks.networks import (
    bench_gating,
    bench_latency,
    bench_sweep,
    bench_trace,
)
from gamepruning.files.atomic import new_file
from gamepruning.files.versions import versions
from gamepruning.run.devices import use_cores_as_devices
from gamepruning.types import InputError
from gamepruning.workbench.report.table import Row, Table, text_columns

BENCHES: dict[str, Callable[[int | None], dict[str, Any]]] = {
    "latency": bench_latency,
    "gating": bench_gating,
    "trace": bench_trace,
    "sweep": bench_sweep,
    "coalitions": bench_coalitions,
    "repair": bench_repair,
    "scaling": bench_scaling,
    "memory": bench_memory,
}
ON_ALL_CORES = ("sweep", "coalitions", "repair", "scaling")


def run_bench(
    what: str, *, out: Path | None = None, repeats: int | None = None
) -> dict[str, Any]:
    """Run one benchmark, print it, and write it down if there is a file for it.

    Args:
      what: a name in `BENCHES`.
      out: JSON file to write; None for none.
      repeats: calls to time, instead of a budget.

    Returns:
      The figures, with the command and the machine.

    Raises:
      InputError: `repeats` is below one.
    """
    if repeats is not None and repeats < 1:
        raise InputError(f"expected --repeats >= 1, got {repeats}")
    if what in ON_ALL_CORES:
        use_cores_as_devices()
    result = BENCHES[what](repeats)
    words = ["python -m benchmarks", what]
    words += ["--repeats", str(repeats)] if repeats else []
    machine = versions() | {"load average": f"{os.getloadavg()[0]:.1f}"}
    data = {"command": " ".join(words), "machine": machine, **result}
    Console(highlight=False).print(result_table(what, result))
    if out is not None:
        with new_file(out) as temporary:
            temporary.write_text(json.dumps(data, indent=2) + "\n", encoding="utf-8")
    return data


def result_table(what: str, result: dict[str, Any]) -> Table:
    """A line for each figure of a benchmark."""
    rows = []
    for name, value in result.items():
        lines = value.items() if isinstance(value, dict) else [("", value)]
        rows += [Row((f"{name} {key}".strip(), _text(x))) for key, x in lines]
    return Table(text_columns("figure", "value"), rows, what)


def _text(value: Any) -> str:
    if isinstance(value, dict) and "median" not in value:
        return " ".join(f"{name} {_text(entry)}" for name, entry in value.items())
    if isinstance(value, dict):
        return f"{value['median']:.3g} ({value['p10']:.3g} to {value['p90']:.3g})"
    if isinstance(value, list):
        return ", ".join(map(_text, value)) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.3g}" if isinstance(value, float) else str(value)
