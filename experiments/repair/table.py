"""The tables of README.md, from the JSON files of run.py."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from experiments.markdown import HERE, Table, percents, read, table

NAMES = {"magnitude_l2": "magnitude"}
SCOPES = {"given": "", "global": "all together", "family": "same share of each family"}


def study(name: str) -> list[str]:
    """A row a method: as cut and repaired, mean and deviation over the seeds."""
    if not (HERE / f"repair/{name}.json").exists():
        return [f"(not run yet: `python -m experiments.repair.run {name}`)"]
    runs = read(f"repair/{name}.json")["runs"]
    rows = [row for run in runs for row in run["rows"]]
    keys = dict.fromkeys((_size(r), r["method"], r["scope"]) for r in rows)
    lines = []
    order = list(dict.fromkeys(map(_size, rows)))
    for key in sorted(keys, key=lambda key: order.index(key[0])):
        own = [r for r in rows if (_size(r), r["method"], r["scope"]) == key]
        size, method, scope = key
        lines.append(
            (
                size,
                NAMES.get(method, method),
                SCOPES[scope],
                *(_stage(own, stage) for stage in STAGES),
            )
        )
    seeds = f"{len(runs)} seed{'s' * (len(runs) > 1)}"
    heads = ("kept", "method", "compared", f"as cut, {seeds}", *STAGES[1:])
    return table(heads, "lllrrrr", lines)


STAGES = ("cut", "repaired", "refined", "distilled")


def _stage(rows: Sequence[dict[str, Any]], stage: str) -> str:
    """Mean and deviation; empty where a stage was not run."""
    if any(stage not in row for row in rows):
        return ""
    return percents(spread([row[stage] for row in rows]))


def _size(row: dict[str, Any]) -> str:
    size = row["size"]
    if isinstance(size, float):
        return f"{100 * size:g} %"
    return "/".join(map(str, size)) if isinstance(size, list) else str(size)


def spread(values: Sequence[float]) -> tuple[float, float]:
    """Mean and sample deviation."""
    deviation = np.std(values, ddof=1) if len(values) > 1 else 0.0
    return float(np.mean(values)), float(deviation)


def teach() -> list[str]:
    """A row a network and size: after fine-tuning with and without a teacher."""
    stages, lines = ("repaired", "labels", "teacher", "teacher and taps"), []
    for name, title in (("digits", "digits"), ("lenet5", "LeNet-5")):
        if not (HERE / f"repair/teach-{name}.json").exists():
            continue
        found = read(f"repair/teach-{name}.json")
        for size in dict.fromkeys(map(_size, found["rows"])):
            own = [row for row in found["rows"] if _size(row) == size]
            values = (_stage(own, stage) for stage in stages)
            lines.append((title, size, str(found["epochs"]), *values))
    return table(("network", "kept", "epochs", *stages), "llrrrrr", lines)


TABLES: dict[str, Table] = {
    "repair-teach": teach,
    "repair-digits": partial(study, "digits"),
    "repair-lenet5": partial(study, "lenet5"),
    "repair-lenet5-market": partial(study, "lenet5-market"),
    "repair-lenet300-market": partial(study, "lenet300-market"),
}
