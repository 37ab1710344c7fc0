"""How unsure a network is under random removal, as a folder with a figure."""

from pathlib import Path
from typing import Any, Unpack

import jax
import jax.numpy as jnp
import numpy as np
from rich.progress import Progress

from gamepruning.errors import InputError
from gamepruning.files.together import shared_mesh
from gamepruning.metrics import class_scores
from gamepruning.run.batches import predict
from gamepruning.uncertainty.mcue import Bands, mcue
from gamepruning.uncertainty.outputs import MCUE_OUTPUTS
from gamepruning.workbench.jobs.rivals import train_dense
from gamepruning.workbench.jobs.run import Run, Where, open_run, prepare
from gamepruning.workbench.methods.subject import counting_bar
from gamepruning.workbench.report.table import Heading, Row, Table, rows_to_csv
from gamepruning.workbench.settings.studies import BandsSettings
from gamepruning.workbench.training.stages import make_trainer, new_progress
from gamepruning.workbench.training.task import Prepared, Task

# What is told of a peak: the names in `bands.json` and in the table.
PEAK = {
    "peak": "peak t*",
    "peak stderr": "+-",
    "bias": "d = 1 - t*",
    "share at peak": "share left",
}


def run_bands(settings: BandsSettings, **where: Unpack[Where]) -> Path:
    """Train a network, take its uncertainty bands and write a folder.

    Returns the folder: `report.html`, `bands.json`, `bands.csv`,
    `figures/bands.png`.
    """
    run = open_run(settings, (settings.dataset, settings.network.name, "bands"), where)
    settings = run.settings
    with run.console.status("reading data"):
        made = prepare(settings, settings.seed, load=settings.load)
        task, outputs = made.task, _outputs(settings, made.task)
        task.players.select(settings.families or None)  # raises if there is none
    with run.writing(made):
        with new_progress(run.console) as progress:
            params = task.params
            if settings.load is None:
                trainer = make_trainer(task, made.training, run.folder, progress)
                params = train_dense(made, trainer, label="train the network")
            found = _measure(made, settings, outputs, params, progress)
        test = task.dataset.test
        outputs = predict(task.network.apply, params, test.inputs)
        score = float(task.metric(outputs, jnp.asarray(test.labels)))
        facts: dict[str, Any] = {f"test {task.metric_name}": score}
        if task.needs_balance:
            scores = class_scores(outputs, test.labels)
            facts["test balanced accuracy"] = scores.balanced_accuracy
            facts["recalls"] = scores.recalls
        _write(run, facts, found)
    run.console.print(_table(found, settings.output))
    return run.tell("report", "report.html")


def _outputs(settings: BandsSettings, task: Task) -> tuple[str, ...]:
    """What can count as the output; raises `InputError` if the chosen one cannot."""
    outputs = MCUE_OUTPUTS
    if task.dataset.task != "classification":
        outputs = tuple(name for name in MCUE_OUTPUTS if name.endswith("outputs"))
    if settings.output not in outputs:
        raise InputError(
            f"--output {settings.output} needs classes, and {task.dataset.name} has "
            "numbers to predict: use --output outputs"
        )
    return outputs


def _measure(
    made: Prepared,
    settings: BandsSettings,
    outputs: tuple[str, ...],
    params: Any,
    progress: Progress,
) -> dict[str, Bands]:
    """The bands of every definition, by name: all come from the same passes."""
    keys, validation = made.keys, made.task.dataset.validation
    rows = jax.random.permutation(keys.choose, len(validation.labels))
    rows = np.asarray(rows)[: settings.examples]
    found = mcue(
        keys.rest,
        made.task.players,
        params,
        jnp.asarray(validation.inputs[rows]),
        jnp.asarray(validation.labels[rows]),
        output=outputs,
        num_points=settings.points,
        num_samples=settings.samples,
        num_sizes=settings.sizes,
        varying=settings.families or None,
        mesh=shared_mesh(),
        progress=counting_bar(progress, "measure random sub-networks"),
    )
    return {bands.output: bands for bands in found}


def _write(
    run: Run[BandsSettings], facts: dict[str, Any], found: dict[str, Bands]
) -> None:
    from gamepruning.workbench.report.band_plots import plot_bands

    bands = found[run.settings.output]
    facts["players"], facts["evaluations"] = bands.num_players, bands.num_evaluations
    facts |= summary_of(bands)
    names = ("p", "q", "variance", "stderr")
    facts |= {name: getattr(bands, name).tolist() for name in names}
    facts["definitions"] = [summary_of(other) for other in found.values()]
    lines = [
        (p, q, bands.variance[i, j], bands.stderr[i, j])
        for i, p in enumerate(bands.p)
        for j, q in enumerate(bands.q)
    ]
    table = _table(found, run.settings.output)
    run.write(facts, rows_to_csv(names, lines), {"bands": plot_bands(bands)}, [table])


def summary_of(bands: Bands) -> dict[str, Any]:
    """Where a definition of the output puts the peak, as JSON-able data."""
    values = {name: getattr(bands, name.replace(" ", "_")) for name in PEAK}
    rounded = {n: None if bands.is_at_end else round(v, 4) for n, v in values.items()}
    return {"output": bands.output, **rounded}


def _table(found: dict[str, Bands], chosen: str) -> Table:
    columns = [Heading("output", "text")]
    columns += [Heading(name, format="{:.3f}".format) for name in PEAK.values()]
    lines = []
    for name, bands in found.items():
        cells = [getattr(bands, column.replace(" ", "_")) for column in PEAK]
        cells = ["none", "", "", ""] if bands.is_at_end else cells
        lines.append(Row([name, *cells], "hero" if name == chosen else ""))
    title = (
        f"Most doubt as {found[chosen].num_players:,} players leave, by what counts as "
        "output (total_: over the inputs as well; none: no peak before all have left)"
    )
    return Table(columns, lines, title)
