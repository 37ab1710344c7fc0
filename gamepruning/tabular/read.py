"""Delimited text files as tables of text cells."""

# pandas' own annotations say that almost anything may be almost anything.
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false
# pyright: reportAssignmentType=false, reportCallIssue=false, reportReturnType=false, reportGeneralTypeIssues=false

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import pandas as pd

from gamepruning.files.fingerprint import fingerprint
from gamepruning.tabular.encoding import decode
from gamepruning.tabular.layout import TextRow, take_apart
from gamepruning.tabular.numerals import is_plain
from gamepruning.types import InputError

File = str | os.PathLike[str]


class RawTable(NamedTuple):
    """A delimited text file as it is."""

    cells: pd.DataFrame  # stripped text, by column name and line of the file
    delimiter: str
    encoding: str  # "utf-8", "utf-16" or "cp1252"
    notes: tuple[str, ...] = ()  # what was guessed, a line each


def read_table(path: File) -> pd.DataFrame:
    """Read a delimited text file: its cells as text, by column name and row number.

    The delimiter is a comma, a semicolon, a tab or a bar, or what a first line such as
    `sep=;` says; one inside quotes is text. Spaces are a delimiter if they split all
    rows alike. Lines before the header that begin with # are comments. The text is
    UTF-8, UTF-16 or Windows-1252.

    Args:
      path: the file. Its first line, comments apart, names the columns.

    Returns:
      The cells, stripped; a row's number is that of the file's line on which it begins.
      Empty lines are left out.

    Raises:
      InputError: the file cannot be read, has no header, or rows differ in length.

    Example:
      >>> import pathlib
      >>> _ = pathlib.Path("t.csv").write_text('"size, cm";price\\n1,5;"1.000,00"\\n')
      >>> read_table("t.csv").iloc[0].to_dict()
      {'size, cm': '1,5', 'price': '1.000,00'}
    """
    return scan_table(path).cells


def scan_table(path: File) -> RawTable:
    """Read a file as `read_table` does, and say how it was read."""
    text, encoding, notes = decode(path)
    with naming(path):
        delimiter, rows, found = take_apart(text)
        rows, blank = _without_blank_end(rows)
        return RawTable(_to_frame(rows), delimiter, encoding, (*notes, *found, *blank))


def contents(cells: pd.DataFrame) -> str:
    """A fingerprint of all cells, of the columns' names and of the row numbers.

    Example:
      >>> one, two = pd.DataFrame({"x": ["red"]}), pd.DataFrame({"x": ["pink"]})
      >>> contents(one) == contents(one.copy()), contents(one) == contents(two)
      (True, False)
    """
    rows = pd.util.hash_pandas_object(cells).to_numpy()
    return fingerprint(rows, "\n".join(map(str, cells.columns)))


def read_text(path: File) -> str:
    """The text of a file; `InputError` if it cannot be read or is not text."""
    return decode(path).text


@contextmanager
def naming(path: File) -> Iterator[None]:
    """Say which file bad input is about."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def _without_blank_end(rows: list[TextRow]) -> tuple[list[TextRow], list[str]]:
    """The rows without the columns at their end that have neither name nor cells."""
    size = len(rows[0].cells) if rows else 0
    used = max((k + 1 for row in rows for k, c in enumerate(row.cells) if c), default=0)
    if not 0 < used < size:
        return rows, []
    count = f"{size - used} column{'s' * (size - used > 1)}"
    note = f"{count} at the end without name and cells, left out"
    return [row._replace(cells=row.cells[:used]) for row in rows], [note]


def _to_frame(rows: list[TextRow]) -> pd.DataFrame:
    if len(rows) < 2:
        count = f"{len(rows)} line{'s' * (len(rows) != 1)}"
        raise InputError(f"expected a header and rows, got {count}")
    (_, names), *rest = rows
    if is_plain(pd.Series(names)).all():
        raise InputError("the first line is all numbers: add a header")
    if len(names) > 2 and sum(map(bool, names)) == 1:
        raise InputError(
            f"expected a header of {len(names)} names, got {max(names)!r} alone: put # "
            "before lines that stand above the header"
        )
    for name in pd.Series(names)[pd.Series(names).duplicated()][:1]:
        numbers = [k for k, other in enumerate(names, start=1) if other == name]
        which = " and ".join(map(str, numbers))
        called = f"are called {name!r}" if name else "have no name"
        raise InputError(
            f"two columns {called}, number {which}: give each its own name in the "
            "header"
        )
    size = len(names)
    for line, cells in rest:
        if len(cells) < size or any(cells[size:]):
            raise InputError(
                f"row {line}: expected {size} cells as in the header, row "
                f"{rows[0].line}, got {len(cells)}"
            )
    cells = [row.cells[:size] for row in rest]
    return pd.DataFrame(cells, [row.line for row in rest], names, dtype=str)
