"""One table says the same in a terminal and on a page."""

import csv
import io

import pytest
from rich.console import Console

from gamepruning.workbench.report.formats import (
    format_metric,
    format_percent,
)
from gamepruning.workbench.report.page import render
from gamepruning.workbench.report.table import (
    Heading,
    Row,
    Table,
    rows_to_csv,
    text_columns,
)

TABLE = Table(
    (
        *text_columns("name"),
        Heading("share", format=format_percent, is_key=True),
        Heading("", "bar"),
        Heading("pulls", format="{:,}".format, is_detail=True),
    ),
    [
        Row(("w[axis 2] <b>", 0.25, 0.25, 1200), "hero"),
        Row(("none", None, None, None)),
        Row(("all", 0.5, 0.001, 3), "total"),
    ],
    "Title [bold]",
)


def printed(table: Table) -> str:
    console = Console(file=io.StringIO(), width=80)
    console.print(table)
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_a_terminal_shows_names_as_they_are_and_no_details():
    said = printed(TABLE)
    for words in ("Title [bold]", "w[axis 2] <b>", "25.0 %", "–"):
        assert words in said
    assert "1,200" not in said and "pulls" not in said


def test_a_page_escapes_names_and_draws_bars():
    page = TABLE.__html__()
    assert "w[axis 2] &lt;b&gt;" in page and "<b>" not in page
    assert 'class="hero"' in page and 'class="total"' in page
    assert "width:25.0%" in page and "width:0.8%" in page  # a sliver can be seen
    assert page.count('class="bar"') == 2 and "1,200" in page
    assert page.count('class="key"') == 4  # the column that stays in sight


def test_csv_holds_the_plain_values():
    names = [column.name for column in TABLE.columns]
    text = rows_to_csv(names, [row.cells for row in TABLE.rows])
    head, first, second, _ = csv.reader(io.StringIO(text))
    assert head == ["name", "share", "", "pulls"]
    assert first == ["w[axis 2] <b>", "0.25", "0.25", "1200"]
    assert second == ["none", "", "", ""]


def test_a_row_of_another_length_is_no_table():
    with pytest.raises(ValueError, match="zip"):
        printed(Table(text_columns("a", "b"), [Row(("x",))]))


def test_a_template_without_its_values_is_an_error():
    with pytest.raises(Exception, match="'table' is undefined"):
        render("table.html")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (format_percent(0.9688), "96.9 %"),
        (format_metric(0.9688, "accuracy"), "96.9 %"),
        (format_metric(0.95, "R^2"), "0.950"),
        (format_metric(-123456.0, "R^2"), "-1.2e+05"),
    ],
)
def test_one_way_to_write_numbers(text, shown):
    assert text == shown
