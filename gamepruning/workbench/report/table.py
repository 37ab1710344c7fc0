"""One table as a value, shown in a terminal, on a page, as Markdown or as CSV."""

import csv
import dataclasses
import io
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal, NamedTuple

import rich.table
from rich import box
from rich.text import Text

from gamepruning.workbench.report.formats import MISSING
from gamepruning.workbench.report.page import render

Kind = Literal["text", "number", "bar"]


class Column(NamedTuple):
    """What the cells below a name are.

    Attributes:
      name: the heading.
      kind: "text" stands left, "number" right; "bar" draws fractions on pages.
      format: how a cell that is no text is shown; None is always a dash.
      is_detail: whether only pages have room for it; bars always are details.
    """

    name: str
    kind: Kind = "number"
    format: Callable[[Any], str] = str
    is_detail: bool = False


class Row(NamedTuple):
    """The cells of a row, and how it stands out."""

    cells: Sequence[Any]
    kind: Literal["", "hero", "total"] = ""


@dataclasses.dataclass(frozen=True)
class Table:
    """Columns and rows; printing one with rich or in a template formats its cells.

    Attributes:
      columns: what the cells are.
      rows: cells are texts, numbers for the column's format, or None.
      title: stands above it in a terminal.
      is_narrow: leave little room between columns in a terminal, and never wrap.

    Example:
      >>> columns = (Column("family", "text"), Column("kept", format="{:,}".format))
      >>> print(Table(columns, [Row(("hidden", 1200))]).to_markdown(), end="")
      | family | kept |
      | --- | ---: |
      | hidden | 1,200 |
    """

    columns: Sequence[Column]
    rows: Sequence[Row]
    title: str = ""
    is_narrow: bool = False

    def shown(self, row: Row) -> list[str]:
        """The cells of a row as texts."""
        return [
            _as_text(column, cell)
            for column, cell in zip(self.columns, row.cells, strict=True)
        ]

    def __rich__(self) -> rich.table.Table:
        table = rich.table.Table(
            title=Text(self.title, style="bold") if self.title else None,
            title_justify="left",
            box=box.SIMPLE_HEAD,
            padding=(0, 0, 0, 1) if self.is_narrow else (0, 1),
        )
        for column in self._brief(self.columns):
            side = "left" if column.kind == "text" else "right"
            table.add_column(column.name, justify=side, no_wrap=self.is_narrow)
        for row in self.rows:
            if row.kind == "total":
                table.add_section()
            cells = map(Text, self._brief(self.shown(row)))  # names are no markup
            table.add_row(*cells, style="bold" if row.kind == "hero" else "")
        return table

    def __html__(self) -> str:
        return render("table.html", table=self)

    def to_markdown(self) -> str:
        """The table as Markdown, without its title and details."""
        columns = self._brief(self.columns)
        rules = ["---" if column.kind == "text" else "---:" for column in columns]
        lines = [[column.name for column in columns], rules]
        lines += [self._brief(self.shown(row)) for row in self.rows]
        return "".join(f"| {' | '.join(line)} |\n" for line in lines)

    def to_csv(self) -> str:
        """Every column and the cells as they are; None is an empty cell."""
        return rows_to_csv(
            [column.name for column in self.columns], [row.cells for row in self.rows]
        )

    def _brief(self, values: Sequence[Any]) -> list[Any]:
        """Of one value for each column, those for columns that are no details."""
        return [
            value
            for column, value in zip(self.columns, values, strict=True)
            if not column.is_detail and column.kind != "bar"
        ]


def text_columns(*names: str) -> tuple[Column, ...]:
    """Columns of text."""
    return tuple(Column(name, "text") for name in names)


def number_columns(
    *names: str, format: Callable[[Any], str] = str
) -> tuple[Column, ...]:
    """Columns of numbers that are shown alike."""
    return tuple(Column(name, format=format) for name in names)


def rows_to_csv(names: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """CSV text with a line of names."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(names)
    writer.writerows(rows)
    return text.getvalue()


def _as_text(column: Column, cell: Any) -> str:
    if cell is None:
        return MISSING
    return cell if isinstance(cell, str) else column.format(cell)
