"""Paths as people write them, and the folders that the environment names."""

import os
from collections.abc import Sequence
from pathlib import Path

from gamepruning.errors import InputError

Folder = str | os.PathLike[str] | None


def from_home(path: str | os.PathLike[str]) -> Path:
    """The path with ~ as the home folder, as a shell reads it.

    It stays as it is where there is no such user, or no home.

    Example:
      >>> from_home("~nobody_of_this_name/x").parts
      ('~nobody_of_this_name', 'x')
    """
    return Path(os.path.expanduser(path))


def is_path(name: str) -> bool:
    """True of ./flowers, /data/flowers and ~/flowers, which name no known data set."""
    return name.startswith((".", "~")) or Path(name).is_absolute()


def short_names(paths: Sequence[str]) -> dict[str, str]:
    """What each file is called, without .csv: as much of its path as tells it apart.

    Example:
      >>> short_names(["wine", "/a/glass.csv", "/a/iris.csv", "/b/iris.csv"]).values()
      dict_values(['wine', 'glass', 'a/iris', 'b/iris'])
    """
    parts = {path: Path(path).parts for path in paths}

    def end(path: str, depth: int) -> str:
        return "/".join(parts[path][-depth:]).removesuffix(".csv")

    found = {}
    for path in paths:
        others = [other for other in paths if other != path]
        ends = ((end(path, k), k) for k in range(1, len(parts[path]) + 1))
        free = (name for name, k in ends if name not in {end(o, k) for o in others})
        found[path] = next(free, path)
    return found


def data_folders(data_dir: Folder) -> list[Path]:
    """Folders to look in; one that was named must exist, and is the only one.

    Example:
      >>> data_folders("nowhere")
      Traceback (most recent call last):
      gamepruning.types.InputError: no data folder nowhere
    """
    if data_dir is None:
        named = os.environ.get("GAMEPRUNING_DATA")
        return [from_home(named)] if named else []
    folder = from_home(data_dir)
    if not folder.is_dir():
        raise InputError(f"no data folder {data_dir}")
    return [folder]


def find_folder(name: str, data_dir: Folder) -> Path | None:
    """The first folder called `name` among the data folders."""
    places = (folder / name for folder in data_folders(data_dir))
    return next((place for place in places if place.is_dir()), None)


def cache_folder(cache_dir: Folder = None) -> Path:
    """Where decoded data and compiled programs are kept.

    Raises:
      InputError: no folder is named, and there is no home.
    """
    named = cache_dir or os.environ.get("GAMEPRUNING_CACHE") or "~/.cache/gamepruning"
    if (folder := from_home(named)).parts[0].startswith("~"):
        told = f"no home folder for {named}"
        raise InputError(f"{told}: name another with the variable GAMEPRUNING_CACHE")
    return folder
