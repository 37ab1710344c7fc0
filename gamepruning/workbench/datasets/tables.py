"""Any table: a CSV file with a header, one row an example.

Every statistic (means, medians, categories) is taken from the training rows alone, and
rows whose inputs are identical stay in one part of the split.
"""

import csv
import io
import math
import os
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np

from gamepruning.types import InputError
from gamepruning.workbench.datasets.columns import (
    Column,
    check_size,
    encode,
    parse_column,
)
from gamepruning.workbench.datasets.recipes import Recipe
from gamepruning.workbench.datasets.splits import Dataset, Rows, Split, Task, split_rows
from gamepruning.workbench.settings.spelling import closest

_NUM_PARTS = 3


class Table(NamedTuple):
    """A file as it was read: column names and cells."""

    path: Path
    names: tuple[str, ...]
    rows: list[list[str]]

    def column(self, name: str) -> list[str]:
        """The cells of one column, stripped."""
        place = self.names.index(name)
        return [row[place].strip() for row in self.rows]


def load_table(
    path: str | os.PathLike, *, seed: int, recipe: Recipe, name: str | None = None
) -> Dataset:
    """Reads a CSV file: 15 % of the rows for validation, 25 % for the test.

    Numbers are standardised; a missing one (an empty cell) becomes the median, beside a
    column that says it was missing. Text becomes one column a category; the rarest of
    more than 32 share none. Columns that do not vary, and those that only count or name
    the rows, are left out. The target of a regression is standardised.

    Args:
      path: the file.
      seed: decides the split.
      recipe: what the columns mean.
      name: what to call the data set; the file's name if None.

    Returns:
      The data set; `notes` says what was done to it.

    Raises:
      InputError: the file is not such a table, or nothing can be learned from it.
    """
    table = read_table(Path(path))
    _check_names(table, recipe)
    name = name or table.path.stem
    target = table.column(recipe.target)
    _check_target(table, target)
    task = _task_of(target) if recipe.task == "auto" else recipe.task
    notes = [recipe.why] if recipe.why else []
    if task == "classification":
        classes = tuple(sorted(set(target), key=_order))
        labels = np.array([classes.index(label) for label in target], np.int32)
        table, labels, classes = _without_rare(table, labels, classes, recipe, notes)
    else:
        classes, labels = (), _target_numbers(table, target)
        check_size(f"{table.path}", recipe.target, target)
    rows = _split(jax.random.key(seed), table, labels, classes, recipe)
    columns = _columns(table, recipe, notes)
    inputs, features = encode(columns, rows.train, notes)
    if not features:
        raise InputError(f"{table.path}: no column is left to learn from")
    mean, scale = 0.0, 1.0
    if task == "regression":
        mean, scale = float(labels[rows.train].mean()), float(labels[rows.train].std())
        labels = ((labels - mean) / (scale or 1.0)).astype(np.float32)
    return Dataset(
        name,
        task,
        *(Split(inputs[part], labels[part]) for part in rows),
        num_outputs=len(classes) or 1,
        input_shape=(len(features),),
        class_names=classes,
        feature_names=features,
        target_mean=mean,
        target_scale=scale,
        notes=tuple(notes),
    )


