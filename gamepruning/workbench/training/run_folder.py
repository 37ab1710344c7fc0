"""A run folder appears whole or not at all.

A run writes to `<out>.partial`, which is renamed to `<out>` when the run is done. An
interrupted run leaves a partial folder with its settings and checkpoints, from which it
can be resumed.
"""

import contextlib
import dataclasses
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self, TypeVar

from rich.console import Console
from rich.text import Text

from gamepruning import __version__
from gamepruning.errors import InputError
from gamepruning.files.atomic import new_file
from gamepruning.workbench.settings.base import CommandSettings
from gamepruning.workbench.settings.defaults import SettledTraining
from gamepruning.workbench.versions import versions

CHECKPOINTS = "checkpoints"
CONFIG = "config.json"
METRICS = "metrics.jsonl"
Settings = TypeVar("Settings", bound=CommandSettings)


@dataclasses.dataclass(frozen=True)
class RunFolder:
    """Where a run writes; use it in a `with` block.

    Leaving the block without an error renames the folder into place. After bad input
    nothing is left. After any other error, and when a run was resumed, the partial
    folder stays if it holds a checkpoint.

    Attributes:
      out: the folder that will appear.
      resume: resume an interrupted run instead of starting one.

    Raises:
      InputError: on entering: the folder exists, an interrupted run is in the way, or
        there is nothing to resume.

    Example:
      >>> with RunFolder(Path("run"), resume=False) as folder:
      ...     folder.write_text("hello.txt", "world")
      >>> Path("run/hello.txt").read_text()
      'world'
    """

    out: Path
    resume: bool

    @property
    def partial(self) -> Path:
        """The folder until the run is done."""
        return self.out.with_name(self.out.name + ".partial")

    @property
    def checkpoints(self) -> Path:
        """Where the run's checkpoints lie until it is done."""
        return self.partial / CHECKPOINTS

    def check(self) -> None:
        """Check that the folder can be made or resumed, before any work is done."""
        if self.out.exists() or self.out.is_symlink():
            raise InputError(
                f"the run folder {self.out} exists: choose another with --out, or "
                "move it away"
            )
        if self.resume and not (self.partial / CONFIG).is_file():
            raise InputError(
                f"nothing to resume: expected an interrupted run in {self.partial}, "
                "found none; start one without --resume"
            )
        if not self.resume and self.partial.exists():
            raise InputError(
                f"an interrupted run is in {self.partial}: resume it with --resume, "
                "or delete that folder"
            )

    def __enter__(self) -> Self:
        self.check()
        try:
            self.checkpoints.mkdir(parents=True, exist_ok=self.resume)
        except OSError as error:
            raise InputError(
                f"cannot make the run folder {self.partial}: {error.strerror}"
            ) from error
        return self

    def __exit__(self, kind, error, trace) -> None:
        if kind is None:
            shutil.rmtree(self.checkpoints, ignore_errors=True)
            os.replace(self.partial, self.out)
        elif not self.can_resume or (
            _is_bad_input(error) and not self.resume and not self.has_rows
        ):
            shutil.rmtree(self.partial, ignore_errors=True)

    @property
    def can_resume(self) -> bool:
        """True if there is a checkpoint to resume from."""
        return self.checkpoints.is_dir() and any(self.checkpoints.glob("*.npz"))

    @property
    def has_rows(self) -> bool:
        """True if some of the results are there, which took long."""
        return any(self.checkpoints.glob("*.json"))

    def write_text(self, name: str, text: str) -> None:
        """Write a file whole, or leave the old one."""
        with new_file(self.partial / name) as temporary:
            temporary.write_text(text, encoding="utf-8")

    def read_config(self) -> dict[str, Any]:
        """The settings of the interrupted run."""
        path = self.partial / CONFIG
        try:
            config = json.loads(path.read_text(encoding="utf-8"))
            if not isinstance(config, dict):
                raise ValueError("it is no object")
        except (OSError, ValueError, RecursionError) as error:
            raise InputError(
                f"cannot read {path} of the interrupted run: {error}; delete the "
                "folder and start again"
            ) from error
        return config

    def log(self, record: dict[str, Any]) -> None:
        """Append one line to `metrics.jsonl`."""
        with (self.partial / METRICS).open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")

    def records(self) -> list[dict[str, Any]]:
        """The lines of `metrics.jsonl` so far, without one that was cut short."""
        return read_records(self.partial / METRICS)

    def keep_records(self, stage: str, num_epochs: int) -> None:
        """Forget what a stage logged after the epoch that its checkpoint holds."""
        kept = [
            record
            for record in self.records()
            if record["stage"] != stage or record["epoch"] <= num_epochs
        ]
        self.write_text(METRICS, "".join(json.dumps(line) + "\n" for line in kept))


