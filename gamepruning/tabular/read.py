"""Delimited text files as tables of text cells."""

# pandas' own annotations say that almost anything may be almost anything.
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false
# pyright: reportCallIssue=false, reportReturnType=false, reportGeneralTypeIssues=false

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pandas as pd

from gamepruning.tabular.columns import is_number
from gamepruning.types import InputError

File = str | os.PathLike[str]


def read_table(path: File) -> pd.DataFrame:
    """The cells of a CSV file as stripped text, by column name and row number.

    The header is row 1. It is an error if rows differ in length.
    """
    text = read_text(path)
    with naming(path):
        cells = _read_cells(text).apply(lambda column: column.str.strip())
        cells = cells[(cells.fillna("") != "").any(axis=1)]
        cells.index = pd.RangeIndex(1, len(cells) + 1)
        if len(cells) < 2:
            raise InputError(f"expected a header and rows, got {len(cells)} lines")
        for row in cells.index[cells.isna().any(axis=1)][:1]:
            raise InputError(
                f"row {row}: expected {cells.shape[1]} cells as in the header, got "
                f"{cells.loc[row].count()}"
            )
        names = cells.iloc[0]
        if is_number(names).all():
            raise InputError("the first line is all numbers: add a header")
        for name in names[names.duplicated()][:1]:
            raise InputError(f"two columns are called {name!r}")
        return cells[1:].set_axis(names.tolist(), axis=1)


def read_text(path: File) -> str:
    """The text of a file; `InputError` if it cannot be read or is not UTF-8 text."""
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise InputError(f"cannot read {path}: {reason}") from error
    if "\0" in text:
        raise InputError(f"cannot read {path}: it is not a text file")
    return text


@contextmanager
def naming(path: File) -> Iterator[None]:
    """Say which file bad input is about."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def _read_cells(text: str) -> pd.DataFrame:
    """The cells, with NaN at the end of rows that are too short."""
    delimiter = max(",;\t", key=text.partition("\n")[0].count)
    how = {"header": None, "dtype": str, "keep_default_na": False, "engine": "python"}
    try:
        return pd.read_csv(io.StringIO(text), sep=delimiter, **how)
    except pd.errors.EmptyDataError:
        raise InputError("expected a header and rows, got an empty file") from None
    except pd.errors.ParserError as error:
        raise InputError(
            f"expected rows as long as the header, split at {delimiter!r}: {error}"
        ) from error
