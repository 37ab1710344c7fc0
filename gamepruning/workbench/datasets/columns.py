"""One column of a table: what it holds, and the numbers that a network reads."""

import math
from collections import Counter
from typing import NamedTuple

import numpy as np

from gamepruning.types import InputError

MAX_CATEGORIES = 32
MAX_NUMBER = 1e18  # its square is a float32 too
_ID_NAMES = {"", "id", "index", "row", "row_id", "unnamed: 0"}


class Column(NamedTuple):
    """A column as it was read.

    Attributes:
      name: from the header.
      numbers: float [B], NaN where missing; None for categories.
      categories: one text a row, "" where missing; empty for numbers.
      is_id: whether it only counts or names the rows.
    """

    name: str
    numbers: np.ndarray | None
    categories: tuple[str, ...]
    is_id: bool


def parse_column(
    where: str,
    name: str,
    cells: list[str],
    *,
    categorical: bool,
    zero_is_missing: bool,
) -> Column:
    """Numbers, where every cell that is not empty is one; categories otherwise.

    Args:
      where: the file, for the error.
      name: the column's name.
      cells: its cells, stripped; an empty one is missing.
      categorical: whether numbers are codes of categories.
      zero_is_missing: whether 0 means that nothing was measured.

    Returns:
      The column.

    Raises:
      InputError: a number is NaN, infinite or too large for float32, or most cells are
        numbers but one is not.

    Example:
      >>> parse_column(
      ...     "f", "x", ["1", "", "3"], categorical=False, zero_is_missing=False
      ... ).numbers
      array([ 1., nan,  3.])
    """
    numbers = [_number(cell) for cell in cells]
    odd = [i for i, n in enumerate(numbers) if n is None and cells[i]]
    filled = sum(cell != "" for cell in cells)
    if categorical or (odd and 2 * len(odd) >= filled):
        distinct = len(set(cells)) == len(cells) and len(cells) > MAX_CATEGORIES
        return Column(name, None, tuple(cells), distinct and not categorical)
    if odd:
        raise InputError(
            f"{where}, row {odd[0] + 2}, column {name!r}: expected a number as in the "
            f"other rows, got {cells[odd[0]]!r}: leave a missing cell empty"
        )
    check_size(where, name, cells)
    values = np.array([math.nan if n is None else n for n in numbers], float)
    if zero_is_missing:
        values[values == 0] = math.nan
    return Column(name, values, (), _counts_rows(name, values))


def check_size(where: str, name: str, cells: list[str]) -> None:
    """Whether all numbers in a column can be computed with.

    Args:
      where: the file, for the error.
      name: the column's name.
      cells: its cells; those that are no numbers count for nothing.

    Raises:
      InputError: a number is NaN, infinite, or too large.
    """
    for row, cell in enumerate(cells, start=2):
        number = _number(cell)
        if number is not None and not abs(number) <= MAX_NUMBER:
            raise InputError(
                f"{where}, row {row}, column {name!r} is {cell}: expected a finite "
                f"number of at most {MAX_NUMBER:.0e}; leave a missing cell empty"
            )


def encode(
    columns: list[Column], train: np.ndarray, notes: list[str]
) -> tuple[np.ndarray, tuple[str, ...]]:
    """The inputs of a network, by statistics of the training rows alone.

    Args:
      columns: the columns of the table.
      train: the training rows.
      notes: what was done is added here, a line each.

    Returns:
      Inputs, float32 [B, features], and the name of each feature.
    """
    made: list[np.ndarray] = []
    names: list[str] = []
    still, filled, shortened = [], [], []
    for column in columns:
        if column.numbers is None:
            values, labels, is_short = _one_hot(column, train)
            shortened += [column.name] * is_short
        else:
            values, labels = _standardised(column, train)
            filled += [column.name] * bool(np.isnan(column.numbers).any())
        still += [column.name] * (not labels)
        made += values
        names += labels
    for what, which in (
        ("columns that do not vary in training, left out", still),
        ("missing numbers replaced by the training median, and marked", filled),
        (f"all but the {MAX_CATEGORIES} most frequent categories merged", shortened),
    ):
        if which:
            notes.append(f"{what}: {', '.join(which)}")
    inputs = np.stack(made, axis=1) if made else np.zeros((0, 0))
    return inputs.astype(np.float32), tuple(names)


def _standardised(column: Column, train: np.ndarray):
    """(x - mean) / standard deviation, and whether x was missing."""
    values = column.numbers
    assert values is not None
    missing = np.isnan(values)
    known = values[train][~missing[train]]
    if len(known) == 0:
        return [], []
    full = np.where(missing, np.median(known), values)
    mean, spread = full[train].mean(), full[train].std()
    made, names = [], []
    if known.min() < known.max() and spread > 0:
        made, names = [(full - mean) / spread], [column.name]
    if 0 < missing[train].sum() < len(train):
        made, names = [*made, missing * 1.0], [*names, f"{column.name} is missing"]
    return made, names


def _one_hot(column: Column, train: np.ndarray):
    """One column a category of the training rows; a new or rare one is in none."""
    cells = np.array(column.categories)
    counts = Counter(cells[train].tolist())
    if len(counts) < 2:
        return [], [], False
    frequent = sorted(counts, key=lambda cell: (-counts[cell], cell))[:MAX_CATEGORIES]
    chosen = sorted(frequent)
    made = [(cells == category) * 1.0 for category in chosen]
    names = [f"{column.name}={category or '(missing)'}" for category in chosen]
    return made, names, len(counts) > len(chosen)


def _counts_rows(name: str, values: np.ndarray) -> bool:
    """Whether these are row numbers: named as such, or 0, 1, 2, ... in file order."""
    if np.isnan(values).any() or len(np.unique(values)) < len(values):
        return False
    return name.lower() in _ID_NAMES or bool((np.diff(values) == 1).all())


def _number(cell: str) -> float | None:
    try:
        return float(cell)
    except ValueError:
        return None
