"""Image sets as tensorflow-datasets prepared them, read without TensorFlow.

Nothing is downloaded here: with neither data nor a network, tfds retries for minutes.
"""

import json
import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from gamepruning.files.atomic import checksum
from gamepruning.files.paths import is_path
from gamepruning.images.cache import Arrays, load_or_make
from gamepruning.images.files import to_shape
from gamepruning.images.sets import (
    ImageSet,
    Labelled,
    Shape,
    check_memory,
    choose_size,
)
from gamepruning.types import InputError

PART_OF = {"train": "train", "validation": "validation", "test": "test"}
CHUNK = 1000  # images decoded at a time


class _Facts(NamedTuple):
    """What the files beside the records say."""

    image: str  # the features' names
    label: str
    shape: tuple[int | None, ...]  # of all images; None where it differs
    classes: tuple[str, ...]
    sizes: dict[str, int]  # images of each split


def how_to_prepare(name: str) -> str:
    """What to do where a set is missing."""
    return (
        "prepare it once, where there is a network and TensorFlow, with "
        f"`tfds.builder({name!r}, data_dir=FOLDER, file_format='array_record')"
        ".download_and_prepare()`, then name the folder with --data-dir or the "
        "variable TFDS_DATA_DIR"
    )


def find_prepared(name: str, places: Iterable[Path]) -> Path | None:
    """The folder of the newest version of a set, such as cifar10 or emnist/letters.

    A path, such as ./flowers or /data/flowers, is no name of a set.
    """
    for place in () if is_path(name) else places:
        found = [path.parent for path in (place / name).glob("*/dataset_info.json")]
        if found:
            return max(found, key=lambda path: _version(path.name))
    return None


def list_prepared(places: Iterable[Path]) -> dict[str, Path]:
    """The image sets with classes in some folders, by name."""
    found = {}
    for place in places:
        for path in sorted(place.glob("*/*/dataset_info.json")):
            if _is_image_set(path.parent):
                name = path.parents[1].name
                found.setdefault(name, find_prepared(name, [place]))
    return found


def is_known(name: str) -> bool:
    """Return True if tensorflow-datasets has a set of this name, prepared or not."""
    import tensorflow_datasets as tfds

    known = tfds.list_builders(with_community_datasets=False)
    return name.split("/")[0] in known


def read_prepared(
    folder: Path, cache: Path, *, image_size: int | None = None
) -> ImageSet:
    """Read an image set that tensorflow-datasets prepared in array_record format.

    Args:
      folder: of one version, such as `cifar10/3.0.2`.
      cache: the folder where decoded images are kept.
      image_size: the side that all images get; if None, images of one size keep it.

    Raises:
      InputError: it is in another format, it has no images with one class each, it is
        damaged, or it does not fit into memory.

    Example:
      >>> read_prepared(Path("cifar10/3.0.2"), Path("cache"))  # doctest: +SKIP
    """
    name, facts = folder.parent.name, _read_facts(folder)
    kept = {split: PART_OF[split] for split in facts.sizes if split in PART_OF}
    if "train" not in kept:
        there = ", ".join(facts.sizes) or "none"
        raise InputError(f"{folder} has no split train: it has {there}")
    size = f"-{image_size}" if image_size else ""
    path = cache / f"{name}-{folder.name}-{_fingerprint(folder)}{size}.npz"
    sizes = {split: facts.sizes[split] for split in kept}

    def is_whole(arrays: Arrays) -> bool:
        numbers = {split: len(arrays.get(f"{split}_labels", ())) for split in sizes}
        images = [arrays.get(f"{split}_images") for split in sizes]
        whole = [i is not None and i.ndim == 4 and i.dtype == np.uint8 for i in images]
        return numbers == sizes and all(whole)

    arrays = load_or_make(
        path, lambda: _decode(folder, facts, sizes, image_size), is_whole
    )
    notes = [str(arrays["note"])] if "note" in arrays else []
    if left := sorted(facts.sizes.keys() - kept):
        notes.append(f"splits left out: {', '.join(left)}")
    parts = {
        part: Labelled(
            arrays[f"{split}_images"], arrays[f"{split}_labels"].astype(np.int32)
        )
        for split, part in kept.items()
    }
    return ImageSet(parts, facts.classes, tuple(notes))


