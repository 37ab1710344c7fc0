"""How a table is read where the file itself does not say."""

import dataclasses
from typing import Any, Literal, Self

Decimal = Literal["auto", "point", "comma"]
Dates = Literal["auto", "day-first", "month-first"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class TableOptions:
    """How to read one table.

    Attributes:
      drop: columns to leave out.
      categorical: columns of numbers or dates that are codes of categories.
      numeric: columns of quantities that look like dates (20240131) or codes (0123).
      zero_is_missing: columns whose zeros mean that nothing was measured.
      keep_column: columns that are read although they look like names of the rows.
      missing: cells that mean that a value is missing, as an empty one does; None for
        the usual ones, such as NA, ?, - and null.
      decimal: what decides where 1,138 may be a thousand or about one.
      dates: what decides where 01/02/2024 may be in January or February.
    """

    drop: tuple[str, ...] = ()
    categorical: tuple[str, ...] = ()
    numeric: tuple[str, ...] = ()
    zero_is_missing: tuple[str, ...] = ()
    keep_column: tuple[str, ...] = ()
    missing: tuple[str, ...] | None = None
    decimal: Decimal = "auto"
    dates: Dates = "auto"

    def but(self, **fields: Any) -> Self:
        """The options with other fields; lists become tuples."""
        given = {k: tuple(v) if isinstance(v, list) else v for k, v in fields.items()}
        return dataclasses.replace(self, **given)
