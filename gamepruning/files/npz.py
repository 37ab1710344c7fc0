"""The one store of arrays on disk: `.npz` files that are whole or absent.

A zip archive has a checksum for each member, so damage shows when it is read. A file
may also hold settings, one JSON object: those of the run that a checkpoint belongs to.
"""

import json
import re
import zipfile
import zlib
from collections.abc import Callable, Mapping
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from gamepruning.files.atomic import new_file
from gamepruning.trees.processes import Processes
from gamepruning.types import InputError

_SETTINGS = "__settings__"
_DAMAGE = (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error)
_DAMAGE += (TypeError,)  # an array alone, which is no archive
_TAKEN = re.compile(r"(file|allow_pickle)#*")  # names of what `np.savez` takes


class Stored(NamedTuple):
    """What a file holds.

    Attributes:
      settings: JSON-able facts.
      arrays: the arrays by name.
    """

    settings: dict[str, Any]
    arrays: dict[str, np.ndarray]


def save(
    path: Path, settings: Mapping[str, Any], arrays: Mapping[str, np.ndarray]
) -> None:
    """Write arrays and JSON-able settings. An older file stays until all is written.

    Args:
      path: the file, ending in `.npz`.
      settings: JSON-able facts.
      arrays: the arrays by name.

    Raises:
      InputError: the disk does not let it be written.

    Example:
      >>> save(Path("sums.npz"), {"method": "toggle"}, {"count": np.ones(2)})
      >>> load(Path("sums.npz")).settings
      {'method': 'toggle'}
    """
    text = np.frombuffer(json.dumps(dict(settings)).encode(), np.uint8)
    save_arrays(path, {_SETTINGS: text, **arrays})


def save_arrays(
    path: Path, arrays: Mapping[str, np.ndarray], *, is_compressed: bool = False
) -> None:
    """Write arrays without settings, for `np.load` or `load_arrays`.

    Args:
      path: the file, ending in `.npz`.
      arrays: the arrays by name.
      is_compressed: True for a smaller file that takes longer to write.

    Raises:
      InputError: the disk does not let it be written.

    Example:
      >>> save_arrays(Path("pixels.npz"), {"x": np.arange(3)})
      >>> load_arrays(Path("pixels.npz"))["x"].tolist()
      [0, 1, 2]
    """
    write = np.savez_compressed if is_compressed else np.savez
    named = {_to_member(name): array for name, array in arrays.items()}
    with new_file(path) as temporary, temporary.open("wb") as file:
        write(file, allow_pickle=False, **named)


def _to_member(name: str) -> str:
    return f"{name}#" if _TAKEN.fullmatch(name) else name


def _from_member(name: str) -> str:
    return name[:-1] if _TAKEN.fullmatch(name) and name[-1] == "#" else name


def load(path: Path) -> Stored:
    """Read what `save` wrote.

    Raises:
      InputError: the file is missing or damaged, or holds no settings.
    """
    return _settings_of(path, load_arrays(path))


def _settings_of(path: Path, arrays: dict[str, np.ndarray]) -> Stored:
    try:
        return Stored(json.loads(arrays.pop(_SETTINGS).tobytes()), arrays)
    except (KeyError, ValueError) as error:
        raise InputError(
            f"{path} is not a checkpoint of gamepruning: name another file"
        ) from error


class CheckpointFile(NamedTuple):
    """A file of a run, which one process writes and all of them read.

    Attributes:
      path: the file, ending in `.npz`; only the first process needs to see it.
      processes: those that run together; None for one.

    Example:
      >>> file = CheckpointFile(Path("run.npz"), None)
      >>> file.load() is None
      True
      >>> file.save({"method": "toggle"}, {"count": np.ones(2)})
      >>> file.load().settings
      {'method': 'toggle'}
    """

    path: Path
    processes: Processes | None

    def save(
        self, settings: Mapping[str, Any], arrays: Mapping[str, np.ndarray]
    ) -> None:
        """`save`, by the first process alone; the others go on.

        Raises:
          InputError: the disk does not let it be written.
        """
        if self.processes is None or self.processes.is_first:
            save(self.path, settings, arrays)

    def load(self) -> Stored | None:
        """What is on file; None if there is no file. All processes have to ask.

        Raises:
          InputError: the file is damaged, or holds no settings.
          LostProcess: another process has ended.
        """
        if self.processes is None:
            return load(self.path) if self.path.exists() else None
        own = b"none"
        if self.processes.is_first and self.path.exists():
            own = b"file" + self.path.read_bytes()
        content = self.processes.broadcast(own)
        if content == b"none":
            return None
        return _settings_of(
            self.path, _arrays_of(self.path, lambda: BytesIO(content[4:]))
        )


def load_arrays(path: Path) -> dict[str, np.ndarray]:
    """Read the arrays of an `.npz` file and check them against their checksums.

    Raises:
      InputError: the file is missing or damaged.
    """
    if not path.exists():
        raise InputError(f"checkpoint {path} does not exist")
    return _arrays_of(path, lambda: path.open("rb"))


def _arrays_of(path: Path, opened: Callable[[], BinaryIO]) -> dict[str, np.ndarray]:
    try:
        with opened() as file, np.load(file, allow_pickle=False) as archive:
            return {_from_member(name): archive[name] for name in archive.files}
    except _DAMAGE as error:
        raise InputError(
            f"checkpoint {path} is damaged or no .npz file: delete it to begin anew"
        ) from error


def check_settings(
    path: Path, found: Mapping[str, Any], wanted: Mapping[str, Any]
) -> None:
    """Refuse to resume what was begun under other settings.

    Raises:
      InputError: the first setting that differs, with both values.
    """
    for name, value in json.loads(json.dumps(dict(wanted))).items():
        if json.dumps(found.get(name)) != json.dumps(value):  # NaN is like NaN
            raise InputError(
                f"checkpoint {path} is of another run: {name} is "
                f"{found.get(name)!r} there and {value!r} here; use the same settings "
                "or another file"
            )
