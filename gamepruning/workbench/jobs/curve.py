"""Compression curves: several methods at several sizes, over several seeds."""

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path

import jax
import numpy as np
from rich import box
from rich.console import Console, Group
from rich.table import Table

from gamepruning.files.atomic import new_file
from gamepruning.selection import masks_at
from gamepruning.types import InputError
from gamepruning.workbench.jobs.one_curve import draw_curve, train_network
from gamepruning.workbench.methods.rank import check_budget
from gamepruning.workbench.methods.registry import find_method
from gamepruning.workbench.report.formats import format_metric
from gamepruning.workbench.settings.curve import CurveSettings
from gamepruning.workbench.settings.defaults import SettledTraining, settle
from gamepruning.workbench.settings.parts import RateSettings
from gamepruning.workbench.training.run_folder import (
    RunFolder,
    open_folder,
    working_in,
    write_config,
)
from gamepruning.workbench.training.stages import make_trainer, new_progress
from gamepruning.workbench.training.task import Task, make_task


def run_curves(
    settings: CurveSettings,
    *,
    out: Path | None = None,
    resume: bool = False,
    console: Console | None = None,
) -> Path:
    """Train a network for each seed, and prune it by each method to each size.

    Power indices are estimated on validation data (baselines look at training data, as
    in `run_prune`), and curves are drawn on test data. The metric at each size is that
    of the network after removal: with gates of 0 and 1 `players.gated` is exactly that
    network. The smallest network of each curve is also cut out and judged, as a check.

    Args:
      settings: what to do.
      out: the folder to make; `runs/<data>-<model>-curve-<n>` if None.
      resume: go on with the interrupted run of `out`, under its own settings.
      console: where progress and tables go; the terminal if None.

    Returns:
      The folder: `curve.json`, `curve.csv`, `figures/curve.png`.

    Raises:
      InputError: bad input; nothing is left behind.
      KeyboardInterrupt: interrupted; its message says how to go on.
    """
    console = console or Console()
    stem = (settings.dataset, settings.network.name, "curve")
    folder, settings = open_folder(
        settings, stem, out=out, resume=resume, console=console
    )
    with console.status("reading data"):
        task, training = prepare(settings, 0)
        check_sizes(settings, task)
        check_budget(settings, task.players.num_players)
    with working_in(folder, "gamepruning curve"):
        write_config(folder, settings, training)
        dense, rows = _draw_all(settings, (task, training), folder, console)
        _write(folder, task, settings, dense, rows)
    console.print(_table(task, settings, dense, rows))
    console.print(f"all rows: {folder.out / 'curve.csv'}", markup=False, soft_wrap=True)
    return folder.out


def prepare(settings: CurveSettings, seed: int) -> tuple[Task, SettledTraining]:
    """The task of a seed, and how its network is trained."""
    init_key = jax.random.split(jax.random.key(seed), 4)[0]
    task = make_task(
        settings.dataset, settings.data, settings.network, seed=seed, key=init_key
    )
    num_train = len(task.dataset.train.labels)
    return task, settle(
        settings.training,
        RateSettings(fine_tune=settings.fine_tune),
        network=settings.network.name,
        num_train=num_train,
        task=task.dataset.task,
    )


def check_sizes(settings: CurveSettings, task: Task) -> None:
    """Whether the sizes differ, for these players, and empty no family."""
    players = task.players
    total, families = players.num_players, len(players.families)
    smallest, largest = min(settings.sizes), max(settings.sizes)
    if max(round(smallest * total), 1) < families:
        raise InputError(
            f"--sizes {smallest:g} keeps {max(round(smallest * total), 1)} of {total} "
            f"players, but each of the {families} families keeps one"
        )
    if round(largest * total) == total:
        raise InputError(f"--sizes {largest:g} keeps all {total} players")
    masks_at(np.arange(total, dtype=float), settings.sizes, players=players)


