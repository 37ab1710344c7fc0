"""How unsure a network is under random elimination, as a folder with a figure."""

from pathlib import Path
from typing import Any, Unpack

import jax
import jax.numpy as jnp
import numpy as np
from rich.progress import Progress

from gamepruning.types import InputError
from gamepruning.uncertainty.mcue import Bands, mcue
from gamepruning.uncertainty.outputs import MCUE_OUTPUTS
from gamepruning.workbench.jobs.run import (
    Prepared,
    Run,
    Where,
    open_run,
    prepare,
    train_dense,
)
from gamepruning.workbench.report.table import (
    Row,
    Table,
    number_columns,
    rows_to_csv,
    text_columns,
)
from gamepruning.workbench.settings.studies import BandsSettings
from gamepruning.workbench.training.loop import evaluate
from gamepruning.workbench.training.stages import make_trainer, new_progress
from gamepruning.workbench.training.task import Task


def run_bands(settings: BandsSettings, **where: Unpack[Where]) -> Path:
    """Train a network, take its uncertainty bands and write a folder.

    Args:
      settings: what to do.
      **where: see `Where`.

    Returns:
      The folder: `bands.json`, `bands.csv`, `figures/bands.png`.

    Raises:
      InputError: bad input; nothing is left behind.
      KeyboardInterrupt: interrupted; its message says how to resume.
    """
    network = settings.network.name
    run = open_run(settings, settings.dataset, "bands", network, where)
    settings = run.settings
    with run.console.status("reading data"):
        made = prepare(settings, settings.seed, load=settings.load)
        _check(settings, made.task)
    task = made.task
    with run.writing(made.training):
        with new_progress(run.console) as progress:
            params = task.params
            if settings.load is None:
                trainer = make_trainer(task, made.training, run.folder, progress)
                params = train_dense(made, trainer, label="train the network")
            found = _measure(made, settings, params, progress)
        score = evaluate(task.network.apply, params, task.dataset.test, task.metric)
        _write(run, task, found, score)
    run.console.print(_table(found, settings.output))
    return run.tell("figure", "figures/bands.png")


def _check(settings: BandsSettings, task: Task) -> None:
    """Check what depends on the data, before training."""
    if settings.output not in _definitions(task):
        raise InputError(
            f"--output {settings.output} needs classes, and {task.dataset.name} has "
            "numbers to predict: use --output outputs"
        )
    task.players.select(settings.families or None)


def _definitions(task: Task) -> tuple[str, ...]:
    if task.dataset.task == "classification":
        return MCUE_OUTPUTS
    return tuple(name for name in MCUE_OUTPUTS if name.endswith("outputs"))


def _measure(
    made: Prepared, settings: BandsSettings, params: Any, progress: Progress
) -> dict[str, Bands]:
    """The bands of every definition, by name: all come from the same passes."""
    task, keys = made.task, made.keys
    validation = task.dataset.validation
    count = min(settings.examples, len(validation.labels))
    rows = jax.random.permutation(keys.choose, len(validation.labels))[:count]
    rows = np.asarray(rows)
    bar = progress.add_task("random sub-networks", total=None, note="")

    def show(done: int, total: int) -> None:
        progress.update(bar, completed=done, total=total)

    found = mcue(
        keys.rest,
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
    run: Run[BandsSettings], task: Task, found: dict[str, Bands], score: float
) -> None:
    from gamepruning.workbench.report.band_plots import plot_bands

    bands = found[run.settings.output]
    facts = {
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
    run.write_json("bands.json", facts)
    lines = [
        (p, q, bands.variance[i, j], bands.stderr[i, j])
        for i, p in enumerate(bands.p)
        for j, q in enumerate(bands.q)
    ]
    text = rows_to_csv(("p", "q", "variance", "stderr"), lines)
    run.folder.write_text("bands.csv", text)
    run.save_figure("bands", plot_bands(bands))


def summary_of(bands: Bands) -> dict[str, Any]:
    """Where a definition of the output puts the peak, as JSON-able data."""
    peak = {
        "peak": bands.peak,
        "peak stderr": bands.peak_stderr,
        "bias": bands.bias,
        "share at peak": bands.share_at_peak,
    }
    rounded = {n: None if bands.is_at_end else round(v, 4) for n, v in peak.items()}
    return {"output": bands.output, **rounded}


def _table(found: dict[str, Bands], chosen: str) -> Table:
    names = ("peak t*", "+-", "d = 1 - t*", "share left")
    columns = (*text_columns("output"), *number_columns(*names, format="{:.3f}".format))
    lines = []
    for name, bands in found.items():
        values = (bands.peak, bands.peak_stderr, bands.bias, bands.share_at_peak)
        cells = ("none", "", "", "") if bands.is_at_end else values
        lines.append(Row((name, *cells), "hero" if name == chosen else ""))
    title = (
        f"Most doubt as {found[chosen].num_players:,} players leave, by what counts as "
        "output"
    )
    return Table(columns, lines, title)
