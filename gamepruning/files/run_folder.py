"""A run folder appears whole or not at all, and one process at a time writes to it.

A run writes to `<out>.partial`, which is renamed to `<out>` when the run is done. An
interrupted run can be resumed from the settings and checkpoints that it leaves there.
"""

import contextlib
import dataclasses
import functools
import itertools
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gamepruning.errors import Diverged, memory_problem
from gamepruning.files.atomic import (
    disk_problem,
    new_file,
    sweep_up,
)
from gamepruning.files.lock import Held, hold, holder
from gamepruning.files.records import Records
from gamepruning.types import InputError

CONFIG = "config.json"
METRICS = "metrics.jsonl"
LOCK = "lock"


@dataclasses.dataclass(frozen=True)
class RunFolder:
    """Where a run writes; `working_in` makes it and moves it into place."""

    out: Path  # the folder that will appear
    resume: bool  # resume an interrupted run instead of starting one

    @property
    def partial(self) -> Path:
        """The folder until the run is done."""
        out = self.out if self.out.name else self.out.absolute()
        return out.with_name(out.name + ".partial")

    @property
    def checkpoints(self) -> Path:
        """Where the run's checkpoints lie until it is done."""
        return self.partial / "checkpoints"

    @property
    def has_work(self) -> bool:
        """True if a checkpoint, or a row of results, is on file."""
        kept = (".npz", ".json")
        return any(path.suffix in kept for path in self.checkpoints.glob("[!.]*"))

    def check(self, command: str = "") -> None:
        """Check that the folder can be made or resumed, before any work is done.

        Somebody must not be at work in it. The run to resume must be one of the
        command, such as "prune", if that is given.
        """
        if not self.out.absolute().name:
            raise InputError(
                f"a run cannot be written to {self.out}: name a new folder"
            )
        lock, out = self.partial / LOCK, self.out
        if out.suffix == ".partial":
            raise InputError(
                f"{out} is where an unfinished run works: say --out "
                f"{out.with_suffix('')}"
            )
        if self.partial.is_dir() and (owner := holder(lock)):
            raise InputError(self._is_live(owner))
        if self.resume and _is_finished(out):
            _tidy(out)
            raise InputError(f"the run in {out} is finished: nothing is left to resume")
        if out.exists() or out.is_symlink():
            raise InputError(
                f"the run folder {out} exists: choose another with --out, or move it "
                "away"
            )
        self._check_partial(command)

    def _check_partial(self, command: str) -> None:
        partial = self.partial
        begun = (partial / CONFIG).is_file()
        if self.resume and not begun:
            raise InputError(
                f"nothing to resume: expected an interrupted run in {partial}, found "
                "none; start one without --resume"
            )
        if not self.resume and (begun or _is_used(partial)):
            raise InputError(
                f"an interrupted run is in {partial}: resume it with --resume, or "
                "delete that folder"
            )
        if not (begun and command):
            return
        other = str(self.read_config().get("command")).split()
        if len(other) > 1 and other[1] != command:
            raise InputError(
                f"the run in {partial} is one of {other[1]}, not of {command}: "
                f"gamepruning {other[1]} --resume --out {self.out}"
            )

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Be the only one who works in the partial folder."""
        with contextlib.ExitStack() as stack:
            try:
                stack.enter_context(hold(self.partial / LOCK))
            except Held as held:
                raise InputError(self._is_live(str(held))) from None
            self._check_partial("")
            yield

    def _is_live(self, owner: str) -> str:
        return (
            f"another run is at work in {self.partial} ({owner}): wait for its end, or "
            "choose another folder with --out"
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

    @functools.cached_property
    def records(self) -> Records:
        """What was logged, in `metrics.jsonl`."""
        return Records(self.partial / METRICS)


@contextlib.contextmanager
def working_in(folder: RunFolder, command: str) -> Iterator[RunFolder]:
    """Make a run folder; move it into place if the block ends without an error.

    Nobody else works in it meanwhile. After an error the partial folder stays if it
    holds anything that was trained, and the error says how to resume: by the command,
    such as "gamepruning prune". Else nothing is left.

    Example:
      >>> with working_in(RunFolder(Path("run"), resume=False), "prune") as folder:
      ...     folder.write_text("hello.txt", "world")
      >>> Path("run/hello.txt").read_text()
      'world'
    """
    folder.check()
    try:
        folder.checkpoints.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"cannot make the run folder {folder.partial}: {error.strerror}"
        ) from error
    with folder.held():
        sweep_up(folder.partial)
        try:
            yield folder
            os.replace(folder.partial, folder.out)
        except BaseException as error:
            _tell_end(folder, command, error)
            raise
        _tidy(folder.out)


def _tell_end(folder: RunFolder, command: str, error: BaseException) -> None:
    """Leave what was trained, and raise what the error means in one line.

    An error that is a bug is left to be raised as it is.
    """
    kept = f"resume with: {command} --resume --out {folder.out}"
    if not folder.has_work:
        shutil.rmtree(folder.partial, ignore_errors=True)
        kept = ""
    if isinstance(error, KeyboardInterrupt) and kept:
        raise KeyboardInterrupt(f"interrupted; {kept}") from None
    told, problem = str(error), disk_problem(error)
    if isinstance(error, Diverged) and kept:
        told = f"{told} and another --out, or delete {folder.partial}"
        raise InputError(told) from error
    if not problem and (lacking := memory_problem(error)):
        told = problem = lacking
    elif problem and not isinstance(error, InputError):
        told = f"{problem}: {getattr(error, 'filename', None) or folder.partial}"
    if problem or isinstance(error, InputError):
        rest = f"; what was done is kept, {kept}" if kept else ""
        raise InputError(f"{told}{rest}") from error
    if kept:
        error.add_note(f"What was done is kept, {kept}")


def _is_used(partial: Path) -> bool:
    """True if there is more than what a run makes before it begins."""
    ours = (LOCK, "checkpoints")
    paths = list(partial.rglob("*")) if partial.exists() else []
    return any(path.name not in ours and ".tmp" not in path.name for path in paths)


def _is_finished(out: Path) -> bool:
    """True if this is the folder of a run, and not somebody else's of that name."""
    try:
        config = json.loads((out / CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return False
    match config:
        case {"settings": dict(), "command": str(command)}:
            return command.startswith("gamepruning ")
    return False


def _tidy(out: Path) -> None:
    """Remove from a finished run what only an interrupted one needs."""
    (out / LOCK).unlink(missing_ok=True)
    shutil.rmtree(out / "checkpoints", ignore_errors=True)


def fresh_name(parent: Path, stem: str) -> Path:
    """The first of stem-1, stem-2, ... that neither a run nor a partial run has.

    Example:
      >>> fresh_name(Path("runs"), "digits-mlp").name
      'digits-mlp-1'
    """
    folders = (RunFolder(parent / f"{stem}-{k}", False) for k in itertools.count(1))
    free = (f.out for f in folders if not f.out.exists() and not f.partial.exists())
    return next(free)
