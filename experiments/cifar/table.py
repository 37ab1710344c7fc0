"""The table of README.md, from the JSON files of run.py."""

from typing import Any

from experiments.markdown import HERE, Table, percent, read, table


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
                    row.get("method", "elimination"),
                    percent(found["full"], 2),
                    *(_stage(row, stage) for stage in ("cut", "repaired", "refined")),
                    _seconds(row),
                )
            )
    heads = ("network", "speed-up", "who stays", "full", "as cut", "repaired")
    return table((*heads, "refined", "seconds"), "lrlrrrrr", rows)


def _stage(row: dict[str, Any], stage: str) -> str:
    return percent(row[stage], 2) if stage in row else ""


def _seconds(row: dict[str, Any]) -> str:
    """Of the closed form."""
    found = row.get("repaired_seconds", row.get("repair_seconds"))
    return "" if found is None else f"{found:.0f}"


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
    "cifar-beside-torch": beside_torch,
}
