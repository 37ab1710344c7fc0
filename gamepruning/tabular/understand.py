"""What the columns of a table hold: numbers, dates or categories, by all their cells.

What is certain is read. What may mean two things is an error that names the column, the
cells and the option that decides.
"""

# pyright: reportArgumentType=false, reportAttributeAccessIssue=false
# pyright: reportCallIssue=false, reportReturnType=false, reportGeneralTypeIssues=false

from collections import defaultdict
from typing import NamedTuple

import pandas as pd

from gamepruning.tabular.columns import Column
from gamepruning.tabular.notes import note_cells, note_sentinels
from gamepruning.tabular.options import TableOptions
from gamepruning.tabular.row_names import counts_rows, is_row_id
from gamepruning.tabular.settle import TableReading, common_reading, look_at, settle
from gamepruning.tabular.suspects import check_last_row
from gamepruning.types import InputError


class Understood(NamedTuple):
    """The columns of a table."""

    columns: tuple[Column, ...]  # not fitted yet
    parsed: pd.DataFrame  # floats, NaN where one is missing, or categories
    notes: tuple[str, ...]  # what was found and done, a line each

    def __repr__(self) -> str:
        columns, rows = len(self.columns), len(self.parsed)
        return f"Understood({columns} columns, {rows} rows, {len(self.notes)} notes)"


def understand(
    cells: pd.DataFrame,
    options: TableOptions,
    *,
    delimiter: str = ",",
    target: str | None = None,
) -> Understood:
    """Tell what each column holds, and read it.

    All numbers of a table have the same decimal mark, and all dates the same order: a
    column that is certain decides for those that are not.

    Args:
      cells: text, by column name, as `read_table` returns it.
      options: what decides otherwise.
      delimiter: of the file; where it is a semicolon a point may mark thousands.
      target: the column whose cells are names of classes unless all are numbers.

    Raises:
      InputError: a column may mean two things, some of its cells are no number, or the
        last row is the sum of the others.

    Example:
      >>> cells = pd.DataFrame({"a": ["1,5", "NA"], "b": ["x", ""]})
      >>> found = understand(cells, TableOptions())
      >>> [(column.name, column.kind) for column in found.columns]
      [('a', 'number'), ('b', 'category')]
      >>> found.notes
      ('cells read as missing: NA in a', "numbers as they were read: '1,5' is 1.5 in a")
    """
    names = [name for name in cells if name not in options.categorical]
    seen = {name: look_at(cells[name], options) for name in names}
    decimal = common_reading(
        options.decimal, [one.numbers.style for one in seen.values()]
    )
    order = common_reading(options.dates, [one.dates.order for one in seen.values()])
    facts: dict[str, list[str]] = defaultdict(list)
    table = TableReading(options, delimiter, decimal, order, target, facts, set(), [])
    own = [settle(cells[name], seen.get(name), table) for name in cells]
    parsed = {column.name: column.parse(cells[column.name]) for column in own}
    for column in own:
        note_cells(cells[column.name], parsed[column.name], column, table)
    notes = [f"{what}: {', '.join(which)}" for what, which in table.facts.items()]
    notes += note_sentinels(table)
    frame = pd.DataFrame(parsed, index=cells.index)
    check_last_row(frame)
    return Understood(tuple(own), frame, tuple(sorted(notes)))


def without(found: Understood, *names: str | None) -> Understood:
    """The columns but for some, such as the target."""
    own = tuple(column for column in found.columns if column.name not in names)
    if not own:
        raise InputError("no column is left to learn from")
    return found._replace(columns=own, parsed=found.parsed[[c.name for c in own]])


def leave_out_ids(found: Understood, options: TableOptions) -> Understood:
    """The columns that say something about the rows, instead of naming them."""
    told = {*options.keep_column, *options.categorical, *options.numeric}
    ids = [name for name in found.parsed if is_row_id(found.parsed[name])]
    ids = [name for name in ids if name not in told]
    own = tuple(column for column in found.columns if column.name not in ids)
    notes, parsed = list(found.notes), found.parsed.drop(columns=ids)
    if ids:
        what = "columns that only count or name the rows, left out"
        named = ", ".join(name or "(no name)" for name in ids)
        notes.append(f"{what}: {named} (--keep-column NAME keeps one)")
    counts = [n for n in parsed if n not in told and counts_rows(parsed[n])]
    if counts:
        what = "columns that go up by one from row to row, kept as numbers"
        notes.append(f"{what}: {', '.join(counts)} (--drop NAME leaves one out)")
    return Understood(own, parsed, tuple(notes))
