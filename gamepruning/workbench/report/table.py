"""One table as a value, shown in a terminal or on a page."""

import csv
import io
import itertools
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal, NamedTuple

import rich.table
from rich import box
from rich.text import Text

from gamepruning.workbench.report.formats import MISSING
from gamepruning.workbench.report.page import render


class Heading(NamedTuple):
    """What the cells below a name are."""

    name: str
    kind: Literal["text", "number", "bar"] = "number"  # left, right, a drawn fraction
    format: Callable[[Any], str] = str  # shows a cell that is neither text nor None
    is_detail: bool = False  # only pages have room for it, as for bars
    is_key: bool = False  # stays in sight on a phone


class Row(NamedTuple):
    """The cells of a row, and how it stands out."""

    cells: Sequence[Any]  # texts, numbers for the column's format, or None for a dash
    kind: Literal["", "hero", "total"] = ""


class Table(NamedTuple):
    """Columns and rows; printing one with rich or in a template formats its cells."""

    columns: Sequence[Heading]
    rows: Sequence[Row]
    title: str = ""  # stands above it in a terminal
    is_narrow: bool = False  # little room between columns in a terminal, no wrapping

    def shown(self, row: Row) -> list[str]:
        """The cells of a row as texts."""
        cells = zip(self.columns, row.cells, strict=True)
        return [_as_text(column, cell) for column, cell in cells]

    def __rich__(self) -> rich.table.Table:
        table = rich.table.Table(
            title=Text(self.title, style="bold") if self.title else None,
            title_justify="left",
            box=box.SIMPLE_HEAD,
            padding=(0, 0, 0, 1) if self.is_narrow else (0, 1),
        )
        is_brief = [not (c.is_detail or c.kind == "bar") for c in self.columns]
        for column in itertools.compress(self.columns, is_brief):
            side = "left" if column.kind == "text" else "right"
            table.add_column(column.name, justify=side, no_wrap=self.is_narrow)
        for row in self.rows:
            if row.kind == "total":
                table.add_section()
            cells = itertools.compress(self.shown(row), is_brief)
            style = "bold" if row.kind == "hero" else ""
            table.add_row(*map(Text, cells), style=style)  # names are no markup
        return table

    def __html__(self) -> str:
        return render("table.html", table=self)


def text_columns(*names: str) -> tuple[Heading, ...]:
    """Columns of text."""
    return tuple(Heading(name, "text") for name in names)


def number_columns(
    *names: str, format: Callable[[Any], str] = str
) -> tuple[Heading, ...]:
    """Columns of numbers that are shown alike."""
    return tuple(Heading(name, format=format) for name in names)


def rows_to_csv(names: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """CSV text with a line of names; None is an empty cell."""
    text = io.StringIO()
    csv.writer(text).writerows([names, *rows])
    return text.getvalue()


def _as_text(column: Heading, cell: Any) -> str:
    if cell is None:
        return MISSING
    return cell if isinstance(cell, str) else column.format(cell)
