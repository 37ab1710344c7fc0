"""Decoded images are kept on disk: decoding takes longer than reading."""

import contextlib
from collections.abc import Callable
from pathlib import Path

import numpy as np

from gamepruning.files import npz
from gamepruning.types import InputError

Arrays = dict[str, np.ndarray]


def load_or_make(
    path: Path, make: Callable[[], Arrays], is_whole: Callable[[Arrays], bool]
) -> Arrays:
    """Arrays from the file `path`, or made anew and written there.

    The file appears whole or not at all, so that several processes may do this at once.

    Args:
      path: the file, ending in `.npz`.
      make: makes the arrays.
      is_whole: says of arrays if they are what they should be.

    Raises:
      InputError: the file cannot be written, or the new arrays are not whole.
    """
    with contextlib.suppress(InputError):
        arrays = npz.load_arrays(path)
        if is_whole(arrays):
            return arrays
    arrays = make()
    if not is_whole(arrays):
        raise InputError(f"what was decoded for {path.name} is damaged at its source")
    try:
        npz.save_arrays(path, arrays)
    except InputError as error:
        raise InputError(
            f"{error}; to keep decoded data elsewhere, name another folder with "
            "cache_dir or the variable GAMEPRUNING_CACHE"
        ) from error
    return arrays
