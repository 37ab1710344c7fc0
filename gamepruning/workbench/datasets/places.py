"""Where data lie: the folder that was named, or those that the environment names."""

import os
from pathlib import Path

from gamepruning.types import InputError


def data_folders(data_dir: str | os.PathLike | None) -> list[Path]:
    """Folders to look in, best first. One that was named must exist, and is the only.

    Example:
      >>> data_folders("nowhere")
      Traceback (most recent call last):
      gamepruning.types.InputError: no data folder nowhere
    """
    if data_dir is not None:
        folder = Path(data_dir).expanduser()
        if not folder.is_dir():
            raise InputError(f"no data folder {data_dir}")
        return [folder]
    named = os.environ.get("GAMEPRUNING_DATA")
    return [Path(named).expanduser()] if named else []


def tfds_folders(data_dir: str | os.PathLike | None) -> list[Path]:
    """Folders that may hold data sets prepared by tensorflow-datasets, best first."""
    folders = data_folders(data_dir)
    found = [place for f in folders for place in (f, f / "tensorflow_datasets")]
    if data_dir is None:
        if named := os.environ.get("TFDS_DATA_DIR"):
            found.insert(0, Path(named).expanduser())
        found.append(Path("~/tensorflow_datasets").expanduser())
    return found


def cache_folder(cache_dir: str | os.PathLike | None) -> Path:
    """Where decoded data are kept."""
    named = cache_dir or os.environ.get("GAMEPRUNING_CACHE") or "~/.cache/gamepruning"
    return Path(named).expanduser()


def find_folder(name: str, data_dir: str | os.PathLike | None) -> Path | None:
    """The first folder called `name` among the data folders."""
    places = (folder / name for folder in data_folders(data_dir))
    return next((place for place in places if place.is_dir()), None)
