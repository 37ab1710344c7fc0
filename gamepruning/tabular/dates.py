"""Dates, times of day and durations as days, whatever the order of their parts.

A whole column is read at once: whether days or months come first follows from all its
cells.
"""

# pyright: reportArgumentType=false, reportAttributeAccessIssue=false

import datetime
import math
import re
from collections.abc import Iterable, Iterator
from typing import Literal, NamedTuple

import pandas as pd

from gamepruning.tabular import durations, periods

Certain = Literal["fixed", "day-first", "month-first"]
Order = (
    Certain | Literal["ambiguous", "mixed", "year-first", "month-or-day", "uncertain"]
)
_CLOCK = (
    r"(?P<hour>\d{1,2}):(?P<minute>\d{2})(?::(?P<second>\d{2}(?:[.,]\d+)?))?"
    r"\s*(?P<half>[AaPp]\.?[Mm]\.?)?(?:\s*Uhr)?"
    r"\s*(?:Z|UTC|GMT|[A-Z]{2,4}T)?\s*(?:[-+]\d{1,2}(?::?\d{2})?)?"
)
_NAME = r"(?P<name>[^\W\d_]{3,10})\.?"
_WEEKDAY = re.compile(
    r"(?:(?:mon|tue|tues|wed|wednes|thu|thur|thurs|fri|sat|satur|sun)(?:day)?|"
    r"(?:mo|diens|donners|frei|sams|sonn)n?(?:tag)?|mittwoch|sonnabend|di|mi|do|fr|sa|so)"
    r"\.?,?\s+",
    re.IGNORECASE,
)
_FORMS = [
    re.compile(rf"(?:{day})(?:(?:[T,]|\s)\s*{_CLOCK})?")
    for day in (
        r"(?P<year>\d{4})(?P<mark>[-/.])(?P<month>\d{1,2})(?:(?P=mark)(?P<day>\d{1,2}))?",
        r"(?P<first>\d{1,2})(?P<mark>[-/.])(?P<second_>\d{1,2})(?P=mark)"
        r"(?P<year>\d{4}|\d{2})",
        rf"(?P<day>\d{{1,2}})\.?[-\s]*(?:de\s+)?{_NAME}(?:\s+de(?=\s))?[-,\s]*(?P<year>\d{{4}}|\d{{2}})",
        rf"{_NAME}\s*(?P<day>\d{{1,2}})(?:st|nd|rd|th)?,?\s+(?P<year>\d{{4}})",
        rf"{_NAME},?[\s-]*(?P<year>\d{{4}})(?P<day>)",
        r"(?P<month>\d{1,2})[-/](?P<year>(?:19|20)\d{2})(?P<day>)",
    )
]
_FORMS.append(  # Tue Jan 31 23:59:00 2024
    re.compile(rf"{_NAME}\s+(?P<day>\d{{1,2}})\s+{_CLOCK}\s+(?P<year>\d{{4}})")
)
_YEAR = r"(?P<year>(?:19|20)\d{2})"
_COMPACT = [  # 20240131, 202401312359, 31012024, 202401; they look like numbers
    re.compile(
        rf"{_YEAR}(?P<month>\d{{2}})(?P<day>\d{{2}})"
        r"(?:T?(?P<hour>[01]\d|2[0-3])(?P<minute>[0-5]\d)(?P<second>[0-5]\d)?)?"
        r"(?P<half>)Z?(?:\.0)?"
    ),
    re.compile(rf"(?P<first>\d{{2}})(?P<second_>\d{{2}}){_YEAR}(?P<mark>)(?P<hour>)"),
    re.compile(rf"{_YEAR}(?P<month>\d{{2}})(?P<day>)(?:\.0)?(?P<hour>)"),
]
LEAST_COMPACT = 6  # different cells; so many are not months by chance
_TIME = re.compile(_CLOCK)


class Dates(NamedTuple):
    """A column's cells, read as dates."""

    values: pd.Series  # days since 1970-01-01, float, NaN where a cell is not a date
    order: Order  # "fixed" where the form itself says which part is which
    example: str = ""  # a cell that shows what is ambiguous or mixed


class _Parts(NamedTuple):
    year: int
    month: int
    day: int
    clock: float  # in days
    may_swap: bool  # True if the form does not say which is the month
    short: int | None = None  # a year of two digits at the end
    is_span: bool = False  # True for a duration


def read_dates(cells: pd.Series, *, hint: str = "auto") -> Dates:
    """Read a column of text as dates, by how all of them are written.

    Years of four digits come first or last, those of two come last (69 is 1969, 68 is
    2068); where they seem to come first, that is the order, and nothing is read. With
    dots between them days come before months. Zones are not converted. Months, quarters
    and weeks are the day on which they begin; where Jul-22 may be a day, its order is
    "month-or-day". Durations are days; those such as 5m, which may be metres, have the
    order "uncertain".

    Args:
      cells: text; none is missing.
      hint: "day-first" or "month-first": what decides where both are possible.

    Example:
      >>> read_dates(pd.Series(["31.12.1970", "1.1.1970"])).values.tolist()
      [364.0, 0.0]
      >>> read_dates(pd.Series(["01/02/2024", "03/04/2024"])).order
      'ambiguous'
      >>> read_dates(pd.Series(["01/31/1970 12:00"])).values.tolist()
      [30.5]
    """
    months = periods.short_months(cells)
    split = {cell: months.get(cell) or _take_apart(cell) for cell in pd.unique(cells)}
    found = {cell: _as_parts(own) for cell, own in split.items() if own is not None}
    if periods.are_seasons(found):
        found = {}
    order, example = _order_of(found)
    if hint == "auto" and _begins_with_years(found.values()):
        order, example = "year-first", next(iter(found))
    if months and not periods.are_years(months):
        order, example = "month-or-day", next(iter(found))
    spans = any(parts.is_span for parts in found.values())
    if spans and not durations.are_certain(found):
        order = "uncertain"
    if order == "ambiguous" and hint in ("day-first", "month-first"):
        order = "day-first" if hint == "day-first" else "month-first"
    swaps = order == "month-first"
    values = {cell: _days(parts, swaps) for cell, parts in found.items()}
    if order in ("mixed", "year-first"):
        values = dict.fromkeys(found, 0.0)
    return Dates(cells.map(values).astype(float), order, example)


