"""What every command that writes a run folder does: open, prepare, train, tell."""

import dataclasses
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Generic, NamedTuple, Protocol, TypedDict, TypeVar

import jax
from rich.console import Console

from gamepruning.errors import InputError
from gamepruning.files.atomic import new_file
from gamepruning.workbench.settings.parts import (
    NO_RATES,
    CommandSettings,
    DataSettings,
    NetworkSettings,
    RateSettings,
    SettledTraining,
    TrainingSettings,
    settle,
)
from gamepruning.workbench.training.checkpoints import load_weights
from gamepruning.workbench.training.loop import make_train_step
from gamepruning.workbench.training.optimizers import weight_optimizer
from gamepruning.workbench.training.run_folder import (
    RunFolder,
    open_folder,
    working_in,
    write_config,
)
from gamepruning.workbench.training.stages import Trainer, train_weights
from gamepruning.workbench.training.task import Task, make_task

SettingsT = TypeVar("SettingsT", bound=CommandSettings)


@dataclasses.dataclass(frozen=True)
class Run(Generic[SettingsT]):
    """A run: its settings, its folder, and where it speaks.

    Attributes:
      settings: what was asked for; those of the interrupted run when it resumes.
      folder: where it writes.
      console: where progress and tables go.
    """

    settings: SettingsT
    folder: RunFolder
    console: Console

    @contextmanager
    def writing(self, training: SettledTraining) -> Iterator[None]:
        """Work in the folder; it appears whole when the block ends without an error."""
        with working_in(self.folder, f"gamepruning {self.settings.COMMAND}"):
            write_config(self.folder, self.settings, training)
            yield

    def write_json(self, name: str, facts: dict[str, Any]) -> None:
        """Write the command and what was found."""
        data = {"command": self.settings.command(), **facts}
        self.folder.write_text(name, json.dumps(data, indent=1) + "\n")

    def save_figure(self, name: str, figure: Any) -> None:
        """Write `figures/<name>.png`."""
        from gamepruning.workbench.report import theme  # matplotlib is slow to import

        (self.folder.partial / "figures").mkdir(exist_ok=True)
        theme.save_png(figure, self.folder.partial / "figures" / f"{name}.png")

    def row(self, name: str, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """A row of results; one that an interrupted run has on file is read again."""
        path = self.folder.checkpoints / f"{name}.json"
        if not path.is_file():
            row = make()
            with new_file(path) as temporary:
                temporary.write_text(json.dumps(row), encoding="utf-8")
            return row
        try:
            return json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise InputError(
                f"{path} is corrupt: delete it to draw it again"
            ) from error

    def tell(self, what: str, file: str) -> Path:
        """Say where a file is, and return the folder."""
        where = self.folder.out / file
        self.console.print(f"{what}: {where}", markup=False, soft_wrap=True)
        return self.folder.out


class Where(TypedDict, total=False):
    """Where a run writes.

    Attributes:
      out: the folder to make; `runs/<data>-<model>-<kind>-<n>` if None.
      resume: resume the interrupted run of `out`, under its own settings.
      console: where progress and tables go; the terminal if None.
    """

    out: Path | None
    resume: bool
    console: Console | None


def open_run(
    settings: SettingsT, data: str, kind: str, network: str, where: Where
) -> Run[SettingsT]:
    """Open the folder of a run.

    Raises:
      InputError: the folder is in the way, there is nothing to resume, or its settings
        are not those asked for.
    """
    console = where.get("console") or Console()
    folder, settings = open_folder(
        settings,
        (data, network, kind),
        out=where.get("out"),
        resume=where.get("resume", False),
        console=console,
    )
    return Run(settings, folder, console)


class Keys(NamedTuple):
    """The random keys of a seed: of the network's start, of training, of the choice of
    players, and of what comes after it."""

    init: jax.Array
    train: jax.Array
    choose: jax.Array
    rest: jax.Array


class Prepared(NamedTuple):
    """A task of one seed, how its networks are trained, and its random keys."""

    task: Task
    training: SettledTraining
    keys: Keys


class NetworkChoice(Protocol):
    """Settings of a data set, a network and its training."""

    @property
    def data(self) -> DataSettings: ...
    @property
    def dataset(self) -> str: ...
    @property
    def network(self) -> NetworkSettings: ...
    @property
    def training(self) -> TrainingSettings: ...


def prepare(
    settings: NetworkChoice,
    seed: int,
    *,
    rates: RateSettings = NO_RATES,
    has_budget: bool = False,
    load: Path | None = None,
) -> Prepared:
    """Read the data, make the network of a seed, and settle how it is trained.

    Weights to load take the place of those of the seed.

    Raises:
      InputError: data, network or weights are not there, or do not fit each other.
    """
    keys = Keys(*jax.random.split(jax.random.key(seed), 4))
    data, network = settings.data, settings.network
    task = make_task(settings.dataset, data, network, seed=seed, key=keys.init)
    if load is not None:
        task = task._replace(params=load_weights(load, task.params))
    training = settle_for(task, settings, rates, has_budget=has_budget)
    return Prepared(task, training, keys)


def settle_for(
    task: Task, settings: NetworkChoice, rates: RateSettings, *, has_budget: bool
) -> SettledTraining:
    """How a network of this task is trained; see `settle`."""
    return settle(
        settings.training,
        rates,
        network=settings.network.name,
        num_train=len(task.dataset.train.labels),
        task=task.dataset.task,
        has_budget=has_budget,
    )


def train_dense(
    made: Prepared, trainer: Trainer, *, name: str = "dense", label: str
) -> Any:
    """Train the dense network, the same for every command with this seed."""
    task, training = made.task, made.training
    step = make_train_step(task.network, task.loss, weight_optimizer(training))
    return train_weights(
        name,
        label,
        epochs=training.epochs,
        key=made.keys.train,
        made=step,
        apply=task.network.apply,
        params=task.params,
        trainer=trainer,
    )


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
