"""Numbers as people and programs write them: 1.5, 1,5, 1.138,00 EUR, (12 %).

A whole column is read at once: how its numbers are written follows from all of them.
"""

# pyright: reportArgumentType=false, reportAttributeAccessIssue=false
# pyright: reportCallIssue=false, reportReturnType=false

import re
from typing import Literal, NamedTuple

import pandas as pd

Style = Literal["point", "comma", "either", "ambiguous", "mixed"]
CURRENCY = (
    r"(?:US|[ACR])?\$|[€£¥₹₽₩₺]|USD|EUR|GBP|CHF|JPY|CNY|INR|CAD|AUD|SEK|NOK|DKK|PLN|"
    r"CZK|BRL|AED|HKD|HUF|ILS|KRW|MXN|NZD|RUB|SAR|SGD|THB|TRY|TWD|ZAR|Fr\.|kr\.?|zł|"
    r"Rs\.?|RM|Kč|Ft|руб\.?|(?:HK|NZ|S|MX|NT)\$|[₪₫฿₱₦₴]"
)
_SHORT_UNIT = rf"(?:{CURRENCY}|%|‰|[A-Za-zµ°]{{1,3}}[²³]?|)"
_LONG_UNIT = r"[^\W\d_][^\d,;:()]{1,19}"  # of all cells, or of none
_SPACES = " _'’\u00a0\u2009\u202f"  # between groups of three digits
_SHAPE = re.compile(
    rf"(?P<open>\()?\s*(?P<sign>[-+−–])?\s*(?P<before>{CURRENCY})?\s*(?P<sign2>[-+−–])?\s*"
    rf"(?P<body>[\d.,][\d.,{_SPACES}]*?)(?P<power>[eE][-+]?\d+)?\s*"
    rf"(?P<after>{_SHORT_UNIT}|{_LONG_UNIT})?(?P<trail>[-−–])?\s*(?P<close>\))?"
)
_GROUPED = r"(?:[1-9]\d{{0,2}}(?:([{0}])\d{{3}})(?:\1\d{{3}})*|\d+{1})?"
_BODY = {  # by the decimal mark
    "point": re.compile(
        _GROUPED.format("," + _SPACES, r"|\d{1,2}(?:,\d{2})+,\d{3}") + r"(?:\.\d*)?"
    ),
    "comma": re.compile(_GROUPED.format("." + _SPACES, "") + r"(?:,\d*)?"),
}
SAMPLE = 1000
FEW = 10  # different cells
_PLAIN_GROUPED = r"[-+]?[1-9]\d{0,2}\.\d{3}"


class Numerals(NamedTuple):
    """A column's cells, read as numbers."""

    values: pd.Series  # float, NaN where a cell is not a number
    style: Style  # the decimal mark; "either" if none occurs; "mixed" if both do
    unit: str = ""  # that stands beside them: "%", a currency, or letters
    example: str = ""  # a cell that shows what is ambiguous


class _Written(NamedTuple):
    """One cell, taken apart."""

    body: str
    sign: float
    power: str  # of ten, "e-3"
    unit: str
    reads: frozenset[str]  # the decimal marks that it may have

    @property
    def has_long_unit(self) -> bool:
        """Return True if a word stands beside the number, such as metres."""
        return re.fullmatch(_SHORT_UNIT, self.unit) is None


def read_numerals(
    cells: pd.Series, *, hint: str = "auto", words_too: bool = True
) -> Numerals:
    """Read a column of text as numbers, by how all of them are written.

    Args:
      cells: text; none is missing.
      hint: "point" or "comma": what decides where both readings are possible.
      words_too: True to take one word beside most numbers, such as metres, for a unit.

    Example:
      >>> read_numerals(pd.Series(["1.138,50", "-2,5"])).values.tolist()
      [1138.5, -2.5]
      >>> read_numerals(pd.Series(["1,138", "2,250"])).style
      'ambiguous'
      >>> read_numerals(pd.Series(["(12 %)", "3.5 %"])).values.tolist()
      [-12.0, 3.5]
    """
    plain = to_numbers(cells)
    if plain.notna().all():
        for some in (cells[:SAMPLE], cells):  # nearly always the first ones tell
            dotted = some[some.str.contains(".", regex=False)]
            if not dotted.str.fullmatch(_PLAIN_GROUPED).all():
                return Numerals(plain, "point")
        if dotted.empty:
            return Numerals(plain, "either")
        if hint == "auto":
            return Numerals(plain, "ambiguous", example=dotted.iloc[0])
    kinds = pd.Series(cells.unique())
    written = {cell: _take_apart(cell) for cell in kinds}
    found = {cell: own for cell, own in written.items() if own is not None}
    words = [own.unit for own in found.values() if own.has_long_unit]
    if not words_too or 2 * len(words) <= len(kinds) or len(set(words)) > 1:
        found = {cell: own for cell, own in found.items() if not own.has_long_unit}
    style = _style_of(found)
    example = next((cell for cell, own in found.items() if _has_mark(own)), "")
    decimal = style
    if style == "ambiguous" and hint in ("point", "comma"):
        decimal = style = hint
    if decimal not in ("point", "comma"):
        decimal = "point"
    values = {cell: _value(own, decimal) for cell, own in found.items()}
    unit = _unit_of(found)
    if unit == "mixed" and style != "mixed":
        example = " and ".join({own.unit: cell for cell, own in found.items()}.values())
    return Numerals(cells.map(values).astype(float), style, unit, example)


