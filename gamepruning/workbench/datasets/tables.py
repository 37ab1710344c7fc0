"""Any table: a delimited file with a header, one row an example.

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

from gamepruning.tabular import split
from gamepruning.tabular.builtin import builtin_table
from gamepruning.tabular.preprocessing import Preprocessing
from gamepruning.tabular.read import Table, naming, read_table, scan_table
from gamepruning.tabular.target import Target, classes_of, understand_target
from gamepruning.tabular.understand import Understood, leave_out_ids, understand
from gamepruning.types import InputError
from gamepruning.workbench.datasets import splits
from gamepruning.workbench.datasets.recipes import Recipe
from gamepruning.workbench.settings.base import closest


def load_table(path: Path | str, *, seed: int, recipe: Recipe) -> splits.Dataset:
    """Read a file or, by its name, a table of scikit-learn.

    15 % of the rows are for validation, 25 % for the test. Numbers and dates are
    standardised. A missing one becomes the median, beside a feature that says so. Text
    becomes one feature for each of its 32 most frequent categories. Columns that do not
    vary or only name the rows are left out. A regression's target is standardised.
    """
    table = builtin_table(path) if isinstance(path, str) else scan_table(path)
    with naming(path):
        made = _to_dataset(Path(path).stem, table, jax.random.key(seed), recipe)
    if recipe.test_file is None:
        return made
    frame = read_table(recipe.test_file)
    with naming(recipe.test_file):
        test = _to_split(Preprocessing.from_json(made.preprocessing), frame)
    rows = made.rows and made.rows._replace(test=np.asarray(frame.index))
    told = split.note_shared(test.inputs, [made.train.inputs, made.validation.inputs])
    return made._replace(test=test, rows=rows, notes=(*made.notes, *told))


def _to_dataset(
    name: str, table: Table, key: jax.Array, recipe: Recipe
) -> splits.Dataset:
    _check_names(table.cells, recipe)
    notes = [recipe.why] if recipe.why else []
    if table.encoding != "utf-8":
        notes.append(f"read as {table.encoding} text")
    cells = table.cells.drop(columns=[*recipe.drop])
    found = understand(cells, recipe, delimiter=table.delimiter, target=recipe.target)
    target = _target_of(table.cells, found, recipe)
    if target.task == "classification":
        target, found = _drop_rare(target, table.cells, found, recipe, notes)
    targets = target.read(table.cells.loc[found.parsed.index, recipe.target])
    found = leave_out_ids(_inputs_of(found, recipe), recipe)
    rows = _split(
        key, table.cells, found.parsed, (targets, target.classes), recipe, notes
    )
    made = Preprocessing.fit(
        found.columns, found.parsed, rows.train, target.fit(targets[rows.train])
    )
    inputs, labels = made.encode(found.parsed), made.target.to_labels(targets)
    return splits.make_dataset(
        name,
        [splits.Split(inputs[part], labels[part]) for part in rows],
        classes=target.classes,
        notes=(*notes, *found.notes, *made.notes()),
        feature_names=made.features,
        target_mean=made.target.mean,
        target_scale=made.target.scale,
        preprocessing=made.to_json(),
        rows=split.Rows(*(np.asarray(found.parsed.index[part]) for part in rows)),
    )


def _to_split(made: Preprocessing, frame: pd.DataFrame) -> splits.Split:
    if made.target.name not in frame:
        raise InputError(f"no column {made.target.name!r}, which is the target")
    targets = made.target.read(frame[made.target.name])
    return splits.Split(made.transform(frame), made.target.to_labels(targets))


def _check_names(cells: pd.DataFrame, recipe: Recipe) -> None:
    named = [recipe.target, *recipe.drop, *recipe.keep_column, *recipe.categorical]
    for name in [*named, *recipe.zero_is_missing, recipe.group]:
        if name is not None and name not in cells:
            raise InputError(f"no column {name!r}{closest(name, cells)}")
    if recipe.target in recipe.drop:
        raise InputError(f"--drop {recipe.target} leaves out the target: keep it")


def _target_of(cells: pd.DataFrame, found: Understood, recipe: Recipe) -> Target:
    name = recipe.target
    column = next(column for column in found.columns if column.name == name)
    return understand_target(cells[name], found.parsed[name], column, recipe.task)


def _inputs_of(found: Understood, recipe: Recipe) -> Understood:
    """The columns but for the target and the group."""
    others = (recipe.target, recipe.group)
    own = tuple(column for column in found.columns if column.name not in others)
    if not own:
        raise InputError("no column is left to learn from")
    return found._replace(columns=own, parsed=found.parsed[[c.name for c in own]])


def _drop_rare(
    target: Target,
    cells: pd.DataFrame,
    found: Understood,
    recipe: Recipe,
    notes: list[str],
) -> tuple[Target, Understood]:
    """Leave out classes too small to be in every part, if the recipe says so."""
    names = target.column.parse(cells[recipe.target])
    is_rare = names.map(names.value_counts()) < split.NUM_PARTS
    if recipe.rare_classes == "error" or not is_rare.any():
        return target, found
    if names[~is_rare].nunique() < 2:
        raise InputError(f"fewer than two classes have {split.NUM_PARTS} rows")
    gone = ", ".join(classes_of(names[is_rare]))
    notes.append(f"classes with fewer than {split.NUM_PARTS} rows, left out: {gone}")
    target = dataclasses.replace(target, classes=classes_of(names[~is_rare]))
    return target, found._replace(parsed=found.parsed[~is_rare])


def _split(
    key: jax.Array,
    cells: pd.DataFrame,
    parsed: pd.DataFrame,
    goal: tuple[np.ndarray, tuple[str, ...]],
    recipe: Recipe,
    notes: list[str],
) -> split.Rows:
    """Rows with the same inputs, or of the same group, go to the same part."""
    labels, classes = goal
    strata = labels if classes and recipe.group is None else np.zeros(len(labels), int)
    if recipe.group is not None:
        groups = (
            cells.loc[parsed.index]
            .groupby(recipe.group, sort=False)
            .ngroup()
            .to_numpy()
        )
    elif len(parsed.columns):
        by = list(parsed.columns)
        groups = parsed.groupby(by, sort=False, dropna=False).ngroup().to_numpy()
        groups, told = split.break_up(groups, strata, classes)
        notes += told
    else:
        raise InputError("no column is left to learn from")
    test = 0.25 if recipe.test_file is None else 0.0
    rows = split.split_rows(
        key, strata, groups=groups, validation=0.15, test=test, names=classes
    )
    for part, own in rows._asdict().items():
        for label in set(range(len(classes))).difference(labels[own].tolist()):
            if part == "test" and recipe.test_file is not None:
                continue
            raise InputError(
                f"no row of class {classes[label]!r} is in the {part} part: too few "
                "distinct rows; try another seed"
            )
    return rows
