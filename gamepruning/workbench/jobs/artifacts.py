"""The files of a run folder."""

import dataclasses
import re

import jax
import jax.numpy as jnp
import numpy as np

from gamepruning.compaction.export import (
    export_model,
    export_safetensors,
    import_safetensors,
    load_stablehlo,
)
from gamepruning.files import npz
from gamepruning.trees.paths import named_leaves
from gamepruning.workbench.jobs.rivals import Comparison
from gamepruning.workbench.methods.subject import CHECKED, Choice
from gamepruning.workbench.report.results import RunResult
from gamepruning.workbench.report.run_page import render_report
from gamepruning.workbench.settings.prune import PruneSettings
from gamepruning.workbench.training.loop import predict
from gamepruning.workbench.training.run_folder import RunFolder
from gamepruning.workbench.training.task import Task

ROUND_TRIP = 1e-5  # relative to the largest output, in float32
_INPUT = re.compile(r"it meets axis \d+ of input 0")  # why a parameter's axis stays


def write_run(
    folder: RunFolder,
    task: Task,
    settings: PruneSettings,
    choice: Choice,
    compared: Comparison,
    result: RunResult,
) -> None:
    """Write the plan, the models, the figures, the result and the report.

    Args:
      folder: where to.
      task: data, network, players.
      settings: what was asked for.
      choice: who stays.
      compared: the networks.
      result: what was found.
    """
    why = {"method": settings.method, "settings": result.settings}
    write_models(folder, task, choice, compared, result, why)
    gates = np.zeros((0, len(choice.mask))) if choice.trace is None else choice.trace
    arrays = {"value": choice.value, "mask": choice.mask, "gates": np.asarray(gates)}
    npz.save_arrays(folder.partial / "players.npz", arrays, is_compressed=True)
    figures = draw(folder, task, settings, choice, result)
    folder.write_text("result.json", result.to_json() + "\n")
    page = render_report(result, figures, input_shape=task.dataset.input_shape)
    folder.write_text("report.html", page)


def write_models(folder, task, choice, compared: Comparison, result, why: dict) -> None:
    """The dense weights, those the plan was made for, the plan, the small model."""
    export_safetensors(compared.dense.before, folder.partial / "dense.safetensors")
    export_safetensors(choice.full.params, folder.partial / "full.safetensors")
    small, pruned = compared.small.compacted, compared.pruned
    plan = dataclasses.replace(small.plan, why=why)
    plan.save(folder.partial / "plan.json")
    params = pruned.after if result.shipped == "tuned" else pruned.before
    shipped = small._replace(params=params, plan=plan)
    inputs = jnp.asarray(task.dataset.train.inputs[:CHECKED])
    place = folder.partial / "model"
    export_model(shipped, place, inputs=(inputs,))
    check_round_trips(place, small.apply, params, inputs)


def check_round_trips(place, apply, params, inputs: jax.Array) -> None:
    """Read the exported files back and compare what they compute.

    Raises:
      RuntimeError: a file computes something else than the model it was made from.
    """
    target = predict(apply, params, inputs)
    again = import_safetensors(place / "model.safetensors", like=params)
    loaded = {
        "model.safetensors": predict(apply, again, inputs),
        "model.stablehlo": load_stablehlo(place / "model.stablehlo")(inputs),
    }
    largest = max(float(jnp.abs(target).max()), 1e-6)
    for name, outputs in loaded.items():
        error = float(jnp.abs(outputs - target).max()) / largest
        if not error <= ROUND_TRIP:
            raise RuntimeError(
                f"{name} differs from the model it was made from by {error:.1e}"
            )


def draw(
    folder: RunFolder,
    task: Task,
    settings: PruneSettings,
    choice: Choice,
    result: RunResult,
) -> dict[str, str]:
    """Draw the figures, write them as PNG, and return them as SVG for the report."""
    from gamepruning.workbench.report import run_figures, theme  # takes a second

    played = choice.trace is not None and len(choice.trace) > 0
    figures = run_figures.draw_run(
        result,
        folder.records(),
        mask=choice.mask,
        scores=np.asarray(choice.value),
        measure=choice.measure,
        gates=choice.trace if played else None,
        threshold=settings.game.threshold,
        fields=receptive_fields(task, choice),
    )
    theme.save_figures(figures, folder.partial / "figures")
    return {name: theme.to_svg(figure, name=name) for name, figure in figures.items()}


def receptive_fields(task: Task, choice: Choice) -> np.ndarray | None:
    """Incoming weights over the image of those who stay in the first dense family.

    Returns:
      float [K, H, W], or None where inputs are no images of one channel or no family
      reads them whole.
    """
    shape = tuple(task.dataset.input_shape)
    if len(shape) != 3 or shape[2] != 1 or min(shape[:2]) < 4:
        return None
    leaves = named_leaves(choice.params)
    reads_input = {
        frozen.path
        for frozen in task.players.frozen
        if frozen.axis == 0
        and frozen.count == shape[0] * shape[1]
        and _INPUT.fullmatch(frozen.reason)
    }
    for family in task.players.families:
        for part in family.slices:
            leaf = leaves[part.path]
            if part.role == "out" and part.path in reads_input and leaf.ndim == 2:
                stays = np.flatnonzero(choice.mask[family.start : family.stop])
                return np.asarray(leaf)[:, stays].T.reshape(-1, *shape[:2])
    return None
