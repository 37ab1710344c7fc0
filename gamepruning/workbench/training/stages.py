"""Stages of training that show their progress and resume where they were cut off."""

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
)

from gamepruning.errors import InputError
from gamepruning.workbench.datasets import Split
from gamepruning.workbench.settings.defaults import SettledTraining
from gamepruning.workbench.training.checkpoints import load_checkpoint, save_checkpoint
from gamepruning.workbench.training.loop import (
    Apply,
    Measure,
    Step,
    TrainStep,
    evaluate,
    run_epoch,
)
from gamepruning.workbench.training.run_folder import RunFolder
from gamepruning.workbench.training.task import Task

SAVE_EVERY = 5.0  # seconds between checkpoints within a stage
MIN_JUDGED = 250  # epochs of a longer stage that are judged and logged, at least


class Stage(NamedTuple):
    """One stretch of training.

    Attributes:
      name: of its checkpoint and its lines in `metrics.jsonl`.
      label: what the progress bar says.
      epochs: passes over the training data.
      key: the order of the examples follows from it.
      state: where it starts.
      step: (state, batch) -> (state, info).
      record: state -> JSON-able facts for `metrics.jsonl`, "validation" among them.
      trace: state -> array kept for every epoch, or None.
    """

    name: str
    label: str
    epochs: int
    key: jax.Array
    state: Any
    step: Step
    record: Callable[[Any], dict[str, Any]]
    trace: Callable[[Any], jax.Array] | None = None


class Outcome(NamedTuple):
    """Where a stage ended: its state, and the trace [epochs, ...] or None."""

    state: Any
    trace: np.ndarray | None


class Trainer(NamedTuple):
    """What all stages of a run share.

    Attributes:
      train: the examples, on the device.
      validation: what choices are made on.
      metric: (outputs, labels) -> scalar, by which progress is judged.
      training: how long, in which batches, at which rates.
      folder: where checkpoints and metrics go.
      progress: shows a bar for each stage.
    """

    train: Split
    validation: Split
    metric: Measure
    training: SettledTraining
    folder: RunFolder
    progress: Progress

    def judge(self, apply: Apply, params: Any) -> float:
        """The metric on the validation data."""
        return evaluate(apply, params, self.validation, self.metric)


def new_progress(console: Console) -> Progress:
    """The bars of a run: what, how far, how long, and how good."""
    return Progress(
        TextColumn("{task.description:<22}"),
        BarColumn(bar_width=28),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("[dim]{task.fields[note]}"),
        console=console,
    )


def make_trainer(
    task: Task, training: SettledTraining, folder: RunFolder, progress: Progress
) -> Trainer:
    """The task's data on the device, and where its stages write."""
    train = Split(*(jax.device_put(part) for part in task.dataset.train))
    return Trainer(
        train,
        task.dataset.validation,
        jax.jit(task.metric),
        training,
        folder,
        progress,
    )


def train_weights(
    name: str,
    label: str,
    *,
    epochs: int,
    key: jax.Array,
    made: TrainStep,
    apply: Apply,
    params: Any,
    trainer: Trainer,
) -> Any:
    """Plain training as a stage.

    Args:
      name: of the stage.
      label: what the progress bar says.
      epochs: passes over the training data.
      key: random key.
      made: the step of training.
      apply: (params, inputs) -> outputs, by which progress is judged.
      params: where to start.
      trainer: with what.

    Returns:
      The parameters at the end.
    """
    order_key, step_key = jax.random.split(key)

    def record(state) -> dict[str, Any]:
        return {"validation": trainer.judge(apply, state.params)}

    start = jax.jit(made.init)(step_key, params)  # one program, not one a shape
    stage = Stage(name, label, epochs, order_key, start, made.step, record)
    return run_stage(stage, trainer).state.params


def run_stage(stage: Stage, trainer: Trainer) -> Outcome:
    """Train to the end of the stage, from its checkpoint if there is one.

    An interrupted stage resumes bit-identically, since each epoch has its own key. The
    last whole epoch is saved when it is interrupted.

    Args:
      stage: what to do.
      trainer: with what.

    Returns:
      The outcome.

    Raises:
      InputError: training diverged, or the checkpoint is damaged or of another model.
    """
    folder, progress = trainer.folder, trainer.progress
    path = folder.checkpoints / f"{stage.name}.npz"
    now = _start(stage, path, folder)
    task = progress.add_task(
        stage.label, total=stage.epochs, completed=now.epochs, note=""
    )
    saved = time.monotonic()
    try:
        while now.epochs < stage.epochs:
            now, facts = _advance(now, stage, trainer)
            progress.update(task, completed=now.epochs)
            if facts is not None:
                folder.log({"stage": stage.name, "epoch": now.epochs, **facts})
                progress.update(task, note=f"validation {facts['validation']:.4f}")
            if time.monotonic() - saved > SAVE_EVERY:
                _save(path, now)
                saved = time.monotonic()
    finally:
        if now.epochs:
            _save(path, now)
    return Outcome(now.state, None if stage.trace is None else now.trace)


class _Now(NamedTuple):
    """How far a stage is; one object, so that an interruption cannot tear it apart."""

    state: Any
    trace: np.ndarray
    epochs: int


def _start(stage: Stage, path: Path, folder: RunFolder) -> _Now:
    state, trace = stage.state, _empty_trace(stage)
    if not path.is_file():
        folder.keep_records(stage.name, 0)
        return _Now(state, trace, 0)
    (state, trace), meta = load_checkpoint(path, (state, trace))
    folder.keep_records(stage.name, int(meta["epochs"]))
    return _Now(state, np.array(trace), int(meta["epochs"]))


def _advance(
    now: _Now, stage: Stage, trainer: Trainer
) -> tuple[_Now, dict[str, Any] | None]:
    """One epoch, and its facts where it is judged.

    Epochs of a few small steps take less time than judging them does, so that only
    every k-th of very many is.
    """
    state, info = run_epoch(
        jax.random.fold_in(stage.key, now.epochs),
        stage.step,
        now.state,
        trainer.train,
        batch_size=trainer.training.batch_size,
    )
    if stage.trace is not None:  # done anew if cut off before the end
        now.trace[now.epochs] = stage.trace(state)
    now = _Now(state, now.trace, now.epochs + 1)
    if now.epochs % max(1, stage.epochs // MIN_JUDGED) and now.epochs < stage.epochs:
        return now, None
    loss = float(info.loss)
    if not math.isfinite(loss):
        raise InputError(
            f"training diverged: the loss is {loss} in epoch {now.epochs} of "
            f"{stage.label!r}; choose a lower --learning-rate"
        )
    return now, {"loss": loss, **stage.record(state)}


def _save(path: Path, now: _Now) -> None:
    save_checkpoint(path, (now.state, now.trace), meta={"epochs": now.epochs})


def _empty_trace(stage: Stage) -> np.ndarray:
    if stage.trace is None:
        return np.zeros((0,), np.float32)
    shape = jax.eval_shape(stage.trace, stage.state)
    return np.zeros((stage.epochs, *shape.shape), shape.dtype)
