"""Digits that are names: postcodes, account numbers, anything with zeros in front.

A quantity is not written as 01234 where the others are 80331, nor with 18 digits.
"""

# pyright: reportCallIssue=false, reportArgumentType=false
# pyright: reportAttributeAccessIssue=false

import pandas as pd


def are_names(cells: pd.Series) -> bool:
    """Return True if digits are names: `are_codes` or `are_long`."""
    return are_codes(cells) or are_long(cells)


def are_codes(cells: pd.Series) -> bool:
    """Return True if digits are codes: some begin with a zero, and all have one length.

    Of several lengths (telephone numbers), most must begin with a zero.

    Example:
      >>> are_codes(pd.Series(["01234", "80331"])), are_codes(pd.Series(["07", "110"]))
      (True, False)
    """
    if not cells.str.fullmatch(r"\d+").all():
        return False
    has_zero = cells.str.startswith("0") & (cells.str.len() > 1)
    is_most = 2 * has_zero.sum() > len(cells)
    return bool(has_zero.any() and (cells.str.len().nunique() == 1 or is_most))


def are_long(cells: pd.Series) -> bool:
    """Return True if whole numbers have digits that a float would lose, or nearly so.

    Account numbers have 16 digits or more, and do not end in zeros as large quantities
    do. Microseconds since 1970, which begin with a one, are quantities.

    Example:
      >>> are_long(pd.Series(["123456789012345678", "7"]))
      True
      >>> are_long(pd.Series(["5000000000000000000", "1627846261123456"]))
      False
    """
    if not cells.str.fullmatch(r"\d+").all():
        return False
    long = cells[cells.str.len() > 15].str.lstrip("0")
    is_round = long.str.endswith("000")
    is_time = (long.str.len() == 16) & long.str.startswith("1")
    return bool((~is_round & ~is_time).any())


def fill_zeros(cells: pd.Series, categories: tuple[str, ...]) -> pd.Series:
    """Codes that were read as numbers, with the zeros in front that the others have.

    Example:
      >>> fill_zeros(pd.Series(["1234", ""]), ("01234", "80331")).tolist()
      ['01234', '']
    """
    known = pd.Series([kind for kind in categories if kind], dtype=str)
    if not (len(known) and are_codes(known) and known.str.len().nunique() == 1):
        return cells
    return cells.where(cells == "", cells.str.zfill(len(known[0])))
