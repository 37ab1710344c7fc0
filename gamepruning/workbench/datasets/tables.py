"""Any table: a CSV file with a header, one row an example.

Every statistic (means, medians, categories) is taken from the training rows alone, and
rows whose inputs are identical stay in one part of the split.
"""

# pandas' own annotations say that almost anything may be almost anything.
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false
# pyright: reportCallIssue=false, reportReturnType=false, reportGeneralTypeIssues=false

import dataclasses
from pathlib import Path

import jax
import numpy as np
import pandas as pd
from pandas.api.types import is_numeric_dtype

from gamepruning.tabular import columns
from gamepruning.tabular.columns import Column, is_number, to_numbers
from gamepruning.tabular.preprocessing import Preprocessing, Target
from gamepruning.tabular.read import naming, read_table
from gamepruning.types import InputError
from gamepruning.workbench.datasets import splits
from gamepruning.workbench.datasets.recipes import Recipe
from gamepruning.workbench.settings.base import closest

_NUM_PARTS = 3


def load_table(path: Path, *, seed: int, recipe: Recipe) -> splits.Dataset:
    """Read a CSV file: 15 % of the rows are for validation, 25 % for the test.

    Numbers are standardised. A missing one (an empty cell) becomes the median, beside a
    feature that says it was missing. Text becomes one feature for each of its 32 most
    frequent categories. Columns that do not vary are left out, and so are those that
    only count or name the rows. The target of a regression is standardised.
    """
    frame = read_table(path)
    with naming(path):
        return _to_dataset(path.stem, frame, jax.random.key(seed), recipe)


def _to_dataset(
    name: str, frame: pd.DataFrame, key: jax.Array, recipe: Recipe
) -> splits.Dataset:
    target = _checked_target(frame, recipe)
    task = _task_of(target) if recipe.task == "auto" else recipe.task
    notes = [recipe.why] if recipe.why else []
    if task == "classification":
        frame = _drop_rare(frame, recipe, notes)
        classes, labels = _to_classes(frame[recipe.target])
    else:
        classes, labels = (), _to_targets(target)
    rows = _split(key, frame, labels, classes, recipe)
    own, parsed = _columns(frame, recipe, notes)
    goal = Target(name=recipe.target, task=task, classes=classes)
    if task == "regression":
        mean, scale = float(labels[rows.train].mean()), float(labels[rows.train].std())
        labels = ((labels - mean) / (scale or 1.0)).astype(np.float32)
        goal = dataclasses.replace(goal, mean=mean, scale=scale)
    made = Preprocessing.fit(own, parsed, rows.train, goal)
    notes += made.notes(parsed)
    inputs = made.encode(parsed)
    return splits.make_dataset(
        name,
        [splits.Split(inputs[part], labels[part]) for part in rows],
        classes=classes,
        notes=tuple(notes),
        feature_names=made.features,
        target_mean=goal.mean,
        target_scale=goal.scale,
    )


def _checked_target(frame: pd.DataFrame, recipe: Recipe) -> pd.Series:
    special = [*recipe.drop, *recipe.categorical, *recipe.zero_is_missing, recipe.group]
    for name in [recipe.target, *special]:
        if name is not None and name not in frame:
            raise InputError(f"no column {name!r}{closest(name, frame)}")
    target = frame[recipe.target]
    is_bad = (target == "") | (is_number(target) & ~np.isfinite(to_numbers(target)))
    for row, cell in target[is_bad][:1].items():
        raise InputError(
            f"row {row}: the target is {cell or 'missing'}: mend or remove the row"
        )
    if target.nunique() == 1:
        raise InputError(f"every target is {target.iloc[0]}: there is nothing to learn")
    return target


def _task_of(target: pd.Series) -> splits.Task:
    kinds = to_numbers(target.drop_duplicates())
    is_few = len(kinds) <= 20 and len(target) >= 5 * len(kinds)
    is_code = (kinds % 1 == 0).all() and is_few
    return "classification" if kinds.hasnans or is_code else "regression"


def _to_classes(target: pd.Series) -> tuple[tuple[str, ...], np.ndarray]:
    """The classes, numbers in their order first, and the class of each row."""
    names = target.drop_duplicates()
    kinds = pd.DataFrame({"name": names, "number": to_numbers(names)})
    classes = kinds.sort_values(["number", "name"])["name"].tolist()
    return tuple(classes), pd.Index(classes).get_indexer(target).astype(np.int32)


def _to_targets(target: pd.Series) -> np.ndarray:
    for row, cell in target[~is_number(target)][:1].items():
        raise InputError(
            f"row {row}: the target of a regression must be a number, got {cell!r}"
        )
    columns.check_size(target)
    return to_numbers(target).to_numpy()


def _drop_rare(frame: pd.DataFrame, recipe: Recipe, notes: list[str]) -> pd.DataFrame:
    """Leave out classes too small to be in every part, if the recipe says so."""
    target = frame[recipe.target]
    is_rare = target.map(target.value_counts()) < _NUM_PARTS
    if recipe.rare_classes == "error" or not is_rare.any():
        return frame
    if target[~is_rare].nunique() < 2:
        raise InputError(f"fewer than two classes have {_NUM_PARTS} rows")
    gone = ", ".join(_to_classes(target[is_rare])[0])
    notes.append(f"classes with fewer than {_NUM_PARTS} rows, left out: {gone}")
    return frame[~is_rare]


def _split(
    key: jax.Array,
    frame: pd.DataFrame,
    labels: np.ndarray,
    classes: tuple[str, ...],
    recipe: Recipe,
) -> splits.Rows:
    """Rows with the same inputs, or of the same group, go to the same part."""
    strata = labels if classes and recipe.group is None else np.zeros(len(frame), int)
    inputs = [name for name in frame if name not in (recipe.target, *recipe.drop)]
    by = inputs if recipe.group is None else [recipe.group]
    if not by:
        raise InputError("no column is left to learn from")
    groups = frame.groupby(by, sort=False).ngroup().to_numpy()
    rows = splits.split_rows(
        key, strata, groups=groups, validation=0.15, test=0.25, names=classes
    )
    for part, own in rows._asdict().items():
        for label in set(range(len(classes))).difference(labels[own].tolist()):
            raise InputError(
                f"no row of class {classes[label]!r} is in the {part} part: too few "
                "distinct rows; try another seed"
            )
    return rows


def _columns(
    frame: pd.DataFrame, recipe: Recipe, notes: list[str]
) -> tuple[list[Column], pd.DataFrame]:
    """The columns that a network may read, and their parsed cells."""
    own, kept, ids = [], {}, []
    skipped = [recipe.target, recipe.group, *recipe.drop]
    for name in frame.columns.difference(skipped, sort=False):
        is_code = name in recipe.categorical
        column = columns.parse_column(frame[name], categorical=is_code)
        is_zero = name in recipe.zero_is_missing and is_numeric_dtype(column)
        column = column.mask(column == 0) if is_zero else column
        if is_code or not columns.is_row_id(column):
            kept[name] = column
            kind = "number" if is_numeric_dtype(column) else "category"
            own.append(Column(name=name, kind=kind, zero_is_missing=is_zero))
        else:
            ids.append(name)
    if ids:
        told = "columns that only count or name the rows, left out"
        notes.append(f"{told}: {', '.join(ids)}")
    return own, pd.DataFrame(kept, index=frame.index)
