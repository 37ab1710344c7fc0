"""The columns of a table: what each one holds, and the numbers that a network reads."""

# pandas' own annotations say that almost anything may be almost anything.
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false
# pyright: reportCallIssue=false, reportReturnType=false, reportGeneralTypeIssues=false

import numpy as np
import pandas as pd
from pandas.api.types import is_numeric_dtype
from sklearn.base import BaseEstimator
from sklearn.compose import make_column_transformer
from sklearn.impute import MissingIndicator, SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from gamepruning.types import InputError

MAX_CATEGORIES = 32
MAX_NUMBER = 1e18  # its square is a float32 too
_ID_NAMES = {"", "id", "index", "row", "row_id", "unnamed: 0"}


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


def encode(
    columns: pd.DataFrame, train: np.ndarray, notes: list[str]
) -> tuple[np.ndarray, tuple[str, ...]]:
    """The inputs of a network, float32 [B, features], and the name of each feature.

    Every statistic is that of the training rows alone; `train` has their positions.
    `notes` gets a line for each thing that was done.
    """
    known = columns.iloc[train]
    steps = {name: _steps(known[name]) for name in columns}
    texts = [name for name in columns if not is_numeric_dtype(columns[name])]
    for what, which in {
        "columns that do not vary in training, left out":
            [name for name in columns if not steps[name]],
        "missing numbers replaced by the training median, and marked":
            [name for name in columns if columns[name].hasnans],
        f"all but the {MAX_CATEGORIES} most frequent categories merged":
            [name for name in texts if known[name].nunique() > MAX_CATEGORIES],
    }.items():  # fmt: skip
        if which:
            notes.append(f"{what}: {', '.join(which)}")
    features = tuple(name for made in steps.values() for _, own in made for name in own)
    if not features:
        raise InputError("no column is left to learn from")
    pairs = [(step, [name]) for name, made in steps.items() for step, _ in made]
    encoder = make_column_transformer(*pairs, sparse_threshold=0).fit(known)
    return encoder.transform(columns).astype(np.float32), features


def _steps(known: pd.Series) -> list[tuple[BaseEstimator, list[str]]]:
    """The transformers of a column, each with the names of the features it makes.

    A category that is new or rare is in no feature.
    """
    name, found = known.name, []
    if not is_numeric_dtype(known):
        counts = known.value_counts().sort_index()
        counts = counts.sort_values(ascending=False, kind="stable")
        kinds = sorted(counts.index[:MAX_CATEGORIES])
        options = {"handle_unknown": "ignore", "sparse_output": False}
        one_hot = OneHotEncoder(categories=[kinds], **options)
        features = [f"{name}={kind or '(missing)'}" for kind in kinds]
        return [(one_hot, features)] if len(counts) > 1 else []
    if known.min() < known.max() and known.std(ddof=0) > 0:
        scale = make_pipeline(SimpleImputer(strategy="median"), StandardScaler())
        found.append((scale, [name]))
    if known.hasnans and known.notna().any():
        found.append((MissingIndicator(features="all"), [f"{name} is missing"]))
    return found
