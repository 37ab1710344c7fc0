"""A column of a table: what it holds, and the features that a network reads."""

# pandas' own annotations say that almost anything may be almost anything.
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false
# pyright: reportCallIssue=false, reportReturnType=false, reportGeneralTypeIssues=false

import dataclasses
import re
from functools import partial
from typing import Literal

import numpy as np
import pandas as pd
from pandas.api.types import (
    is_bool_dtype,
    is_datetime64_any_dtype,
    is_numeric_dtype,
)

from gamepruning.tabular.codes import fill_zeros
from gamepruning.tabular.dates import read_dates
from gamepruning.tabular.numerals import are_alike, read_numerals
from gamepruning.types import InputError

MAX_CATEGORIES = 32
MAX_NUMBER = 1e18  # its square is a float32 too
MAX_DAY = 1e7  # larger numbers of a column of dates are written as 20240131
_ALWAYS = {"", "na", "n/a", "#n/a", "n.a.", "nan", "-nan", "null", "?", "<na>", "nat"}
_ALWAYS |= {"\\n", "#div/0!", "#value!", "#ref!", "#num!", "#name?", "#null!"}
_ALWAYS |= {"#n/v", "#nv", "#wert!", "#bezug!", "#zahl!", "#valeur!", "#nombre!"}
_ALWAYS |= {"#¡valor!", "#¡div/0!", "#¡num!", "-1.#ind", "1.#qnan", "-nan(ind)"}
_DASHES = {"-", "--", "—"}
_AMONG_NUMBERS = {*_ALWAYS, *_DASHES, ".", "none"}
_WHOLE = re.compile(r"^\+?(-?\d+)\.0*$")


