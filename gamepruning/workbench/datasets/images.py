"""Images of handwritten digits: scikit-learn's small ones, and MNIST."""

import contextlib
import importlib.metadata
import json
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np

from gamepruning.files import npz
from gamepruning.files.atomic import checksum
from gamepruning.tabular.split import split_rows
from gamepruning.types import InputError
from gamepruning.workbench.datasets import splits
from gamepruning.workbench.datasets.places import Folder, cache_folder, data_folders

PREPARE_MNIST = (
    "prepare it once, where there is a network and TensorFlow, with "
    "`tfds.builder('mnist', data_dir=FOLDER, file_format='array_record')"
    ".download_and_prepare()`, then name the folder with --data-dir or the variable "
    "TFDS_DATA_DIR"
)
_DIGITS = "sklearn/datasets/data/digits.csv.gz"
_MNIST_SIZES = {"train": 60_000, "test": 10_000}
Arrays = dict[str, np.ndarray]


def load_digits(*, seed: int, standardise: bool = False) -> splits.Dataset:
    """1,797 images of 8x8 that come with scikit-learn: 15 % validation, 25 % test."""
    # Reading the file itself spares half a second, which importing sklearn takes.
    file = importlib.metadata.distribution("scikit-learn").locate_file(_DIGITS)
    table = np.loadtxt(str(file), np.float32, delimiter=",")
    images = (table[:, :-1] / np.float32(16)).reshape(-1, 8, 8, 1)
    labels = table[:, -1].astype(np.int32)
    rows = split_rows(jax.random.key(seed), labels, validation=0.15, test=0.25)
    parts = [splits.Split(images[part], labels[part]) for part in rows]
    return _to_dataset("digits", parts, standardise)


def load_mnist(
    data_dir: Folder, cache_dir: Folder, *, seed: int, standardise: bool = False
) -> splits.Dataset:
    """70,000 images of 28x28, read by tensorflow-datasets without TensorFlow.

    The 10,000 test images are the published ones; a twelfth of the 60,000 training
    images, class by class, is for validation.
    """
    folder = find_mnist(data_dir)
    if folder is None:
        raise InputError(f"mnist is not there: {PREPARE_MNIST}")
    cache = cache_folder(cache_dir) / f"mnist-{folder.name}-{_fingerprint(folder)}.npz"
    arrays = load_or_make(cache, lambda: _decode(folder), _is_mnist)
    labels = arrays["train_labels"]
    rows = split_rows(jax.random.key(seed), labels, validation=1 / 12, test=0.0)

    def read(part: str, own: Any) -> splits.Split:
        images = arrays[f"{part}_images"][own].astype(np.float32) / np.float32(255)
        return splits.Split(images, arrays[f"{part}_labels"][own].astype(np.int32))

    parts = [read("train", rows.train), read("train", rows.validation)]
    parts.append(read("test", ...))
    return _to_dataset("mnist", parts, standardise)


def find_mnist(data_dir: Folder) -> Path | None:
    """The folder of the newest version of MNIST as tensorflow-datasets prepared it.

    Looking first matters: with neither data nor a network, tfds retries for minutes.
    """
    folders = data_folders(data_dir)
    places = [place for f in folders for place in (f, f / "tensorflow_datasets")]
    if data_dir is None:
        if named := os.environ.get("TFDS_DATA_DIR"):
            places.insert(0, Path(named).expanduser())
        places.append(Path("~/tensorflow_datasets").expanduser())
    for place in places:
        if infos := sorted(place.glob("mnist/*/dataset_info.json")):
            return infos[-1].parent
    return None


def load_or_make(
    path: Path, make: Callable[[], Arrays], is_whole: Callable[[Arrays], bool]
) -> Arrays:
    """Arrays from the file `path`, or made anew and written there.

    The file appears whole or not at all, so that several processes may do this at once.
    """
    with contextlib.suppress(InputError):
        arrays = npz.load_arrays(path)
        if is_whole(arrays):
            return arrays
    arrays = make()
    if not is_whole(arrays):
        raise InputError(f"what was decoded for {path.name} is damaged at its source")
    try:
        npz.save_arrays(path, arrays)
    except InputError as error:
        raise InputError(
            f"{error}; to keep decoded data elsewhere, name another folder with "
            "cache_dir or the variable GAMEPRUNING_CACHE"
        ) from error
    return arrays


def _decode(folder: Path) -> Arrays:
    info = json.loads((folder / "dataset_info.json").read_text(encoding="utf-8"))
    if info.get("fileFormat") != "array_record":
        raise InputError(
            f"{folder} holds the format {info.get('fileFormat')}, which cannot be read "
            f"without TensorFlow: {PREPARE_MNIST}"
        )
    logger = logging.getLogger("absl")
    level = logger.level
    logger.setLevel(logging.ERROR)  # it warns about the decoder, which is run once
    try:
        return _read_records(folder)
    except Exception as error:  # whatever the reader's layers raise
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"cannot read mnist in {folder}: {reason}") from error
    finally:
        logger.setLevel(level)


def _read_records(folder: Path) -> Arrays:
    import tensorflow_datasets as tfds

    builder: Any = tfds.builder_from_directory(folder)
    arrays = {}
    for split in _MNIST_SIZES:
        source = builder.as_data_source(split=split)
        records = source.__getitems__(list(range(len(source))))
        labels = [record["label"] for record in records]
        arrays[f"{split}_images"] = np.stack([record["image"] for record in records])
        arrays[f"{split}_labels"] = np.array(labels, np.uint8)
    return arrays


def _is_mnist(arrays: Arrays) -> bool:
    wanted = {}
    for split, size in _MNIST_SIZES.items():
        wanted |= {f"{split}_images": (size, 28, 28, 1), f"{split}_labels": (size,)}
    is_uint8 = all(array.dtype == np.uint8 for array in arrays.values())
    return is_uint8 and wanted == {name: array.shape for name, array in arrays.items()}


def _fingerprint(folder: Path) -> str:
    """Changes whenever the prepared files do."""
    shards = sorted(folder.glob("*array_record*"))
    sizes = "".join(f"{shard.name} {shard.stat().st_size}" for shard in shards)
    return checksum((folder / "dataset_info.json").read_bytes() + sizes.encode())[:12]


def _to_dataset(
    name: str, parts: list[splits.Split], standardise: bool
) -> splits.Dataset:
    """Pixels as they are, or with mean 0 and variance 1 over the training rows."""
    note, mean, spread = "pixels in [0, 1]", 0.0, 1.0
    if standardise:
        mean, spread = parts[0].inputs.mean(), parts[0].inputs.std()
        parts = [p._replace(inputs=(p.inputs - mean) / spread) for p in parts]
        note = f"pixels less {mean:.4f}, divided by {spread:.4f}"
    how = splits.describe_inputs(
        kind="image",
        shape=parts[0].inputs.shape[1:],
        largest={"digits": 16, "mnist": 255}[name],  # pixels are divided by it
        mean=float(mean),
        scale=float(spread),
        classes=list("0123456789"),
    )
    facts = {"notes": (note,), "preprocessing": how}
    return splits.make_dataset(name, parts, classes="0123456789", **facts)
