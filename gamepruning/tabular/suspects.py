"""Cells that may be meant otherwise than they are read: told, never changed."""

# pyright: reportArgumentType=false, reportAttributeAccessIssue=false
# pyright: reportCallIssue=false, reportReturnType=false, reportGeneralTypeIssues=false

import datetime
import re
import unicodedata

import numpy as np
import pandas as pd

from gamepruning.types import InputError

SHOWN = 3  # groups of one column
MOST_TOTALS = 5  # rows for each that is a total
LEAST_ROWS = 10  # above a row of totals
_TOTAL = re.compile(
    r"(?:grand |sub-?)?totals?:?|sum(?:me)?|gesamt(?:summe)?|insgesamt|zwischensumme|"
    r"somme|totale|totaal|average|mean|mittelwert|durchschnitt|moyenne|promedio|media",
    re.IGNORECASE,
)
_NINES = re.compile(r"-?(?:9{2,}|8{2,}|7{2,}|9+[678])(?:\.9+)?|-[6-9]")
_LIMITS = {-32768.0, 32767.0, 65535.0, 2147483647.0, -2147483648.0, 4294967295.0}
_DAYS = (
    *("0001-01-01", "1753-01-01", "1899-12-30", "1899-12-31", "1900-01-01"),
    *("1901-01-01", "1970-01-01", "2099-12-31", "2100-01-01", "2999-12-31"),
    *("9999-09-09", "9999-12-31"),
)
LATE = 3650.0  # 1979-12-30
_EPOCH = datetime.date(1970, 1, 1)
_DATES = {(datetime.date.fromisoformat(day) - _EPOCH).days for day in _DAYS}


def find_sentinels(parsed: pd.Series, *, is_date: bool) -> list[float]:
    """Values that seem to stand for missing ones, such as -999 and 9999-12-31.

    They are usual for that, occur more than once, and lie outside all other values, by
    more than half of what these span.

    Args:
      parsed: numbers, or dates as days since 1970; NaN where a cell is missing.
      is_date: True for dates.

    Example:
      >>> find_sentinels(pd.Series([-999, 1.5, 2.5, -999]), is_date=False)
      [-999.0]
      >>> find_sentinels(pd.Series([-999, -900, -1200, -999]), is_date=False)
      []
    """
    known = parsed.dropna()
    counts = known.value_counts()
    usual = [v for v in counts.index[counts > 1] if _is_usual(v, is_date)]
    if known.max() < LATE:  # no dates of this time, but times of day and durations
        usual = [v for v in usual if not is_date or v // 1 != 0]
    others = known[~known.isin(usual)]
    if not usual or others.empty:
        return []
    low, high = others.min(), others.max()
    far = (high - low) / 2
    return sorted(float(v) for v in usual if max(low - v, v - high) > far)


def _is_usual(value: float, is_date: bool) -> bool:
    if is_date:
        return value // 1 in _DATES
    return value in _LIMITS or _NINES.fullmatch(f"{value:.12g}") is not None


def spelt_alike(kinds: pd.Series) -> list[str]:
    """Categories that differ in case, spaces or the coding of letters alone, in words.

    Args:
      kinds: the category of each row; "" where it is missing.

    Example:
      >>> spelt_alike(pd.Series(["Yes", "yes", "no", "Yes"]))
      ["'Yes' (2) and 'yes' (1)"]
    """
    counts = kinds[kinds != ""].value_counts()
    groups: dict[str, list[str]] = {}
    for kind in counts.index:
        plain = unicodedata.normalize("NFKC", kind).casefold()
        groups.setdefault(" ".join(plain.split()), []).append(kind)
    found = [group for group in groups.values() if len(group) > 1]
    told = [" and ".join(f"{k!r} ({counts[k]:,})" for k in own) for own in found]
    return [*told[:SHOWN], "..."] if len(told) > SHOWN else told


def total_rows(kinds: pd.Series) -> list[str]:
    """Rows that are called a total of others, in words.

    Args:
      kinds: categories by row number.

    Example:
      >>> total_rows(pd.Series(["north", "south"] * 3 + ["Total"]))
      ["row 6 ('Total')"]
    """
    found = kinds[kinds.str.fullmatch(_TOTAL)]
    if found.empty or MOST_TOTALS * len(found) > len(kinds):
        return []
    more = f" and {len(found) - 1} more" if len(found) > 1 else ""
    return [f"row {found.index[0]} ({found.iloc[0]!r}){more}"]


def check_last_row(parsed: pd.DataFrame) -> None:
    """Check that the last row does not hold the sums of those above it.

    Example:
      >>> check_last_row(pd.DataFrame({"x": [2.0] * 12 + [24.0]}))
      Traceback (most recent call last):
      gamepruning.types.InputError: row 12 holds the sums of those above, 24 in x...
    """
    numbers = parsed.select_dtypes(float)
    above, last = numbers.iloc[:-1], numbers.iloc[-1:].squeeze(axis=0)
    last = last.dropna() if len(above) >= LEAST_ROWS else last[:0]
    own = above[last.index]
    is_sum = np.isclose(own.sum(), last) & (last > own.max())
    is_mean = np.isclose(own.mean(), last)
    if is_sum.any() and (is_sum | is_mean).all():
        name = is_sum.idxmax()
        raise InputError(
            f"row {parsed.index[-1]} holds the sums of those above, {last[name]:g} in "
            f"{name}: delete it"
        )
