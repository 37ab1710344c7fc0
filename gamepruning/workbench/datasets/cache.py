"""Arrays that are costly to make, kept in a file."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from gamepruning.files import npz
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
        return npz.load_arrays(path)
    except InputError:
        return None


def _write(path: Path, arrays: Arrays) -> None:
    try:
        npz.save_arrays(path, arrays)
    except InputError as error:
        raise InputError(
            f"{error}; to keep decoded data elsewhere, name another folder with "
            "cache_dir or the variable GAMEPRUNING_CACHE"
        ) from error
