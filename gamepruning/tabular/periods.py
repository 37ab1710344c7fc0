"""Months, quarters and weeks as dates: the day on which each begins."""

# pyright: reportArgumentType=false

import datetime
import re
from collections.abc import Collection

import pandas as pd

_NAMES = (  # English, German, French, Spanish, Italian, Portuguese, Dutch
    "january januar jänner janvier enero gennaio janeiro januari",
    "february februar feber février fevrier febrero febbraio fevereiro februari",
    "march märz maerz mrz mars marzo março marco maart",
    "april avril abril aprile",
    "may mai mayo maggio maio mei",
    "june juni juin junio giugno junho",
    "july juli juillet julio luglio julho",
    "august août aout agosto augustus",
    "september septembre septiembre settembre setembro",
    "october oktober octobre octubre ottobre outubro",
    "november novembre noviembre novembro",
    "december dezember décembre decembre diciembre dicembre dezembro",
)
_WORDS = {"mag", "mars", "out", "set"}  # rather these than the start of a month
_Q = r"[QT](?P<quarter>[1-4])|(?P<quarter_>[1-4])Q|H(?P<half>[12])"
_W = r"(?:W|KW|CW|Week)\s*(?P<week>\d{1,2})"
_YEAR = r"(?P<year>(?:19|20)\d{2})"
_SHORT = r"(?:'|’)?(?P<short>\d{2})"
_FORMS = [
    re.compile(form, re.IGNORECASE)
    for form in (
        rf"{_YEAR}[-/ ]?(?:{_Q})",
        rf"(?:{_Q})[-/ ]*(?:{_YEAR}|{_SHORT})",
        rf"{_YEAR}[-/ ]?{_W}(?:-?(?P<weekday>[1-7]))?",
        rf"{_W}(?:,\s*|[-/ ]+){_YEAR}",
        rf"{_YEAR}M(?P<month>\d{{2}})",
        rf"{_YEAR}[-/. ]*(?P<name>[^\W\d_]{{3,10}})\.?",
    )
]
_SHORT_MONTH = re.compile(
    r"(?P<name>[^\W\d_]{3,10})\.?(?:[-/' ’]*(?P<short>\d{2})|[-/ ]+(?P<day>\d))"
)
_DAY_OR_YEAR = re.compile(r"(?P<short>\d{1,2})[-. ]+(?P<name>[^\W\d_]{3,10})\.?")
_SEASON = re.compile(r"(\d{4})[-/](\d{2})")
LEAST_MONTHS = 6  # different cells; fewer may be days of some months


def month_of(name: str) -> int | None:
    """The month that a name or the start of a name means; None if there is none.

    Example:
      >>> month_of("Sept"), month_of("Dez"), month_of("Marble"), month_of("jui")
      (9, 12, None, None)
    """
    name = name.lower()
    if len(name) < 3 or (name in _WORDS - {"mars"}):
        return None
    found = {
        number
        for number, names in enumerate(_NAMES, start=1)
        if any(full.startswith(name) for full in names.split())
    }
    return found.pop() if len(found) == 1 else None


def begin_of(cell: str) -> datetime.date | None:
    """The first day of a quarter, half, week or month; None if a cell is none.

    Example:
      >>> begin_of("2021-Q3"), begin_of("2021-W05")
      (datetime.date(2021, 7, 1), datetime.date(2021, 2, 1))
    """
    match = next((m for form in _FORMS if (m := form.fullmatch(cell))), None)
    if match is None:
        return None
    parts = {key: part for key, part in match.groupdict().items() if part}
    year = int(parts["year"]) if "year" in parts else full_year(int(parts["short"]))
    if "week" in parts:
        return _week(year, int(parts["week"]), int(parts.get("weekday", 1)))
    if "half" in parts:
        return datetime.date(year, 6 * int(parts["half"]) - 5, 1)
    if quarter := parts.get("quarter") or parts.get("quarter_"):
        return datetime.date(year, 3 * int(quarter) - 2, 1)
    month = month_of(parts["name"]) if "name" in parts else int(parts["month"])
    return datetime.date(year, month, 1) if month and 1 <= month <= 12 else None


def full_year(short: int) -> int:
    """A year of two digits with its century: 69 is 1969, 68 is 2068."""
    return short + (2000 if short < 69 else 1900)


def short_months(cells: pd.Series) -> dict[str, datetime.date]:
    """The months of cells such as Jul-22, of July 2022; empty unless all are such."""
    found: dict[str, datetime.date] = {}
    for cell in cells.unique():
        match = _SHORT_MONTH.fullmatch(cell) or _DAY_OR_YEAR.fullmatch(cell)
        month = match and month_of(match["name"])
        if not match or not month:
            return {}
        number = match.groupdict().get("day") or match["short"]
        found[cell] = datetime.date(full_year(int(number)), month, 1)
    return found


def are_years(months: dict[str, datetime.date]) -> bool:
    """Return True if the numbers of cells such as Jul-22 are years, and no days.

    They are if one is no day of its month, or if few of them, and no 1, come after many
    months. 22-Jul is how spreadsheets write a day, and Jul 5 is none of a year.

    Example:
      >>> are_years(short_months(pd.Series(["Jul-98", "Aug-98"])))
      True
      >>> are_years(short_months(pd.Series(["Jul-22", "Aug-23"])))
      False
    """
    if any(re.search(r"(?<!\d)\d(?!\d)", cell) for cell in months):
        return False
    if any("'" in cell or "’" in cell for cell in months):
        return True
    numbers = {day.year % 100 for day in months.values()}
    if not all(_is_day(day.month, day.year % 100) for day in months.values()):
        return True
    if 1 in numbers or any(cell[:1].isdigit() for cell in months):
        return False
    has_space = any(" " in cell for cell in months)
    least = 9 * len(numbers) if has_space else 3 * len(numbers)
    return len(months) >= max(LEAST_MONTHS, least)


def are_seasons(cells: Collection[str]) -> bool:
    """Return True if cells such as 2010/11 are all of one year and the next.

    Example:
      >>> are_seasons(["2010/11", "2011/12"]), are_seasons(["2010/11", "2010/12"])
      (True, False)
    """
    pairs = [_SEASON.fullmatch(cell) for cell in cells]
    return len(pairs) > 1 and all(
        pair and (int(pair[1]) + 1) % 100 == int(pair[2]) for pair in pairs
    )


def is_period(cell: str) -> bool:
    """Return True if a cell names a month, a quarter, a half or a week by a word."""
    return begin_of(cell) is not None or bool(short_months(pd.Series([cell])))


def _is_day(month: int, day: int) -> bool:
    """Return True if a month has such a day in a leap year."""
    return 1 <= day <= (29 if month == 2 else 30 if month in (4, 6, 9, 11) else 31)


def _week(year: int, week: int, weekday: int) -> datetime.date | None:
    """A day of a week by ISO 8601; None if the year has no such week."""
    try:
        return datetime.date.fromisocalendar(year, week, weekday)
    except ValueError:
        return None
