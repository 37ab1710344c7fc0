"""What one column holds, in the light of the others of its table."""

# pyright: reportArgumentType=false, reportAttributeAccessIssue=false
# pyright: reportCallIssue=false, reportReturnType=false, reportGeneralTypeIssues=false

import dataclasses
import re
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import pandas as pd

from gamepruning.tabular import columns
from gamepruning.tabular.codes import are_long, are_names
from gamepruning.tabular.columns import MAX_CATEGORIES, Column, to_canonical
from gamepruning.tabular.dates import Dates, are_compact, read_dates
from gamepruning.tabular.durations import read_duration
from gamepruning.tabular.numerals import CURRENCY, Numerals, read_numerals
from gamepruning.tabular.options import TableOptions
from gamepruning.tabular.periods import is_period
from gamepruning.tabular.row_names import is_id_name
from gamepruning.types import InputError

_ZONE = r":\d\d(?:[.,]\d+)?\s*(Z|UTC|GMT|[A-Z]{2,4}T|[-+]\d\d:?\d\d)$"
# Numbers within a cell, and how many shapes of such cells make a quantity.
_DIGITS, SHAPES = r"\d+(?:[.,:]\d+)*", 3
# A cell of digits and marks, which looks like a number or a date that was not read.
_NUMBER_LIKE = r"[^A-Za-z]{0,4}\d[^A-Za-z]*[A-Za-z]{0,3}"

CODES = "digits with zeros in front, kept as names (--numeric NAME takes the number)"
LONG = "digits that a float would lose, kept as names (--numeric NAME takes the number)"
DATES = "dates, read as days"
PERIODS = "months, quarters or weeks, read as the day on which they begin"
SPANS = "durations, read as days"
ZONES = "times in several zones, read as they stand"
UNDATED = "months with a day or a year, kept as categories (2022-07 would be a date)"
COMPACT = "numbers that are dates (--numeric NAME takes the number)"


class SeenColumn(NamedTuple):
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


class TableReading(NamedTuple):
    """What the columns of a table have in common."""

    options: TableOptions
    delimiter: str
    decimal: str  # of columns in which it is certain; "auto" if of none
    order: str  # of dates, likewise
    target: str | None  # the column to predict
    facts: dict[str, list[str]]  # what was found and done -> columns
    markers: set[str]  # cells that were read as missing
    sentinels: list[tuple[str, pd.Series, int]]  # column, its cells of one, all cells


def look_at(cells: pd.Series, options: TableOptions) -> SeenColumn:
    """What a column holds, by its own cells."""
    known = cells[~columns.is_missing(cells, options.missing, among_numbers=True)]
    none = Numerals(pd.Series(np.nan, known.index), "either")
    is_few = cells.nunique() <= MAX_CATEGORIES
    numbers = read_numerals(known, hint=options.decimal, words_too=not is_few)
    numbers = none if is_few and not _is_unit(numbers.unit) else numbers
    is_number = bool(numbers.values.notna().all())
    is_told = cells.name in options.numeric
    if is_number and numbers.unit != "mixed" and (is_told or not are_compact(known)):
        is_code = not is_told and len(known) > 0 and are_names(known)
        return SeenColumn(len(known), numbers, Dates(none.values[:0], "fixed"), is_code)
    dates = read_dates(known, hint=options.dates)
    if dates.order == "uncertain":
        dates = Dates(none.values, "fixed")
    if is_number and (numbers.unit != "mixed" or dates.values.notna().all()):
        numbers = none
    return SeenColumn(len(known), numbers, dates)


def _is_unit(unit: str) -> bool:
    """Other letters beside numbers make categories, unless there would be many."""
    return unit in ("", "mixed", "%", "‰") or bool(re.fullmatch(CURRENCY, unit))


def common_reading(told: str, styles: Iterable[str]) -> str:
    """The one reading that is certain in some columns; "auto" if there is none."""
    certain = set(styles) & {"point", "comma", "day-first", "month-first"}
    return told if told != "auto" or len(certain) != 1 else certain.pop()


