"""Images: scikit-learn's digits, sets of tensorflow-datasets, and folders by class."""

import importlib.metadata
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from gamepruning.files.fingerprint import fingerprint
from gamepruning.files.paths import Folder, cache_folder, data_folders, from_home
from gamepruning.images.files import is_image as is_image
from gamepruning.images.folders import (
    is_folder_of_images as is_folder_of_images,
    read_folder,
)
from gamepruning.images.pixels import choose_scaling
from gamepruning.images.prepared import (
    find_prepared as find_prepared,
    how_to_prepare as how_to_prepare,
    is_known as is_known,
    list_prepared as list_prepared,
    read_prepared,
)
from gamepruning.images.sets import ImageSet, Labelled, check_counts, group_copies
from gamepruning.tabular.split import split_rows
from gamepruning.types import InputError
from gamepruning.workbench.datasets import splits

NAMED, TRAIN = ("mnist", "cifar10"), "train"
OPTIONS = ["standardise", "pixel_mean", "pixel_scale"]
_DIGITS = "sklearn/datasets/data/digits.csv.gz"
_SHARES = {"mnist": 1 / 12}  # of the training images, for validation; else a tenth


def load_digits(*, seed: int, **pixels: Any) -> splits.Dataset:
    """1,797 images of 8x8 that come with scikit-learn: 15 % validation, 25 % test."""
    # Reading the file itself spares half a second, which importing sklearn takes.
    file = importlib.metadata.distribution("scikit-learn").locate_file(_DIGITS)
    table = np.loadtxt(str(file), np.float32, delimiter=",")
    images, labels = table[:, :-1].reshape(-1, 8, 8, 1), table[:, -1].astype(np.int32)
    rows = split_rows(jax.random.key(seed), labels, validation=0.15, test=0.25)
    parts = [Labelled(images[part], labels[part]) for part in rows]
    return _to_dataset("digits", parts, "0123456789", largest=16, **pixels)


def load_prepared(
    name: str,
    data_dir: Folder,
    cache_dir: Folder,
    *,
    seed: int,
    image_size: int | None = None,
    **pixels: Any,
) -> splits.Dataset:
    """Images read by tensorflow-datasets without TensorFlow, in their published split.

    A tenth of the training images, class by class, is for validation (of MNIST a
    twelfth) unless that part is published, too.
    """
    places = tfds_places(data_dir)
    folder = find_prepared(name, places)
    if folder is None:
        how, looked = how_to_prepare(name), ", ".join(map(str, places))
        raise InputError(f"{name} is not there: {how} (looked in {looked})")
    found = read_prepared(folder, cache_folder(cache_dir), image_size=image_size)
    return _split(name, found, seed=seed, share=_SHARES.get(name, 0.1), **pixels)


def load_folder(
    name: str, *, seed: int, image_size: int | None = None, **pixels: Any
) -> splits.Dataset:
    """Images in a folder, one sub-folder a class: 15 % validation, 25 % test.

    Those parts that the folder has itself are taken as they are.
    """
    found = read_folder(name, image_size=image_size)
    stem = Path(os.path.abspath(from_home(name))).name
    made = _split(stem, found, seed=seed, share=0.15, **pixels)
    return made._replace(contents=(fingerprint(found.parts, found.classes),))


def tfds_places(data_dir: Folder) -> list[Path]:
    """The folders where sets of tensorflow-datasets are looked for."""
    folders = data_folders(data_dir)
    places = [place for f in folders for place in (f, f / "tensorflow_datasets")]
    if data_dir is None:
        if named := os.environ.get("TFDS_DATA_DIR"):
            places.insert(0, from_home(named))
        places.append(from_home("~/tensorflow_datasets"))
    return [*dict.fromkeys(places)]


def _split(
    name: str, found: ImageSet, *, seed: int, share: float, **pixels: Any
) -> splits.Dataset:
    """Deal out what has no part of its own; copies of an image stay together."""
    parts, (images, labels) = dict(found.parts), found.parts[TRAIN]
    notes = [*found.notes]
    if "test" not in parts and "validation" in parts:
        parts["test"] = parts.pop("validation")
        notes.append("the part for validation is the test, as there is no other")
    shares: dict[str, Any] = {"validation": share, "test": 0.25}
    shares = {part: 0.0 if part in parts else own for part, own in shares.items()}
    groups, told = group_copies(parts)
    if any(shares.values()):
        check_counts(name, found, groups, 1 + sum(map(bool, shares.values())))
        rows = split_rows(jax.random.key(seed), labels, groups=groups, **shares)
        dealt = {p: Labelled(images[r], labels[r]) for p, r in rows._asdict().items()}
        parts = dealt | {part: parts[part] for part in parts if part != TRAIN}
    three = [parts[part] for part in (TRAIN, *shares)]
    return _to_dataset(name, three, found.classes, (*notes, *told), **pixels)


def _to_dataset(
    name: str,
    parts: Sequence[Labelled],
    classes: Sequence[str],
    notes: Sequence[str] = (),
    **pixels: Any,
) -> splits.Dataset:
    scaling = choose_scaling(parts[0].images, **pixels)
    made = [splits.Split(scaling(images), labels) for images, labels in parts]
    shape, facts = made[0].inputs.shape[1:], scaling.to_json()
    how = splits.describe_inputs(kind="image", shape=shape, classes=[*classes], **facts)
    facts = {"notes": (scaling.describe(), *notes), "preprocessing": how}
    return splits.make_dataset(name, made, classes=classes, **facts)
