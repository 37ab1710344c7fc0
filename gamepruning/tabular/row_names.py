"""Columns that name or count the rows instead of saying something about them."""

# pyright: reportArgumentType=false, reportAttributeAccessIssue=false

import re

import pandas as pd

from gamepruning.tabular.columns import MAX_CATEGORIES

# What names of rows are called: customer_id, CustomerID, Nr, Unnamed: 0, "".
_ID_NAME = re.compile(
    r"(?:.*[\s_.-])?(?:id|uuid|guid|index|idx|key|row|rowid|rownames?|row number|nr|no|"
    r"num|number|record|serial|obs|observation|case|counter|unnamed: ?\d+)\.?|#|",
    re.IGNORECASE,
)


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
