"""Delimited text files as tables of text cells."""

# pandas' own annotations say that almost anything may be almost anything.
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false
# pyright: reportAssignmentType=false, reportCallIssue=false, reportReturnType=false, reportGeneralTypeIssues=false

import codecs
import csv
import io
import itertools
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from gamepruning.tabular.numerals import is_plain
from gamepruning.types import InputError

File = str | os.PathLike[str]
DELIMITERS = ",;\t|"
SNIFFED = 100  # rows by which the delimiter is told
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_SEP_LINE = re.compile(r'"?sep=(.)"?\r?\n', re.IGNORECASE)  # Excel's first line


class Table(NamedTuple):
    """A delimited text file as it is."""

    cells: pd.DataFrame  # stripped text, by column name and row number
    delimiter: str
    encoding: str  # "utf-8", "utf-16" or "cp1252"


def read_table(path: File) -> pd.DataFrame:
    """Read a delimited text file: its cells as text, by column name and row number.

    The delimiter is a comma, a semicolon, a tab or a bar, or what a first line such as
    `sep=;` says; one inside quotes is text. The text is UTF-8, UTF-16 or Windows-1252.

    Args:
      path: the file. Its first line, which is row 1, names the columns.

    Returns:
      The cells, stripped. Empty lines are left out.

    Raises:
      InputError: the file cannot be read, has no header, or rows differ in length.

    Example:
      >>> _ = Path("t.csv").write_text('"size, cm";price\\n1,5;"1.000,00"\\n')
      >>> read_table("t.csv").iloc[0].to_dict()
      {'size, cm': '1,5', 'price': '1.000,00'}
    """
    return scan_table(path).cells


def scan_table(path: File) -> Table:
    """Read a file as `read_table` does, and say how it was read."""
    text, encoding = decode(path)
    with naming(path):
        text, delimiter = _find_delimiter(text)
        cells = _read_cells(text, delimiter).apply(lambda column: column.str.strip())
        return Table(_with_header(cells), delimiter, encoding)


def read_text(path: File) -> str:
    """The text of a file; `InputError` if it cannot be read or is no text."""
    return decode(path)[0]


def decode(path: File) -> tuple[str, str]:
    """The text of a file and its encoding; what is not Unicode is Windows-1252."""
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error
    odd = data[1:2000:2]
    if data.startswith(_UTF16):
        encoding = "utf-16"
    elif odd and odd.count(0) > 0.4 * len(odd) and not data[0:2000:2].count(0):
        encoding = "utf-16-le"
    else:
        encoding = "utf-8-sig"
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError:
        encoding = "cp1252"
        text = data.decode(encoding, errors="replace")
    if "\n" not in text:
        text = text.replace("\r", "\n")  # as old Macs end lines
    if "\0" in text:
        raise InputError(f"cannot read {path}: it is not a text file")
    return text, {"utf-8-sig": "utf-8"}.get(encoding, encoding.removesuffix("-le"))


@contextmanager
def naming(path: File) -> Iterator[None]:
    """Say which file bad input is about."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def _find_delimiter(text: str) -> tuple[str, str]:
    """The text without a `sep=` line, and the delimiter that splits its rows alike."""
    if told := _SEP_LINE.match(text):
        return text[told.end() :], told[1]

    def fit(delimiter: str) -> tuple[bool, float, int]:
        rows = csv.reader(io.StringIO(text), delimiter=delimiter, skipinitialspace=True)
        try:
            lengths = [len(row) for row in itertools.islice(rows, SNIFFED) if row]
        except csv.Error:
            lengths = []
        first, *rest = lengths or [0]
        alike = sum(length == first for length in rest) / max(len(rest), 1)
        return first > 1, alike > 0.5, first

    return text, max(DELIMITERS, key=fit)


def _read_cells(text: str, delimiter: str) -> pd.DataFrame:
    """The cells, with NaN at the end of rows that are too short."""
    how = {"header": None, "dtype": str, "keep_default_na": False, "engine": "python"}
    how |= {"sep": delimiter, "skipinitialspace": True}
    try:
        return pd.read_csv(io.StringIO(text), **how)
    except pd.errors.EmptyDataError:
        raise InputError("expected a header and rows, got an empty file") from None
    except pd.errors.ParserError as error:
        raise InputError(
            f"expected rows as long as the header, split at {delimiter!r}: {error}"
        ) from error


def _with_header(cells: pd.DataFrame) -> pd.DataFrame:
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
    if is_plain(names).all():
        raise InputError("the first line is all numbers: add a header")
    for name in names[names.duplicated()][:1]:
        raise InputError(f"two columns are called {name!r}")
    return cells[1:].set_axis(names.tolist(), axis=1)
