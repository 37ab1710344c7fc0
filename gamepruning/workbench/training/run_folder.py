"""A run folder appears whole or not at all.

Work goes on in `<out>.partial` and is renamed to `<out>` when it is done. What an
interrupted run leaves is a partial folder with checkpoints, from which it goes on.
"""

import contextlib
import dataclasses
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

from gamepruning.files.atomic import new_file
from gamepruning.types import InputError

CHECKPOINTS = "checkpoints"
CONFIG = "config.json"
METRICS = "metrics.jsonl"


@dataclasses.dataclass(frozen=True)
class RunFolder:
    """Where a run writes; use it in a `with` block.

    Leaving the block without an error renames the folder into place. After bad input
    nothing is left; after any other end, and when going on, the partial folder stays
    if it holds a checkpoint to go on from.

    Attributes:
      out: the folder that will appear.
      resume: go on from an interrupted run instead of starting one.

    Raises:
      InputError: on entering: the folder exists, an interrupted run is in the way, or
        there is nothing to go on from.

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
        """The folder while the run goes on."""
        return self.out.with_name(self.out.name + ".partial")

    @property
    def checkpoints(self) -> Path:
        """Where the run's checkpoints lie while it goes on."""
        return self.partial / CHECKPOINTS

    def check(self) -> None:
        """Say what is wrong with the place, before any work is done."""
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
                f"an interrupted run is in {self.partial}: go on with --resume, or "
                "delete that folder"
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
        """Whether there is a checkpoint to go on from."""
        return self.checkpoints.is_dir() and any(self.checkpoints.glob("*.npz"))

    @property
    def has_rows(self) -> bool:
        """Whether some of the results are there, which took long."""
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


def place_of(out: Path | None, resume: bool, *, stem: str) -> RunFolder:
    """The folder that was asked for, or the next free one in `runs`.

    Args:
      out: the folder asked for; None for `runs/<stem>-<n>`.
      resume: whether to go on with an interrupted run.
      stem: how a folder that nobody named is named.

    Raises:
      InputError: going on, but with which?
    """
    if out is None and resume:
        raise InputError("--resume needs --out: which interrupted run is meant?")
    return RunFolder(fresh_name(Path("runs"), stem) if out is None else out, resume)


@contextlib.contextmanager
def working_in(folder: RunFolder, command: str) -> Iterator[None]:
    """Work in a run folder; an interruption says how to go on, and so does bad input
    that came to light when some results were there.

    Args:
      folder: the folder.
      command: the command that goes on, but for its flags, such as "gamepruning prune".

    Raises:
      InputError: bad input.
      KeyboardInterrupt: interrupted.
    """
    on = f"{command} --resume --out {folder.out}"
    try:
        with folder:
            try:
                yield
            except InputError as error:
                if folder.has_rows:
                    told = f"{error}; what was done is kept, go on with: {on}"
                    raise InputError(told) from error
                raise
    except KeyboardInterrupt:
        if folder.can_resume:
            raise KeyboardInterrupt(f"interrupted; go on with: {on}") from None
        raise


def read_records(path: Path) -> list[dict[str, Any]]:
    """The records of a `metrics.jsonl` up to the first that is damaged, if any.

    Args:
      path: the file; where there is none there are no records.

    Returns:
      Records, each with a stage and an epoch.
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
    """Whether it says which epoch of which stage it is about."""
    if not isinstance(record, dict):
        return False
    return isinstance(record.get("stage"), str) and type(record.get("epoch")) is int


def _is_bad_input(error: BaseException | None) -> bool:
    """Whether starting again would end the same; a full disk can be emptied."""
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
