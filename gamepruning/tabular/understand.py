"""What the columns of a table hold: numbers, dates or categories, by all their cells.

What is certain is read. What may mean two things is an error that names the column, the
cells and the option that decides.
"""

# pyright: reportArgumentType=false, reportAttributeAccessIssue=false
# pyright: reportCallIssue=false, reportReturnType=false, reportGeneralTypeIssues=false

import dataclasses
import re
from collections import defaultdict
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import pandas as pd

from gamepruning.tabular import columns
from gamepruning.tabular.codes import are_codes
from gamepruning.tabular.columns import MAX_CATEGORIES, Column
from gamepruning.tabular.dates import Dates, are_compact, read_dates
from gamepruning.tabular.numerals import CURRENCY, Numerals, read_numerals, to_numbers
from gamepruning.tabular.options import TableOptions
from gamepruning.types import InputError

# A cell of digits and marks, which looks like a number or a date that was not read.
_NUMBER_LIKE = r"[^A-Za-z]{0,4}\d[^A-Za-z]*[A-Za-z]{0,3}"
# What names of rows are called: customer_id, CustomerID, Nr, Unnamed: 0, "".
_ID_NAME = re.compile(
    r"(?:.*[\s_.-])?(?:id|uuid|guid|index|idx|key|row|rowid|rownames?|row number|nr|no|"
    r"num|number|record|serial|obs|observation|case|counter|unnamed: ?\d+)\.?|#|",
    re.IGNORECASE,
)

CODES = "digits with zeros in front, kept as names (--numeric NAME takes the number)"
NONE = "the word None is a category (--missing None NA takes both for missing)"
DATES = "dates, read as days"
COMPACT = "numbers that are dates (--numeric NAME takes the number)"


class Understood(NamedTuple):
    """The columns of a table."""

    columns: tuple[Column, ...]  # not fitted yet
    parsed: pd.DataFrame  # floats, NaN where one is missing, or categories
    notes: tuple[str, ...]  # what was found and done, a line each


class _Seen(NamedTuple):
    """One column, before columns have been looked at together."""

    total: int  # cells that are not missing
    numbers: Numerals
    dates: Dates
    is_code: bool = False  # digits that are names

    def is_all(self, kind: str) -> bool:
        """Return True if every cell is one of this kind."""
        return self.total > 0 and self.count(kind) == self.total

    def count(self, kind: str) -> int:
        """The cells that are one of this kind."""
        found = self.numbers.values if kind == "number" else self.dates.values
        return int(found.notna().sum())


class _Table(NamedTuple):
    """What the columns of a table have in common."""

    options: TableOptions
    delimiter: str
    decimal: str  # of columns in which it is certain; "auto" if of none
    order: str  # of dates, likewise
    target: str | None  # the column to predict
    facts: dict[str, list[str]]  # what was found and done -> columns


def understand(
    cells: pd.DataFrame,
    options: TableOptions,
    *,
    delimiter: str = ",",
    target: str | None = None,
) -> Understood:
    """Tell what each column holds, and read it.

    All numbers of a table have the same decimal mark, and all dates the same order: a
    column that is certain decides for those that are not.

    Args:
      cells: text, by column name, as `read_table` returns it.
      options: what decides otherwise.
      delimiter: of the file; where it is a semicolon a point may mark thousands.
      target: the column whose cells are names of classes unless all are numbers.

    Raises:
      InputError: a column may mean two things, or some of its cells are no number.

    Example:
      >>> cells = pd.DataFrame({"a": ["1,5", "NA"], "b": ["x", ""]})
      >>> found = understand(cells, TableOptions())
      >>> [(column.name, column.kind) for column in found.columns]
      [('a', 'number'), ('b', 'category')]
      >>> found.notes
      ('cells read as missing: NA in a', "numbers as they were read: '1,5' is 1.5 in a")
    """
    names = [name for name in cells if name not in options.categorical]
    seen = {name: _look_at(cells[name], options) for name in names}
    decimal = _common(options.decimal, [one.numbers.style for one in seen.values()])
    order = _common(options.dates, [one.dates.order for one in seen.values()])
    table = _Table(options, delimiter, decimal, order, target, defaultdict(list))
    own = [_settle(cells[name], seen.get(name), table) for name in cells]
    parsed = {column.name: column.parse(cells[column.name]) for column in own}
    for column in own:
        _note(cells[column.name], parsed[column.name], column, table.facts)
    notes = [f"{what}: {', '.join(which)}" for what, which in table.facts.items()]
    frame = pd.DataFrame(parsed, index=cells.index)
    return Understood(tuple(own), frame, tuple(sorted(notes)))


