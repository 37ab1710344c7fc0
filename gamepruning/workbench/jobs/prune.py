"""The main job: train, let players leave, check, compare, and write a run folder."""

import functools
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, Unpack

from rich.text import Text

from gamepruning.workbench.jobs.artifacts import write_run
from gamepruning.workbench.jobs.results import summarise
from gamepruning.workbench.jobs.rivals import compare, train_dense
from gamepruning.workbench.jobs.run import Run, Where, open_run, prepare
from gamepruning.workbench.methods.choose import check_choice, choose
from gamepruning.workbench.methods.subject import Choice
from gamepruning.workbench.registry import find_method
from gamepruning.workbench.report.results import RunResult
from gamepruning.workbench.report.tables import print_result
from gamepruning.workbench.settings.prune import PruneSettings
from gamepruning.workbench.training import stages
from gamepruning.workbench.training.sizes import measure_latency
from gamepruning.workbench.training.task import Prepared, Task


class Finished(NamedTuple):
    """A run that is done: its folder and what it found."""

    folder: Path
    result: RunResult


def run_prune(settings: PruneSettings, **where: Unpack[Where]) -> Finished:
    """Train a network, prune it, check the small one, and write a run folder.

    Accuracies are those on the test data, which are read once, at the end. All choices
    use the validation data. After bad input nothing is left behind; the message of a
    `KeyboardInterrupt` says how to resume.
    """
    stem = (settings.dataset, settings.network.name, settings.method)
    run = open_run(settings, stem, where)
    settings = run.settings
    seconds: dict[str, float] = {}
    with _timed(seconds, "data and network"), run.console.status("reading data"):
        made = prepare(
            settings,
            settings.seed,
            rates=settings.settled_rates,
            has_budget=settings.has_budget,
            load=settings.load,
        )
    table = run.folder.checkpoints / "latency.npz"
    if settings.size.counted == "latency":
        with _timed(seconds, "time products"), run.console.status("timing products"):
            made = made._replace(task=measure_latency(made.task, table))
    check_choice(made, settings)
    with run.writing(made):
        run.console.print(_greeting(made.task))
        if made.task.latency is not None:
            made.task.latency.save(table)
        result = _prune(run, made, seconds)
    print_result(run.console, result)
    return Finished(run.tell("report", "report.html"), result)


@contextmanager
def _timed(seconds: dict[str, float], name: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    seconds[name] = time.perf_counter() - start


def _greeting(task: Task) -> Text:
    network, data, players = task.network.name, task.dataset, task.players
    sizes = [len(part.labels) for part in (data.train, data.validation, data.test)]
    families = len(players.families)
    return Text.assemble(
        (f"{network} on {data.name}", "bold"),
        f" ({' / '.join(f'{size:,}' for size in sizes)} examples): "
        f"{players.num_players:,} players in {families} "
        f"{'family' if families == 1 else 'families'}",
    )


def _prune(
    run: Run[PruneSettings], made: Prepared, seconds: dict[str, float]
) -> RunResult:
    """From the data to the small network, and what is written about it."""
    settings, (task, training, _) = run.settings, made
    with stages.new_progress(run.console) as progress:
        trainer = stages.make_trainer(task, training, run.folder, progress)
        dense, choice = _train_and_choose(made, settings, trainer, seconds)
        with _timed(seconds, "take out, fine-tune and compare"):
            compared = compare(made, settings, trainer, dense, choice)
    with run.console.status("measuring"):
        result = summarise(task, settings, training, choice, compared, seconds)
    with run.console.status("writing"):
        run.folder.records.sort()  # which stages side by side have mixed
        return write_run(run, task, choice, compared, result)


def _train_and_choose(
    made: Prepared,
    settings: PruneSettings,
    trainer: stages.Trainer,
    seconds: dict[str, float],
) -> tuple[Any, Choice]:
    """The weights of the dense network, and who stays; a game has no need of them."""
    label = "train the dense network"
    train = functools.partial(train_dense, made, trainer, label=label)
    if find_method(settings.method).kind != "equilibrium":
        with _timed(seconds, label):
            dense = made.task.params if settings.load else train()  # pruned as they are
        with _timed(seconds, "choose who stays"):
            return dense, choose(made, settings, trainer, dense)
    play = functools.partial(choose, made, settings, trainer, None)
    with _timed(seconds, f"{label} and play the game"):
        return stages.side_by_side(trainer, train, play)