def are_compact(cells: pd.Series) -> bool:
    """Return True if whole numbers are dates, such as 20240131, of 1900 to 2099.

    All must be days, or so many that the others are mistakes; months, such as 202401,
    must be several.

    Example:
      >>> are_compact(pd.Series(["20240131", "20231231"]))
      True
      >>> are_compact(pd.Series(["20240131", "20240132"]))
      False
    """
    if not any(map(_is_compact, cells[:LEAST_COMPACT])):
        return False  # nearly always told by the first ones
    kinds = pd.Series(cells.unique())
    dates = read_dates(kinds[kinds.map(_is_compact)])
    days = int(dates.values.notna().sum())
    if dates.order == "mixed" or (days < LEAST_COMPACT and days < len(kinds)):
        return False
    if kinds.str.fullmatch(r"\d{6}(?:\.0)?").any():
        return LEAST_COMPACT <= days == len(kinds)
    return 2 * days > len(kinds)


def _is_compact(cell: str) -> bool:
    return any(form.fullmatch(cell) for form in _COMPACT)


def _take_apart(cell: str) -> _Parts | datetime.date | None:
    if match := _TIME.fullmatch(cell):
        return (
            _Parts(1970, 1, 1, _clock(match), False) if match["minute"] < "60" else None
        )
    cell = _WEEKDAY.sub("", cell, count=1) if cell[:1].isalpha() else cell
    matches = (m for form in _FORMS if (m := form.fullmatch(cell)))
    match = next(matches, None) or next(filter(_is_possible, _digits_of(cell)), None)
    if match is None:
        span = durations.read_duration(cell)
        is_span = span is not None
        own = _Parts(1970, 1, 1, span or 0.0, False, is_span=is_span)
        return own if is_span else periods.begin_of(cell)
    parts, clock = match.groupdict(), _clock(match)
    if clock > 1:  # 24:00 is the end of a day
        return None
    year = int(parts["year"])
    if len(parts["year"]) == 2:
        year = periods.full_year(year)
    if "name" in parts:
        month = periods.month_of(parts["name"])
        day = int(parts["day"] or 1)
        begin = periods.begin_of(cell)  # Week 2, 1970
        return _Parts(year, month, day, clock, False) if month else begin
    if "first" in parts:
        day, month = int(parts["first"]), int(parts["second_"])
        short = year % 100 if len(parts["year"]) == 2 else None
        return _Parts(year, month, day, clock, parts["mark"] != ".", short)
    return _Parts(year, int(parts["month"]), int(parts["day"] or 1), clock, False)


def _digits_of(cell: str) -> Iterator[re.Match]:
    """The ways to read digits alone as a date."""
    return (m for form in _COMPACT if (m := form.fullmatch(cell)))


def _is_possible(match: re.Match) -> bool:
    """False for a month or day that no calendar has: 20012024 is not of 2001."""
    found = {"month": "1", **match.groupdict()}
    return 1 <= int(found["month"]) <= 12 and int(found.get("day") or 1) <= 31


def _as_parts(own: _Parts | datetime.date) -> _Parts:
    if isinstance(own, _Parts):
        return own
    return _Parts(own.year, own.month, own.day, 0.0, may_swap=False)


def _clock(match: re.Match) -> float:
    """The time of day, in days; 0 where there is none, infinite if it cannot be."""
    if not match["hour"]:
        return 0.0
    hour, minute = int(match["hour"]), int(match["minute"])
    if match["half"]:
        hour = hour % 12 + 12 * (match["half"][0] in "pP")
    second = float((match["second"] or "0").replace(",", "."))
    if minute >= 60 or second >= 61:  # a leap second is one
        return math.inf
    return (hour + minute / 60 + second / 3600) / 24


def _order_of(found: dict[str, _Parts]) -> tuple[Order, str]:
    free = {cell: parts for cell, parts in found.items() if parts.may_swap}
    if not free:
        return "fixed", ""
    day_first = any(parts.day > 12 for parts in free.values())
    month_first = any(parts.month > 12 for parts in free.values())
    if day_first and month_first:
        return "mixed", next(iter(free))
    if day_first or month_first:
        return "day-first" if day_first else "month-first", ""
    return "ambiguous", next(iter(free))


def _begins_with_years(found: Iterable[_Parts]) -> bool:
    """Return True if 22-07-31 seems to be in 2022: days vary more than years do."""
    short = [parts for parts in found if parts.short is not None]
    first, last = {parts.day for parts in short}, {parts.short or 0 for parts in short}
    if not short or not all(1 <= day <= 31 for day in last):
        return False
    is_free = any(parts.may_swap for parts in short)
    return not all(1 <= day <= 31 for day in first) or (
        is_free and len(last) > len(first)
    )


def _days(parts: _Parts, swaps: bool) -> float:
    day, month = parts.day, parts.month
    if swaps and parts.may_swap:
        day, month = month, day
    try:
        ordinal = datetime.date(parts.year, month, day).toordinal()
    except ValueError:
        return float("nan")
    return ordinal - datetime.date(1970, 1, 1).toordinal() + parts.clock
