"""A run folder appears whole or not at all.

A run writes to `<out>.partial`, which is renamed to `<out>` when the run is done. An
interrupted run can be resumed from the settings and checkpoints that it leaves there.
"""

import contextlib
import dataclasses
import itertools
import json
import os
import shutil
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from rich.console import Console
from rich.text import Text

from gamepruning import __version__
from gamepruning.errors import InputError
from gamepruning.files.atomic import new_file
from gamepruning.workbench.settings.parts import CommandSettings, SettledTraining
from gamepruning.workbench.versions import versions

CONFIG = "config.json"
METRICS = "metrics.jsonl"
Settings = TypeVar("Settings", bound=CommandSettings)


@dataclasses.dataclass(frozen=True)
class RunFolder:
    """Where a run writes; `working_in` makes it and moves it into place."""

    out: Path  # the folder that will appear
    resume: bool  # resume an interrupted run instead of starting one
    lock: Any = dataclasses.field(default_factory=threading.RLock, compare=False)

    @property
    def partial(self) -> Path:
        """The folder until the run is done."""
        return self.out.with_name(self.out.name + ".partial")

    @property
    def checkpoints(self) -> Path:
        """Where the run's checkpoints lie until it is done."""
        return self.partial / "checkpoints"

    def has(self, pattern: str) -> bool:
        """True if a checkpoint, "*.npz", or row of results, "*.json", is on file."""
        return any(self.checkpoints.glob(pattern))

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

    def write_text(self, name: str, text: str) -> None:
        """Write a file whole, or leave the old one."""
        with new_file(self.partial / name) as temporary:
            temporary.write_text(text, encoding="utf-8")

    def read_config(self) -> dict[str, Any]:
        """The `config.json` of the interrupted run."""
        path = self.partial / CONFIG
        try:
            config = json.loads(path.read_text(encoding="utf-8"))
            match config:
                case {"settings": dict()}:
                    return config
            raise ValueError("it holds no settings of a run")
        except (OSError, ValueError, RecursionError) as error:
            raise InputError(
                f"cannot read {path} of the interrupted run: {error}; delete the "
                "folder and start again"
            ) from error

    def log(self, record: dict[str, Any]) -> None:
        """Append one line to `metrics.jsonl`."""
        with self.lock, (self.partial / METRICS).open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")

    def records(self) -> list[dict[str, Any]]:
        """The lines of `metrics.jsonl` so far."""
        return read_records(self.partial / METRICS)

    def keep_records(self, stage: str, num_epochs: int) -> None:
        """Forget what a stage logged after the epoch that its checkpoint holds."""
        with self.lock:
            found = self.records()
            self._write_records(
                r for r in found if r["stage"] != stage or r["epoch"] <= num_epochs
            )

    def sort_records(self) -> None:
        """Put the lines of `metrics.jsonl` in the order of their stages' names."""
        self._write_records(sorted(self.records(), key=lambda r: r["stage"]))

    def _write_records(self, records: Iterable[dict[str, Any]]) -> None:
        self.write_text(METRICS, "".join(json.dumps(r) + "\n" for r in records))


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
        out = fresh_name(Path("runs"), f"{Path(data).stem}-{network}-{kind}")
    folder = RunFolder(out, resume)
    folder.check()
    return folder, _stored(folder, settings, console) if resume else settings


def write_config(
    folder: RunFolder, asked: CommandSettings, training: SettledTraining
) -> None:
    """Write `config.json`: the command, every setting, and the versions used."""
    data = {
        "command": asked.command(),
        "settings": asked.to_dict(),  # under which an interrupted run is resumed
        "resolved": asked.to_dict() | training._asdict(),
        "versions": versions(),
    }
    folder.write_text(CONFIG, json.dumps(data, indent=2) + "\n")


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


@contextlib.contextmanager
def working_in(folder: RunFolder, command: str) -> Iterator[RunFolder]:
    """Make a run folder; move it into place if the block ends without an error.

    After bad input nothing is left. After any other error, and when a run was resumed,
    the partial folder stays if it holds a checkpoint, and the error says how to resume:
    by the command, such as "gamepruning prune".

    Example:
      >>> with working_in(RunFolder(Path("run"), resume=False), "prune") as folder:
      ...     folder.write_text("hello.txt", "world")
      >>> Path("run/hello.txt").read_text()
      'world'
    """
    folder.check()
    try:
        folder.checkpoints.mkdir(parents=True, exist_ok=folder.resume)
    except OSError as error:
        raise InputError(
            f"cannot make the run folder {folder.partial}: {error.strerror}"
        ) from error
    try:
        yield folder
    except BaseException as error:
        again = f"resume with: {command} --resume --out {folder.out}"
        is_bad = isinstance(error, InputError)  # a full disk can be emptied, though
        is_lasting = is_bad and not isinstance(error.__cause__, OSError)
        has_rows = folder.has("*.json")  # which took long
        is_new = not folder.resume and not has_rows
        if not folder.has("*.npz") or (is_new and is_lasting):
            shutil.rmtree(folder.partial, ignore_errors=True)
        elif isinstance(error, KeyboardInterrupt):
            raise KeyboardInterrupt(f"interrupted; {again}") from None
        elif is_bad and has_rows:
            raise InputError(f"{error}; what was done is kept, {again}") from error
        raise
    shutil.rmtree(folder.checkpoints, ignore_errors=True)
    os.replace(folder.partial, folder.out)


def read_records(path: Path) -> list[dict[str, Any]]:
    """The records of a `metrics.jsonl`, up to the first that is damaged, if any.

    Each has a stage and an epoch. There is none if there is no file.
    """
    records: list[dict[str, Any]] = []
    text = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
    with contextlib.suppress(ValueError, RecursionError):
        for line in text.split("\n"):
            match record := json.loads(line):
                case {"stage": str(), "epoch": bool()}:
                    break
                case {"stage": str(), "epoch": int()}:
                    records.append(record)
                case _:
                    break
    return records


def fresh_name(parent: Path, stem: str) -> Path:
    """The first of stem-1, stem-2, ... that neither a run nor a partial run has.

    Example:
      >>> fresh_name(Path("runs"), "digits-mlp").name
      'digits-mlp-1'
    """
    folders = (RunFolder(parent / f"{stem}-{k}", False) for k in itertools.count(1))
    free = (f.out for f in folders if not f.out.exists() and not f.partial.exists())
    return next(free)
