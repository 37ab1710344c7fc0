"""Arrays that are costly to make, kept in a file."""

import os
import tempfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np

from gamepruning.types import InputError

Arrays = dict[str, np.ndarray]


def load_or_make(
    path: Path, make: Callable[[], Arrays], check: Callable[[Arrays], bool]
) -> Arrays:
    """Arrays from `path`, or made anew and written there where they fail the check.

    The file appears whole or not at all, so that several processes may run this at
    once and a run that is cut off leaves nothing half-written.

    Args:
      path: the file, `.npz`.
      make: makes the arrays.
      check: whether arrays are what they should be.

    Returns:
      Arrays that passed the check.

    Raises:
      InputError: the folder cannot be written, or what was made fails the check.
    """
    kept = _read(path)
    if kept is not None and check(kept):
        return kept
    arrays = make()
    if not check(arrays):
        raise InputError(f"what was decoded for {path.name} is damaged at its source")
    _write(path, arrays)
    return arrays


def _read(path: Path) -> Arrays | None:
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}  # checks each CRC
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error):
        return None


def _write(path: Path, arrays: Arrays) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, suffix=".part")
    except OSError as error:
        raise InputError(
            f"cannot keep decoded data in {path.parent} ({error.strerror}): name "
            "another folder with cache_dir or the variable GAMEPRUNING_CACHE"
        ) from error
    try:
        with os.fdopen(handle, "wb") as file:
            np.savez(file, allow_pickle=False, **arrays)
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
