"""The files of a run folder."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gamepruning.compaction import export
from gamepruning.compaction.round_trip import check_round_trips
from gamepruning.compaction.stablehlo import fixed_batch
from gamepruning.errors import InputError
from gamepruning.files import npz
from gamepruning.files.atomic import disk_problem
from gamepruning.players.fields import receptive_fields
from gamepruning.types import Scores
from gamepruning.workbench.jobs.rivals import Comparison
from gamepruning.workbench.jobs.run import Run
from gamepruning.workbench.methods.subject import CHECKED, Choice
from gamepruning.workbench.report import family_plots, plots, theme
from gamepruning.workbench.report.page import render
from gamepruning.workbench.report.results import RunResult
from gamepruning.workbench.report.tables import render_report
from gamepruning.workbench.settings.prune import PruneSettings
from gamepruning.workbench.training.task import Task

PROGRAM = "model/model.stablehlo"


def write_run(
    run: Run[PruneSettings],
    task: Task,
    choice: Choice,
    compared: Comparison,
    result: RunResult,
) -> RunResult:
    """Write the plan, the models, the figures, the result and the report.

    Returns the result with a note on each file that could not be written as usual.
    """
    notes = write_models(run.folder.partial, task, choice, compared, result)
    result = dataclasses.replace(result, notes=(*result.notes, *notes))
    gates = np.zeros((0, len(choice.mask))) if choice.trace is None else choice.trace
    arrays = {"value": choice.value, "mask": choice.mask, "gates": np.asarray(gates)}
    if choice.means is not None:
        arrays |= {"mean": choice.means.value, "stderr": choice.means.stderr}
    npz.save_arrays(run.folder.partial / "players.npz", arrays, is_compressed=True)
    figures = draw(run, task, choice, result)
    run.folder.write_text("result.json", result.to_json() + "\n")
    data = task.dataset
    page = render_report(
        result,
        figures,
        input_shape=data.input_shape,
        takes_rows=data.rows is not None,
        batch=fixed_batch(run.folder.partial / PROGRAM),
    )
    run.folder.write_text("report.html", page)
    return result


def write_models(
    folder: Path, task: Task, choice: Choice, compared: Comparison, result: RunResult
) -> list[str]:
    """The dense weights, those the plan was made for, the plan, the small model.

    What a format cannot hold is left out, and a note says so: nothing else is lost.
    """
    notes = []
    for name, tree in ("dense", compared.dense.first), ("full", choice.full.params):
        try:
            export.export_safetensors(tree, folder / f"{name}.safetensors")
        except InputError as error:
            if disk_problem(error):
                raise
            notes.append(f"There is no {name}.safetensors: {error}.")
    small, pruned = compared.small.compacted, compared.pruned
    why = {"method": result.method, "settings": result.settings}
    plan = dataclasses.replace(small.plan, why=why)
    plan.save(folder / "plan.json")
    params = pruned.stages[result.shipped]
    shipped = small._replace(params=params, plan=plan)
    inputs, skipped = jnp.asarray(task.dataset.train.inputs[:CHECKED]), {}
    options: Any = {"inputs": (inputs,), "batch": "auto", "skipped": skipped}
    if jax.process_index():  # of several that share the work: the first one writes
        options["formats"] = ()
    paths = export.export_model(shipped, folder / "model", **options)
    write_inputs(folder, task)
    check_round_trips(paths, small.apply, params, inputs)
    for name, why in skipped.items():
        notes.append(f"There is no {name} of the small model: {why}.")
    if batch := fixed_batch(folder / PROGRAM):
        notes.append(f"model.stablehlo takes batches of {batch} only.")
    return notes


def write_inputs(folder: Path, task: Task) -> None:
    """How raw data become the model's inputs, and which rows are in which part."""
    batch, data = fixed_batch(folder / PROGRAM), task.dataset
    how, rows, model = data.preprocessing, data.rows, folder / "model"
    snippet = render("use.txt", input_shape=data.input_shape, batch=batch)
    facts = {"model": task.network.name, "data": data, "batch": batch}
    readme = render("use.md", snippet=snippet, **facts)
    (model / "README.md").write_text(readme, encoding="utf-8")
    if how:
        (model / "preprocessing.json").write_text(how + "\n", encoding="utf-8")
    if rows is not None:
        numbers = {part: own.tolist() for part, own in rows._asdict().items()}
        (folder / "rows.json").write_text(json.dumps(numbers) + "\n", encoding="utf-8")


def draw(
    run: Run[PruneSettings], task: Task, choice: Choice, result: RunResult
) -> dict[str, str]:
    """Draw the figures, write them as PNG, and return them as SVG for the report."""
    families, mask, records = result.families, choice.mask, run.folder.records.read()
    figures = {"contest": plots.plot_contest(result)}
    figures["training"] = plots.plot_training(records, result=result)
    if choice.trace is None or len(choice.trace) == 0:
        value = np.asarray(choice.value)
        means = choice.means or Scores(value, np.zeros(len(value)), 0)
        figures["players"] = family_plots.plot_scores(
            means, families, mask, measure=choice.measure
        )
    else:
        threshold = run.settings.game.threshold
        figures["players"] = family_plots.plot_gates(choice.trace, families, mask)
        figures["dynamics"] = family_plots.plot_dynamics(
            records, choice.trace, families, threshold=threshold, metric=result.metric
        )
        figures["participation"] = family_plots.plot_participation(
            choice.trace[-1], families, threshold=threshold
        )
    shape = task.dataset.input_shape
    fields = receptive_fields(task.players, choice.params, choice.mask, shape)
    if fields is not None:
        figures["weights"] = family_plots.plot_receptive_fields(fields)
    for name, figure in figures.items():
        run.save_figure(name, figure)
    return {name: theme.to_html(figure, name=name) for name, figure in figures.items()}
