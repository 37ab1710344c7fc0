"""The main job: train, let players leave, check, compare, and write a run folder."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import jax
from rich.console import Console
from rich.text import Text

from gamepruning.workbench.jobs.artifacts import write_run
from gamepruning.workbench.jobs.results import summarise
from gamepruning.workbench.jobs.rivals import Comparison, compare
from gamepruning.workbench.methods.bandits import check_bandit, choose_by_bandit
from gamepruning.workbench.methods.equilibrium import (
    Choice,
    check_keep,
    check_round_to,
    choose_by_equilibrium,
    choose_by_scores,
)
from gamepruning.workbench.methods.indices import check_indices, choose_by_indices
from gamepruning.workbench.methods.registry import find_method
from gamepruning.workbench.report.results import RunResult
from gamepruning.workbench.report.tables import print_result
from gamepruning.workbench.settings.defaults import SettledTraining, settle
from gamepruning.workbench.settings.prune import PruneSettings
from gamepruning.workbench.training.checkpoints import load_weights
from gamepruning.workbench.training.loop import make_train_step
from gamepruning.workbench.training.optimizers import make_game_step, weight_optimizer
from gamepruning.workbench.training.run_folder import (
    RunFolder,
    open_folder,
    working_in,
    write_config,
)
from gamepruning.workbench.training.stages import (
    Trainer,
    make_trainer,
    new_progress,
    train_weights,
)
from gamepruning.workbench.training.task import Task, make_task


class Finished(NamedTuple):
    """A run that is done: its folder and what it found."""

    folder: Path
    result: RunResult


class Keys(NamedTuple):
    """Random keys of a run, one for each use."""

    init: jax.Array
    train: jax.Array
    choose: jax.Array
    compare: jax.Array


class Watch:
    """Wall-clock seconds of each part of a run."""

    def __init__(self):
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        try:
            yield
        finally:
            spent = time.perf_counter() - start
            self.seconds[name] = self.seconds.get(name, 0.0) + spent


def run_prune(
    settings: PruneSettings,
    *,
    out: Path | None = None,
    resume: bool = False,
    console: Console | None = None,
) -> Finished:
    """Train a network, prune it, check the small one, and write a run folder.

    Accuracies are those on the test data, which are read once, at the end. All choices
    use the validation data.

    Args:
      settings: what to do.
      out: the folder to make; `runs/<data>-<model>-<method>-<n>` if None.
      resume: go on with the interrupted run of `out`, under its own settings.
      console: where progress and tables go; the terminal if None.

    Returns:
      The folder and the result.

    Raises:
      InputError: bad input; nothing is left behind.
      KeyboardInterrupt: interrupted; its message says how to go on.
    """
    console = console or Console()
    stem = (settings.dataset, settings.network.name, settings.method)
    folder, settings = open_folder(
        settings, stem, out=out, resume=resume, console=console
    )
    watch = Watch()
    keys = Keys(*jax.random.split(jax.random.key(settings.seed), 4))
    with watch("data and network"), console.status("reading data"):
        task = make_task(
            settings.dataset,
            settings.data,
            settings.network,
            seed=settings.seed,
            key=keys.init,
        )
        training = _settle(settings, task)
        start = _start(settings, task)
    with working_in(folder, "gamepruning prune"):
        write_config(folder, settings, training)
        _greet(console, task, settings)
        result = _run(task, settings, training, keys, start, folder, console, watch)
    print_result(console, result)
    console.print(f"report: {folder.out / 'report.html'}", markup=False, soft_wrap=True)
    return Finished(folder.out, result)


def _settle(settings: PruneSettings, task: Task) -> SettledTraining:
    """Everything that can be checked before training is checked here."""
    num_train = len(task.dataset.train.labels)
    training = settle(
        settings.training,
        settings.rates,
        network=settings.network.name,
        num_train=num_train,
        task=task.dataset.task,
        has_budget=settings.has_budget,
    )
    kind = find_method(settings.method).kind
    if kind == "equilibrium":
        check_round_to(task.players, settings)
        make_game_step(task, settings, training)  # fails if --keep cannot be met
    elif kind == "bandit":
        check_bandit(task, settings)
    else:
        check_keep(task.players, settings)
        if kind == "index":
            check_indices(task, settings)
    return training


def _start(settings: PruneSettings, task: Task) -> Any:
    if settings.load is None:
        return task.params
    return load_weights(settings.load, task.params)


def _greet(console: Console, task: Task, settings: PruneSettings) -> None:
    data, players = task.dataset, task.players
    sizes = [len(part.labels) for part in (data.train, data.validation, data.test)]
    families = len(players.families)
    line = Text(f"{settings.network.name} on {data.name}", style="bold")
    line.append(
        f" ({' / '.join(f'{size:,}' for size in sizes)} examples): "
        f"{players.num_players:,} players in {families} "
        f"{'family' if families == 1 else 'families'}",
        style="not bold",
    )
    console.print(line)


def _run(
    task, settings, training, keys: Keys, start, folder, console, watch: Watch
) -> RunResult:
    with new_progress(console) as progress:
        trainer = make_trainer(task, training, folder, progress)
        with watch("train the dense network"):
            dense = _train_dense(keys.train, task, settings, trainer, start)
        with watch("choose who stays"):
            choice = _choose(keys, task, settings, trainer, start, dense)
        with watch("take out, fine-tune and compare"):
            compared = compare(keys.compare, task, settings, trainer, dense, choice)
    return _finish(task, settings, training, choice, compared, folder, console, watch)


def _train_dense(key, task: Task, settings: PruneSettings, trainer: Trainer, start):
    """The dense network at the end of training; loaded ones are pruned as they are."""
    if settings.load is not None and settings.method != "equilibrium":
        return start
    tx = weight_optimizer(trainer.training)
    return train_weights(
        "dense",
        "train the dense network",
        epochs=trainer.training.epochs,
        key=key,
        made=make_train_step(task.network, task.loss, tx),
        apply=task.network.apply,
        params=start,
        trainer=trainer,
    )


def _choose(keys: Keys, task, settings, trainer, start, dense) -> Choice:
    if settings.method == "equilibrium":  # same batches as the dense network
        return choose_by_equilibrium(keys.train, task, settings, trainer, start)
    kind = find_method(settings.method).kind
    if kind == "index":
        return choose_by_indices(keys.choose, task, settings, dense, trainer)
    if kind == "bandit":
        return choose_by_bandit(keys.choose, task, settings, dense, trainer)
    return choose_by_scores(keys.choose, task, settings, dense)


def _finish(
    task: Task,
    settings: PruneSettings,
    training: SettledTraining,
    choice: Choice,
    compared: Comparison,
    folder: RunFolder,
    console: Console,
    watch: Watch,
) -> RunResult:
    with console.status("measuring"), watch("judge and measure"):
        result = summarise(task, settings, training, choice, compared, watch.seconds)
    with console.status("writing"), watch("write"):
        write_run(folder, task, settings, choice, compared, result)
    return result