HINTS = {"number": ("point", "comma"), "date": ("day-first", "month-first")}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Column:
    """One column, as the training rows have it, and the features that it becomes.

    Attributes:
      name: its name in the table.
      kind: "number", "date" (days since 1970-01-01) or "category".
      hint: how its numbers or dates are read where several readings are possible:
        "point", "comma", "day-first" or "month-first".
      zero_is_missing: True if a zero means that nothing was measured.
      missing: cells that mean that a value is missing; None for the usual ones.
      unit: number: what stands beside its numbers, such as "%"; None if unknown.
      num_digits: date: of its cells where they are digits alone, such as 6 for 202401;
        0 otherwise. Cells that are numbers are then read alike.
      median: number, date: what a missing cell becomes.
      mean: number, date: subtracted.
      scale: number, date: divided by, after that; None if it does not vary: no feature.
      marks_missing: number, date: True if a feature says which cells are missing.
      categories: category: those that have a feature each; others are in none.
      num_merged: category: those of the training rows that have no feature.
    """

    name: str
    kind: Literal["number", "date", "category"]
    hint: str = "point"
    zero_is_missing: bool = False
    missing: tuple[str, ...] | None = None
    unit: str | None = None
    num_digits: int = 0
    median: float = 0.0
    mean: float = 0.0
    scale: float | None = None
    marks_missing: bool = False
    categories: tuple[str, ...] = ()
    num_merged: int = 0

    @property
    def features(self) -> tuple[str, ...]:
        """The names of its features."""
        kinds = tuple(f"{self.name}={kind or '(missing)'}" for kind in self.categories)
        scaled = (self.name,) if self.scale is not None else ()
        return kinds + scaled + (f"{self.name} is missing",) * self.marks_missing

    def parse(self, cells: pd.Series) -> pd.Series:
        """The cells as floats, NaN where one is missing, or as categories.

        Raises:
          InputError: a cell is not a number or a date, is too large a number, or has
            another unit.
        """
        is_number = is_numeric_dtype(cells) and not is_bool_dtype(cells)
        if self.kind == "category":
            kinds = to_categories(cells, self.missing)
            if is_bool_dtype(cells):
                kinds = kinds.map(self._truth)
            return fill_zeros(kinds, self.categories) if is_number else kinds
        if is_number and self.num_digits:
            column = self._read(cells.map(partial(to_digits, width=self.num_digits)))
        elif is_number and (self.kind == "number" or not (cells > MAX_DAY).any()):
            column = cells.astype(float)
        elif is_datetime64_any_dtype(cells):
            zone = getattr(cells.dtype, "tz", None)  # clocks are read as they show
            cells = cells if zone is None else cells.dt.tz_localize(None)
            column = (cells - pd.Timestamp(0)) / pd.Timedelta(days=1)
        else:
            column = self._read(cells)
        column = self._without_markers(column) if self.missing else column
        check_size(column, cells)
        return column.mask(column == 0) if self.zero_is_missing else column

    def _truth(self, kind: str) -> str:
        """What the training rows have for "True" or "False"."""
        words = {"true": ("true", "1"), "false": ("false", "0")}.get(kind.lower(), ())
        known = {one.lower(): one for one in self.categories}
        return next((known[word] for word in words if word in known), kind)

    def _without_markers(self, values: pd.Series) -> pd.Series:
        """The values, NaN where one is what a marker such as -999 reads as."""
        markers = pd.Series(self.missing, dtype=str)
        read = read_numerals if self.kind == "number" else read_dates
        return values.mask(values.isin(read(markers, hint=self.hint).values.dropna()))

    def _read(self, cells: pd.Series) -> pd.Series:
        cells = to_text(cells)
        known = cells[~is_missing(cells, self.missing, among_numbers=True)]
        read = read_numerals if self.kind == "number" else read_dates
        values, style, *_, example = found = read(known, hint=self.hint)
        odd = known[values.isna()]
        for row, cell in odd[:1].items():
            more = f" (one of {len(odd):,} rows)" if len(odd) > 1 else ""
            raise InputError(
                f"row {row}, column {self.name!r}: expected a {self.kind} as in the "
                f"other rows, got {cell!r}{more}: mend it, leave the cell empty, or "
                f"name it with --missing {cell!r} in training"
            )
        if self.kind == "date" and style in ("mixed", "ambiguous"):
            self._refuse_order(example, len(found.values))
        if self.unit is not None:
            self._check_unit(known[values != 0], self.unit)
        return values.reindex(cells.index)

    def _refuse_order(self, example: str, num: int) -> None:
        """Days and months cannot be told apart, and the training rows do not help."""
        raise InputError(
            f"column {self.name!r}: {num:,} dates such as {example!r} may begin with "
            "the day or the month, which neither they nor the training rows tell: "
            "write them as 2024-01-31"
        )

    def is_unsure(self, cells: pd.Series) -> bool:
        """Return True if these cells have two readings, so that the hint decides."""
        return self._style_of(cells) == "ambiguous"

    def hint_of(self, cells: pd.Series) -> str | None:
        """How numbers or dates are surely written here; None if that cannot be told."""
        style = self._style_of(cells)
        return style if style in HINTS.get(self.kind, ()) else None

    def _style_of(self, cells: pd.Series) -> str | None:
        if is_numeric_dtype(cells) or is_datetime64_any_dtype(cells):
            return None
        cells = to_text(cells)
        known = cells[~is_missing(cells, self.missing, among_numbers=True)]
        is_number = self.kind == "number"
        return read_numerals(known).style if is_number else read_dates(known).order

    def _check_unit(self, cells: pd.Series, own: str) -> None:
        if cells.empty or are_alike(own, read_numerals(cells, hint=self.hint).unit):
            return
        wanted = repr(own) if own else "no unit"
        for row, cell in cells.items():
            unit = read_numerals(cells.loc[[row]], hint=self.hint).unit
            if not are_alike(own, unit):
                raise InputError(
                    f"row {row}, column {self.name!r}: expected numbers with {wanted} "
                    f"as in the training rows, got {cell!r}: convert it"
                )

    def encode(self, parsed: pd.Series) -> np.ndarray:
        """The features of parsed cells, float64 [rows, features]."""
        if self.kind == "category":
            return parsed.to_numpy()[:, None] == np.array([*self.categories], object)
        made = []
        if self.scale is not None:
            filled = parsed.fillna(self.median).to_numpy()
            made.append((filled - self.mean) / self.scale)
        if self.marks_missing:
            made.append(parsed.isna().to_numpy())
        return np.stack(made, 1) if made else np.zeros((len(parsed), 0))


