"""The columns of a table: what each one holds, and the numbers that a network reads."""

# pandas' own annotations say that almost anything may be almost anything.
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false
# pyright: reportCallIssue=false, reportReturnType=false, reportGeneralTypeIssues=false

import dataclasses
from typing import Literal

import numpy as np
import pandas as pd
from pandas.api.types import is_numeric_dtype
from sklearn.preprocessing import StandardScaler

from gamepruning.types import InputError

MAX_CATEGORIES = 32
MAX_NUMBER = 1e18  # its square is a float32 too
_ID_NAMES = {"", "id", "index", "row", "row_id", "unnamed: 0"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Column:
    """One column, as the training rows have it, and the features that it becomes.

    Attributes:
      name: its name in the table.
      kind: "number" or "category".
      zero_is_missing: True if a zero means that nothing was measured.
      median: number: what a missing cell becomes.
      mean: number: subtracted.
      scale: number: divided by, after that; None if it does not vary: no feature.
      marks_missing: number: True if a feature says which cells are missing.
      categories: category: those that have a feature each; others are in none.
      num_merged: category: those of the training rows that have no feature.
    """

    name: str
    kind: Literal["number", "category"]
    zero_is_missing: bool = False
    median: float = 0.0
    mean: float = 0.0
    scale: float | None = None
    marks_missing: bool = False
    categories: tuple[str, ...] = ()
    num_merged: int = 0

    @property
    def features(self) -> tuple[str, ...]:
        """The names of its features."""
        kinds = tuple(f"{self.name}={kind or '(missing)'}" for kind in self.categories)
        scaled = (self.name,) if self.scale is not None else ()
        return kinds + scaled + (f"{self.name} is missing",) * self.marks_missing

    def parse(self, cells: pd.Series) -> pd.Series:
        """The cells as floats, NaN where one is missing, or as categories."""
        column = parse_column(cells, categorical=self.kind == "category")
        return column.mask(column == 0) if self.zero_is_missing else column

    def encode(self, parsed: pd.Series) -> np.ndarray:
        """The features of parsed cells, float64 [rows, features]."""
        if self.kind == "category":
            return parsed.to_numpy()[:, None] == np.array([*self.categories], object)
        made = []
        if self.scale is not None:
            made.append(
                (parsed.fillna(self.median).to_numpy() - self.mean) / self.scale
            )
        if self.marks_missing:
            made.append(parsed.isna().to_numpy())
        return np.stack(made, 1) if made else np.zeros((len(parsed), 0))


def fit_column(column: Column, known: pd.Series) -> Column:
    """The column with the statistics of its parsed training cells.

    A column that does not vary has no features.
    """
    if column.kind == "category":
        counts = known.value_counts().sort_index()
        counts = counts.sort_values(ascending=False, kind="stable")
        kinds = tuple(sorted(counts.index[:MAX_CATEGORIES])) if len(counts) > 1 else ()
        merged = len(counts) - len(kinds) if kinds else 0
        return dataclasses.replace(column, categories=kinds, num_merged=merged)
    marks = bool(known.hasnans and known.notna().any())
    column = dataclasses.replace(column, marks_missing=marks)
    if not (known.min() < known.max() and known.std(ddof=0) > 0):
        return column
    median = float(np.median(known.dropna()))
    scaler = StandardScaler().fit(known.fillna(median).to_numpy()[:, None])
    mean, scale = np.ravel([scaler.mean_, scaler.scale_]).tolist()
    return dataclasses.replace(column, median=median, mean=mean, scale=scale)


def to_numbers(cells: pd.Series) -> pd.Series:
    """The cells as floats, NaN where one is no number."""
    return pd.to_numeric(cells, errors="coerce").astype(float)


def is_number(cells: pd.Series) -> pd.Series:
    """Return True for each cell that is a number; NaN and infinity are numbers too.

    Example:
      >>> is_number(pd.Series(["1e3", "NaN", "", "x"])).tolist()
      [True, True, False, False]
    """
    return to_numbers(cells).notna() | (cells.str.lower().str.lstrip("+-") == "nan")


def check_size(cells: pd.Series) -> None:
    """Raise InputError if a number among the cells is NaN, infinite or too large."""
    too_large = is_number(cells) & ~(to_numbers(cells).abs() <= MAX_NUMBER)
    for row, cell in cells[too_large][:1].items():
        raise InputError(
            f"row {row}, column {cells.name!r} is {cell}: expected a finite number of "
            f"at most {MAX_NUMBER:.0e}; leave a missing cell empty"
        )


def parse_column(cells: pd.Series, *, categorical: bool = False) -> pd.Series:
    """Numbers if every cell that is not empty is one, categories otherwise.

    Example:
      >>> parse_column(pd.Series(["1", "", "3"])).tolist()
      [1.0, nan, 3.0]
    """
    filled = cells[cells != ""]
    odd = filled[~is_number(filled)]
    if categorical or (len(odd) and 2 * len(odd) >= len(filled)):
        return cells
    for row, cell in odd[:1].items():
        raise InputError(
            f"row {row}, column {cells.name!r}: expected a number as in the other "
            f"rows, got {cell!r}: leave a missing cell empty"
        )
    check_size(cells)
    return to_numbers(cells)


def is_row_id(column: pd.Series) -> bool:
    """Return True if a column only counts or names the rows.

    These are distinct texts in more than `MAX_CATEGORIES` rows, and distinct numbers
    that are named as such or go up by one from row to row.
    """
    if column.hasnans or not column.is_unique:
        return False
    if not is_numeric_dtype(column):
        return len(column) > MAX_CATEGORIES
    return str(column.name).lower() in _ID_NAMES or bool((column.diff()[1:] == 1).all())
