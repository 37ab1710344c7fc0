"""Data to prune on: what comes with scikit-learn, what lies in a folder, any CSV file.

`load_dataset` reads one by name or path. `list_datasets` says what there is, and how to
get what there is not.
"""

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
from gamepruning.workbench.datasets.places import (
    TEXTS,
    Folder,
    data_folders,
    find_folder,
    how_to_get,
)
from gamepruning.workbench.datasets.recipes import RECIPES, Recipe
from gamepruning.workbench.datasets.splits import (
    Dataset,
    Rows,
    Split,
    check_dataset,
    split_rows,
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

_IMAGES = ("digits", "mnist")


class DatasetInfo(NamedTuple):
    """One row of `list_datasets`.

    Attributes:
      name: what `load_dataset` knows it by.
      kind: "image", "text" or "table".
      task: "classification" or "regression".
      available: True if it can be loaded now.
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
    data_dir: Folder = None,
    cache_dir: Folder = None,
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
      seed: decides the split unless one is published.
      **options: `standardise` for images, `min_documents` for texts, the fields of
        `Recipe` (`target`, `task`, `drop`, ...) for tables.

    Returns:
      The data set. It is the same for the same arguments.

    Raises:
      InputError: there is no such data set or option, the data are missing or damaged,
        or nothing can be learned from them.

    Example:
      >>> digits = load_dataset("digits", seed=0)
      >>> digits.input_shape, digits.num_outputs
      ((8, 8, 1), 10)
    """
    data_folders(data_dir)  # a folder that was named must exist, needed or not
    if name in _IMAGES:
        _check_options(name, options, ["standardise"])
        if name == "digits":
            return check_dataset(load_digits(seed=seed, **options))
        mnist = load_mnist(data_dir=data_dir, cache_dir=cache_dir, seed=seed, **options)
        return check_dataset(mnist)
    if name in TEXTS:
        from gamepruning.workbench.datasets.texts import load_texts  # pandas, sklearn

        _check_options(name, options, ["min_documents"])
        return check_dataset(load_texts(name, data_dir=data_dir, seed=seed, **options))
    from gamepruning.workbench.datasets.tables import load_table  # pandas, sklearn

    path, recipe = _find_table(name, data_dir)
    _check_options(name, options, [field.name for field in fields(Recipe)])
    options = {k: tuple(v) if isinstance(v, list) else v for k, v in options.items()}
    return check_dataset(load_table(path, seed=seed, recipe=replace(recipe, **options)))


def list_datasets(data_dir: Folder = None) -> list[DatasetInfo]:
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
    for name, (folder, _) in TEXTS.items():
        place = find_folder(folder, data_dir)
        rows.append(_info(name, "text", place, how_to_get(f"{folder}/")))
    own = {path.stem for path in tables.glob("*.csv")} if tables else set()
    for name in sorted(own | set(RECIPES)):
        path = tables / f"{name}.csv" if tables and name in own else None
        how, task = how_to_get(f"tabular/{name}.csv"), RECIPES.get(name, Recipe()).task
        rows.append(_info(name, "table", path, how, task))
    return rows


def _info(
    name: str, kind: str, place: Path | None, how: str, task: str = "classification"
) -> DatasetInfo:
    if place is None:
        return DatasetInfo(name, kind, task, False, "", how)
    return DatasetInfo(name, kind, task, True, str(place), "")


def _find_table(name: str, data_dir: Folder) -> tuple[Path, Recipe]:
    path = Path(name).expanduser()
    if path.is_file():
        return path, Recipe()
    if path.suffix.lower() in (".csv", ".tsv"):
        raise InputError(f"no file {name}")
    folder = find_folder("tabular", data_dir)
    path = folder / f"{name}.csv" if folder else path
    if path.is_file():
        return path, RECIPES.get(name, Recipe())
    if name in RECIPES:
        raise InputError(f"{name} is not there: {how_to_get(f'tabular/{name}.csv')}")
    known = [row.name for row in list_datasets(data_dir)]
    raise InputError(
        f"no data set {name!r}{closest(name, known)} (`gamepruning datasets` lists "
        "all; the path of a CSV file will do as well)"
    )


def _check_options(name: str, options: dict[str, Any], known: list[str]) -> None:
    for option in options:
        if option not in known:
            raise InputError(f"{name} has no option {option!r}{closest(option, known)}")
