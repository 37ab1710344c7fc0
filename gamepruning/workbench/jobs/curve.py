"""Compression curves: several methods at several sizes, over several seeds."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Unpack

import numpy as np

from gamepruning.errors import InputError
from gamepruning.metrics import balanced_accuracy
from gamepruning.selection import masks_at
from gamepruning.workbench.jobs.one_curve import (
    draw_curve,
    prepare_curve,
    train_networks,
)
from gamepruning.workbench.jobs.run import Run, Where, open_run
from gamepruning.workbench.methods.rank import check_scoring
from gamepruning.workbench.registry import find_method
from gamepruning.workbench.report.formats import format_metric
from gamepruning.workbench.report.table import Heading, Row, Table, rows_to_csv
from gamepruning.workbench.settings.studies import CurveSettings
from gamepruning.workbench.training.sizes import fit_sizes
from gamepruning.workbench.training.stages import new_progress
from gamepruning.workbench.training.task import Prepared, Task

BALANCED = "balanced accuracy"
FIRST = {False: "after removal", True: "after repair"}  # the first stage, by --repair


def run_curves(settings: CurveSettings, **where: Unpack[Where]) -> Path:
    """Train a network for each seed, and prune it by each method to each size.

    Power indices are estimated on validation data (baselines look at training data, as
    in `run_prune`), and curves are drawn on test data. The metric at each size is that
    of the network after removal: with gates of 0 and 1 `players.gated` is exactly that
    network. The smallest network of each curve is also cut out and judged, as a check.
    Returns the folder: `report.html`, `curve.json`, `curve.csv`,
    `figures/curve.png`.
    """
    run = open_run(settings, (settings.dataset, settings.network.name, "curve"), where)
    with run.console.status("reading data"):
        first = prepare_curve(run.settings, 0)
        sizes = fit_sizes(run.settings.sizes, first.task.players)
        run = dataclasses.replace(run, settings=run.settings.but(sizes=sizes))
        check_curve(run.settings, first.task)
    with run.writing(first):
        dense, rows = _draw_all(run, first)
        _write(run, first.task.dataset.class_names, dense, rows)
    for metric, full in dense.items():
        run.console.print(_table(run.settings, metric, full, rows))
    return run.tell("report", "report.html")


def check_curve(settings: CurveSettings, task: Task) -> None:
    """Raise `InputError` if sizes or budgets do not fit these players."""
    players = task.players
    total, families = players.num_players, len(players.families)
    smallest, largest = min(settings.sizes), max(settings.sizes)
    least = max(round(smallest * total), 1)
    if least < families:
        raise InputError(
            f"--sizes {smallest:g} keeps {least} of {total} players, but each of the "
            f"{families} families keeps one"
        )
    if round(largest * total) == total:
        raise InputError(f"--sizes {largest:g} keeps all {total} players")
    masks_at(np.arange(total, dtype=float), settings.sizes, players=players)
    for name in settings.methods:
        check_scoring(find_method(name), settings.scoring, total)


def _draw_all(
    run: Run[CurveSettings], first: Prepared
) -> tuple[dict[str, list[float]], list[dict]]:
    """Each full network by the metric, and a row for each of its curves.

    Where accuracy misleads the balanced accuracy is there, too.
    """
    rows, names, judged = [], run.settings.methods, [first.task.metric_name]
    judged += [BALANCED] * first.task.needs_balance
    dense = {metric: [] for metric in judged}
    with new_progress(run.console) as progress:
        for network in train_networks(run.folder, progress, run.settings, first):
            own, label = network.task.network, network.label
            for metric, values in dense.items():
                judge = balanced_accuracy if metric == BALANCED else None
                values.append(network.judge(own.apply, network.params, judge))
            rows += [run.row(f"{n}-{label}", draw_curve, n, network) for n in names]
    return dense, rows


def _write(
    run: Run[CurveSettings],
    classes: tuple[str, ...],
    dense: Mapping[str, list[float]],
    rows: Sequence[dict],
) -> None:
    from gamepruning.workbench.report.method_plots import plot_curves

    (metric, full), *others = dense.items()
    settings, figures = run.settings, {}
    sizes, mean = sorted(settings.sizes), float(np.mean(full))
    stages = {"curve": ("values", FIRST[settings.repair])}
    if settings.fine_tune:
        stages["fine_tuned"] = ("tuned", "after fine-tuning")
    for name, (kind, stage) in stages.items():
        values, look = _by_method(settings, rows, kind), {"dense": mean, "stage": stage}
        figures[name] = plot_curves(values, sizes, metric=metric, **look)
    facts = {"metric": metric, "dense": full, **{f"dense {n}": v for n, v in others}}
    facts |= {"classes": classes, "rows": list(rows)}
    tables = [_table(settings, m, own, rows) for m, own in dense.items()]
    run.write(facts, _csv(metric, full, rows), figures, tables)


def _csv(metric: str, dense: Sequence[float], rows: Sequence[dict]) -> str:
    """One line a method, seed and size."""
    kinds = {"values": metric, "tuned": "fine-tuned"}
    if metric != BALANCED:
        kinds |= {"balanced": BALANCED, "balanced tuned": f"{BALANCED}, fine-tuned"}
    kinds = {kind: name for kind, name in kinds.items() if kind in rows[0]}
    lines = []
    for row in rows:
        total = row["num_players"]
        for k, size in enumerate(row["sizes"]):
            start = [row["method"], row["seed"], f"{size / total:.6g}", size, total]
            found = [row[kind][k] for kind in kinds]
            lines.append([*start, *found, dense[row["seed"]]])
    names = ["method", "seed", "size", "kept", "of", *kinds.values(), "dense"]
    return rows_to_csv(names, lines)


def _by_method(
    settings: CurveSettings, rows: Sequence[dict], kind: str
) -> dict[str, np.ndarray]:
    """Values by method, [seeds, sizes]."""
    return {
        name: np.array([row[kind] for row in rows if row["method"] == name])
        for name in settings.methods
    }


def _table(
    settings: CurveSettings, metric: str, dense: Sequence[float], rows: Sequence[dict]
) -> Table:
    """Means over the seeds: a line a method, a column a size."""
    kind = "tuned" if settings.fine_tune else "values"
    if metric == BALANCED and "balanced" in rows[0]:
        kind = "balanced tuned" if settings.fine_tune else "balanced"
    stage = "after fine-tuning" if settings.fine_tune else FIRST[settings.repair]
    title = (
        f"Test {metric} {stage} by % of players kept, mean of "
        f"{settings.seeds} {'network' if settings.seeds == 1 else 'networks'} "
        f"(full: {format_metric(float(np.mean(dense)), metric)})"
    )

    def number(value: float) -> str:
        return format_metric(value, metric).removesuffix(" %")

    columns = [Heading("", "text")]
    columns += [Heading(f"{100 * s:g}", format=number) for s in sorted(settings.sizes)]
    columns += [Heading("seconds", format="{:.1f}".format)]
    seconds = _by_method(settings, rows, "seconds")
    values = _by_method(settings, rows, kind)
    lines = [
        Row((name, *map(float, own.mean(axis=0)), float(seconds[name].mean())))
        for name, own in values.items()
    ]
    return Table(columns, lines, title, is_narrow=True)
