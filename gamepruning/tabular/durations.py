"""Durations as days: 1h 20m, 3 days 04:05:06, PT90M, 8 years 3 months."""

import re
from collections.abc import Iterable

_DAYS = {  # of each part
    "year": 365.25,
    "month": 365.25 / 12,
    "week": 7.0,
    "day": 1.0,
    "hour": 1 / 24,
    "minute": 1 / 1440,
    "second": 1 / 86400,
}
_WORDS = {  # letters alone are small: 3M and 10Y are terms of bonds
    "year": "y|(?i:yrs?|years?|Jahre?)",
    "month": "(?i:mon|mons|mos?|mths?|months?|Monate?)",
    "week": "w|(?i:wks?|weeks?|Wochen?)",
    "day": "d|(?i:days?|Tage?)",
    "hour": "h|(?i:hrs?|hours?|Std|Stunden?)",
    "minute": "m|'|(?i:mins?|minutes?|Minuten?)",
    "second": "s|(?i:secs?|seconds?|Sek|Sekunden?)",
}
_NUMBER = r"\d+(?:[.,]\d+)?"
_SPOKEN = re.compile(
    r"(?P<sign>-)?"
    + "".join(
        rf"(?:(?P<{part}>{_NUMBER})\s*(?:{words})(?![^\W\d_])\.?(?:,|\s|and|und)*)?"
        for part, words in _WORDS.items()
    )
)
_ISO = re.compile(
    rf"(?P<sign>-)?P(?=.)(?:(?P<year>\d+)Y)?(?:(?P<month>\d+)M)?(?:(?P<week>\d+)W)?"
    rf"(?:(?P<day>\d+)D)?(?:T(?=.)(?:(?P<hour>{_NUMBER})H)?(?:(?P<minute>{_NUMBER})M)?"
    rf"(?:(?P<second>{_NUMBER})S)?)?"
)
_CLOCK = re.compile(  # 1 day, 2:03:04; hours may be more than a day has
    r"(?P<sign>-)?(?:(?P<day>\d+)\s*(?:d|days?),?\s+\+?)?"
    r"(?P<hour>\d{1,4}):(?P<minute>[0-5]\d)(?::(?P<second>[0-5]\d(?:[.,]\d+)?))?"
)


def read_duration(cell: str) -> float | None:
    """The days of a duration; None if the cell is none.

    Example:
      >>> read_duration("1h 30m") == read_duration("PT90M") == 1.5 / 24
      True
      >>> read_duration("1 day, 12:00:00"), read_duration("8 Main St")
      (1.5, None)
    """
    parts = _parts_of(cell)
    if not parts:
        return None
    sign = -1 if parts.pop("sign", "") else 1
    numbers = {part: float(text.replace(",", ".")) for part, text in parts.items()}
    return sign * sum(number * _DAYS[part] for part, number in numbers.items())


def are_certain(cells: Iterable[str]) -> bool:
    """Return True if cells are surely durations: 5m alone may be metres.

    Several parts, or several units, are certain, but for an m beside days or years.

    Example:
      >>> are_certain(["5m", "10m"]), are_certain(["5m", "1h"])
      (False, True)
    """
    found = [_parts_of(cell).keys() - {"sign"} for cell in cells]
    used = set().union(*found)
    is_iso = all(_ISO.fullmatch(cell) for cell in cells)
    is_clear = "minute" not in used or bool(used & {"hour", "second"})
    return is_iso or (len(used) > 1 and is_clear)


def _parts_of(cell: str) -> dict[str, str]:
    """The parts of a duration and its sign, those that are there."""
    if not re.match(r"-?P?T?\d", cell):
        return {}
    for form in (_SPOKEN, _ISO, _CLOCK):
        if match := form.fullmatch(cell):
            return {part: text for part, text in match.groupdict().items() if text}
    return {}
