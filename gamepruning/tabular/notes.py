"""What was read otherwise than it stands there, or may be meant otherwise, in words."""

# pyright: reportArgumentType=false, reportAttributeAccessIssue=false
# pyright: reportCallIssue=false, reportReturnType=false, reportGeneralTypeIssues=false

import shlex

import pandas as pd

from gamepruning.tabular import columns
from gamepruning.tabular.columns import Column
from gamepruning.tabular.numerals import to_numbers
from gamepruning.tabular.periods import short_months
from gamepruning.tabular.row_names import is_row_id
from gamepruning.tabular.settle import TableReading
from gamepruning.tabular.suspects import SHOWN, find_sentinels, spelt_alike, total_rows

NONE = "the word None is a category (--missing None NA takes both for missing)"
ALIKE = "categories that differ in case or spaces alone, kept apart (write them alike)"
MADE_DATES = "categories that a spreadsheet seems to have made dates of (mend the file)"
TOTALS = "rows that seem to be totals of others, kept (delete them)"
SENTINELS = "values far from all others, which may stand for missing ones, kept"


def note_cells(
    cells: pd.Series, parsed: pd.Series, column: Column, table: TableReading
) -> None:
    """Say what was read otherwise than it stands, or may be meant otherwise."""
    is_number, facts = column.kind != "category", table.facts
    if column.missing is None and not is_number and _has_none(cells):
        facts[NONE].append(column.name)
    gone = columns.is_missing(cells, column.missing, among_numbers=is_number)
    if is_number and not column.zero_is_missing:
        gone = parsed.isna()  # -999 means -999,00, too
    if words := sorted(set(cells[gone]) - {""}):
        facts["cells read as missing"].append(f"{' '.join(words)} in {column.name}")
        table.markers.update(words)
    if not is_number:
        for kinds in [] if is_row_id(parsed) else spelt_alike(parsed):
            facts[ALIKE].append(f"{kinds} in {column.name}")
        for cell in _made_dates(parsed):
            facts[MADE_DATES].append(f"{cell!r} in {column.name}")
        for row in total_rows(parsed):
            facts[TOTALS].append(f"{row} in {column.name}")
        return
    for value in find_sentinels(parsed, is_date=column.kind == "date"):
        table.sentinels.append((column.name, cells[parsed == value], len(cells)))
    if column.kind == "date":
        return
    is_odd = (to_numbers(cells) != parsed) | cells.str.match(r"0\d")
    for row, cell in cells[~gone & is_odd][:1].items():
        told = f"{cell!r} is {parsed[row]:.10g} in {column.name}"
        facts["numbers as they were read"].append(told)


def note_sentinels(table: TableReading) -> list[str]:
    """A line for values that may stand for missing ones, and what takes them for that.

    The words that stand for missing cells by default must be named with them.
    """
    if not table.sentinels:
        return []
    found = [(name, own.mode()[0], own, num) for name, own, num in table.sentinels]
    told = [
        f"{cell!r} in {len(own):,} of {num:,} cells of {name}"
        for name, cell, own, num in found
    ]
    words = dict.fromkeys(kind for _, _, own, _ in found for kind in own.unique())
    named = shlex.join([*words, *sorted(table.markers)])
    return [f"{SENTINELS}: {', '.join(told)} (--missing {named} makes them missing)"]


def _made_dates(kinds: pd.Series) -> list[str]:
    """Categories such as Oct-19, which was 10-19, if others are of another kind."""
    known = [kind for kind in kinds.unique() if kind]
    made = [kind for kind in known if "-" in kind and short_months(pd.Series([kind]))]
    return made[:SHOWN] if len(made) < len(known) else []


def _has_none(cells: pd.Series) -> bool:
    return bool((cells.str.lower() == "none").any())