def read_table(path: Path) -> Table:
    """The names and cells of a CSV file.

    Raises:
      InputError: it cannot be read, has no header or no rows, or its rows differ in
        length.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise InputError(f"cannot read {path}: {reason}") from error
    if "\0" in text:
        raise InputError(f"cannot read {path}: it is not a text file")
    first = text.partition("\n")[0]
    delimiter = max(",;\t", key=first.count)
    try:
        lines = list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter))
    except csv.Error as error:
        raise InputError(f"cannot read {path}: {error}") from error
    rows = [row for row in lines if any(cell.strip() for cell in row)]
    if len(rows) < 2:
        raise InputError(f"{path}: expected a header and rows, got {len(rows)} lines")
    names = tuple(cell.strip() for cell in rows[0])
    if all(_is_number(cell) for cell in names):
        raise InputError(f"{path}: the first line is all numbers: add a header")
    for number, row in enumerate(rows[1:], start=2):
        if len(row) != len(names):
            raise InputError(
                f"{path}, row {number}: expected {len(names)} cells as in the header, "
                f"got {len(row)}"
            )
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise InputError(f"{path}: two columns are called {twice!r}")
    return Table(path, names, rows[1:])


def _check_names(table: Table, recipe: Recipe) -> None:
    group = () if recipe.group is None else (recipe.group,)
    special = (*recipe.drop, *recipe.categorical, *recipe.zero_is_missing, *group)
    for name in (recipe.target, *special):
        if name not in table.names:
            raise InputError(
                f"{table.path}: no column {name!r}{closest(name, table.names)}"
            )


def _check_target(table: Table, target: list[str]) -> None:
    for number, cell in enumerate(target, start=2):
        if not cell or (_is_number(cell) and not math.isfinite(float(cell))):
            raise InputError(
                f"{table.path}, row {number}: the target is {cell or 'missing'}: "
                "mend or remove the row"
            )
    if len(set(target)) == 1:
        raise InputError(
            f"{table.path}: every target is {target[0]}: there is nothing to learn"
        )


def _task_of(target: list[str]) -> Task:
    kinds = set(target)
    if not all(_is_number(cell) for cell in kinds):
        return "classification"
    whole = all(float(cell).is_integer() for cell in kinds)
    few = len(kinds) <= 20 and len(target) >= 5 * len(kinds)
    return "classification" if whole and few else "regression"


def _target_numbers(table: Table, target: list[str]) -> np.ndarray:
    for number, cell in enumerate(target, start=2):
        if not _is_number(cell):
            raise InputError(
                f"{table.path}, row {number}: the target of a regression must be a "
                f"number, got {cell!r}"
            )
    return np.array([float(cell) for cell in target])


def _without_rare(table: Table, labels, classes, recipe: Recipe, notes: list[str]):
    """Leaves out classes too small to be in every part, where the recipe says so."""
    counts = np.bincount(labels)
    if recipe.rare_classes == "error" or counts.min() >= _NUM_PARTS:
        return table, labels, classes
    kept = np.flatnonzero(counts >= _NUM_PARTS)
    if len(kept) < 2:
        raise InputError(f"{table.path}: fewer than two classes have {_NUM_PARTS} rows")
    rows = np.flatnonzero(np.isin(labels, kept))
    gone = [name for i, name in enumerate(classes) if i not in kept]
    notes.append(
        f"classes with fewer than {_NUM_PARTS} rows, left out: {', '.join(gone)}"
    )
    smaller = table._replace(rows=[table.rows[row] for row in rows])
    labels = np.searchsorted(kept, labels[rows]).astype(np.int32)
    return smaller, labels, tuple(classes[i] for i in kept)


def _split(key, table: Table, labels, classes, recipe: Recipe) -> Rows:
    strata = labels if classes else np.zeros(len(labels), int)
    if recipe.group is not None:
        said, strata = table.column(recipe.group), np.zeros(len(labels), int)
    else:
        apart = {recipe.target, *recipe.drop}
        places = [i for i, name in enumerate(table.names) if name not in apart]
        said = [tuple(row[i] for i in places) for row in table.rows]
    number_of = {value: i for i, value in enumerate(dict.fromkeys(said))}
    groups = np.array([number_of[value] for value in said])
    try:
        rows = split_rows(
            key, strata, groups=groups, validation=0.15, test=0.25, names=classes
        )
    except InputError as error:
        raise InputError(f"{table.path}: {error}") from error
    for part, numbers in zip(rows._fields, rows, strict=True):
        lacking = set(range(len(classes))) - set(labels[numbers].tolist())
        if classes and lacking:
            raise InputError(
                f"{table.path}: no row of class {classes[min(lacking)]!r} is in the "
                f"{part} part: too few distinct rows; try another seed"
            )
    return rows


def _columns(table: Table, recipe: Recipe, notes: list[str]) -> list[Column]:
    apart = {recipe.target, recipe.group, *recipe.drop}
    columns = [
        parse_column(
            f"{table.path}",
            name,
            table.column(name),
            categorical=name in recipe.categorical,
            zero_is_missing=name in recipe.zero_is_missing,
        )
        for name in table.names
        if name not in apart
    ]
    ids = [column.name for column in columns if column.is_id]
    if ids:
        notes.append(
            f"columns that only count or name the rows, left out: {', '.join(ids)}"
        )
    return [column for column in columns if not column.is_id]


def _order(label: str) -> tuple:
    return (0, float(label), label) if _is_number(label) else (1, 0.0, label)


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True