def without(found: Understood, *names: str | None) -> Understood:
    """The columns but for some, such as the target."""
    own = tuple(column for column in found.columns if column.name not in names)
    if not own:
        raise InputError("no column is left to learn from")
    return found._replace(columns=own, parsed=found.parsed[[c.name for c in own]])


def leave_out_ids(found: Understood, options: TableOptions) -> Understood:
    """The columns that say something about the rows, instead of naming them."""
    told = {*options.keep_column, *options.categorical, *options.numeric}
    ids = [name for name in found.parsed if is_row_id(found.parsed[name])]
    ids = [name for name in ids if name not in told]
    own = tuple(column for column in found.columns if column.name not in ids)
    notes, parsed = list(found.notes), found.parsed.drop(columns=ids)
    if ids:
        what = "columns that only count or name the rows, left out"
        named = ", ".join(name or "(no name)" for name in ids)
        notes.append(f"{what}: {named} (--keep-column NAME keeps one)")
    counts = [n for n in parsed if n not in told and counts_rows(parsed[n])]
    if counts:
        what = "columns that go up by one from row to row, kept as numbers"
        notes.append(f"{what}: {', '.join(counts)} (--drop NAME leaves one out)")
    return Understood(own, parsed, tuple(notes))


def is_row_id(column: pd.Series) -> bool:
    """Return True if a column only names the rows.

    These are distinct texts in more than `MAX_CATEGORIES` rows, and distinct whole
    numbers in a column that is called like an identifier.

    Example:
      >>> is_row_id(pd.Series([1.0, 2.0, 3.0], name="customer_id"))
      True
      >>> is_row_id(pd.Series([1990.0, 1991.0, 1992.0], name="year"))
      False
    """
    if column.hasnans or not column.is_unique:
        return False
    if column.dtype == object or isinstance(column.dtype, pd.StringDtype):
        return len(column) > MAX_CATEGORIES
    return bool((column % 1 == 0).all() and is_id_name(str(column.name)))


def is_id_name(name: str) -> bool:
    """Return True if a column is called as identifiers are: id, userId, Nr."""
    return _ID_NAME.fullmatch(re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name)) is not None


def counts_rows(column: pd.Series) -> bool:
    """Return True if the numbers go up by one from row to row."""
    is_number = pd.api.types.is_numeric_dtype(column)
    return bool(is_number and len(column) > 2 and (column.diff()[1:] == 1).all())


def _look_at(cells: pd.Series, options: TableOptions) -> _Seen:
    known = cells[~columns.is_missing(cells, options.missing, among_numbers=True)]
    numbers = read_numerals(known, hint=options.decimal)
    if not _is_unit(numbers.unit) and cells.nunique() <= MAX_CATEGORIES:
        numbers = Numerals(pd.Series(np.nan, known.index), "either")
    if numbers.values.notna().all():
        is_told = cells.name in options.numeric
        if is_told or not are_compact(known):
            dates = Dates(numbers.values.iloc[:0], "fixed")
            is_code = not is_told and len(known) > 0 and are_codes(known)
            return _Seen(len(known), numbers, dates, is_code)
        numbers = Numerals(pd.Series(np.nan, known.index), "either")
    return _Seen(len(known), numbers, read_dates(known, hint=options.dates))


def _is_unit(unit: str) -> bool:
    """Other letters beside numbers make categories, unless there would be many."""
    return unit in ("", "mixed", "%", "‰") or bool(re.fullmatch(CURRENCY, unit))


def _common(told: str, styles: Iterable[str]) -> str:
    """The one reading that is certain in some columns; "auto" if there is none."""
    certain = set(styles) & {"point", "comma", "day-first", "month-first"}
    return told if told != "auto" or len(certain) != 1 else certain.pop()


def _settle(cells: pd.Series, seen: _Seen | None, table: _Table) -> Column:
    """What one column holds, in the light of the others."""
    name, options = str(cells.name), table.options
    text = Column(name=name, kind="category", missing=options.missing)
    if seen is None:
        return text
    if seen.is_code:
        example = next(cell for cell in cells if cell.startswith("0"))
        table.facts[CODES].append(f"{example!r} in {name}")
        return text
    is_zero = name in options.zero_is_missing
    number = dataclasses.replace(text, kind="number", zero_is_missing=is_zero)
    number = dataclasses.replace(number, unit=seen.numbers.unit)
    if seen.is_all("number"):
        return dataclasses.replace(number, hint=_decimal_of(name, seen, table))
    if seen.is_all("date"):
        if are_compact(cells[seen.dates.values.index]):
            table.facts[COMPACT].append(
                f"{cells[seen.dates.values.index[0]]!r} in {name}"
            )
        return dataclasses.replace(
            text, kind="date", hint=_order_of(cells, seen, table)
        )
    if name == table.target:
        return text
    if 2 * seen.count("number") > seen.total:  # parsing names the odd cell
        return dataclasses.replace(number, hint=table.decimal)
    if 2 * seen.count("date") > seen.total:
        return dataclasses.replace(text, kind="date", hint=table.order)
    if name in options.numeric:
        example = next((cell for cell in cells if cell), "")
        raise InputError(
            f"column {name!r} was named as numbers (--numeric), but most of its cells "
            f"are none, such as {example!r}: leave it out of --numeric"
        )
    _refuse_number_like(cells, options)
    return text


