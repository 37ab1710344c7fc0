"""Compression curves: several methods at several sizes, over several seeds."""

from collections.abc import Sequence
from pathlib import Path
from typing import Unpack

import numpy as np

from gamepruning.errors import InputError
from gamepruning.selection import masks_at
from gamepruning.workbench.jobs.one_curve import (
    draw_curve,
    prepare_curve,
    train_networks,
)
from gamepruning.workbench.jobs.run import Prepared, Run, Where, open_run
from gamepruning.workbench.methods.rank import check_scoring
from gamepruning.workbench.methods.registry import find_method
from gamepruning.workbench.report.formats import format_metric
from gamepruning.workbench.report.table import (
    Column,
    Row,
    Table,
    number_columns,
    rows_to_csv,
    text_columns,
)
from gamepruning.workbench.settings.studies import CurveSettings
from gamepruning.workbench.training.stages import new_progress
from gamepruning.workbench.training.task import Task


def run_curves(settings: CurveSettings, **where: Unpack[Where]) -> Path:
    """Train a network for each seed, and prune it by each method to each size.

    Power indices are estimated on validation data (baselines look at training data, as
    in `run_prune`), and curves are drawn on test data. The metric at each size is that
    of the network after removal: with gates of 0 and 1 `players.gated` is exactly that
    network. The smallest network of each curve is also cut out and judged, as a check.

    Args:
      settings: what to do.
      **where: see `Where`.

    Returns:
      The folder: `curve.json`, `curve.csv`, `figures/curve.png`.

    Raises:
      InputError: bad input; nothing is left behind.
      KeyboardInterrupt: interrupted; its message says how to resume.
    """
    network = settings.network.name
    run = open_run(settings, settings.dataset, "curve", network, where)
    with run.console.status("reading data"):
        first = prepare_curve(run.settings, 0)
        check_curve(run.settings, first.task)
    with run.writing(first.training):
        dense, rows = _draw_all(run, first)
        _write(run, first.task, dense, rows)
    for shown in _table(first.task, run.settings, dense, rows):
        run.console.print(shown)
    return run.tell("all rows", "curve.csv")


def check_curve(settings: CurveSettings, task: Task) -> None:
    """Check sizes and budgets for these players, before anything is trained.

    Raises:
      InputError: sizes are the same or empty a family, or a budget is too small.
    """
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
        check_scoring(find_method(name), settings.scoring, settings.bias, total)


def _draw_all(
    run: Run[CurveSettings], first: Prepared
) -> tuple[list[float], list[dict]]:
    """The metric of each full network, and a row for each of its curves."""
    dense, rows = [], []
    with new_progress(run.console) as progress:
        for network in train_networks(run.folder, progress, run.settings, first):
            dense.append(network.judge(network.task.network.apply, network.params))
            rows += [
                run.row(
                    f"{name}-{network.label}",
                    lambda name=name, network=network: draw_curve(name, network),
                )
                for name in run.settings.methods
            ]
    return dense, rows


def _write(
    run: Run[CurveSettings], task: Task, dense: Sequence[float], rows: Sequence[dict]
) -> None:
    from gamepruning.workbench.report.method_plots import plot_curves

    metric, settings = task.metric_name, run.settings
    facts = {"metric": metric, "dense": list(dense), "rows": list(rows)}
    run.write_json("curve.json", facts)
    run.folder.write_text("curve.csv", _csv(metric, dense, rows))
    stages = {"values": ("curve", "after removal")}
    if settings.fine_tune:
        stages["tuned"] = ("fine_tuned", "after fine-tuning")
    for kind, (name, stage) in stages.items():
        figure = plot_curves(
            _by_method(settings, rows, kind),
            sorted(settings.sizes),
            metric=metric,
            dense=float(np.mean(dense)),
            stage=stage,
        )
        run.save_figure(name, figure)


def _csv(metric: str, dense: Sequence[float], rows: Sequence[dict]) -> str:
    """One line a method, seed and size."""
    kinds = [kind for kind in ("values", "tuned") if kind in rows[0]]
    tuned = ["fine-tuned"] if "tuned" in kinds else []
    lines = []
    for row in rows:
        total = row["num_players"]
        for k, size in enumerate(row["sizes"]):
            start = [row["method"], row["seed"], f"{size / total:.6g}", size, total]
            found = [row[kind][k] for kind in kinds]
            lines.append([*start, *found, dense[row["seed"]]])
    names = ["method", "seed", "size", "kept", "of", metric, *tuned, "dense"]
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
    task: Task, settings: CurveSettings, dense: Sequence[float], rows: Sequence[dict]
) -> tuple[str, Table]:
    """Means over the seeds: a line a method, a column a size."""
    kind = "tuned" if settings.fine_tune else "values"
    stage = "after fine-tuning" if settings.fine_tune else "after removal"
    metric = task.metric_name

    def number(value: float) -> str:
        return format_metric(value, metric).removesuffix(" %")

    title = (
        f"Test {metric} {stage} by % of players kept, mean of "
        f"{settings.seeds} {'network' if settings.seeds == 1 else 'networks'} "
        f"(full: {format_metric(float(np.mean(dense)), metric)})"
    )
    sizes = [f"{100 * size:g}" for size in sorted(settings.sizes)]
    columns = (
        *text_columns(""),
        *number_columns(*sizes, format=number),
        Column("seconds", format="{:.1f}".format),
    )
    seconds = _by_method(settings, rows, "seconds")
    lines = [
        Row((name, *map(float, values.mean(axis=0)), float(seconds[name].mean())))
        for name, values in _by_method(settings, rows, kind).items()
    ]
    return title, Table(columns, lines, is_narrow=True)
