"""The four presets on MNIST, in three readings.

python experiments/mnist/run.py

Reads MNIST from the folder that GAMEPRUNING_DATA or TFDS_DATA_DIR names. Takes half an
hour on two cores; runs that are in results.json already are not repeated.
"""

import json
import tempfile
from pathlib import Path
from typing import Any, get_args

from gamepruning.workbench.jobs.prune import run_prune
from gamepruning.workbench.report.results import Contender, RunResult
from gamepruning.workbench.settings.prune import Preset, PruneSettings

OUT = Path(__file__).with_name("results.json")
READINGS: tuple[dict[str, Any], ...] = ({}, {"norm": "sum"}, {"standardise": True})


def make_settings() -> list[PruneSettings]:
    start = PruneSettings.of(dataset="mnist")
    return [
        start.but(preset=preset, **reading)
        for reading in READINGS
        for preset in get_args(Preset)
    ]


def prune(settings: PruneSettings) -> RunResult:
    with tempfile.TemporaryDirectory() as folder:
        return run_prune(settings, out=Path(folder) / "run").result


def describe(result: RunResult) -> dict[str, Any]:
    return {
        "command": result.command,
        "removed": result.removed_fraction,
        "rescued": [family.rescued for family in result.families],
        "max_error": result.max_error,
        "seconds": sum(result.seconds.values()),
        "networks": [row(c) for c in (result.dense, *result.contenders)],
    }


def row(contender: Contender) -> dict[str, Any]:
    return {
        "network": contender.label,
        "kept": list(contender.kept),
        "gates on": contender.gated,
        "after removal": contender.removed,
        "fine-tuned": contender.tuned,
    }


def main() -> None:
    data: dict[str, Any] = {"command": "python experiments/mnist/run.py", "runs": []}
    if OUT.exists():
        data = json.loads(OUT.read_text())
    done = {frozenset(run["command"].split()) for run in data["runs"]}
    for settings in make_settings():
        if frozenset(settings.command().split()) in done:
            continue
        result = prune(settings)
        data["versions"] = dict(result.versions)
        data["num_test"] = result.num_test
        data["runs"].append(describe(result))
        OUT.write_text(json.dumps(data, indent=2) + "\n")


if __name__ == "__main__":
    main()
