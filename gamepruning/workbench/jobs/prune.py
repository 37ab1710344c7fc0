"""The main job: train, let players leave, check, compare, and write a run folder."""

from pathlib import Path
from typing import NamedTuple, Unpack

from rich.text import Text

from gamepruning.workbench.jobs.artifacts import write_run
from gamepruning.workbench.jobs.results import summarise
from gamepruning.workbench.jobs.rivals import compare
from gamepruning.workbench.jobs.run import (
    Prepared,
    Run,
    Watch,
    Where,
    open_run,
    prepare,
    train_dense,
)
from gamepruning.workbench.methods.choose import check_choice, choose, selected_method
from gamepruning.workbench.report.results import RunResult
from gamepruning.workbench.report.tables import print_result
from gamepruning.workbench.settings.prune import PruneSettings
from gamepruning.workbench.training.stages import make_trainer, new_progress
from gamepruning.workbench.training.task import Task


class Finished(NamedTuple):
    """A run that is done: its folder and what it found."""

    folder: Path
    result: RunResult


def run_prune(settings: PruneSettings, **where: Unpack[Where]) -> Finished:
    """Train a network, prune it, check the small one, and write a run folder.

    Accuracies are those on the test data, which are read once, at the end. All choices
    use the validation data.

    Args:
      settings: what to do.
      **where: see `Where`.

    Returns:
      The folder and the result.

    Raises:
      InputError: bad input; nothing is left behind.
      KeyboardInterrupt: interrupted; its message says how to resume.
    """
    network = settings.network.name
    run = open_run(settings, settings.dataset, settings.method, network, where)
    settings, watch = run.settings, Watch()
    with watch("data and network"), run.console.status("reading data"):
        made = prepare(
            settings,
            settings.seed,
            rates=settings.rates,
            has_budget=settings.has_budget,
            load=settings.load,
        )
        check_choice(made.task, settings, made.training)
    with run.writing(made.training):
        run.console.print(_greeting(settings.network.name, made.task))
        result = _prune(run, made, watch)
    print_result(run.console, result)
    return Finished(run.tell("report", "report.html"), result)


def _greeting(network: str, task: Task) -> Text:
    data, players = task.dataset, task.players
    sizes = [len(part.labels) for part in (data.train, data.validation, data.test)]
    families = len(players.families)
    line = Text(f"{network} on {data.name}", style="bold")
    return line.append(
        f" ({' / '.join(f'{size:,}' for size in sizes)} examples): "
        f"{players.num_players:,} players in {families} "
        f"{'family' if families == 1 else 'families'}",
        style="not bold",
    )


def _prune(run: Run[PruneSettings], made: Prepared, watch: Watch) -> RunResult:
    """From the data to the small network, and what is written about it."""
    settings, (task, training, keys) = run.settings, made
    with new_progress(run.console) as progress:
        trainer = make_trainer(task, training, run.folder, progress)
        with watch("train the dense network"):
            dense = task.params
            if not _is_trained(settings):
                dense = train_dense(made, trainer, label="train the dense network")
        with watch("choose who stays"):
            choice = choose((keys.train, keys.choose), task, settings, trainer, dense)
        with watch("take out, fine-tune and compare"):
            compared = compare(keys.rest, task, settings, trainer, dense, choice)
    with run.console.status("measuring"), watch("judge and measure"):
        result = summarise(task, settings, training, choice, compared, watch.seconds)
    with run.console.status("writing"), watch("write"):
        write_run(run, task, choice, compared, result)
    return result


def _is_trained(settings: PruneSettings) -> bool:
    """Return True if weights were loaded that are pruned as they are."""
    plays = selected_method(settings).kind == "equilibrium"
    return settings.load is not None and not plays
