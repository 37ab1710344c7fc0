"""The default run with several seeds, on its own network and on the peers'.

python experiments/peers/run.py
"""

import json
import tempfile
from pathlib import Path
from typing import NamedTuple

import numpy as np

from gamepruning.workbench.jobs.prune import run_prune
from gamepruning.workbench.report.results import Contender
from gamepruning.workbench.settings.prune import PruneSettings

SEEDS = (0, 1, 2)
WIDTHS = {"64-256-128-10": (256, 128), "64-512-256-10": (512, 256)}
OUT = Path(__file__).with_name("results.json")


class Spread(NamedTuple):
    """Mean and sample standard deviation over the seeds."""

    mean: float
    std: float


def spread(values: list[float | None]) -> Spread | None:
    known = [value for value in values if value is not None]
    if len(known) < len(values):
        return None
    return Spread(float(np.mean(known)), float(np.std(known, ddof=1)))


def summarise(rows: list[Contender]) -> dict:
    return {
        "network": rows[0].label,
        "kept": [list(row.kept) for row in rows],
        "gates on": spread([row.gated for row in rows]),
        "after removal": spread([row.removed for row in rows]),
        "fine-tuned": spread([row.tuned for row in rows]),
    }


def run(widths: tuple[int, ...]) -> dict:
    results = []
    for seed in SEEDS:
        settings = PruneSettings.of(widths=widths, seed=seed)
        with tempfile.TemporaryDirectory() as folder:
            results.append(run_prune(settings, out=Path(folder) / "run").result)
    contenders = zip(*[(r.dense, *r.contenders) for r in results], strict=True)
    return {
        "runs": [result.command for result in results],
        "versions": dict(results[0].versions),
        "num_test": results[0].num_test,
        "shipped": spread([result.shipped_value for result in results]),
        "seconds a run": spread([sum(r.seconds.values()) for r in results]),
        "networks": [summarise(list(rows)) for rows in contenders],
    }


def main() -> None:
    data = {name: run(widths) for name, widths in WIDTHS.items()}
    data = {"command": "python experiments/peers/run.py", **data}
    OUT.write_text(json.dumps(data, indent=2) + "\n")  # spreads are [mean, std]


if __name__ == "__main__":
    main()
