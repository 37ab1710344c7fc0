"""Where data lie: in the folder that was named, or those that the environment names."""

import os
from pathlib import Path

from gamepruning.types import InputError

Folder = str | os.PathLike | None
TEXTS = {  # the folder of each data set of texts, and the files in it
    "emotion": ("emotion", ("train.txt", "val.txt", "test.txt")),
    "topic": ("twitter_financial_news_topic", ("train.csv", "valid.csv")),
}
BUILT_IN = ("breast_cancer", "diabetes", "iris", "wine")  # scikit-learn's tables


def data_folders(data_dir: Folder) -> list[Path]:
    """Folders to look in; one that was named must exist, and is the only one.

    Example:
      >>> data_folders("nowhere")
      Traceback (most recent call last):
      gamepruning.types.InputError: no data folder nowhere
    """
    if data_dir is None:
        named = os.environ.get("GAMEPRUNING_DATA")
        return [Path(named).expanduser()] if named else []
    folder = Path(data_dir).expanduser()
    if not folder.is_dir():
        raise InputError(f"no data folder {data_dir}")
    return [folder]


def cache_folder(cache_dir: Folder) -> Path:
    """Where decoded data are kept."""
    named = cache_dir or os.environ.get("GAMEPRUNING_CACHE") or "~/.cache/gamepruning"
    return Path(named).expanduser()


def find_folder(name: str, data_dir: Folder) -> Path | None:
    """The first folder called `name` among the data folders."""
    places = (folder / name for folder in data_folders(data_dir))
    return next((place for place in places if place.is_dir()), None)


def how_to_get(what: str) -> str:
    """What to do where a file or folder is missing."""
    return (
        f"put {what} into a folder and name the folder with --data-dir or the variable "
        "GAMEPRUNING_DATA"
    )
