"""Data to prune on: what comes with scikit-learn, what lies in a folder, any CSV file.

`load_dataset` reads one by name or path; `list_datasets` says what there is, and how to
get what there is not.
"""

import inspect
import os
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, NamedTuple

from gamepruning.types import InputError
from gamepruning.workbench.datasets.images import (
    PREPARE_MNIST,
    find_mnist,
    load_digits,
    load_mnist,
)
from gamepruning.workbench.datasets.places import data_folders, find_folder
from gamepruning.workbench.datasets.recipes import RECIPES, Recipe
from gamepruning.workbench.datasets.splits import (
    Dataset,
    Rows,
    Split,
    check_dataset,
    split_rows,
)
from gamepruning.workbench.datasets.tables import load_table
from gamepruning.workbench.datasets.texts import (
    TOPIC_FOLDER,
    load_emotion,
    load_topic,
)
from gamepruning.workbench.settings.spelling import closest

__all__ = [
    "Dataset",
    "DatasetInfo",
    "Rows",
    "Split",
    "check_dataset",
    "list_datasets",
    "load_dataset",
    "split_rows",
]

_LOADERS: dict[str, Callable[..., Dataset]] = {
    "digits": load_digits,
    "mnist": load_mnist,
    "emotion": load_emotion,
    "topic": load_topic,
}
_PLACES = ("data_dir", "cache_dir", "seed")


class DatasetInfo(NamedTuple):
    """One row of `list_datasets`.

    Attributes:
      name: what to ask for it by.
      kind: "image", "text" or "table".
      task: "classification" or "regression".
      available: whether it can be loaded now.
      where: the folder or file it is read from; "" if it is not there.
      how: how to get it; "" if it is there.
    """

    name: str
    kind: str
    task: str
    available: bool
    where: str
    how: str


def load_dataset(
    name: str,
    *,
    data_dir: str | os.PathLike | None = None,
    cache_dir: str | os.PathLike | None = None,
    seed: int,
    **options: Any,
) -> Dataset:
    """Training, validation and test rows, with no leakage between them.

    Args:
      name: "digits", "mnist", "emotion", "topic", a table in the folder `tabular/`
        (see `list_datasets`), or the path of a CSV file.
      data_dir: the folder with the data; if None, the one that the variable
        GAMEPRUNING_DATA names (for MNIST, TFDS_DATA_DIR too).
      cache_dir: where decoded images are kept; if None, the variable GAMEPRUNING_CACHE
        or ~/.cache/gamepruning.
      seed: decides the split, where none is given.
      **options: `standardise` for images, `min_documents` for texts, the fields of
        `Recipe` (`target`, `task`, `drop`, ...) for tables.

    Returns:
      The data set. It is the same for the same arguments.

    Raises:
      InputError: no such data set or option, the data are missing or damaged, or
        nothing can be learned from them.

    Example:
      >>> digits = load_dataset("digits", seed=0)
      >>> digits.input_shape, digits.num_outputs
      ((8, 8, 1), 10)
    """
    data_folders(data_dir)  # one that was named must be there, needed or not
    if name in _LOADERS:
        given = {"data_dir": data_dir, "cache_dir": cache_dir, "seed": seed}
        known = inspect.signature(_LOADERS[name]).parameters
        _check_options(name, options, [k for k in known if k not in _PLACES])
        given = {k: v for k, v in given.items() if k in known}
        return check_dataset(_LOADERS[name](**given, **options))
    path, recipe = _find_table(name, data_dir)
    _check_options(name, options, [field.name for field in fields(Recipe)])
    options = {k: tuple(v) if isinstance(v, list) else v for k, v in options.items()}
    recipe = replace(recipe, **options)
    return check_dataset(load_table(path, seed=seed, recipe=recipe, name=path.stem))


def list_datasets(data_dir: str | os.PathLike | None = None) -> list[DatasetInfo]:
    """What there is, and how to get what there is not.

    Args:
      data_dir: as for `load_dataset`.

    Returns:
      A row for every data set with a name.

    Raises:
      InputError: `data_dir` is named and does not exist.

    Example:
      >>> list_datasets()[0].name
      'digits'
    """
    mnist, tables = find_mnist(data_dir), find_folder("tabular", data_dir)
    rows = [
        DatasetInfo("digits", "image", "classification", True, "scikit-learn", ""),
        _info("mnist", "image", mnist, PREPARE_MNIST),
    ]
    for name, folder_name in (("emotion", "emotion"), ("topic", TOPIC_FOLDER)):
        folder = find_folder(folder_name, data_dir)
        rows.append(_info(name, "text", folder, _how(f"{folder_name}/")))
    own = {path.stem for path in tables.glob("*.csv")} if tables else set()
    for name in sorted(own | set(RECIPES)):
        path = tables / f"{name}.csv" if tables and name in own else None
        how, task = _how(f"tabular/{name}.csv"), RECIPES.get(name, Recipe()).task
        rows.append(_info(name, "table", path, how, task))
    return rows


def _info(name, kind, place, how, task="classification") -> DatasetInfo:
    return DatasetInfo(
        name, kind, task, bool(place), str(place or ""), "" if place else how
    )


def _how(what: str) -> str:
    return (
        f"put {what} into a folder and name the folder with data_dir or the variable "
        "GAMEPRUNING_DATA"
    )


def _find_table(name: str, data_dir) -> tuple[Path, Recipe]:
    path = Path(name).expanduser()
    if path.suffix.lower() in (".csv", ".tsv") or path.is_file():
        if not path.is_file():
            raise InputError(f"no file {name}")
        return path, Recipe()
    folder = find_folder("tabular", data_dir)
    path = folder / f"{name}.csv" if folder else None
    if path and path.is_file():
        return path, RECIPES.get(name, Recipe())
    if name in RECIPES:
        raise InputError(f"{name} is not there: {_how(f'tabular/{name}.csv')}")
    known = [row.name for row in list_datasets(data_dir)]
    raise InputError(
        f"no data set {name!r}{closest(name, known)} (`gamepruning datasets` lists "
        "all; the path of a CSV file will do as well)"
    )


def _check_options(name: str, options: dict, known: list[str]) -> None:
    for option in options:
        if option not in known:
            raise InputError(f"{name} has no option {option!r}{closest(option, known)}")
