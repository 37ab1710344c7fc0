"""How a delimited text is laid out: its comments, its delimiter, its rows."""

import contextlib
import csv
import io
import itertools
import re
from collections.abc import Iterator
from typing import NamedTuple

import pandas as pd

from gamepruning.tabular.numerals import is_plain
from gamepruning.types import InputError

MARKS = ",;\t|"
SNIFFED = 100  # rows by which the delimiter is told
_INVISIBLE = "\u200b\u200c\u200d\u200e\u200f\u2060\ufeff"
_SEP_LINE = re.compile(r'(?:"?sep=(.)"?\r?\n)?', re.IGNORECASE)  # Excel's first line
_COMMENTS = re.compile(r"(?:[ \t]*(?:#.*)?\r?\n)*")  # and empty lines


class TextRow(NamedTuple):
    """The cells of one row, and the line of the file on which it begins."""

    line: int
    cells: list[str]


class TextLayout(NamedTuple):
    """A text, taken apart."""

    delimiter: str
    rows: list[TextRow]  # with something in them; the first is the header
    notes: tuple[str, ...]  # what was guessed, a line each


def take_apart(text: str) -> TextLayout:
    """The rows of a delimited text.

    Lines before the header that begin with # are comments. The last of them is the
    header if it has as many cells as the rows, and the line after it cannot be one.

    Raises:
      InputError: no delimiter splits the rows alike, or quotes do not match.

    Example:
      >>> take_apart("# measured in 2024\\na b\\n1  2\\n").rows[1]
      TextRow(line=3, cells=['1', '2'])
    """
    told, text = _split_off(_SEP_LINE, text)
    head, body = _split_off(_COMMENTS, text)
    before = told.count("\n") + head.count("\n")
    mark = _SEP_LINE.match(told)
    delimiter = mark[1] if mark and mark[1] else find_delimiter(body, before=before)
    rows = list(read_rows(body, delimiter, before=before))
    comments = [line.strip() for line in head.splitlines() if line.strip()]
    if comments and (header := _header_in(comments[-1], delimiter, rows)):
        rows.insert(0, TextRow(before, header))
        comments.pop()
    notes = ["cells split at spaces"] if delimiter == " " else []
    if comments:
        count = f"{len(comments)} comment line{'s' * (len(comments) > 1)}"
        notes.append(f"{count} before the header left out: {comments[0]!r:.60}")
    return TextLayout(delimiter, rows, tuple(notes))


def read_rows(text: str, delimiter: str, *, before: int = 0) -> Iterator[TextRow]:
    """The rows that are not empty, as stripped cells.

    Args:
      text: the rows; their cells may be quoted, and have line ends in quotes.
      delimiter: one character; a space stands for any number of spaces and tabs.
      before: lines of the file before this text.
    """
    if delimiter == " ":
        lines = text.split("\n")
        text = "\n".join(line.strip().replace("\t", " ") for line in lines)
    how = {"delimiter": delimiter, "skipinitialspace": True, "strict": True}
    rows, line = csv.reader(io.StringIO(text), **how), before + 1
    try:
        for cells in rows:
            cells = [_bare(cell) for cell in cells]
            if any(cells):
                yield TextRow(line, cells)
            line = before + rows.line_num + 1
    except csv.Error as error:
        raise InputError(
            f"row {line}: the quotes do not match ({error}): close each, and write a "
            "quote within quotes twice"
        ) from None


def _bare(cell: str) -> str:
    """A cell without spaces and invisible marks around it, nor Excel's ="..."."""
    cell = cell.strip().strip(_INVISIBLE).strip()
    return cell[2:-1].strip() if cell.startswith('="') and cell[-1] == '"' else cell


def find_delimiter(text: str, *, before: int = 0) -> str:
    """The delimiter that splits the rows alike; a space only where it does for all.

    Raises:
      InputError: most rows have more cells than the header, or other numbers of words.
    """
    lengths = {mark: [len(row.cells) for row in _sniff(text, mark)] for mark in MARKS}
    best = max(MARKS, key=lambda mark: _fit(lengths[mark]))
    if _fit(lengths[best])[:2] == (True, True):
        return best
    rows = _sniff(text, " ", before)
    words = [len(row.cells) for row in rows] or [0]
    if words[0] > 1 and set(words) == {words[0]}:
        return " "
    _refuse_title(lengths)
    odd = next((row for row in rows if len(row.cells) not in (1, words[0])), None)
    if not _fit(lengths[best])[0] and odd and words[0] > 1:
        raise InputError(
            "expected a comma, semicolon, tab or bar between the cells: split at "
            f"spaces the header has {words[0]} cells, but row {odd.line} has "
            f"{len(odd.cells)}"
        )
    return best


def _refuse_title(lengths: dict[str, list[int]]) -> None:
    """Raise InputError if lines stand above a header that splits as the rows do."""
    for first, *rest in filter(None, lengths.values()):
        usual = max(rest, key=rest.count, default=1)
        if first < 2 < usual and 2 * rest.count(usual) > len(rest):
            raise InputError(
                f"expected a header of {usual} cells as in most rows, got {first}: put "
                "# before lines that stand above the header"
            )


def _sniff(text: str, delimiter: str, before: int = 0) -> list[TextRow]:
    """The first rows, up to one whose quotes do not match."""
    found, rows = [], read_rows(text, delimiter, before=before)
    with contextlib.suppress(InputError):
        for row in itertools.islice(rows, SNIFFED):
            found.append(row)
    return found


def _fit(lengths: list[int]) -> tuple[bool, bool, int]:
    """How well a delimiter fits, by the number of cells in each row."""
    first, *rest = lengths or [0]
    alike = sum(length == first for length in rest) / max(len(rest), 1)
    return first > 1, alike > 0.5, first


def _header_in(comment: str, delimiter: str, rows: list[TextRow]) -> list[str] | None:
    """The names of the columns, if a comment holds them."""
    text = comment.lstrip("#")
    found = _sniff(text.lstrip(), delimiter)
    if not found or not rows or not 1 < len(rows[0].cells) == len(found[0].cells):
        return None
    names, first = found[0].cells, rows[0].cells
    names[0] = names[0] or "#"
    if is_plain(pd.Series(first)).any():
        return names
    others = itertools.chain.from_iterable(row.cells for row in rows[1:SNIFFED])
    has_numbers = is_plain(pd.Series([*others], dtype=str)).any()
    return None if has_numbers or text[:1].isspace() else names


def _split_off(form: re.Pattern[str], text: str) -> tuple[str, str]:
    """The start of a text that has a form, which may be empty, and the rest."""
    found = form.match(text)
    end = found.end() if found else 0
    return text[:end], text[end:]
