"""Data to prune on: what comes with scikit-learn, what lies in a folder, any CSV file.

`load_dataset` reads one by name or path. `list_datasets` says what there is, and how to
get what there is not.
"""

import dataclasses
from pathlib import Path
from typing import Any, Literal, NamedTuple

from gamepruning.files.paths import (
    Folder,
    data_folders,
    find_folder,
    from_home,
    is_path,
)
from gamepruning.spelling import closest
from gamepruning.tabular.split import SplitRows as SplitRows, split_rows as split_rows
from gamepruning.types import InputError
from gamepruning.workbench.datasets import images, places
from gamepruning.workbench.datasets.recipes import RECIPES, Recipe
from gamepruning.workbench.datasets.splits import (
    Dataset as Dataset,
    Split as Split,
    check_dataset as check_dataset,
    describe as describe,
    majority as majority,
)


class DatasetInfo(NamedTuple):
    """One row of `list_datasets`."""

    name: str  # what `load_dataset` knows it by
    kind: str  # "image", "text" or "table"
    task: str  # "classification" or "regression"
    available: bool  # True if it can be loaded now
    where: str  # the folder or file it is read from; "" if it is not there
    how: str  # how to get it; "" if it is there


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
      name: "digits", "mnist", "cifar10" or another image set of tensorflow-datasets,
        "emotion", "topic", a table in the folder `tabular/` or of scikit-learn (see
        `list_datasets`), or the path of a CSV file or of a folder of images by class.
      data_dir: the folder with the data; if None, the one that the variable
        GAMEPRUNING_DATA names (for tensorflow-datasets, TFDS_DATA_DIR too).
      cache_dir: where decoded images are kept; if None, the variable GAMEPRUNING_CACHE
        or ~/.cache/gamepruning.
      seed: decides the split unless one is published.
      **options: `standardise`, `pixel_mean`, `pixel_scale` and `image_size` for images,
        `min_documents` for texts, the fields of `Recipe` (`target`, `task`, `drop`,
        ...) for tables.

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
    if name == "digits":
        _check_options(name, options, images.OPTIONS)
        made = images.load_digits(seed=seed, **options)
    elif (kind := image_kind(name, data_dir)) is not None:
        _check_options(name, options, [*images.OPTIONS, "image_size"])
        if kind == "folder":
            made = images.load_folder(name, seed=seed, **options)
        else:
            made = images.load_prepared(name, data_dir, cache_dir, seed=seed, **options)
    elif name in places.TEXTS:
        from gamepruning.workbench.datasets.texts import load_texts  # pandas, sklearn

        _check_options(name, options, ["min_documents"])
        made = load_texts(name, data_dir, seed=seed, **options)
    else:
        from gamepruning.workbench.datasets.tables import load_table  # pandas, sklearn

        path, recipe = _find_table(name, data_dir)
        _check_options(name, options, [f.name for f in dataclasses.fields(Recipe)])
        made = load_table(path, seed=seed, recipe=recipe.told(**options))
    return check_dataset(made)


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
    classes, how_to_get = "classification", places.how_to_get
    tables, there = find_folder("tabular", data_dir), images.tfds_places
    digits = ("digits", "image", classes, "scikit-learn", "")
    rows: list[tuple[str, str, str, Path | str | None, str]] = [digits]
    prepared = dict.fromkeys(images.NAMED) | images.list_prepared(there(data_dir))
    for name, place in prepared.items():
        rows.append((name, "image", classes, place, images.how_to_prepare(name)))
    for name, (folder, _) in places.TEXTS.items():
        place = find_folder(folder, data_dir)
        rows.append((name, "text", classes, place, how_to_get(f"{folder}/")))
    own = {path.stem: path for path in tables.glob("*.csv")} if tables else {}
    for name in sorted({*own, *RECIPES}):
        how, task = how_to_get(f"tabular/{name}.csv"), RECIPES.get(name, Recipe()).task
        found = own.get(name) or ("scikit-learn" if name in places.BUILT_IN else None)
        rows.append((name, "table", task, found, how))
    return [
        DatasetInfo(name, kind, task, True, str(place), "")
        if place
        else DatasetInfo(name, kind, task, False, "", how)
        for name, kind, task, place, how in rows
    ]


def image_kind(name: str, data_dir: Folder) -> Literal["prepared", "folder"] | None:
    """How images of this name are read; None if it names no images."""
    name = str(name)
    if name in images.NAMED:
        return "prepared"
    if name in (*places.TEXTS, *places.BUILT_IN, *RECIPES, "digits"):
        return None
    if images.find_prepared(name, images.tfds_places(data_dir)) is not None:
        return "prepared"
    return "folder" if images.is_folder_of_images(name) else None


def _find_table(name: str, data_dir: Folder) -> tuple[Path | str, Recipe]:
    path = from_home(name)
    if images.is_image(path):
        raise InputError(f"{name} is one image: name a folder with one folder a class")
    if path.is_file():
        return path, Recipe()
    if path.suffix.lower() in (".csv", ".tsv"):
        raise InputError(f"no file {name}")
    folder = None if is_path(name) else find_folder("tabular", data_dir)
    path = folder / f"{name}.csv" if folder else path
    if path.is_file():
        return path, RECIPES.get(name, Recipe())
    if name in places.BUILT_IN:
        return name, RECIPES[name]
    if name in RECIPES:
        how = places.how_to_get(f"tabular/{name}.csv")
        raise InputError(f"{name} is not there: {how}")
    if images.is_known(name):
        images.load_prepared(name, data_dir, None, seed=0)  # raises: it is not there
    known = [row.name for row in list_datasets(data_dir)]
    raise InputError(
        f"no data set {name!r}{closest(name, known)} (`gamepruning datasets` lists "
        "all; the path of a CSV file or of a folder of images will do as well)"
    )


def _check_options(name: str, options: dict[str, Any], known: list[str]) -> None:
    for option in options:
        if option not in known:
            said = f"--{option.replace('_', '-')}{closest(option, known)}"
            raise InputError(f"{name} has no option {said}")
