"""Who stays, by power indices: `gamepruning prune --method banzhaf` and its like."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gamepruning.selection import SelectionTrace
from gamepruning.uncertainty.mcue import mcue
from gamepruning.workbench.methods.equilibrium import (
    Choice,
    check_keep,
    compares_all,
    measure_of,
    rank_of,
    select,
)
from gamepruning.workbench.methods.gates import without_gates
from gamepruning.workbench.methods.rank import check_budget, choose
from gamepruning.workbench.methods.registry import find_method
from gamepruning.workbench.settings.curve import CurveSettings
from gamepruning.workbench.settings.prune import PruneSettings
from gamepruning.workbench.training.stages import Trainer
from gamepruning.workbench.training.task import Task

UNSURE_ON = 500  # validation examples on which the bias is looked for


def choose_by_indices(
    key: jax.Array, task: Task, settings: PruneSettings, dense: Any, trainer: Trainer
) -> Choice:
    """Rank the players of the trained network by a power index; the best stay.

    Coalitions are valued on validation data. When building or pruning round by round
    the round is written down, and an interrupted run goes on from there.

    Args:
      key: random key.
      task: data, network, players.
      settings: resolved settings.
      dense: the trained weights.
      trainer: shows progress, and knows the folder.

    Returns:
      The choice.

    Raises:
      InputError: the requested size or the budget does not fit the network.

    References:
      Diaz-Ortiz et al., arXiv 2311.10468.
    """
    index_key, bands_key = jax.random.split(key)
    method = dataclasses.replace(
        find_method(settings.method), selection=selection_of(settings)
    )
    if settings.method == "biased_banzhaf" and settings.bias is None:
        settings = dataclasses.replace(
            settings, bias=least_certain_bias(bands_key, task, dense)
        )
    shown = trainer.progress.add_task(f"{settings.method}, {method.selection}", note="")
    note = f"bias {settings.bias:.3f}" if settings.bias else ""

    def progress(done: int, total: int) -> None:
        trainer.progress.update(shown, completed=done, total=total, note=note)

    chosen = choose(
        index_key,
        method,
        task,
        dense,
        _as_curve(settings, task),
        checkpoint=trainer.folder.checkpoints / "indices.npz",
        progress=progress,
    )
    value, mask = _read(chosen.source, task, settings)
    source = chosen.source
    measure = measure_of(source) if isinstance(source, SelectionTrace) else "score"
    full = without_gates(task.network.apply, task.players, dense, mask)
    nobody = (0,) * len(task.players.families)
    return Choice(mask, value, full, None, dense, nobody, None, measure)


def selection_of(settings: PruneSettings) -> str:
    """How the indices decide; "auto" builds where --keep is one number.

    Example:
      >>> selection_of(PruneSettings.of(method="banzhaf", keep="0.1"))
      'building'
      >>> selection_of(PruneSettings.of(method="banzhaf", keep="51/26"))
      'top_n'
    """
    if settings.selection != "auto":
        return settings.selection
    return "building" if compares_all(settings) else "top_n"


def least_certain_bias(key: jax.Array, task: Task, params: Any) -> float:
    """d = 1 - t*, where the predicted probabilities vary most between coalitions."""
    split = task.dataset.validation
    output = "probabilities" if task.metric_name == "accuracy" else "outputs"
    bands = mcue(
        key,
        task.players,
        params,
        jnp.asarray(split.inputs[:UNSURE_ON]),
        output=output,
    )
    return float(np.clip(bands.bias, 0.05, 0.95))


def check_indices(task: Task, settings: PruneSettings) -> None:
    """Whether size and budget fit the network; asked before anything is trained.

    Raises:
      InputError: they do not.
    """
    check_budget(_as_curve(settings, task), task.players.num_players)


def _as_curve(settings: PruneSettings, task: Task) -> CurveSettings:
    """The same wishes as a curve of one size."""
    keep = check_keep(task.players, settings)
    count = keep if isinstance(keep, int) else sum(keep)
    return CurveSettings(
        methods=(settings.method,),
        sizes=(count / task.players.num_players,),
        scoring=settings.scoring,
        bias=settings.bias or 0.5,
    )


def _read(source, task: Task, settings: PruneSettings) -> tuple[np.ndarray, np.ndarray]:
    """What players are ranked by, and who stays."""
    if isinstance(source, SelectionTrace):
        return rank_of(source), np.asarray(source.mask)
    return np.asarray(source.value), select(task.players, source, settings)
