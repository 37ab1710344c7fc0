"""Dates of one kind more: with weekdays, without days, with years of two digits."""

import pandas as pd
import pytest

from gamepruning.tabular.dates import read_dates
from gamepruning.tabular.options import TableOptions
from gamepruning.tabular.understand import understand
from gamepruning.types import InputError


@pytest.mark.parametrize(
    ("cell", "days"),
    [
        ("Monday, January 05, 1970", 4),
        ("Di, 06.01.1970", 5),
        ("Mittwoch 7. Januar 1970", 6),
        ("Tue, 06 Jan 1970 12:00:00 GMT", 5.5),
        ("Tue Jan  6 12:00:00 1970", 5.5),
        ("Sat 1970-01-03", 2),
        ("Jul 1970", 181),
        ("July-1970", 181),
        ("07/1970", 181),
    ],
)
def test_weekdays_are_left_out_and_months_begin_on_their_first_day(cell, days):
    assert read_dates(pd.Series([cell])).values.tolist() == [days]


@pytest.mark.parametrize("cell", ["Monaco 12 2001", "Donald 2001", "13/2001", "7.1970"])
def test_what_only_looks_like_such_a_date_is_none(cell):
    assert read_dates(pd.Series([cell])).values.isna().all()


@pytest.mark.parametrize(
    ("cells", "days"),
    [
        ("1970-Q1|1970-Q3", [0, 181]),
        ("Q1 1970|3Q1970|Q1/71", [0, 181, 365]),
        ("H1 1970|1970H2", [0, 181]),
        ("1970-W02|1970W02-3", [4, 6]),
        ("KW 2/1970|Week 2, 1970", [4, 4]),
        ("1970M07|1970 Juli|1970-Aug", [181, 181, 212]),
        ("juillet 1970|1 août 1970|1 ene 1971", [181, 212, 365]),
        ("Jan-70|Feb-70|Mar-70|Apr-70|May-70|Jul-70", [0, 31, 59, 90, 120, 181]),
        ("Jul '70|Jan '71", [181, 365]),
        ("Jul-98|Jan-70", [10408, 0]),
    ],
)
def test_months_quarters_and_weeks_are_the_day_on_which_they_begin(cells, days):
    column = pd.Series(cells.split("|"), name="x")
    found = understand(column.to_frame(), TableOptions())
    assert found.parsed["x"].tolist() == days
    begins = "months, quarters or weeks, read as the day on which they begin: "
    assert found.notes[0].startswith((begins, "dates, read as days"))


@pytest.mark.parametrize(
    "cells",
    [
        *("Jul-22|Aug-23", "22-Jul|1-Aug", "15-Jan|15-Feb", "Jan 1|Feb 11"),
        "|".join(f"{name} 0{day}" for name in ("Jan", "May", "Jul") for day in (1, 2)),
        "Jan 15|Feb 15|Mar 15|Apr 15|May 15|Jun 15",
    ],
)
def test_months_with_a_day_or_a_year_stay_categories_and_are_told(cells):
    column = pd.Series(cells.split("|"), name="x")
    found = understand(column.to_frame(), TableOptions())
    assert found.columns[0].kind == "category"
    assert found.notes[0].endswith(f"(2022-07 would be a date): {column[0]!r} in x")


def test_what_a_spreadsheet_made_dates_of_is_told():
    for cells in ("1-4|5-9|Oct-19|20-49", "1-Mar|TP53|2-Sep"):
        column = pd.Series(cells.split("|"), name="x")
        (note,) = understand(column.to_frame(), TableOptions()).notes
        assert "made dates of (mend the file): " in note and "in x" in note
    column = pd.Series(["Jan-Mar", "Apr-Jun", "May"], name="x")
    assert understand(column.to_frame(), TableOptions()).notes == ()


def test_many_months_with_a_day_or_a_year_are_refused():
    days = [f"{day}-{month}" for day in range(1, 29) for month in ("Jan", "Jul")]
    with pytest.raises(InputError, match="'1-Jan' may be a month of a year or a day"):
        understand(pd.Series(days, name="x").to_frame(), TableOptions())


@pytest.mark.parametrize(
    "cells", ["2009/10|2010/11", "Marble 2001|Decor 2019", "Q1|Q2"]
)
def test_what_only_looks_like_months_stays_a_category(cells):
    column = pd.Series(cells.split("|"), name="x")
    assert understand(column.to_frame(), TableOptions()).columns[0].kind == "category"


@pytest.mark.parametrize("cells", ["22-07-01|22-07-31|23-01-15", "99/01/02|00/02/03"])
def test_years_of_two_digits_that_seem_to_come_first_are_refused(cells):
    column = pd.Series(cells.split("|"), name="day")
    with pytest.raises(InputError, match="begin with a year of two digits"):
        understand(column.to_frame(), TableOptions())


@pytest.mark.parametrize("cells", ["01-07-22|31-07-22|15-01-23", "1/7/98|1/7/99"])
def test_years_of_two_digits_at_the_end_are_read(cells):
    column = pd.Series(cells.split("|"), name="day")
    options = TableOptions(dates="day-first")
    assert understand(column.to_frame(), options).columns[0].kind == "date"


def test_times_of_day_are_told_as_such():
    column = pd.Series(["06:00", "18:00"], name="start")
    found = understand(column.to_frame(), TableOptions())
    assert found.parsed["start"].tolist() == [0.25, 0.75]
    assert found.notes == ("times of day, read as fractions of a day: start",)


def test_more_currencies_before_the_number_are_read():
    column = pd.Series(["Rs. 61,88,520.10", "Rs. 9,353.88"], name="price")
    found = understand(column.to_frame(), TableOptions())
    assert found.parsed["price"].tolist() == [6188520.10, 9353.88]


def test_errors_of_spreadsheets_and_databases_are_missing():
    column = pd.Series(["1.5", "#DIV/0!", r"\N", "<NA>", "NaT", "2.5"], name="x")
    found = understand(column.to_frame(), TableOptions())
    assert found.parsed["x"].isna().sum() == 4
