"""How unsure a network is under random elimination, as a folder with a figure."""

import csv
import io
import json
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from rich.console import Console
from rich.table import Table

from gamepruning.types import InputError
from gamepruning.uncertainty.mcue import Bands, mcue
from gamepruning.uncertainty.outputs import MCUE_OUTPUTS
from gamepruning.workbench.settings.bands import BandsSettings
from gamepruning.workbench.settings.defaults import SettledTraining, settle
from gamepruning.workbench.training.checkpoints import load_weights
from gamepruning.workbench.training.loop import evaluate, make_train_step
from gamepruning.workbench.training.optimizers import weight_optimizer
from gamepruning.workbench.training.run_folder import (
    RunFolder,
    open_folder,
    working_in,
    write_config,
)
from gamepruning.workbench.training.stages import (
    make_trainer,
    new_progress,
    train_weights,
)
from gamepruning.workbench.training.task import Task, make_task


class _Keys(NamedTuple):
    """A random key for each part; those of the network are those of `prune`."""

    init: jax.Array
    train: jax.Array
    examples: jax.Array
    coalitions: jax.Array


def run_bands(
    settings: BandsSettings,
    *,
    out: Path | None = None,
    resume: bool = False,
    console: Console | None = None,
) -> Path:
    """Train a network, take its uncertainty bands and write a folder.

    Args:
      settings: what to do.
      out: the folder to make; `runs/<data>-<model>-bands-<n>` if None.
      resume: go on with the interrupted run of `out`, under its own settings; training
        goes on from its checkpoint, the bands start anew.
      console: where progress and tables go; the terminal if None.

    Returns:
      The folder: `bands.json`, `bands.csv`, `figures/bands.png`.

    Raises:
      InputError: bad input; nothing is left behind.
      KeyboardInterrupt: interrupted; its message says how to go on.
    """
    console = console or Console()
    stem = (settings.dataset, settings.network.name, "bands")
    folder, settings = open_folder(
        settings, stem, out=out, resume=resume, console=console
    )
    keys = _Keys(*jax.random.split(jax.random.key(settings.seed), 4))
    with console.status("reading data"):
        task = make_task(
            settings.dataset,
            settings.data,
            settings.network,
            seed=settings.seed,
            key=keys.init,
        )
        training = _settle(settings, task)
        start = task.params
        if settings.load is not None:
            start = load_weights(settings.load, task.params)
    with working_in(folder, "gamepruning bands"):
        write_config(folder, settings, training)
        with new_progress(console) as progress:
            params = start
            if settings.load is None:
                params = _train(keys.train, task, training, folder, progress)
            found = _measure(keys, task, settings, params, progress)
        score = evaluate(task.network.apply, params, task.dataset.test, task.metric)
        _write(folder, task, settings, found, score)
    console.print(_table(found, settings.output))
    console.print(f"figure: {folder.out / 'figures/bands.png'}", soft_wrap=True)
    return folder.out


def _settle(settings: BandsSettings, task: Task) -> SettledTraining:
    """What depends on the data, checked before training."""
    if settings.output not in _definitions(task):
        raise InputError(
            f"--output {settings.output} needs classes, and {task.dataset.name} has "
            "numbers to predict: use --output outputs"
        )
    task.players.select(settings.families or None)
    num_train = len(task.dataset.train.labels)
    return settle(
        settings.training,
        network=settings.network.name,
        num_train=num_train,
        task=task.dataset.task,
    )


def _definitions(task: Task) -> tuple[str, ...]:
    if task.dataset.task == "classification":
        return MCUE_OUTPUTS
    return tuple(name for name in MCUE_OUTPUTS if name.endswith("outputs"))


def _train(key, task: Task, training: SettledTraining, folder: RunFolder, progress):
    """The dense network, as `gamepruning prune` with the same settings trains it."""
    return train_weights(
        "dense",
        "train the network",
        epochs=training.epochs,
        key=key,
        made=make_train_step(task.network, task.loss, weight_optimizer(training)),
        apply=task.network.apply,
        params=task.params,
        trainer=make_trainer(task, training, folder, progress),
    )


def _measure(keys: _Keys, task: Task, settings: BandsSettings, params: Any, progress):
    """The bands of every definition, by name: all come from the same passes."""
    validation = task.dataset.validation
    count = min(settings.examples, len(validation.labels))
    rows = jax.random.permutation(keys.examples, len(validation.labels))[:count]
    rows = np.asarray(rows)
    bar = progress.add_task("random sub-networks", total=None, note="")

    def show(done: int, total: int) -> None:
        progress.update(bar, completed=done, total=total)

    found = mcue(
        keys.coalitions,
        task.players,
        params,
        jnp.asarray(validation.inputs[rows]),
        jnp.asarray(validation.labels[rows]),
        output=_definitions(task),
        num_points=settings.points,
        num_samples=settings.samples,
        num_sizes=settings.sizes,
        varying=settings.families or None,
        progress=show,
    )
    return {bands.output: bands for bands in found}


def _write(
    folder: RunFolder,
    task: Task,
    settings: BandsSettings,
    found: dict[str, Bands],
    score: float,
) -> None:
    from gamepruning.workbench.report import theme
    from gamepruning.workbench.report.band_plots import plot_bands

    bands = found[settings.output]
    data = {
        "command": settings.command(),
        f"test {task.metric_name}": score,
        "players": bands.num_players,
        "evaluations": bands.num_evaluations,
        **summary_of(bands),
        "p": bands.p.tolist(),
        "q": bands.q.tolist(),
        "variance": bands.variance.tolist(),
        "stderr": bands.stderr.tolist(),
        "definitions": [summary_of(other) for other in found.values()],
    }
    folder.write_text("bands.json", json.dumps(data, indent=1) + "\n")
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(("p", "q", "variance", "stderr"))
    for i, p in enumerate(bands.p):
        for j, q in enumerate(bands.q):
            writer.writerow((p, q, bands.variance[i, j], bands.stderr[i, j]))
    folder.write_text("bands.csv", text.getvalue())
    (folder.partial / "figures").mkdir(exist_ok=True)
    theme.save_png(plot_bands(bands), folder.partial / "figures" / "bands.png")


def summary_of(bands: Bands) -> dict[str, Any]:
    """Where a definition of the output puts the peak, as JSON-able data."""
    return {
        "output": bands.output,
        "peak": None if bands.is_at_end else round(bands.peak, 4),
        "peak stderr": None if bands.is_at_end else round(bands.peak_stderr, 4),
        "bias": None if bands.is_at_end else round(bands.bias, 4),
        "share at peak": None if bands.is_at_end else round(bands.share_at_peak, 4),
    }


def _table(found: dict[str, Bands], chosen: str) -> Table:
    bands = found[chosen]
    table = Table(
        title=f"Most doubt as {bands.num_players:,} players leave, by what counts as "
        "output",
        title_justify="left",
    )
    table.add_column("output", no_wrap=True)
    for name in ("peak t*", "+-", "d = 1 - t*", "share left"):
        table.add_column(name, justify="right")
    for name, bands in found.items():
        style = "bold" if name == chosen else ""
        if bands.is_at_end:
            table.add_row(name, "none", "", "", "", style=style)
            continue
        values = (bands.peak, bands.peak_stderr, bands.bias, bands.share_at_peak)
        table.add_row(name, *(f"{value:.3f}" for value in values), style=style)
    return table
