"""Checkpoints of an estimate: one `.npz` file, there whole or not at all."""

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from gamepruning.files.atomic import new_file
from gamepruning.types import InputError

_SETTINGS = "__settings__"


def save(path: Path, settings: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
    """Write arrays and JSON-able settings; an older file is replaced at the end only.

    Raises:
      InputError: the disk does not let it be written.

    Example:
      >>> save(Path("sums.npz"), {"method": "toggle"}, {"count": np.ones(2)})
      >>> load(Path("sums.npz"))[0]
      {'method': 'toggle'}
    """
    text = np.frombuffer(json.dumps(settings).encode(), np.uint8)
    with new_file(path) as temporary, temporary.open("wb") as file:
        np.savez(file, allow_pickle=False, **{_SETTINGS: text}, **arrays)


def load(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Read what `save` wrote.

    Returns:
      (settings, arrays).

    Raises:
      InputError: the file is damaged or something else.
    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        return json.loads(arrays.pop(_SETTINGS).tobytes()), arrays
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(
            f"checkpoint {path} is damaged or no checkpoint of an estimate: delete it "
            "to begin anew"
        ) from error


def check_settings(path: Path, found: dict[str, Any], wanted: dict[str, Any]) -> None:
    """Refuse to go on with what was begun under other settings.

    Raises:
      InputError: the first setting that differs, with both values.
    """
    wanted = json.loads(json.dumps(wanted))
    for name in wanted:
        if found.get(name) != wanted[name]:
            raise InputError(
                f"checkpoint {path} is of another estimate: {name} is "
                f"{found.get(name)!r} there and {wanted[name]!r} here; use the same "
                "settings or another file"
            )