def _draw_all(
    settings: CurveSettings,
    first: tuple[Task, SettledTraining],
    folder: RunFolder,
    console: Console,
) -> tuple[list[float], list[dict]]:
    """The metric of each full network, and a row for each of its curves.

    What is done lies in the checkpoints, and is not done again.
    """
    dense, rows = [], []
    with new_progress(console) as progress:
        for seed in range(settings.seeds):
            task, training = prepare(settings, seed) if seed else first
            trainer = make_trainer(task, training, folder, progress)
            network = train_network(seed, task, settings, trainer)
            dense.append(network.judge(task.network.apply, network.params))
            for name in settings.methods:
                path = folder.checkpoints / f"{name}-{seed}.json"
                row = load_row(path)
                if row is None:
                    row = draw_curve(find_method(name), network, trainer)
                    with new_file(path) as temporary:
                        temporary.write_text(json.dumps(row), encoding="utf-8")
                rows.append(row)
    return dense, rows


def load_row(path: Path) -> dict | None:
    """A row that is on file; None if there is none."""
    if not path.is_file():
        return None
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{path} is corrupt: delete it to draw it again") from error


def _write(
    folder: RunFolder,
    task: Task,
    settings: CurveSettings,
    dense: Sequence[float],
    rows: Sequence[dict],
) -> None:
    from gamepruning.workbench.report import theme
    from gamepruning.workbench.report.curve_plots import plot_curves

    data = {
        "command": settings.command(),
        "metric": task.metric_name,
        "dense": list(dense),
        "rows": list(rows),
    }
    folder.write_text("curve.json", json.dumps(data, indent=1) + "\n")
    folder.write_text("curve.csv", _csv(task, dense, rows))
    (folder.partial / "figures").mkdir(exist_ok=True)
    kinds = {"curve": "values", "fine_tuned": "tuned"}
    for name, kind in kinds.items():
        if kind in rows[0]:
            figure = plot_curves(
                _by_method(settings, rows, kind),
                sorted(settings.sizes),
                metric=task.metric_name,
                dense=float(np.mean(dense)),
                stage="after removal" if kind == "values" else "after fine-tuning",
            )
            theme.save_png(figure, folder.partial / "figures" / f"{name}.png")


def _csv(task: Task, dense: Sequence[float], rows: Sequence[dict]) -> str:
    """One line a method, seed and size."""
    metric = task.metric_name
    text = io.StringIO()
    tuned = ["fine-tuned"] if "tuned" in rows[0] else []
    names = ["method", "seed", "size", "kept", "of", metric, *tuned, "dense"]
    writer = csv.writer(text)
    writer.writerow(names)
    for row in rows:
        for k, size in enumerate(row["sizes"]):
            share = f"{size / row['num_players']:.6g}"
            found = [row[kind][k] for kind in ("values", "tuned") if kind in row]
            start = [row["method"], row["seed"], share, size, row["num_players"]]
            writer.writerow([*start, *found, dense[row["seed"]]])
    return text.getvalue()


def _by_method(settings: CurveSettings, rows: Sequence[dict], kind: str) -> dict:
    """Values by method, [seeds, sizes]."""
    return {
        name: np.array([row[kind] for row in rows if row["method"] == name])
        for name in settings.methods
    }


def _table(
    task: Task, settings: CurveSettings, dense: Sequence[float], rows: Sequence[dict]
) -> Group:
    """Means over the seeds: a line a method, a column a size."""
    kind = "tuned" if settings.fine_tune else "values"
    stage = "after fine-tuning" if settings.fine_tune else "after removal"
    full = format_metric(float(np.mean(dense)), task.metric_name)
    title = (
        f"Test {task.metric_name} {stage} by % of players kept, mean of "
        f"{settings.seeds} {'network' if settings.seeds == 1 else 'networks'} "
        f"(full: {full})"
    )
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 0, 0, 1))
    table.add_column("", no_wrap=True)
    for size in sorted(settings.sizes):
        table.add_column(f"{100 * size:g}", justify="right", no_wrap=True)
    table.add_column("seconds", justify="right", no_wrap=True)
    for name, values in _by_method(settings, rows, kind).items():
        means = [format_metric(v, task.metric_name) for v in values.mean(axis=0)]
        own = [row["seconds"] for row in rows if row["method"] == name]
        shown = [text.removesuffix(" %") for text in means]
        table.add_row(name, *shown, f"{np.mean(own):.1f}")
    return Group(title, table)
