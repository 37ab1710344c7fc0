"""All methods on one budget and one split: curves, ranks, tests, and a report."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from rich.console import Console

from gamepruning.files.atomic import new_file
from gamepruning.statistics import MethodComparison
from gamepruning.types import InputError
from gamepruning.workbench.jobs.curve import check_sizes, load_row, prepare
from gamepruning.workbench.jobs.one_curve import (
    Trained,
    cut,
    draw_curve,
    train_network,
    tune,
)
from gamepruning.workbench.methods.equilibrium import CHECKED, choose_by_equilibrium
from gamepruning.workbench.methods.rank import check_budget
from gamepruning.workbench.methods.registry import find_method
from gamepruning.workbench.methods.small_networks import make_small
from gamepruning.workbench.report.comparison import (
    DENSE,
    blocks_of,
    comparison_csv,
    comparison_table,
    headline,
    rank,
)
from gamepruning.workbench.settings.compare import EQUILIBRIUM, CompareSettings
from gamepruning.workbench.settings.defaults import SettledTraining, settle
from gamepruning.workbench.training.run_folder import (
    RunFolder,
    open_folder,
    working_in,
    write_config,
)
from gamepruning.workbench.training.stages import Trainer, make_trainer, new_progress
from gamepruning.workbench.training.task import Task


def run_compare(
    settings: CompareSettings,
    *,
    out: Path | None = None,
    resume: bool = False,
    console: Console | None = None,
) -> Path:
    """Prune the same networks by all methods to one size, and rank the methods.

    Every method starts from the same trained network of each seed (the equilibrium
    game, which trains while it prunes, from the same start and for as many epochs),
    removes players for real, and gets the same epochs of fine-tuning. Choices use
    training and validation data; the metric is that on test data.

    Args:
      settings: what to do.
      out: the folder to make; `runs/<data>-<model>-compare-<n>` if None.
      resume: go on with the interrupted run of `out`, under its own settings.
      console: where progress and tables go; the terminal if None.

    Returns:
      The folder: `compare.html`, `compare.json`, `compare.csv`, `figures/*.png`.

    Raises:
      InputError: bad input; nothing is left behind.
      KeyboardInterrupt: interrupted; its message says how to go on.
    """
    console = console or Console()
    stem = (settings.datasets[0], settings.network.name, "compare")
    folder, settings = open_folder(
        settings, stem, out=out, resume=resume, console=console
    )
    with console.status("reading data"):
        prepared = [prepare(settings.as_curve(name), 0) for name in settings.datasets]
        _check_metrics([task for task, _ in prepared])
        for dataset, (task, _) in zip(settings.datasets, prepared, strict=True):
            check_sizes(settings.as_curve(dataset), task)
            check_budget(settings.as_curve(dataset), task.players.num_players)
    with working_in(folder, "gamepruning compare"):
        write_config(folder, settings, prepared[0][1])
        rows = _run_all(settings, prepared, folder, console)
        found = rank(settings, rows)
        _write(folder, settings, rows, found)
    console.print(headline(settings, found))
    console.print(comparison_table(settings, rows, found))
    console.print(
        f"report: {folder.out / 'compare.html'}", markup=False, soft_wrap=True
    )
    return folder.out


# -- running -----------------------------------------------------------------------


def _check_metrics(tasks: Sequence[Task]) -> None:
    """Whether one can take the mean over all data sets."""
    names = {task.metric_name: task.dataset.name for task in tasks}
    if len(names) > 1:
        told = " and ".join(f"{metric} of {name}" for metric, name in names.items())
        raise InputError(f"--datasets are judged by {told}: compare them apart")


def _run_all(
    settings: CompareSettings,
    prepared: Sequence[tuple[Task, SettledTraining]],
    folder: RunFolder,
    console: Console,
) -> list[dict]:
    """A row for each data set, seed and method; those on file are not done again."""
    rows = []
    with new_progress(console) as progress:
        for number, dataset in enumerate(settings.datasets):
            asked = settings.as_curve(dataset)
            for seed in range(settings.seeds):
                task, training = prepare(asked, seed) if seed else prepared[number]
                trainer = make_trainer(task, training, folder, progress)
                name = f"{number}_{seed}"
                network = train_network(seed, task, asked, trainer, label=name)
                for method in (DENSE, *settings.methods):
                    path = folder.checkpoints / f"{method}-{name}.json"
                    row = load_row(path)
                    if row is None:
                        row = _run(settings, dataset, method, network, trainer, name)
                        with new_file(path) as temporary:
                            temporary.write_text(json.dumps(row), encoding="utf-8")
                    rows.append(row)
    return rows


def _run(
    settings: CompareSettings,
    dataset: str,
    method: str,
    network: Trained,
    trainer: Trainer,
    name: str,
) -> dict[str, Any]:
    names = {"dataset": dataset, "seed": network.seed, "method": method}
    names["metric"] = network.task.metric_name
    if method == DENSE:
        return names | _dense(settings, network, trainer, name)
    if method == EQUILIBRIUM:
        return names | _equilibrium(settings, dataset, network, trainer, name)
    row = draw_curve(find_method(method), network, trainer, tuned=(settings.share,))
    place = sorted(network.asked.sizes).index(settings.share)
    return names | {
        "kept": row["sizes"][place],
        "of": row["num_players"],
        "before": row["values"][place],
        "after": row["tuned"][0] if "tuned" in row else None,
        "seconds": row["seconds"],
        "evaluations": row["evaluations"],
        "sizes": row["sizes"],
        "values": row["values"],
    }


def _dense(
    settings: CompareSettings, network: Trained, trainer: Trainer, name: str
) -> dict[str, Any]:
    """The full network, before and after the same fine-tuning."""
    everybody = np.ones(network.task.players.num_players, bool)
    after = None
    if settings.fine_tune:
        after = tune(network, cut(network, everybody), f"{DENSE}-{name}", trainer)
    return {
        "kept": len(everybody),
        "of": len(everybody),
        "before": network.judge(network.task.network.apply, network.params),
        "after": after,
        "seconds": None,
        "evaluations": 0,
    }


def _equilibrium(
    settings: CompareSettings,
    dataset: str,
    network: Trained,
    trainer: Trainer,
    name: str,
) -> dict[str, Any]:
    """The game for the same budget, from the network's own start."""
    task = network.task
    asked = settings.as_equilibrium(dataset, network.seed)
    num_train = len(task.dataset.train.labels)
    training = settle(
        asked.training,
        asked.rates,
        network=asked.network.name,
        num_train=num_train,
        task=task.dataset.task,
        has_budget=True,
    )
    choice = choose_by_equilibrium(
        jax.random.split(jax.random.key(network.seed), 4)[1],
        task,
        asked,
        trainer._replace(training=training),
        task.params,
        stage=f"equilibrium_{name}",
    )
    inputs = jnp.asarray(task.dataset.validation.inputs[:CHECKED])
    small = make_small(task, choice.full, inputs)
    after = None
    if settings.fine_tune:
        after = tune(network, small, f"equilibrium-{name}", trainer)
    return {
        "kept": int(choice.mask.sum()),
        "of": task.players.num_players,
        "before": network.judge(small.apply, small.params),
        "after": after,
        "seconds": None,
        "evaluations": 0,
    }


# -- telling -----------------------------------------------------------------------


def _write(
    folder: RunFolder,
    settings: CompareSettings,
    rows: Sequence[dict],
    found: MethodComparison | None,
) -> None:
    from gamepruning.workbench.report import theme
    from gamepruning.workbench.report.compare_page import make_figures, render_compare

    data: dict[str, Any] = {"command": settings.command(), "rows": list(rows)}
    if found is not None:
        data["ranks"] = {
            "methods": list(found.names),
            "mean_ranks": found.ranks.tolist(),
            "friedman": found.friedman._asdict(),
            "nemenyi": found.nemenyi.tolist(),
            "wilcoxon_holm": found.wilcoxon.tolist(),
            "critical_difference": found.critical_difference,
            "blocks": [list(block) for block in blocks_of(settings)],
        }
    folder.write_text("compare.json", json.dumps(data, indent=1) + "\n")
    folder.write_text("compare.csv", comparison_csv(rows))
    figures = make_figures(settings, rows, found)
    (folder.partial / "figures").mkdir(exist_ok=True)
    for name, picture in figures.items():
        theme.save_png(picture, folder.partial / "figures" / f"{name}.png")
    folder.write_text("compare.html", render_compare(settings, rows, found, figures))