def settle(cells: pd.Series, seen: SeenColumn | None, table: TableReading) -> Column:
    """What one column holds, in the light of the others."""
    name, options = str(cells.name), table.options
    text = Column(name=name, kind="category", missing=options.missing)
    if seen is None:
        return text
    if seen.is_code:
        known = cells[seen.numbers.values.index]
        what = LONG if are_long(known) else CODES
        is_case = known.str.len() > 15 if what == LONG else known.str.startswith("0")
        table.facts[what].append(f"{known[is_case].iloc[0]!r} in {name}")
        return text
    is_zero = name in options.zero_is_missing
    number = dataclasses.replace(text, kind="number", zero_is_missing=is_zero)
    number = dataclasses.replace(number, unit=seen.numbers.unit)
    if seen.is_all("number"):
        return dataclasses.replace(number, hint=_decimal_of(name, seen, table))
    if seen.is_all("date") and seen.dates.order == "month-or-day":
        _keep_as_categories(cells, seen.dates.example, table)
        return text
    if seen.is_all("date"):
        known, num_digits = cells[seen.dates.values.index], 0
        if are_compact(known):
            table.facts[COMPACT].append(f"{known.iloc[0]!r} in {name}")
            lengths = to_canonical(known).str.len().unique()
            num_digits = int(lengths[0]) if len(lengths) == 1 else 0
        return dataclasses.replace(
            text,
            kind="date",
            hint=_order_of(cells, seen, table),
            num_digits=num_digits,
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


def _decimal_of(name: str, seen: SeenColumn, table: TableReading) -> str:
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


def _order_of(cells: pd.Series, seen: SeenColumn, table: TableReading) -> str:
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
    known = cells[seen.dates.values.index]
    if known.str.extract(_ZONE)[0].nunique() > 1:
        table.facts[ZONES].append(name)
    if is_period(known.iloc[0]):
        day = pd.Timestamp(0) + pd.Timedelta(days=seen.dates.values.iloc[0])
        table.facts[PERIODS].append(f"{known.iloc[0]!r} is {day:%Y-%m-%d} in {name}")
        return order
    table.facts[f"{_what_dates(known, seen.dates.values)}{how}"].append(name)
    return order


def _what_dates(known: pd.Series, days: pd.Series) -> str:
    """What cells are that were all read as days, in words."""
    if days.max() < 1 and known.str.match(r"\d{1,2}:").all():
        return "times of day, read as fractions of a day"
    is_span = all(read_duration(cell) is not None for cell in known)
    return SPANS if is_span else DATES


def _keep_as_categories(cells: pd.Series, example: str, table: TableReading) -> None:
    """Say that months may come with a day or a year; many are an error."""
    name = str(cells.name)
    if cells.nunique() <= MAX_CATEGORIES:
        table.facts[UNDATED].append(f"{example!r} in {name}")
        return
    raise InputError(
        f"column {name!r}: {example!r} may be a month of a year or a day of a month, "
        "and no other cell tells which: write it as 2022-07 or 2022-07-22, or take the "
        f"cells as categories (--categorical {name!r})"
    )


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
    alike = kinds[kinds.str.fullmatch(_NUMBER_LIKE) | _share_a_shape(kinds)]
    is_kept = cells.name in options.keep_column or is_id_name(str(cells.name))
    if len(kinds) <= MAX_CATEGORIES or 2 * len(alike) <= len(kinds) or is_kept:
        return
    raise InputError(
        f"column {cells.name!r} has {len(kinds)} different cells such as "
        f"{alike.iloc[0]!r} and {alike.iloc[-1]!r}, which are neither numbers nor "
        f"dates that can be read: write them as numbers, leave the column out (--drop "
        f"{cells.name!r}), or take them as categories (--categorical {cells.name!r})"
    )


def _share_a_shape(kinds: pd.Series) -> pd.Series:
    """Return True for each cell that holds a quantity and is as many others are.

    It starts with a number or holds one with decimals: room 12 is a name.
    """
    shapes = kinds.str.replace(_DIGITS, "0", regex=True)
    usual = shapes.value_counts().index[:SHAPES]
    return kinds.str.contains(r"^\W{0,2}\d|\d[.,]\d") & shapes.isin(usual)
