"""Training, validation and test rows with no leakage between them."""

import json
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

from gamepruning.tabular.split import SplitRows
from gamepruning.types import InputError

Task = Literal["classification", "regression"]


class Split(NamedTuple):
    """Rows of a data set, as NumPy arrays; on the device they become jax arrays."""

    inputs: Any  # float32 [B, *input_shape]
    labels: Any  # int32 [B] in [0, num_outputs), or standardised targets, float32 [B]


class Dataset(NamedTuple):
    """Data to train on, to choose by, and to judge by."""

    name: str
    task: Task
    train: Split  # the only rows that any statistic was taken from
    validation: Split  # rows to choose by (scores, settings)
    test: Split  # rows to judge by, once
    num_outputs: int  # the number of classes; 1 for regression
    input_shape: tuple[int, ...]  # of one example
    class_names: tuple[str, ...] = ()  # empty for regression
    feature_names: tuple[str, ...] = ()  # of each input; empty for images
    target_mean: float = 0.0  # regression: target = label * target_scale + target_mean
    target_scale: float = 1.0
    notes: tuple[str, ...] = ()  # what was done to the data, a line each
    preprocessing: str = ""  # from raw data to inputs, as JSON text
    rows: SplitRows | None = None  # of a table: row numbers; those of a test file last
    contents: tuple[str, ...] = ()  # fingerprints of what was read, a test file last


def make_dataset(
    name: str, parts: Sequence[Split], *, classes: Sequence[str], **facts: Any
) -> Dataset:
    """A data set of three parts; one without classes is for regression."""
    train, validation, test = parts
    task = "classification" if classes else "regression"
    shape = train.inputs.shape[1:]
    made = Dataset(name, task, train, validation, test, len(classes) or 1, shape)
    return made._replace(class_names=tuple(classes), **facts)


def describe(dataset: Dataset) -> tuple[str, ...]:
    """What a reader must know of the data, a line each: what was done to them, and the
    accuracy of always naming the most frequent class."""
    lines = dataset.notes
    if dataset.task == "regression":
        return lines
    name, share = majority(dataset)
    return (
        *lines,
        f"{100 * share:.1f} % of the test examples are of the class {name!r}",
    )


def majority(dataset: Dataset) -> tuple[str, float]:
    """The most frequent class of training, and its share of the test examples."""
    label = int(np.bincount(dataset.train.labels).argmax())
    name = dataset.class_names[label] if dataset.class_names else str(label)
    return name, float((dataset.test.labels == label).mean())


def describe_inputs(**facts: Any) -> str:
    """How raw data become inputs, as JSON, where they are no table."""
    return json.dumps({"format": "gamepruning inputs", "version": 1, **facts}, indent=2)


def check_dataset(dataset: Dataset) -> Dataset:
    """Check any data set, a user's own included, and return it.

    Raises:
      InputError: a part is empty, lengths or shapes differ, an input or target is NaN
        or infinite, a label is out of range, or the training labels are all the same.

    Example:
      >>> import numpy as np
      >>> part = Split(np.ones((2, 3), np.float32), np.array([0, 7]))
      >>> check_dataset(Dataset("own", "classification", part, part, part, 2, (3,)))
      Traceback (most recent call last):
      gamepruning.types.InputError: own, train: label 7 is out of range: expected 0 to 1
    """
    for part in ("train", "validation", "test"):
        if problem := _problem_of(getattr(dataset, part), dataset):
            raise InputError(f"{dataset.name}, {part}: {problem}")
    labels = dataset.train.labels
    if (labels == labels[0]).all():
        told = f"every training label is {labels[0]}: there is nothing to learn"
        raise InputError(f"{dataset.name}: {told}")
    return dataset


def _problem_of(split: Split, dataset: Dataset) -> str:
    inputs, labels = split
    if len(inputs) == 0 or len(inputs) != len(labels):
        counts = f"{len(inputs)} inputs and {len(labels)} labels"
        return f"expected as many labels as inputs, and at least one, got {counts}"
    if inputs.shape[1:] != tuple(dataset.input_shape):
        shape = inputs.shape[1:]
        return f"expected inputs of shape {dataset.input_shape}, got {shape}"
    if not np.isfinite(inputs).all():
        row = np.argwhere(~np.isfinite(inputs))[0][0]
        return f"row {row} of the inputs holds NaN or infinity"
    if dataset.task == "regression":
        return "" if np.isfinite(labels).all() else "a target is NaN or infinite"
    if not np.issubdtype(labels.dtype, np.integer):
        return f"expected integer labels, got {labels.dtype}"
    outside = labels[(labels < 0) | (labels >= dataset.num_outputs)]
    if outside.size:
        last = dataset.num_outputs - 1
        return f"label {outside[0]} is out of range: expected 0 to {last}"
    return ""
