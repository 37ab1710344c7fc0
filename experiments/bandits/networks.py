"""Bandits and baselines on image, text and attention networks.

python -m experiments.bandits.networks run       # resumes where it was stopped
python -m experiments.bandits.networks summary   # writes networks.json and NETWORKS.md

Each network is a `gamepruning compare`, of which the rows are kept
(`results/networks-*.json`): the same trained network of each seed for all methods, the
same fine-tuning, test data read at the end.
"""

import json
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

import gamepruning as gp
from experiments.bandits.common import HERE, RESULTS
from gamepruning.files.atomic import new_file
from gamepruning.stats import MethodComparison
from gamepruning.workbench.jobs.compare import run_compare
from gamepruning.workbench.settings.studies import CompareSettings

COMMAND = "python -m experiments.bandits.networks run; ... summary"
METHODS = ("ucb1", "thompson", "softmax", "epsilon_greedy", "hedge", "exp3", "uniform")
METHODS += ("loss_oracle", "magnitude", "activation", "taylor", "random")
METHODS += ("magnitude-family", "activation-family", "taylor-family")
KEEP, SIZES, SEEDS = 0.25, (0.5, 0.1), 3
NETWORKS: dict[str, dict[str, Any]] = {
    "MLP, MNIST": {"datasets": ("mnist",), "model": "mlp", "epochs": 5},
    "LeNet-5, MNIST": {"datasets": ("mnist",), "model": "lenet_5", "epochs": 3},
    "text MLP, emotion": {"datasets": ("emotion",), "model": "text_mlp", "epochs": 4},
    "text MLP, topic": {"datasets": ("topic",), "model": "text_mlp", "epochs": 4},
    "transformer, digits": {
        "datasets": ("digits",),
        "model": "transformer",
        "epochs": 40,
        "fine_tune": 8,
    },
}


def settings_of(name: str, methods: Sequence[str]) -> CompareSettings:
    """What is compared on a network; the fine-tuning is a fifth of the training."""
    given = {"fine_tune": 1, **NETWORKS[name]}
    return CompareSettings.of(
        methods=tuple(methods), keep=str(KEEP), sizes=SIZES, seeds=SEEDS, **given
    )


def place_of(name: str) -> Path:
    slug = name.lower().replace(",", "").replace(" ", "-")
    return RESULTS / f"networks-{slug}.json"


def run(names: list[str]) -> None:
    """Compare on each network what is not on file; only the rows are kept.

    Raises:
      RuntimeError: the networks are not those of the rows on file.
    """
    for name in names:
        place = place_of(name)
        rows = rows_of(place) if place.exists() else []
        missing = [m for m in METHODS if m not in {row["method"] for row in rows}]
        if not missing:
            continue
        folder = Path(tempfile.gettempdir()) / f"gamepruning-{place.stem}"
        resume = folder.with_name(folder.name + ".partial").exists()
        done = run_compare(settings_of(name, missing), out=folder, resume=resume)
        new = json.loads((done / "compare.json").read_text())["rows"]
        if rows and values_of_dense(rows) != values_of_dense(new):
            raise RuntimeError(f"{place} is of other networks: delete it")
        rows += [row for row in new if not rows or row["method"] != "dense"]
        with new_file(place) as temporary:
            found = {"command": COMMAND, "network": NETWORKS[name], "rows": rows}
            temporary.write_text(json.dumps(found, indent=1) + "\n")
        shutil.rmtree(folder)


def rows_of(place: Path) -> list[dict]:
    return json.loads(place.read_text())["rows"]


def values_of_dense(rows: list[dict]) -> list[float]:
    return [row["before"] for row in rows if row["method"] == "dense"]


def table_of(runs: dict[str, list[dict]], stage: str) -> np.ndarray:
    """Means over seeds [networks, methods]; "before", "after" or a place in a curve."""

    def value(row: dict) -> float:
        return row["values"][int(stage)] if stage.isdigit() else row[stage]

    return np.array(
        [
            [
                np.mean([value(row) for row in rows if row["method"] == method])
                for method in METHODS
            ]
            for rows in runs.values()
        ]
    )


def summary() -> None:
    """Means, ranks and tests; blocks are the networks."""
    places = {name: place_of(name) for name in NETWORKS}
    runs = {name: rows_of(place) for name, place in places.items() if place.exists()}
    sizes = sorted({*SIZES, KEEP})
    text = ["<!-- made by: python -m experiments.bandits.networks summary -->", ""]
    found: dict[str, Any] = {"command": COMMAND, "networks": list(runs)}
    stages = {f"{size:.0%} kept, before": str(k) for k, size in enumerate(sizes)}
    stages[f"{KEEP:.0%} kept, fine-tuned"] = "after"
    for title, stage in stages.items():
        table = table_of(runs, stage)
        compared = gp.compare_methods(table, list(METHODS))
        found[title] = part_of(compared, table)
        text += markdown(title, list(runs), table, compared)
    dense = {
        stage: {
            name: float(np.mean([r[stage] for r in rows if r["method"] == "dense"]))
            for name, rows in runs.items()
        }
        for stage in ("before", "after")
    }
    found["dense"] = dense
    with new_file(HERE / "networks.json") as temporary:
        temporary.write_text(json.dumps(found, indent=1) + "\n")
    with new_file(HERE / "NETWORKS.md") as temporary:
        temporary.write_text("\n".join(text) + "\n")
    print("\n".join(text))
    print("dense", dense)


def part_of(compared: MethodComparison, table: np.ndarray) -> dict[str, Any]:
    return {
        "methods": list(METHODS),
        "mean ranks": dict(zip(METHODS, compared.ranks.round(2).tolist(), strict=True)),
        "friedman p": compared.friedman.p_value,
        "critical difference": compared.critical_difference,
        "table": table.round(4).tolist(),
    }


def markdown(title: str, names: list[str], table: np.ndarray, compared) -> list[str]:
    title = title.replace("% ", " % ")
    head = [f"**{title}**, % of test examples, mean of {SEEDS} seeds", ""]
    head += ["| method | " + " | ".join(names) + " | mean rank |"]
    head += ["| --- |" + " ---: |" * (len(names) + 1)]
    order = np.argsort(compared.ranks)
    rows = [
        f"| {METHODS[k]} | "
        + " | ".join(f"{100 * v:.1f}" for v in table[:, k])
        + f" | {compared.ranks[k]:.2f} |"
        for k in order
    ]
    p = compared.friedman.p_value
    tail = (
        f"Friedman p = {p:.2g}; critical difference {compared.critical_difference:.2f}"
    )
    return [*head, *rows, "", tail, ""]


if __name__ == "__main__":
    if sys.argv[1] == "run":
        run(sys.argv[2:] or list(NETWORKS))
    else:
        summary()
