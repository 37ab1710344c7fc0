"""The commands by name, and from the words of a command line to one that can run."""

import contextlib
import dataclasses
import functools
import importlib
import inspect
import io
import json
import re
from collections.abc import Callable, Container, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import tyro
from tyro.conf import arg

import gamepruning
from gamepruning.errors import InputError
from gamepruning.files.paths import from_home
from gamepruning.spelling import closest, condense, flag_of, given_twice, meaning
from gamepruning.workbench import registry
from gamepruning.workbench.settings import parts

Folder = Annotated[Path | None, parts.FOLDER]
USAGE = Path(__file__).with_name("usage.txt")
_MOVED = {"bench": "bench is not a command: run `python -m benchmarks` in a checkout"}
_ALONE = {"compare": {"distributed", "coordinator", "num_processes", "process_id"}}


class RunCommand(NamedTuple):
    """A command that writes a run folder: `module:class` and `module:function`."""

    settings: str
    job: str

    def load(self, unused: Container[str] = ()) -> Callable[..., None]:
        """The command as a function; its signature is the flags, without the unused."""

        def run(
            settings: parts.CommandSettings,
            *,
            out: Folder = None,
            resume: bool = False,
            distributed: bool = False,
            coordinator: Annotated[str | None, parts.flag("HOST:PORT")] = None,
            num_processes: Annotated[int | None, parts.N] = None,
            process_id: Annotated[int | None, parts.N] = None,
        ) -> None:
            """What every run can be told.

            Args:
              settings: What to do.
              out: Folder to make (default: runs/DATA-MODEL-KIND-NUMBER).
              resume: Resume the interrupted run of --out with the settings that it had.
              distributed: Be one of several processes that share the work; the first
                prints and writes.
              coordinator: Address of the first process (default: the cluster says it).
              num_processes: How many there are (default: the cluster says it).
              process_id: Number of this process, from 0 (default: the cluster says it).
            """
            from gamepruning.files.together import Address, working_together

            at = Address(coordinator, num_processes, process_id)
            how = (settings.COMMAND, out, resume, distributed, at)
            with working_together(*how) as own:
                _load(self.job)(settings, out=own, resume=resume)

        settings, flags = _narrowed(_load(self.settings), unused), run.__annotations__
        flags["settings"] = Annotated[settings, arg(name="")]
        flags |= {n: tyro.conf.Suppress[flags[n]] for n in flags if n in unused}
        return run


def _narrowed(settings: Any, unused: Container[str]) -> Any:
    """The same settings, with some flags left out of the help."""
    if not unused:
        return settings
    fields: list[Any] = []
    for field in dataclasses.fields(settings):
        kind, default = field.type, field.default
        if dataclasses.is_dataclass(default):
            kind = _narrowed(type(default), unused)
            default = kind()
        elif field.name in unused:
            kind = tyro.conf.Suppress[kind]
        fields.append((field.name, kind, default))
    own = {"bases": (settings,), "namespace": {"__doc__": settings.__doc__}}
    return dataclasses.make_dataclass(
        settings.__name__, fields, frozen=True, kw_only=True, **own
    )


def explain(
    network: Annotated[parts.NetworkSettings, arg(name="")],
    data: Annotated[parts.DataSettings, arg(name="")],
    *,
    dataset: Annotated[str | None, parts.flag("NAME|FILE.csv")] = None,
    granularity: Literal["unit", "layer", "weight", "branch"] = "unit",
    reductions: Literal["freeze", "gate", "width"] = "freeze",
    json_: Annotated[bool, arg(name="json")] = False,
) -> None:
    """List the players of a network, and what stays and why.

    Examples:
      gamepruning explain --model transformer
      gamepruning explain --model lenet_5 --dataset mnist --data-dir DATA
      gamepruning explain --module net.py:make

    Args:
        network: The network.
        data: How the data set is read.
        dataset: Data set whose inputs the network reads (default: inputs of the size
            that the network was made for).
        granularity: A player is a unit (neuron, filter, head), a family of units
            (layer), a single weight or a residual branch.
        reductions: An axis that is summed over stays whole (freeze), is gated there
            (gate), or shrinks, and means divide by the new size (width).
        json_: Print all slices as JSON instead of a table.
    """
    from gamepruning.workbench.jobs.explain import explained_players

    options = {"granularity": granularity, "reductions": reductions}
    players = explained_players(network, dataset, data, **options)
    print(json.dumps(players.to_dict()) if json_ else players.explain().rstrip())


def methods() -> None:
    """List the methods that choose players.

    Examples:
      gamepruning methods
    """
    print(registry.describe_methods())


def datasets(*, data_dir: Folder = None) -> None:
    """List the data sets, and how to get those that are missing.

    Examples:
      gamepruning datasets
      gamepruning datasets --data-dir DATA

    Args:
        data_dir: Folder of the data sets that are not built in.
    """
    from rich.console import Console

    from gamepruning.workbench.datasets import list_datasets
    from gamepruning.workbench.report.tables import data_hints, data_table

    rows, console = list_datasets(data_dir), Console()
    console.print(data_table(rows))
    for hint in data_hints(rows):
        console.print(hint, highlight=False, markup=False)