def _read_facts(folder: Path) -> _Facts:
    info = _read_json(folder / "dataset_info.json")
    name = folder.parent.name
    if info.get("fileFormat") != "array_record":
        raise InputError(
            f"{folder} holds the format {info.get('fileFormat')}, which cannot be read "
            f"without TensorFlow: {how_to_prepare(name)}"
        )
    features = _features(folder)
    pair = [key["featureKey"] for key in _supervised(info)] or list(features)
    images = [key for key in pair if "image" in features.get(key, ())]
    labels = [key for key in pair if "classLabel" in features.get(key, ())]
    if len(images) != 1 or not labels:
        there = ", ".join(features)
        raise InputError(f"{name} is not a set of images by class: it has {there}")
    dimensions = features[images[0]]["image"].get("shape", {}).get("dimensions", [])
    shape = tuple(int(d) if int(d) > 0 else None for d in dimensions)
    number = int(features[labels[0]]["classLabel"].get("numClasses", 0))
    names = folder / f"{labels[0]}.labels.txt"
    classes = tuple(map(str, range(number)))
    if names.is_file():
        classes = tuple(names.read_text(encoding="utf-8").split("\n")[:number])
    sizes = {
        split["name"]: sum(map(int, split.get("shardLengths", ())))
        for split in info.get("splits", ())
        if "name" in split
    }
    return _Facts(images[0], labels[0], shape, classes, sizes)


def _decode(
    folder: Path, facts: _Facts, sizes: dict[str, int], image_size: int | None
) -> Arrays:
    logger = logging.getLogger("absl")
    level = logger.level
    logger.setLevel(logging.ERROR)  # it warns about the decoder, which is run once
    try:
        return _read_records(folder, facts, sizes, image_size)
    except InputError:
        raise
    except Exception as error:  # whatever the reader's layers raise
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        name = folder.parent.name
        raise InputError(f"cannot read {name} in {folder}: {reason}") from error
    finally:
        logger.setLevel(level)


def _read_records(
    folder: Path, facts: _Facts, sizes: dict[str, int], image_size: int | None
) -> Arrays:
    import tensorflow_datasets as tfds

    builder: Any = tfds.builder_from_directory(folder)
    sources = {split: builder.as_data_source(split=split) for split in sizes}
    shape, note = _choose_shape(sources["train"], facts, image_size)
    check_memory(sum(sizes.values()), shape)
    arrays: Arrays = {"note": np.array(note)} if note else {}
    for split, source in sources.items():
        images = np.zeros((len(source), *shape), np.uint8)
        labels = []
        for start in range(0, len(source), CHUNK):
            rows = range(start, min(start + CHUNK, len(source)))
            for row, record in zip(rows, source.__getitems__([*rows]), strict=True):
                images[row] = _fit(record[facts.image], shape)
                labels.append(record[facts.label])
        arrays[f"{split}_images"] = images
        arrays[f"{split}_labels"] = np.array(labels, _smallest(labels))
    return arrays


def _smallest(labels: list[int]) -> Any:
    is_byte = min(labels) >= 0 and max(labels) < 256
    return np.uint8 if is_byte else np.int32


def _choose_shape(
    source: Any, facts: _Facts, image_size: int | None
) -> tuple[Shape, str]:
    """The shape that all images get: that of the set, or by the first ones."""
    known = [side for side in facts.shape if side is not None]
    shapes = [(known[0], known[1], known[2])] if len(known) == 3 else []
    if not shapes:
        first = source.__getitems__([*range(min(CHUNK, len(source)))])
        shapes = [record[facts.image].shape for record in first]
    height, width, note = choose_size([shape[:2] for shape in shapes], image_size)
    channels = max(shape[2] for shape in shapes)
    return (height, width, 1 if channels == 1 else 3), note


def _fit(image: np.ndarray, shape: Shape) -> np.ndarray:
    """An image of the set in the shape that all get."""
    if image.dtype == np.uint16:
        image = (image // 257).astype(np.uint8)
    if image.shape == shape:
        return image
    flat = image[..., 0] if image.shape[2] == 1 else image
    return to_shape(Image.fromarray(flat), shape)


def _features(folder: Path) -> dict[str, Any]:
    features = _read_json(folder / "features.json")
    return features.get("featuresDict", {}).get("features", {})


def _supervised(info: dict[str, Any]) -> list[dict[str, Any]]:
    return info.get("supervisedKeys", {}).get("tuple", {}).get("items", [])


def _is_image_set(folder: Path) -> bool:
    try:
        kinds = [key for one in _features(folder).values() for key in one]
    except InputError:
        return False
    return kinds.count("image") == 1 and "classLabel" in kinds


def _read_json(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"cannot read {path}: {error}") from error


def _version(name: str) -> list[int]:
    return [int(part) for part in name.split(".") if part.isdigit()]


def _fingerprint(folder: Path) -> str:
    """Changes whenever the prepared files do."""
    shards = sorted(folder.glob("*array_record*"))
    sizes = "".join(f"{shard.name} {shard.stat().st_size}" for shard in shards)
    return checksum((folder / "dataset_info.json").read_bytes() + sizes.encode())[:12]
