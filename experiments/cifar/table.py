"""The table of README.md, from the JSON files of run.py."""

from collections.abc import Sequence
from statistics import fmean, stdev
from typing import Any

from experiments.markdown import HERE, Table, percent, percents, read, table

STAGES = ("repaired", "refined", "distilled", "mirrored")
NAMES = {
    "global": "magnitude over all blocks",
    "uniform": "magnitude, equal shares",
    "magnitude": "magnitude, the market's counts",
    "random": "random, the market's counts",
}


def resnets() -> list[str]:
    """A row a network, speed-up and method."""
    rows = []
    for depth in (20, 56):
        if not (HERE / f"cifar/resnet{depth}.json").exists():
            continue
        found = read(f"cifar/resnet{depth}.json")
        for row in found["rows"]:
            rows.append(
                (
                    f"ResNet-{depth}",
                    f"{row['speed_up']:.2f}",
                    NAMES.get(row["method"], row["method"]),
                    percent(found["full"], 2),
                    *(_stage(row, stage) for stage in ("cut", *STAGES)),
                    _seconds(row),
                )
            )
    heads = ("network", "speed-up", "who stays", "full", "as cut", *STAGES)
    return table((*heads, "seconds"), "lrlrrrrrrr", rows)


def _stage(row: dict[str, Any], stage: str) -> str:
    return percent(row[stage], 2) if stage in row else ""


def _seconds(row: dict[str, Any]) -> str:
    """Of the closed form."""
    found = row.get("repaired_seconds", row.get("repair_seconds"))
    return "" if found is None else f"{found:.0f}"


def finetuned() -> list[str]:
    """A row a network and schedule: test accuracy before and after."""
    rows = [row for depth in (20, 56) for row in _finetuned(depth)]
    heads = ("network", "speed-up", "who stays", "before", "epochs", "largest rate")
    more = ("statistics", "seeds", "fine-tuned", "behind the full network")
    return table((*heads, *more), "lrlrrrlrrr", rows)


def _finetuned(depth: int) -> list[tuple[str, ...]]:
    """The rows of one network, if it was fine-tuned."""
    if not (HERE / f"cifar/finetune{depth}.json").exists():
        return []
    found = read(f"cifar/finetune{depth}.json")
    chosen = read(f"cifar/resnet{depth}.json")["rows"]
    before = {(row["method"], row["asked"]): row for row in chosen}
    rows, runs = [], found["rows"]
    names = ("asked", "of", "epochs", "rate", "statistics", "start", "method")
    keys = [tuple(run[name] for name in names) for run in runs]
    for key in sorted(dict.fromkeys(keys)):
        own = [run for run, other in zip(runs, keys, strict=True) if other == key]
        asked, of, epochs, rate, statistics, start, method = key
        tested = [run["test"] for run in own if "test" in run]
        rows.append(
            (
                f"ResNet-{depth}",
                f"{asked:.2f}",
                NAMES.get(method, method),
                percent(before[method, asked][start], 2),
                str(of) if epochs == of else f"{epochs} of {of}",
                f"{rate:g}",
                statistics,
                str(len(own)),
                percents(_spread(tested), 2) if tested else "",
                percent(fmean(found["full"] - test for test in tested), 2)
                if tested
                else "",
            )
        )
    return rows


def _spread(values: Sequence[float]) -> tuple[float, ...]:
    """The mean, and the deviation where there are several."""
    return (fmean(values), stdev(values)) if len(values) > 1 else (fmean(values),)


def beside_torch() -> list[str]:
    """Torch-Pruning's magnitude at the widths of the market."""
    rows = [
        (
            f"{row['asked']:.2f}",
            percent(row["torch_pruning"], 2),
            percent(row["same channels here"], 2),
            f"{row['largest difference of an output']:.1e}",
            percent(row["magnitude here"], 2),
            percent(row["channels that both keep"], 1),
        )
        for row in read("cifar/beside_torch56.json")["rows"]
    ]
    heads = ("speed-up", "Torch-Pruning, magnitude", "the same channels here")
    more = ("largest difference of an output", "magnitude here", "kept by both")
    return table((*heads, *more), "rrrrrr", rows)


TABLES: dict[str, Table] = {
    "cifar-resnets": resnets,
    "cifar-finetuned": finetuned,
    "cifar-beside-torch": beside_torch,
}
