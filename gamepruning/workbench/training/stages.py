"""Stages of training that show their progress and resume where they were cut off."""

import math
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import jax
import numpy as np
from rich import progress as bars
from rich.console import Console

from gamepruning.errors import Diverged
from gamepruning.files.checkpoint import load_checkpoint, save_checkpoint
from gamepruning.files.run_folder import RunFolder
from gamepruning.run import batches
from gamepruning.workbench.datasets import Split
from gamepruning.workbench.settings.parts import SettledTraining
from gamepruning.workbench.training import loop
from gamepruning.workbench.training.task import Task

FirstT = TypeVar("FirstT")
SecondT = TypeVar("SecondT")
SAVE_EVERY = 5.0  # seconds between checkpoints within a stage
MIN_JUDGED = 250  # epochs of a longer stage that are judged and logged, at least


class Stage(NamedTuple):
    """One stretch of training."""

    name: str  # of its checkpoint and its lines in `metrics.jsonl`
    label: str  # what the progress bar says
    epochs: int  # passes over the training data
    key: jax.Array  # the order of the examples follows from it
    state: Any  # where it starts
    step: loop.Step
    record: Callable[[Any], dict[str, Any]]  # state -> facts, "validation" among them
    trace: Callable[[Any], jax.Array] | None = None  # state -> what each epoch leaves
    loss_of: Callable[[Any], float] = float  # the loss of an epoch -> that of all


class Stopped(Exception):
    """The stage was ended because the one beside it failed or was interrupted."""


class Outcome(NamedTuple):
    """How far a stage is; one object, so that an interruption cannot tear it apart."""

    state: Any
    trace: np.ndarray  # [epochs, ...]; empty if the stage keeps none
    epochs: int


class Trainer(NamedTuple):
    """What all stages of a run share."""

    train: Split  # the examples, on the device
    validation: Split  # what choices are made on
    metric: batches.Measure  # by which progress is judged
    training: SettledTraining  # how long, in which batches, at which rates
    folder: RunFolder  # where checkpoints and metrics go
    progress: bars.Progress  # shows a bar for each stage
    stop: threading.Event  # set: each stage that runs ends with its last whole epoch

    def judge(self, apply: batches.Apply, params: Any) -> float:
        """The metric on the validation data."""
        return batches.evaluate(apply, params, self.validation, self.metric)


def new_progress(console: Console) -> bars.Progress:
    """The bars of a run: what, how far, how long, and how good."""
    return bars.Progress(
        bars.TextColumn("{task.description:<22}"),
        bars.BarColumn(bar_width=28),
        bars.MofNCompleteColumn(),
        bars.TimeRemainingColumn(elapsed_when_finished=True),
        bars.TextColumn("[dim]{task.fields[note]}"),
        console=console,
    )


def make_trainer(
    task: Task, training: SettledTraining, folder: RunFolder, progress: bars.Progress
) -> Trainer:
    """The task's data on the device, and where its stages write."""
    data, metric = task.dataset, jax.jit(task.metric)
    train, validation = jax.device_put((data.train, data.validation))
    stop = threading.Event()
    return Trainer(train, validation, metric, training, folder, progress, stop)


def side_by_side(
    trainer: Trainer, one: Callable[[], FirstT], other: Callable[[], SecondT]
) -> tuple[FirstT, SecondT]:
    """Run two calls whose stages do not depend on each other, each in its own thread.

    Steps of small networks keep one core busy, so that two take the time of one. When
    one call fails or is interrupted the other one's stage is ended and saved, too.
    """
    with ThreadPoolExecutor(1) as pool:
        try:  # from here on an interruption ends the other stage, too
            beside = pool.submit(other)
            beside.add_done_callback(lambda it: it.exception() and trainer.stop.set())
            try:
                return one(), beside.result()
            except Stopped:
                beside.result()  # raises what stopped it
                raise
        except BaseException:
            trainer.stop.set()
            raise


def train_weights(
    name: str,
    label: str,
    *,
    epochs: int,
    key: jax.Array,
    made: loop.TrainStep,
    apply: batches.Apply,
    params: Any,
    trainer: Trainer,
) -> Any:
    """Plain training as a stage, judged by `apply`; the parameters at its end."""
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
    """
    path = trainer.folder.checkpoints / f"{stage.name}.npz"
    now = _start(stage, path)
    trainer.folder.records.forget_after(stage.name, now.epochs)
    task = trainer.progress.add_task(
        stage.label, total=stage.epochs, completed=now.epochs, note=""
    )
    saved = time.monotonic()
    try:
        while now.epochs < stage.epochs:
            if trainer.stop.is_set():
                raise Stopped
            after, facts = _advance(now, stage, trainer)
            if facts is not None:
                told = {"stage": stage.name, "epoch": after.epochs, **facts}
                trainer.folder.records.add(told)
                note = f"validation {facts['validation']:.4f}"
                trainer.progress.update(task, note=note)
            now = after  # only now: an epoch that is saved was logged
            trainer.progress.update(task, completed=now.epochs)
            if time.monotonic() - saved > SAVE_EVERY:
                _save(path, now)
                saved = time.monotonic()
    finally:
        if now.epochs:
            _save(path, now)
    return now


def _start(stage: Stage, path: Path) -> Outcome:
    trace = np.zeros(0, np.float32)
    if stage.trace is not None:
        one = jax.eval_shape(stage.trace, stage.state)
        trace = np.zeros((stage.epochs, *one.shape), one.dtype)
    if not path.is_file():
        return Outcome(stage.state, trace, 0)
    (state, trace), meta = load_checkpoint(path, (stage.state, trace))
    return Outcome(state, np.array(trace), int(meta["epochs"]))


def _save(path: Path, now: Outcome) -> None:
    save_checkpoint(path, (now.state, now.trace), meta={"epochs": now.epochs})


def _advance(
    now: Outcome, stage: Stage, trainer: Trainer
) -> tuple[Outcome, dict[str, Any] | None]:
    """One epoch, and its facts where it is judged.

    Epochs of a few small steps take less time than judging them does, so that only
    every k-th of very many is.
    """
    key = jax.random.fold_in(stage.key, now.epochs)
    how = {name: getattr(trainer.training, name) for name in ("batch_size", "augment")}
    state, info = loop.run_epoch(key, stage.step, now.state, trainer.train, **how)
    if stage.trace is not None:  # done anew if cut off before the end
        now.trace[now.epochs] = stage.trace(state)
    now = Outcome(state, now.trace, now.epochs + 1)
    if now.epochs % max(1, stage.epochs // MIN_JUDGED) and now.epochs < stage.epochs:
        return now, None
    loss = stage.loss_of(info.loss)
    if not math.isfinite(loss):
        raise Diverged(
            f"training diverged: the loss is {loss} in epoch {now.epochs} of "
            f"{stage.label!r}; choose a lower --learning-rate"
        )
    return now, {"loss": loss, **stage.record(state)}
