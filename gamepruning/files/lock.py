"""A lock that ends with the process that holds it, however that ends."""

import contextlib
import json
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gamepruning.types import InputError

fcntl: Any
try:
    import fcntl
except ImportError:  # Windows has none, and goes without a lock
    fcntl = None


class Held(InputError):
    """Another process, or another thread of this one, holds the lock."""


@contextlib.contextmanager
def hold(path: Path) -> Iterator[None]:
    """Hold the lock of a file to the end of the block, or of the process if it dies.

    The system keeps the lock, not the file: what a killed process leaves is free. Where
    a file system knows no locks everybody gets it. Windows has none: no file is opened,
    as the folder of an open one could not be renamed.

    Args:
      path: the file; made if there is none, in a folder that exists.

    Raises:
      Held: somebody else has it; the message says who.

    Example:
      >>> with hold(Path("lock")):
      ...     try:
      ...         with hold(Path("lock")):
      ...             pass
      ...     except Held as error:
      ...         print(str(error).split()[0])
      process
    """
    if fcntl is None:
        yield
        return
    with path.open("a+", encoding="utf-8") as file:
        _take(file, patience=0.2)
        if not _is_at(path, file.fileno()):
            raise Held("a process that has just ended")
        file.truncate(0)
        file.write(json.dumps([os.getpid(), socket.gethostname()]))
        file.flush()
        yield


def holder(path: Path) -> str:
    """Who holds the lock of a file, in words; "" if nobody does."""
    if fcntl is None:
        return ""
    try:
        with path.open("a+", encoding="utf-8") as file:
            _take(file)
    except FileNotFoundError:
        return ""
    except Held as held:
        return str(held)
    return ""


def _is_at(path: Path, descriptor: int) -> bool:
    """Check that a file was not moved away before its lock was had."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def _take(file: Any, patience: float = 0.0) -> None:
    """Take the lock; somebody who only asks for the holder has it for a moment."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        if patience > 0:
            time.sleep(0.05)
            return _take(file, patience - 0.05)
        file.seek(0)
        try:
            number, host = json.loads(file.read())
            told = f"process {number} on {host}"
        except ValueError:
            told = "a process that has just begun"
        raise Held(told) from None
    except OSError:  # no locks here
        pass
