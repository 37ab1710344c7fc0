"""Training, validation and test rows with no leakage between them."""

import json
import math
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import jax
import numpy as np

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
    rows: "Rows | None" = None  # of a table: row numbers; those of a test file last


class Rows(NamedTuple):
    """Row numbers of the three parts, each ascending."""

    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray


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
    """What a reader must know of the data, a line each: what was done to a table or to
    texts, and the accuracy of always naming the most frequent class."""
    lines = dataset.notes if dataset.feature_names else ()
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


def split_rows(
    key: jax.Array,
    strata: np.ndarray,
    *,
    groups: np.ndarray | None = None,
    validation: float,
    test: float,
    names: tuple[str, ...] = (),
) -> Rows:
    """Deal rows out at random, class by class, a group always as a whole.

    Every class with rows is in every part; it is an InputError if one has fewer rows or
    groups than there are parts. A group has the class of its first row.

    Args:
      key: random key.
      strata: the class of each row, integers [B]; all zero where there are none.
      groups: rows that say the same, or are about one person, integers [B].
      validation: fraction of each class for validation; 0 for no such part.
      test: fraction of each class for the test; 0 for no such part.
      names: what the classes are called, for the error.

    Example:
      >>> import jax, numpy as np
      >>> key, strata = jax.random.key(0), np.arange(40) % 4
      >>> rows = split_rows(key, strata, validation=0.2, test=0.3)
      >>> [len(part) for part in rows]
      [20, 8, 12]
    """
    groups = np.arange(len(strata)) if groups is None else groups
    _, first, member = np.unique(groups, return_index=True, return_inverse=True)
    order = _random_order(key, len(first))
    part_of = np.zeros(len(first), int)
    num_parts = 1 + (validation > 0) + (test > 0)
    classes = strata[first[order]]
    for label in np.unique(strata):
        own = order[classes == label]
        if len(own) < num_parts:
            name = names[label] if label < len(names) else label
            raise InputError(
                f"class {name!r} has {len(own)} distinct row{'s' * (len(own) != 1)}, "
                f"too few for a stratified split into {num_parts} parts: add rows, "
                "merge classes, or leave such classes out (--rare-classes drop)"
            )
        num_test = _share(test, len(own), num_parts)
        num_validation = _share(validation, len(own), num_parts)
        part_of[own[:num_test]] = 2
        part_of[own[num_test : num_test + num_validation]] = 1
    parts = part_of[member.reshape(-1)]
    return Rows(*(np.flatnonzero(parts == part) for part in range(3)))


def _random_order(key: jax.Array, num: int) -> np.ndarray:
    """A permutation; sizes are rounded up, so that few sizes are compiled."""
    bits = jax.random.bits(key, (1 << num.bit_length(),))
    return np.argsort(np.asarray(bits)[:num], stable=True)


def _share(fraction: float, total: int, num_parts: int) -> int:
    """How many of `total` make `fraction`: at least one, but not the others' last."""
    if fraction == 0:
        return 0
    return min(max(1, math.floor(fraction * total + 0.5)), total - num_parts + 1)


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
