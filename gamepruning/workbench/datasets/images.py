"""Images of handwritten digits: scikit-learn's small ones, and MNIST."""

import contextlib
import hashlib
import json
import logging
import os
from pathlib import Path
from typing import Any

import jax
import numpy as np

from gamepruning.types import InputError
from gamepruning.workbench.datasets.cache import Arrays, load_or_make
from gamepruning.workbench.datasets.places import cache_folder, tfds_folders
from gamepruning.workbench.datasets.splits import Dataset, Rows, Split, split_rows, take

DIGITS = tuple("0123456789")
PREPARE_MNIST = (
    "prepare it once, where there is a network and TensorFlow, with "
    "`tfds.builder('mnist', data_dir=FOLDER, file_format='array_record')"
    ".download_and_prepare()`, then name the folder with data_dir or the variable "
    "TFDS_DATA_DIR"
)
_CHUNK = 1000


def load_digits(*, seed: int, standardise: bool = False) -> Dataset:
    """1,797 images of 8x8 that come with scikit-learn: 15 % validation, 25 % test.

    Args:
      seed: decides the split.
      standardise: whether pixels get mean 0 and variance 1 over the training rows,
        instead of values in [0, 1].
    """
    from sklearn import datasets

    pixels, labels = datasets.load_digits(return_X_y=True)
    images = (np.asarray(pixels) / 16.0).astype(np.float32).reshape(-1, 8, 8, 1)
    everything = Split(images, np.asarray(labels, np.int32))
    key = jax.random.key(seed)
    rows = split_rows(key, everything.labels, validation=0.15, test=0.25)
    parts = [take(everything, part) for part in rows]
    return _dataset("digits", parts, standardise)


def load_mnist(
    *,
    data_dir: str | os.PathLike | None,
    cache_dir: str | os.PathLike | None,
    seed: int,
    standardise: bool = False,
) -> Dataset:
    """70,000 images of 28x28, read by tensorflow-datasets without TensorFlow.

    The 10,000 test images are the published ones; a twelfth of the 60,000 training
    images, class by class, is for validation.

    Args:
      data_dir: the folder with the prepared data set, or with `tensorflow_datasets/`.
      cache_dir: where the decoded images are kept.
      seed: decides which images are for validation.
      standardise: as for `load_digits`.

    Raises:
      InputError: the data set is not there, or not in the array_record format.
    """
    folder = find_mnist(data_dir)
    if folder is None:
        raise InputError(f"mnist is not there: {PREPARE_MNIST}")
    name = f"mnist-{folder.name}-{_fingerprint(folder)}.npz"
    arrays = load_or_make(
        cache_folder(cache_dir) / name, lambda: _decode(folder), _is_mnist
    )
    labels = arrays["train_labels"].astype(np.int32)
    rows = split_rows(jax.random.key(seed), labels, validation=1 / 12, test=0.0)
    train = [_scaled(arrays, "train", part) for part in Rows(*rows)[:2]]
    return _dataset("mnist", [*train, _scaled(arrays, "test", ...)], standardise)


def find_mnist(data_dir: str | os.PathLike | None) -> Path | None:
    """The folder of the newest version of MNIST as tensorflow-datasets prepared it.

    Looking first matters: with neither data nor a network, tfds retries for minutes.
    """
    for place in tfds_folders(data_dir):
        if infos := sorted(place.glob("mnist/*/dataset_info.json")):
            return infos[-1].parent
    return None


def _decode(folder: Path) -> Arrays:
    info = json.loads((folder / "dataset_info.json").read_text(encoding="utf-8"))
    if info.get("fileFormat") != "array_record":
        raise InputError(
            f"{folder} holds the format {info.get('fileFormat')}, which cannot be read "
            f"without TensorFlow: {PREPARE_MNIST}"
        )
    try:
        with _no_warnings_from("absl"):  # about the decoder: it is run once
            return _read_records(folder)
    except Exception as error:  # whatever the reader's layers raise
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"cannot read mnist in {folder}: {reason}") from error


def _read_records(folder: Path) -> Arrays:
    import tensorflow_datasets as tfds

    builder: Any = tfds.builder_from_directory(folder)
    arrays = {}
    for split in ("train", "test"):
        source = builder.as_data_source(split=split)
        images, labels = [], []
        for start in range(0, len(source), _CHUNK):
            indices = range(start, min(start + _CHUNK, len(source)))
            records = source.__getitems__(list(indices))
            images.append(np.stack([record["image"] for record in records]))
            labels.append(np.array([record["label"] for record in records], np.uint8))
        arrays[f"{split}_images"] = np.concatenate(images)
        arrays[f"{split}_labels"] = np.concatenate(labels)
    return arrays


@contextlib.contextmanager
def _no_warnings_from(name: str):
    logger = logging.getLogger(name)
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def _is_mnist(arrays: Arrays) -> bool:
    shapes = {
        "train_images": (60_000, 28, 28, 1),
        "train_labels": (60_000,),
        "test_images": (10_000, 28, 28, 1),
        "test_labels": (10_000,),
    }
    return {name: array.shape for name, array in arrays.items()} == shapes and all(
        array.dtype == np.uint8 for array in arrays.values()
    )


def _fingerprint(folder: Path) -> str:
    """Changes whenever the prepared files do."""
    digest = hashlib.sha256((folder / "dataset_info.json").read_bytes())
    for shard in sorted(folder.glob("*array_record*")):
        digest.update(f"{shard.name} {shard.stat().st_size}".encode())
    return digest.hexdigest()[:12]


def _scaled(arrays: Arrays, part: str, rows) -> Split:
    images = arrays[f"{part}_images"][rows].astype(np.float32) / np.float32(255)
    return Split(images, arrays[f"{part}_labels"][rows].astype(np.int32))


def _dataset(name: str, parts: list[Split], standardise: bool) -> Dataset:
    notes = ("pixels in [0, 1]",)
    if standardise:
        mean, spread = parts[0].inputs.mean(), parts[0].inputs.std()
        parts = [p._replace(inputs=(p.inputs - mean) / spread) for p in parts]
        notes = (f"pixels less {mean:.4f}, divided by {spread:.4f}",)
    return Dataset(
        name,
        "classification",
        *parts,
        num_outputs=10,
        input_shape=parts[0].inputs.shape[1:],
        class_names=DIGITS,
        notes=notes,
    )