def _decimal_of(name: str, seen: _Seen, table: _Table) -> str:
    """The decimal mark of a column of numbers."""
    _, style, unit, example = seen.numbers
    if "mixed" in (style, unit):
        what = "decimal points and commas" if style == "mixed" else "several units"
        raise InputError(
            f"column {name!r} has numbers with {what}, such as {example!r}: write all "
            f"alike, or take them as categories (--categorical {name!r})"
        )
    mark = style if style in ("point", "comma") else table.decimal
    if mark == "auto":  # 1.138 is plain where files are not German
        is_plain = style == "either" or (table.delimiter != ";" and "," not in example)
        if not is_plain:
            raise _two_readings(name, example)
        mark = "point"
    return mark


def _order_of(cells: pd.Series, seen: _Seen, table: _Table) -> str:
    """The order of day and month in a column of dates."""
    name = str(cells.name)
    order, example = seen.dates.order, seen.dates.example
    order = table.order if order == "ambiguous" else order
    if order == "mixed":
        raise InputError(
            f"column {name!r} has dates in two orders: write all as 2024-01-31, or "
            f"take them as categories (--categorical {name!r})"
        )
    if order == "year-first":
        raise InputError(
            f"column {name!r}: {example!r} seems to begin with a year of two digits: "
            "write the dates as 2024-01-31, or say --dates day-first or --dates "
            "month-first if the year comes last"
        )
    if order == "auto":
        raise InputError(
            f"column {name!r}: {example!r} may begin with the day or the month, and no "
            "other cell tells which: say --dates day-first or --dates month-first"
        )
    how = "" if order == "fixed" else f" ({order.replace('-', ' ')})"
    is_clock = cells[seen.dates.values.index].str.match(r"\d{1,2}:").all()
    what = "times of day, read as fractions of a day" if is_clock else DATES
    table.facts[f"{what}{how}"].append(name)
    return order


def _two_readings(name: str, example: str) -> InputError:
    point, comma = (
        read_numerals(pd.Series([example]), hint=hint).values.iloc[0]
        for hint in ("point", "comma")
    )
    return InputError(
        f"column {name!r}: {example!r} may be {point:g} or {comma:g}, and no other "
        "cell tells which: say --decimal point or --decimal comma, or take the cells "
        f"as categories (--categorical {name!r})"
    )


def _refuse_number_like(cells: pd.Series, options: TableOptions) -> None:
    """Many different cells of digits must not become categories in silence."""
    kinds = pd.Series(cells.unique())
    alike = kinds[kinds.str.fullmatch(_NUMBER_LIKE)]
    is_kept = cells.name in options.keep_column or is_id_name(str(cells.name))
    if len(kinds) <= MAX_CATEGORIES or 2 * len(alike) <= len(kinds) or is_kept:
        return
    raise InputError(
        f"column {cells.name!r} has {len(kinds)} different cells such as "
        f"{alike.iloc[0]!r} and {alike.iloc[-1]!r}, which are neither numbers nor "
        f"dates that can be read: write them as numbers, leave the column out (--drop "
        f"{cells.name!r}), or take them as categories (--categorical {cells.name!r})"
    )


def _note(
    cells: pd.Series, parsed: pd.Series, column: Column, facts: dict[str, list[str]]
) -> None:
    """Say what was read otherwise than it stands there."""
    is_number = column.kind != "category"
    if column.missing is None and not is_number and _has_none(cells):
        facts[NONE].append(str(cells.name))
    gone = columns.is_missing(cells, column.missing, among_numbers=is_number)
    if words := sorted(set(cells[gone]) - {""}):
        facts["cells read as missing"].append(f"{' '.join(words)} in {cells.name}")
    if column.kind != "number":
        return
    is_odd = (to_numbers(cells) != parsed) | cells.str.match(r"0\d")
    for row, cell in cells[~gone & is_odd][:1].items():
        told = f"{cell!r} is {parsed[row]:.10g} in {cells.name}"
        facts["numbers as they were read"].append(told)


def _has_none(cells: pd.Series) -> bool:
    return bool((cells.str.lower() == "none").any())