def open_folder(
    settings: Settings,
    stem: tuple[str, str, str],
    *,
    out: Path | None,
    resume: bool,
    console: Console,
) -> tuple[RunFolder, Settings]:
    """The folder of a run, and its settings.

    Args:
      settings: what was asked for.
      stem: data set, network and kind of run, which make up the default name.
      out: the folder that was named; None for the next free one in `runs`.
      resume: resume the interrupted run of `out`, under its own settings.
      console: gets a note if another version began the run.

    Raises:
      InputError: the folder is in the way, there is nothing to resume, or the settings
        of the interrupted run are not those asked for.
    """
    if out is None:
        if resume:
            raise InputError("--resume needs --out: which interrupted run is meant?")
        data, network, kind = stem
        network = Path(network.split(":")[0]).stem
        out = fresh_name(Path("runs"), f"{Path(data).stem}-{network}-{kind}")
    folder = RunFolder(out, resume)
    folder.check()
    return folder, _stored(folder, settings, console) if resume else settings


def write_config(
    folder: RunFolder, asked: CommandSettings, training: SettledTraining
) -> None:
    """Write `config.json`: the command, every setting, and the versions used.

    Args:
      folder: where to.
      asked: the settings as asked for, under which an interrupted run is resumed.
      training: what was chosen where nothing was asked for.
    """
    data = {
        "command": asked.command(),
        "settings": asked.to_dict(),
        "resolved": asked.to_dict() | training._asdict(),
        "versions": versions(),
    }
    folder.write_text(CONFIG, json.dumps(data, indent=2) + "\n")


def _stored(folder: RunFolder, asked: Settings, console: Console) -> Settings:
    """The settings of the interrupted run; flags beside --resume must agree."""
    config = folder.read_config()
    _tell_version(config.get("versions"), console)
    if not isinstance(config.get("settings"), dict):
        raise InputError(
            f"{folder.partial / CONFIG} holds no settings of a run: delete the folder "
            "and start again"
        )
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
    """Print a note if the interrupted run was begun by another version."""
    begun = versions.get("gamepruning") if isinstance(versions, dict) else None
    if begun != __version__:
        line = f"Note: gamepruning {begun or 'of unknown version'} began this run, "
        console.print(Text(f"{line}{__version__} resumes it", style="yellow"))


@contextlib.contextmanager
def working_in(folder: RunFolder, command: str) -> Iterator[None]:
    """Work in a run folder; an error that leaves results there says how to resume.

    Args:
      folder: the folder.
      command: the command without its flags, such as "gamepruning prune".

    Raises:
      InputError: bad input.
      KeyboardInterrupt: interrupted.
    """
    again = f"{command} --resume --out {folder.out}"
    try:
        with folder:
            try:
                yield
            except InputError as error:
                if folder.has_rows:
                    told = f"{error}; what was done is kept, resume with: {again}"
                    raise InputError(told) from error
                raise
    except KeyboardInterrupt:
        if folder.can_resume:
            raise KeyboardInterrupt(f"interrupted; resume with: {again}") from None
        raise


def read_records(path: Path) -> list[dict[str, Any]]:
    """The records of a `metrics.jsonl`, up to the first that is damaged, if any.

    Each has a stage and an epoch. There is none if there is no file.
    """
    records = []
    if path.is_file():
        for line in path.read_text(encoding="utf-8", errors="replace").split("\n"):
            try:
                record = json.loads(line)
            except (ValueError, RecursionError):
                break
            if not _is_record(record):
                break
            records.append(record)
    return records


def _is_record(record: Any) -> bool:
    """Return True if it says which epoch of which stage it is about."""
    match record:
        case {"stage": str(), "epoch": int(epoch)}:
            return not isinstance(epoch, bool)
    return False


def _is_bad_input(error: BaseException | None) -> bool:
    """Return True if starting again would end the same; a full disk can be emptied."""
    return isinstance(error, InputError) and not isinstance(error.__cause__, OSError)


def fresh_name(parent: Path, stem: str) -> Path:
    """The first of stem-1, stem-2, ... that neither a run nor a partial run has.

    Example:
      >>> fresh_name(Path("runs"), "digits-mlp").name
      'digits-mlp-1'
    """
    number = 1
    while True:
        out = parent / f"{stem}-{number}"
        if not out.exists() and not out.with_name(out.name + ".partial").exists():
            return out
        number += 1