def fit_column(column: Column, known: pd.Series) -> Column:
    """The column with the statistics of its parsed training cells.

    A column that does not vary has no features.
    """
    if column.kind == "category":
        counts = known.value_counts().sort_index()
        counts = counts.sort_values(ascending=False, kind="stable")
        kinds = tuple(sorted(counts.index[:MAX_CATEGORIES])) if len(counts) > 1 else ()
        merged = len(counts) - len(kinds) if kinds else 0
        return dataclasses.replace(column, categories=kinds, num_merged=merged)
    marks = bool(known.hasnans and known.notna().any())
    column = dataclasses.replace(column, marks_missing=marks)
    if not (known.min() < known.max() and known.std(ddof=0) > 0):
        return column
    from sklearn.preprocessing import StandardScaler  # slow, and not for predictions

    median = float(np.median(known.dropna()))
    scaler = StandardScaler().fit(known.fillna(median).to_numpy()[:, None])
    mean, scale = np.ravel([scaler.mean_, scaler.scale_]).tolist()
    return dataclasses.replace(column, median=median, mean=mean, scale=scale)


def is_missing(
    cells: pd.Series, markers: tuple[str, ...] | None, *, among_numbers: bool
) -> pd.Series:
    """Return True for each cell of text that says that a value is missing.

    Among texts a dash is a marker unless there is a plus, too.
    """
    if markers is not None:
        return to_canonical(cells).isin(to_canonical(pd.Series(["", *markers])))
    known = _AMONG_NUMBERS
    if not among_numbers:
        known = _ALWAYS if (cells == "+").any() else _ALWAYS | _DASHES
    return cells.str.lower().isin(known)


def to_categories(cells: pd.Series, markers: tuple[str, ...] | None) -> pd.Series:
    """The cells as text, "" where one is missing; 1 and 1.0 are one category."""
    cells = to_text(cells)
    return to_canonical(cells).mask(is_missing(cells, markers, among_numbers=False), "")


def to_digits(number: float, width: int) -> str:
    """A whole number as so many digits; others, and what is missing, as they are.

    Example:
      >>> to_digits(1012024, 8), to_digits(202401.0, 6), to_digits(float("nan"), 6)
      ('01012024', '202401', '')
    """
    if pd.isna(number):
        return ""
    return f"{int(number):0{width}d}" if number == int(number) else str(number)


def to_text(cells: pd.Series) -> pd.Series:
    """The cells as stripped text, "" where there is none."""
    if is_numeric_dtype(cells):
        cells = cells.map(lambda number: "" if pd.isna(number) else str(number))
    return cells.fillna("").astype(str).str.strip()


def to_canonical(cells: pd.Series) -> pd.Series:
    """The cells with whole numbers written without a point: 1.0 becomes 1."""
    return cells.str.replace(_WHOLE, r"\1", regex=True)


def check_size(numbers: pd.Series, cells: pd.Series) -> None:
    """Raise InputError if a number is infinite or too large; name its cell."""
    for row in numbers.index[numbers.abs() > MAX_NUMBER][:1]:
        raise InputError(
            f"row {row}, column {cells.name!r} is {cells[row]}: expected a finite "
            f"number of at most {MAX_NUMBER:.0e}; leave a missing cell empty, or "
            f"name it with --missing {cells[row]}"
        )
