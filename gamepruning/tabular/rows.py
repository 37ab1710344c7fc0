"""Which rows of a table are used, and for which part: training, validation or test."""

# pandas' own annotations say that almost anything may be almost anything.
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false
# pyright: reportCallIssue=false, reportReturnType=false, reportGeneralTypeIssues=false

import dataclasses

import jax
import numpy as np
import pandas as pd

from gamepruning.spelling import closest
from gamepruning.tabular.options import TableOptions
from gamepruning.tabular.split import NUM_PARTS, SplitRows, break_up, split_rows
from gamepruning.tabular.target import Target, classes_of, is_untold
from gamepruning.tabular.understand import Understood
from gamepruning.types import InputError


def drop_untold(found: Understood, target: str) -> Understood:
    """Leave out the rows whose target is missing; some must have one."""
    gone = is_untold(found.parsed[target])
    if not gone.any():
        return found
    if gone.all():
        raise InputError(f"no row has a target: every cell of {target!r} is missing")
    count, first = gone.sum(), gone.idxmax()
    note = f"rows without a target, left out: {count} (the first is row {first})"
    return found._replace(parsed=found.parsed[~gone], notes=(*found.notes, note))


def drop_rare(
    found: Understood, target: Target, cells: pd.Series
) -> tuple[Understood, Target]:
    """Leave out classes too small to be in every part.

    Args:
      found: the columns.
      target: what is predicted: one of some classes.
      cells: those of its column, in the rows of `found`.

    Raises:
      InputError: fewer than two classes are left.
    """
    names = target.column.parse(cells)
    is_rare = names.map(names.value_counts()) < NUM_PARTS
    if not is_rare.any():
        return found, target
    if names[~is_rare].nunique() < 2:
        raise InputError(f"fewer than two classes have {NUM_PARTS} rows")
    gone = ", ".join(classes_of(names[is_rare]))
    note = f"classes with fewer than {NUM_PARTS} rows, left out: {gone}"
    found = found._replace(parsed=found.parsed[~is_rare], notes=(*found.notes, note))
    return found, dataclasses.replace(target, classes=classes_of(names[~is_rare]))


def deal_out(
    key: jax.Array,
    parsed: pd.DataFrame,
    labels: np.ndarray,
    classes: tuple[str, ...],
    *,
    group: pd.Series | None = None,
    test: float,
) -> tuple[SplitRows, list[str]]:
    """Deal out the rows of a table: those that say the same go to the same part.

    Args:
      key: random key.
      parsed: the inputs of each row.
      labels: the class of each row, or its target.
      classes: what the classes are called; empty for a regression.
      group: rows of one value go to the same part, whatever else they say.
      test: fraction of each class for the test; 0 for no such part.

    Returns:
      The rows, and what must be said of them. 15 % are for validation.

    Raises:
      InputError: there is no input, or too few distinct rows of a class.
    """
    is_stratified, notes = bool(classes) and group is None, []
    strata = labels if is_stratified else np.zeros(len(labels), int)
    if group is not None:
        groups = pd.factorize(group)[0]
    elif len(parsed.columns):
        by = parsed.groupby([*parsed.columns], sort=False, dropna=False)
        groups, notes = break_up(by.ngroup().to_numpy(), strata, classes)
    else:
        raise InputError("no column is left to learn from")
    rows = split_rows(
        key, strata, groups=groups, validation=0.15, test=test, names=classes
    )
    for part, own in rows._asdict().items() if classes else ():
        gone = np.setdiff1d(np.arange(len(classes)), labels[own])
        if len(gone) and (part != "test" or test):
            raise InputError(
                f"no row of class {classes[gone[0]]!r} is in the {part} part: too few "
                "distinct rows; try another seed"
            )
    return rows, notes


def check_names(
    cells: pd.DataFrame, options: TableOptions, *, target: str, group: str | None
) -> None:
    """Check that there are the columns that somebody named.

    Raises:
      InputError: one is missing, or the target is left out.
    """
    named = [target, *options.drop, *options.keep_column, *options.categorical]
    for name in [*named, *options.numeric, *options.zero_is_missing, group]:
        if name is not None and name not in cells:
            raise InputError(f"no column {name!r}{closest(name, cells)}")
    if target in options.drop:
        raise InputError(f"--drop {target} leaves out the target: keep it")
