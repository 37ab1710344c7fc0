"""What every command that writes a run folder does: open, prepare, write, tell."""

import dataclasses
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Generic, TypedDict, TypeVar

import jax
from rich.console import Console
from rich.text import Text

from gamepruning.compaction.torch_names import has_torch_names, load_torch
from gamepruning.compaction.user_network import load_weights, programs_of
from gamepruning.errors import InputError
from gamepruning.files.atomic import new_file
from gamepruning.files.fingerprint import fingerprint
from gamepruning.files.plain_json import to_json
from gamepruning.files.python import told_own
from gamepruning.files.run_folder import RunFolder, working_in
from gamepruning.files.trained import check_trained_alike
from gamepruning.workbench.settings import parts
from gamepruning.workbench.training import run_folder
from gamepruning.workbench.training.task import Keys, Prepared, Task, make_task

SettingsT = TypeVar("SettingsT", bound=parts.CommandSettings)
OneDataset = parts.DatasetCommandSettings


class Where(TypedDict, total=False):
    """Where a run writes."""

    out: Path | None  # the folder; `runs/<data>-<model>-<kind>-<n>` if None
    resume: bool  # resume the interrupted run of `out`, under its own settings
    console: Console | None  # where progress and tables go; the terminal if None


@dataclasses.dataclass(frozen=True)
class Run(Generic[SettingsT]):
    """A run: its settings, its folder, and where it speaks."""

    settings: SettingsT  # as asked for; those of the interrupted run when it resumes
    folder: RunFolder
    console: Console

    @contextmanager
    def writing(self, *made: Prepared) -> Iterator[None]:
        """Work in the folder; it appears whole when the block ends without an error.

        A run that is resumed must have prepared what it had when it began.
        """
        settings, folder = self.settings, self.folder
        sources = sources_of(settings, made)
        run_folder.check_sources(folder, sources)
        own = told_own(settings.network.module)
        with working_in(folder, f"gamepruning {settings.COMMAND}"), own:
            run_folder.write_config(folder, settings, made, sources)
            for name, lines in folder.read_config()["data"].items():
                for line in lines:
                    self.console.print(Text(f"{name}: {line}", style="dim"))
            for note in made[0].task.notes:
                self.console.print(Text(f"Note: {note}", style="yellow"))
            yield

    def write(
        self, facts: Mapping, csv: str, figures: Mapping[str, Any], tables: Sequence
    ) -> None:
        """Write what was found as JSON, as CSV, in figures, and in a page."""
        name, folder = self.settings.COMMAND, self.folder
        data = {"command": self.settings.command(), **facts}
        folder.write_text(f"{name}.json", to_json(data, indent=1) + "\n")
        folder.write_text(f"{name}.csv", csv)
        for figure_name, figure in figures.items():
            self.save_figure(figure_name, figure)
        if tables:
            from gamepruning.workbench.report import page, theme

            svgs = {n: theme.to_html(f, name=n) for n, f in figures.items()}
            what = {"settings": self.settings, "tables": tables, "figures": svgs}
            what |= {"facts": facts, "data": folder.read_config()["data"]}
            folder.write_text("report.html", page.render("study.html", **what))

    def save_figure(self, name: str, figure: Any) -> None:
        """Write `figures/<name>.png`."""
        from gamepruning.workbench.report import theme  # matplotlib is slow to import

        with new_file(self.folder.partial / "figures" / f"{name}.png") as path:
            theme.save_png(figure, path)

    def row(self, name: str, make: Callable[..., dict], *args: Any) -> dict[str, Any]:
        """The row `make(*args)`; one that an interrupted run has on file is read."""
        path = self.folder.checkpoints / f"{name}.json"
        if not path.is_file():
            row = make(*args)
            self.folder.write_text(f"checkpoints/{name}.json", json.dumps(row))
            return row
        try:
            return json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            told = f"{path} is corrupt: delete it to draw it again"
            raise InputError(told) from error

    def tell(self, what: str, file: str) -> Path:
        """Say where a file is, and return the folder."""
        where = self.folder.out / file
        self.console.print(f"{what}: {where}", markup=False, soft_wrap=True)
        return self.folder.out


def open_run(
    settings: SettingsT, stem: tuple[str, str, str], where: Where
) -> Run[SettingsT]:
    """Open the folder of a run; data set, network and kind make up its default name."""
    console = where.get("console") or Console()
    out, resume = where.get("out"), where.get("resume", False)
    folder, settings = run_folder.open_folder(
        settings, stem, out=out, resume=resume, console=console
    )
    return Run(settings, folder, console)


def prepare(
    settings: OneDataset,
    seed: int,
    *,
    rates: parts.RateSettings = parts.NO_RATES,
    has_budget: bool = False,
    load: Path | None = None,
) -> Prepared:
    """Read the data, make the network of a seed, and settle how it is trained.

    Weights to load take the place of those of the seed.
    """
    keys = Keys(*jax.random.split(jax.random.key(seed), 4))
    data, network = settings.data, settings.network
    is_published = load is not None and network.module is None and has_torch_names(load)
    data = data.for_published() if is_published else data
    options = {"seed": seed, "key": keys.init, "is_loaded": load is not None}
    with told_own(network.module):
        task = make_task(settings.dataset, data, network, settings.training, **options)
    is_calibrated = settings.flat().get("value") == "calibrated"
    if is_calibrated and task.dataset.task != "classification":
        raise InputError("--value calibrated is for classes: take loss or metric")
    if load is not None:
        here: Any = {"inputs": task.dataset.preprocessing}
        here["contents"] = task.dataset.contents
        check_trained_alike(load, settings.to_dict(), settings.data.flat(), **here)
        read = load_torch if is_published else load_weights
        task = task._replace(params=read(load, task.params))
    training = settle_for(task, settings, rates, has_budget=has_budget)
    return Prepared(task, training, keys)


def sources_of(
    settings: parts.CommandSettings, made: Sequence[Prepared]
) -> dict[str, str]:
    """Fingerprints of the data, and of the network where that is the user's."""
    given, task = settings.flat(), made[0].task
    names = given.get("datasets") or (given["dataset"],)
    found, test = {}, settings.data.test_file
    for name, one in zip(names, made, strict=True):
        d = one.task.dataset
        whole = (d.class_names, d.train, d.validation, None if test else d.test)
        found[name] = fingerprint(*whole, d.contents[: 1 if test else None])
        if test is not None:
            found[f"{test}"] = fingerprint(d.test, d.contents[1:])
    if settings.network.module:
        measures, data = (task.loss, task.metric), task.dataset.train
        programs = programs_of(task.network, task.params, measures, data)
        found[settings.network.module] = fingerprint(programs)
    if brought := given.get("load") or settings.network.module:
        found[f"{brought}"] = fingerprint(found.get(f"{brought}"), task.params)
    return found


def settle_for(
    task: Task, settings: OneDataset, rates: parts.RateSettings, *, has_budget: bool
) -> parts.SettledTraining:
    """How a network of this task is trained; see `settle`."""
    return parts.settle(
        settings.training,
        rates,
        network=settings.network.name,
        num_train=len(task.dataset.train.labels),
        task=task.dataset.task,
        has_budget=has_budget,
    )
