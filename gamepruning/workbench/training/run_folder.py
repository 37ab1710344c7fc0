"""The run folder of a command: its settings, and what it read when it began."""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from rich.console import Console
from rich.text import Text

from gamepruning import __version__
from gamepruning.errors import InputError
from gamepruning.files.paths import from_home
from gamepruning.files.run_folder import CONFIG, RunFolder, fresh_name
from gamepruning.files.versions import versions
from gamepruning.workbench.datasets import describe, image_kind
from gamepruning.workbench.settings.parts import CommandSettings
from gamepruning.workbench.training.task import Prepared

PATHS = "dataset datasets module load data_dir test_file".split()  # settings of files
OPEN = (None, [], "auto")  # settings that leave the choice
Settings = TypeVar("Settings", bound=CommandSettings)


def open_folder(
    settings: Settings,
    stem: tuple[str, str, str],
    *,
    out: Path | None,
    resume: bool,
    console: Console,
) -> tuple[RunFolder, Settings]:
    """The folder of a run, and its settings; those of the interrupted run to resume.

    Without `out` it is the next free one in `runs`, named by the stem: data set,
    network and kind of run. The console gets a note if another version began the run.
    """
    if out is None:
        if resume:
            raise InputError("--resume needs --out: which interrupted run is meant?")
        data, network, kind = stem
        network = Path(network.split(":")[0]).stem
        data = Path(os.path.abspath(data)).stem
        out = fresh_name(Path("runs"), f"{data}-{network}-{kind}")
    folder = RunFolder(from_home(out), resume)
    folder.check(settings.COMMAND)
    settings = settings.but(**_absolute(settings))
    return folder, _stored(folder, settings, console) if resume else settings


def check_sources(folder: RunFolder, sources: Mapping[str, str]) -> None:
    """Check that a run to resume reads what it read when it began."""
    known = folder.read_config().get("sources") if folder.resume else None
    for name, found in sources.items():
        if isinstance(known, dict) and known.get(name, found) != found:
            raise InputError(
                f"{name} has changed since the run in {folder.partial} began: put back "
                "what it was to resume, or start anew with another --out"
            )


def write_config(
    folder: RunFolder,
    asked: CommandSettings,
    made: Sequence[Prepared],
    sources: Mapping[str, str],
) -> None:
    """Write `config.json`: the command, all settings, what was read, the versions."""
    given, settled = asked.to_dict(), made[0].training._asdict()
    read = [one.task.dataset for one in made]
    data = {
        "command": asked.command(),
        "settings": given,  # under which an interrupted run is resumed
        "resolved": given | {k: v for k, v in settled.items() if given.get(k) in OPEN},
        "sources": dict(sources),  # fingerprints of what the run reads
        "contents": {one.name: one.contents for one in read},  # of files, likewise
        "data": {one.name: describe(one) for one in read},  # what was done to them
        "versions": versions(),
    }
    folder.write_text(CONFIG, json.dumps(data, indent=2) + "\n")


def _absolute(settings: CommandSettings) -> dict[str, Any]:
    """The settings that name files, as they are from any working folder."""

    def full(value: Any) -> Any:
        if isinstance(value, tuple):
            return tuple(map(full, value))
        path, colon, factory = str(value).rpartition(":")
        end = colon + factory if path.endswith(".py") else ""
        path = from_home(path if end else value)
        is_image_folder = image_kind(str(value), given["data_dir"]) == "folder"
        is_name = isinstance(value, str) and not (path.is_file() or is_image_folder)
        return value if is_name else type(value)(f"{path.absolute()}{end}")

    given = settings.flat()
    return {name: full(given[name]) for name in PATHS if given.get(name)}


def _stored(folder: RunFolder, asked: Settings, console: Console) -> Settings:
    """The settings of the interrupted run; flags beside --resume must agree."""
    config = folder.read_config()
    _tell_version(config.get("versions"), console)
    stored = type(asked).from_dict(config["settings"])
    default, found = type(asked)().to_dict(), stored.to_dict()
    for name, value in asked.to_dict().items():
        if value not in (default[name], found[name]):
            raise InputError(
                f"the interrupted run has {name}={found[name]!r}, not {value!r}: "
                "--resume keeps the settings of the run"
            )
    return stored


def _tell_version(versions: Any, console: Console) -> None:
    begun = versions.get("gamepruning") if isinstance(versions, dict) else None
    if begun != __version__:
        line = f"Note: gamepruning {begun or 'of unknown version'} began this run, "
        console.print(Text(f"{line}{__version__} resumes it", style="yellow"))