def apply_plan(
    *,
    plan: Annotated[Path, arg(metavar="plan.json")],
    checkpoint: Annotated[Path, arg(metavar="IN.safetensors")],
    out: Annotated[Path, arg(metavar="OUT.safetensors")],
) -> None:
    """Cut another checkpoint of the full network down, as the plan of a run says.

    Examples:
      gamepruning apply-plan --plan runs/mine/plan.json
          --checkpoint runs/mine/full.safetensors --out small.safetensors

    Args:
        plan: Plan of a run.
        checkpoint: Weights of the network that the plan was made for.
        out: File to write; it must not exist.
    """
    from gamepruning.workbench.jobs.explain import cut_checkpoint

    print(cut_checkpoint(plan, checkpoint, out))


def predict(
    run: Annotated[tyro.conf.Positional[Path], arg(metavar="RUN")],
    rows: Annotated[tyro.conf.Positional[Path], arg(metavar="rows.csv")],
    *,
    out: Annotated[Path | None, parts.flag("FILE.csv")] = None,
) -> None:
    """Predict the target of raw rows by the small network of a run on a table.

    Columns may be in any order, with the target or without.

    Examples:
      gamepruning predict runs/mine rows.csv
      gamepruning predict runs/mine rows.csv --out predictions.csv

    Args:
        run: Folder of the run.
        rows: File with a header and the columns that the network was trained on.
        out: File to write; it must not exist (default: the standard output).
    """
    from gamepruning.workbench.jobs.predict import predict_rows

    predict_rows(run, rows, out)


COMMANDS: dict[str, RunCommand | Callable[..., None]] = {
    "prune": RunCommand("settings.prune:PruneSettings", "jobs.prune:run_prune"),
    "sweep": RunCommand("settings.studies:SweepSettings", "jobs.sweep:run_sweep"),
    "bands": RunCommand("settings.studies:BandsSettings", "jobs.bands:run_bands"),
    "curve": RunCommand("settings.studies:CurveSettings", "jobs.curve:run_curves"),
    "compare": RunCommand(
        "settings.studies:CompareSettings", "jobs.compare:run_compare"
    ),
    "methods": methods,
    "explain": explain,
    "datasets": datasets,
    "apply-plan": apply_plan,
    "predict": predict,
}


def parse(argv: Sequence[str]) -> Callable[[], None]:
    """Find the command of these words and its settings; it is ready to run."""
    name, rest = (argv[0], list(argv[1:])) if argv else ("--help", [])
    if name == "help" and rest:
        name, *rest = *rest, "--help"
    if name in ("-h", "--help", "help"):
        return functools.partial(print, usage(), end="")
    if name == "--version":
        return functools.partial(print, gamepruning.__version__)
    if name not in COMMANDS:
        told = f"no command {name!r}{closest(name, COMMANDS)}"
        raise InputError(_MOVED.get(name, told))
    command, about, for_help = COMMANDS[name], description_of(name), {"-h", "--help"}
    unused = _ALONE.get(name, ()) if for_help & {*rest} else ()
    if name == "prune":
        rest, method = registry.named_method(rest)
        if method is not None and for_help & {*rest}:
            unused, about = method.unused, method.about
    run = command.load(unused) if isinstance(command, RunCommand) else command
    pairs = () if name == "prune" else (tyro.conf.FlagCreatePairsOff,)
    if twice := given_twice(rest):
        raise InputError(twice)
    complaint = io.StringIO()
    try:
        with contextlib.redirect_stderr(complaint):
            return tyro.cli(
                _deferred(run),
                prog=f"gamepruning {name}{' [METHOD]' * (name == 'prune')}",
                description=about,
                args=rest,
                config=(tyro.conf.OmitArgPrefixes, *pairs),
            )
    except SystemExit as end:
        if end.code:
            told = condense(complaint.getvalue())
            raise InputError(_meaning(told, name, rest)) from None
        return lambda: None


def usage() -> str:
    """The help of the program as a whole."""
    abouts = {name: description_of(name).splitlines()[0] for name in COMMANDS}
    lines = [f"  {name:<12}{about.rstrip('.')}" for name, about in abouts.items()]
    return USAGE.read_text(encoding="utf-8").format(commands="\n".join(lines))


def description_of(name: str) -> str:
    """What a command does, and its examples: the docstring of where its flags are."""
    command = COMMANDS[name]
    flags = _load(command.settings) if isinstance(command, RunCommand) else command
    about = re.split(r"\n\n(?:Args|Attributes):", inspect.getdoc(flags) or "")[0]
    return f"{about}\n\n{registry.describe_flags()}" if name == "prune" else about


def _meaning(told: str, name: str, words: Sequence[str]) -> str:
    """The complaint; what an unknown word means counts more than how it is spelt."""
    flags = {name: _flags(command) for name, command in COMMANDS.items()}
    return meaning(told, words, name, flags)


def _flags(command: RunCommand | Callable[..., None]) -> list[str]:
    is_run = isinstance(command, RunCommand)
    known = _load(command.settings)().flat() if is_run else ()
    own = inspect.signature(command.load() if is_run else command).parameters
    return [flag_of(name).strip("-") for name in (*known, *own)]


def _deferred(run: Callable[..., None]) -> Callable[..., Callable[[], None]]:
    """The same signature, but the work waits until parsing is over; ~ is home."""

    def full(value):
        return from_home(value) if isinstance(value, Path) else value

    @functools.wraps(run)
    def bind(*args, **kwargs):
        own = {name: full(value) for name, value in kwargs.items()}
        return functools.partial(run, *map(full, args), **own)

    return bind


def _load(place: str) -> Any:
    """`module:name` of the workbench, imported only when it is needed."""
    module, name = place.split(":")
    return getattr(importlib.import_module(f"gamepruning.workbench.{module}"), name)