def to_numbers(cells: pd.Series) -> pd.Series:
    """The cells as floats, NaN where one is not plainly a number."""
    return pd.to_numeric(cells, errors="coerce").astype(float)


def is_plain(cells: pd.Series) -> pd.Series:
    """Return True for each cell that is a number; NaN and infinity are numbers too.

    Example:
      >>> is_plain(pd.Series(["1e3", "NaN", "", "1,5"])).tolist()
      [True, True, False, False]
    """
    return to_numbers(cells).notna() | (cells.str.lower().str.lstrip("+-") == "nan")


def are_alike(unit: str, other: str) -> bool:
    """Return True if numbers with these units count the same; "" may be a currency.

    Example:
      >>> are_alike("€", ""), are_alike("%", ""), are_alike("€", "$")
      (True, False, False)
    """
    given = {unit, other} - {""}
    is_money = all(re.fullmatch(CURRENCY, one) for one in given)
    return unit == other or (len(given) == 1 and is_money)


def _take_apart(cell: str) -> _Written | None:
    match = _SHAPE.fullmatch(cell)
    if match is None or bool(match["open"]) != bool(match["close"]):
        return None
    signs = (match["sign"], match["sign2"], match["trail"], match["open"])
    if sum(map(bool, signs)) > 1 or (match["before"] and match["after"]):
        return None
    body = match["body"].strip()
    reads = frozenset(mark for mark, form in _BODY.items() if form.fullmatch(body))
    if not reads or not re.search(r"\d", body):
        return None
    is_negative = any(sign in ("-", "−", "–", "(") for sign in signs)
    unit = (match["before"] or match["after"] or "").strip()
    if not re.fullmatch(_SHORT_UNIT, unit):
        unit = unit.removesuffix("s")  # 1 year, 2 years
    sign = -1.0 if is_negative else 1.0
    return _Written(body, sign, match["power"] or "", unit, reads)


def _has_mark(own: _Written) -> bool:
    return "." in own.body or "," in own.body


def _style_of(found: dict[str, _Written]) -> Style:
    marked = [own for own in found.values() if _has_mark(own)]
    if not marked:
        return "either"
    common = frozenset.intersection(*(own.reads for own in marked))
    if len(common) == 1:
        return "point" if "point" in common else "comma"
    if not common:
        return "mixed"
    return _by_form(marked, [own for own in found.values() if not _has_mark(own)])


def _by_form(marked: list[_Written], whole: list[_Written]) -> Style:
    """The decimal mark of numbers that all look like 1,138 or like 12.500.

    Thousands with a mark leave no larger number without one. Decimals are either all of
    one length, so that no number is without a mark, or none ends with a zero; of many
    with three decimals some would have fewer then.
    """
    marks = {mark for own in marked for mark in ".," if mark in own.body}
    if len(marks) > 1:
        return "ambiguous"
    as_decimal, as_groups = ("comma", "point") if "," in marks else ("point", "comma")
    if any(len(own.body) > 3 and own.body.isdigit() for own in whole):
        return as_decimal if len(marked) < FEW else "ambiguous"
    if whole and any(own.body.endswith("0") for own in marked):
        return as_groups
    return "ambiguous"


def _value(own: _Written, decimal: str) -> float:
    groups = "," if decimal == "point" else "."
    digits = own.body.translate({ord(mark): None for mark in groups + _SPACES})
    digits = digits.replace(",", ".")
    try:
        return own.sign * float(digits + own.power)
    except ValueError:  # the other decimal mark
        return float("nan")


def _unit_of(found: dict[str, _Written]) -> str:
    """The unit of all numbers but zeros; "mixed" if they differ."""
    units = {own.unit for own in found.values() if own.body.strip("0.,")}
    money = {unit for unit in units if re.fullmatch(CURRENCY, unit)}
    if len(units - {""}) > 1 or ("" in units and units - money - {""}):
        return "mixed"
    return max(units, default="")
