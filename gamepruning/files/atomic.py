"""Files and folders that appear whole or not at all."""

import errno
import glob
import hashlib
import os
import re
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from gamepruning.types import InputError

# What a disk says, in the words that libraries put into errors of their own.
_OLD = ".old"  # ends the name of a folder while another takes its place
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO)


@contextmanager
def new_file(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a temporary path to write to; move it to `path` if all went well.

    An older file at `path` stays until the new one takes its place.

    Raises:
      InputError: if the disk does not let it be written.

    Example:
      >>> with new_file("note.txt") as temporary:
      ...     _ = temporary.write_text("done")
      >>> Path("note.txt").read_text()
      'done'
    """
    path = Path(path).absolute()
    temporary = _beside(path)
    with _disk_errors(path):
        if path.is_dir():
            raise InputError(f"expected a file to write, got the folder {path}")
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield temporary
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)


@contextmanager
def new_folder(
    path: str | os.PathLike[str], *, may_replace: Callable[[Path], bool]
) -> Iterator[Path]:
    """Give a temporary path for a folder; move it to `path` if all went well.

    Args:
      path: the folder to make.
      may_replace: says of a folder that exists and is not empty whether it is an older
        one of the same kind. No other folder is ever replaced.

    Raises:
      InputError: if `path` exists and may not be replaced, or the disk does not let it
        be written.
    """
    path = Path(path).absolute()
    if path.exists() and not _is_free(path) and not may_replace(path):
        raise InputError(f"{path} exists and holds something else: name a new folder")
    temporary, old = _beside(path), _beside(path, _OLD)
    with _disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield temporary
            if path.exists():
                os.replace(path, old)
            os.replace(temporary, path)
        except BaseException:
            if old.exists() and not path.exists():
                os.replace(old, path)
            raise
        finally:
            pattern = f"{glob.escape(temporary.name)}*"
            for leftover in (*path.parent.glob(pattern), old):
                shutil.rmtree(leftover, ignore_errors=True)


def check_space(folder: Path, num_bytes: int) -> None:
    """Check that so many bytes can be written now, where the system can tell.

    Raises:
      OSError: the disk is full, or the user's share of it.
    """
    if not hasattr(os, "posix_fallocate"):
        return
    with tempfile.TemporaryFile(dir=folder) as file:
        try:
            os.posix_fallocate(file.fileno(), 0, num_bytes)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise


def sweep_up(folder: Path) -> None:
    """Remove what writers left in a folder who were killed before they were done.

    A folder that was about to be replaced is put back where its place is empty.
    """
    for path in folder.rglob(f".*{_OLD}"):
        name = re.fullmatch(rf"\.(.+)\.[0-9a-f]{{8}}{re.escape(_OLD)}", path.name)
        if name is None:  # somebody else's
            continue
        place = path.with_name(name[1])
        if place.exists():
            shutil.rmtree(path, ignore_errors=True)
        else:
            os.replace(path, place)
    for path in folder.rglob(".*.tmp*"):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def disk_problem(error: BaseException) -> str:
    """What the disk said where it is behind an error, whoever raised it; else "".

    Example:
      >>> disk_problem(ValueError("RESOURCE_EXHAUSTED: No space left on device"))
      'No space left on device'
    """
    told = (os.strerror(code) for code in _FULL)
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    for words in told:
        if words in str(error):
            return words
    behind = error.__cause__ or error.__context__
    return disk_problem(behind) if behind is not None else ""


def checksum(data: bytes) -> str:
    """The SHA-256 of some bytes, in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


@contextmanager
def _disk_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        problem = disk_problem(error)
        if isinstance(error, OSError) or problem:
            final = re.sub(r"(^|/)\.([^/]+)\.[0-9a-f]{8}\.tmp", r"\1\2", str(path))
            raise InputError(f"cannot write {final}: {problem or error}") from error
        raise


def _is_free(path: Path) -> bool:
    return path.is_dir() and not any(path.iterdir())


def _beside(path: Path, ending: str = ".tmp") -> Path:
    return path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}{ending}")
