"""Numbers and dates as people write them: read where certain, refused where not."""

import numpy as np
import pandas as pd
import pytest

from gamepruning.tabular import Column, TableOptions, understand
from gamepruning.tabular.dates import read_dates
from gamepruning.tabular.numerals import read_numerals
from gamepruning.tabular.row_names import is_id_name
from gamepruning.tabular.understand import leave_out_ids
from gamepruning.types import InputError


def series(text):
    return pd.Series(text.split("|"), name="x")


@pytest.mark.parametrize(
    ("cells", "values"),
    [
        ("1.5|-2|3e2", [1.5, -2, 300]),
        ("1,5|-2|0,25", [1.5, -2, 0.25]),
        ("1.138,50|950|2.000.000", [1138.5, 950, 2e6]),
        ("1,138.50|950|2,000,000", [1138.5, 950, 2e6]),
        ("1,138|950|12,500", [1138, 950, 12500]),  # decimals would not end with 00
        ("1 138,5|2\u00a0000|3\u202f000", [1138.5, 2000, 3000]),
        ("1'138.5|2’000", [1138.5, 2000]),
        ("1,00,000|12,34,567.5", [1e5, 1234567.5]),
        ("12.5%|3 %|0", [12.5, 3, 0]),
        ("$1,138.50|$2|-$3.5", [1138.5, 2, -3.5]),
        ("3,50 €|1.000,25 €|-2 €", [3.5, 1000.25, -2]),
        ("EUR 3,50|EUR 4", [3.5, 4]),
        ("(1,234.5)|2|3-|−4", [-1234.5, 2, -3, -4]),
    ],
)
def test_numbers_however_written(cells, values):
    np.testing.assert_allclose(read_numerals(series(cells)).values, values, rtol=1e-14)


@pytest.mark.parametrize("cells", ["1,138|2,250", "1,138|950", "1.138|2.250"])
def test_a_thousand_or_about_one(cells):
    column = series(cells)
    assert read_numerals(column).style == "ambiguous"
    values = {h: read_numerals(column, hint=h).values[0] for h in ("point", "comma")}
    assert sorted(values.values()) == [1.138, 1138]


@pytest.mark.parametrize(
    ("cells", "days"),
    [
        ("1970-01-02|1970-02-01T12:00:00Z", [1, 31.5]),
        ("1970/1/2|1971-01-01", [1, 365]),
        ("02.01.1970|1.2.70", [1, 31]),
        ("13/01/1970|02/01/1970", [12, 1]),
        ("01/13/1970|01/02/1970 6:00 PM", [12, 1.75]),
        ("2 Jan 1970|1. Februar 1970|13-Dez-70", [1, 31, 346]),
        ("Jan 2, 1970|February 1st, 1970", [1, 31]),
        ("1970-01|1970-02", [0, 31]),
        ("12:00|18:00:00", [0.5, 0.75]),
    ],
)
def test_dates_however_written(cells, days):
    np.testing.assert_allclose(read_dates(series(cells)).values, days)


def table(**columns):
    return pd.DataFrame({name: cells.split("|") for name, cells in columns.items()})


def test_a_certain_column_decides_for_the_others():
    found = understand(table(a="1,138|2,250", b="1.5|2"), TableOptions())
    assert found.parsed["a"].tolist() == [1138, 2250]
    found = understand(table(a="1.138|2.250", b="1,5|2"), TableOptions())
    assert found.parsed["a"].tolist() == [1138, 2250]
    found = understand(table(a="01/02/2024|02/02/2024", b="13/1/1970|1/1/1970"),
                       TableOptions())  # fmt: skip
    assert found.columns[0].hint == "day-first"


MANY = "|".join(f"{i}-{i + 7}" for i in range(40))


@pytest.mark.parametrize(
    ("column", "delimiter", "said"),
    [
        ("1,138|2,250", ",", "'1,138' may be 1138 or 1.138.*--decimal comma"),
        ("1.138|2.250", ";", "'1.138' may be 1.138 or 1138"),
        ("1,5|2.5", ",", "numbers with decimal points and commas"),
        ("5 €|6 $", ",", "several units"),
        ("5%|6", ",", "several units"),
        ("01/02/2024|03/04/2024", ",", "the day or the month.*--dates day-first"),
        ("31/01/2024|01/31/2024", ",", "dates in two orders"),
        ("1.1.2024|2.2.2024|31.02.2024", ",", "expected a date.*got '31.02.2024'"),
        ("1|2|x", ",", "expected a number as in the other rows, got 'x'"),
        (MANY, ",", "40 different cells such as '0-7'.*--drop 'x'"),
    ],
)
def test_what_may_mean_two_things_is_refused_in_one_line(column, delimiter, said):
    with pytest.raises(InputError, match=said) as caught:
        understand(table(x=column), TableOptions(), delimiter=delimiter)
    assert "\n" not in str(caught.value) and "column 'x'" in str(caught.value)


def test_options_decide():
    cells = table(x="1,138|2,250")
    values = [
        understand(cells, TableOptions(decimal=mark)).parsed["x"].tolist()
        for mark in ("point", "comma")
    ]
    assert values == [[1138, 2250], [1.138, 2.25]]
    found = understand(
        table(x="01/02/1970|03/02/1970"), TableOptions(dates="day-first")
    )
    assert found.parsed["x"].tolist() == [31, 33]
    found = understand(table(x=MANY), TableOptions(categorical=("x",)))
    assert found.columns[0].kind == "category"


def test_cells_that_mean_missing():
    found = understand(table(a="1|NA|?|-|null|2", b="u|n/a||-|v|None"), TableOptions())
    assert found.parsed["a"].isna().tolist() == [False, *[True] * 4, False]
    assert found.parsed["b"].tolist() == ["u", "", "", "", "v", "None"]
    assert found.notes[0].startswith(
        "cells read as missing: - ? NA null in a, - n/a in b"
    )
    found = understand(table(a="+|-|+", b="NA|EU|NA"), TableOptions(missing=("-9",)))
    assert found.parsed.to_dict("list") == {
        "a": ["+", "-", "+"],
        "b": ["NA", "EU", "NA"],
    }
    found = understand(table(a="1|-999|-999.0"), TableOptions(missing=("-999",)))
    assert found.parsed["a"].isna().tolist() == [False, True, True]


@pytest.mark.parametrize(
    ("cells", "days"),
    [
        ("19700102|19710101", [1, 365]),
        ("19700102.0|19710101.0", [1, 365]),
        ("02011970|13011970", [1, 12]),
        ("197001021200|19700103000000", [1.5, 2]),
        (
            "|".join(f"1970{month:02}" for month in range(1, 7)),
            [0, 31, 59, 90, 120, 151],
        ),
    ],
)
def test_numbers_that_are_dates(cells, days):
    found = understand(table(x=cells), TableOptions())
    np.testing.assert_allclose(found.parsed["x"], days)
    assert any(note.startswith("numbers that are dates") for note in found.notes)
    found = understand(table(x=cells), TableOptions(numeric=("x",)))
    assert found.parsed["x"].tolist() == [float(cell) for cell in cells.split("|")]
    typed = pd.Series([19700102, 19710101], name="x")
    assert Column(name="x", kind="date").parse(typed).tolist() == [1, 365]


def test_a_date_that_is_none_among_compact_dates():
    cells = "|".join([*(f"2024010{day}" for day in range(1, 8)), "99991231"])
    with pytest.raises(InputError, match="expected a date .* --missing '99991231'"):
        understand(table(x=cells), TableOptions())
    for numbers in ("19001301|19001302", "190001|190002", "18000101|18000102"):
        assert understand(table(x=numbers), TableOptions()).columns[0].kind == "number"


def test_digits_with_zeros_in_front():
    cells = table(zip="01234|80331|", tel="030|0891|0", n="7|07|110", x="0.5|007.5|1")
    found = understand(cells, TableOptions())
    kinds = [column.kind for column in found.columns]
    assert kinds == ["category", "category", "number", "number"]
    assert found.parsed["zip"].tolist() == ["01234", "80331", ""]
    told = "\n".join(found.notes)
    assert "'01234' in zip" in told and "'07' is 7 in n" in told
    found = understand(cells, TableOptions(numeric=("zip",)))
    assert found.parsed["zip"].tolist()[:2] == [1234, 80331]
    column = Column(name="zip", kind="category", categories=("01234", "80331"))
    assert column.parse(pd.Series([1234, 80331])).tolist() == ["01234", "80331"]


def test_none_is_a_category_and_told():
    cells = table(x="None|NA|a", y="none|1|2")
    found = understand(cells, TableOptions())
    assert found.parsed["x"].tolist() == ["None", "", "a"]
    assert found.parsed["y"].isna().tolist() == [True, False, False]
    assert [note for note in found.notes if "None is a category" in note]
    found = understand(cells, TableOptions(missing=("None", "none")))
    assert found.parsed["x"].tolist() == ["", "NA", "a"]
    assert not [note for note in found.notes if "None is a category" in note]


def test_only_names_of_rows_are_left_out():
    numbers = "|".join(map(str, range(1960, 2020)))
    names = "|".join(f"n{i}" for i in range(60))
    cells = table(year=numbers, customerId=numbers, who=names)
    cells["x"] = [str(i * i) for i in range(60)]
    found = leave_out_ids(understand(cells, TableOptions()), TableOptions())
    assert list(found.parsed) == ["year", "x"]
    assert found.notes[0].endswith(
        "left out: customerId, who (--keep-column NAME keeps one)"
    )
    assert "kept as numbers: year (--drop NAME" in found.notes[1]
    options = TableOptions(keep_column=("customerId",))
    found = leave_out_ids(understand(cells, options), options)
    assert list(found.parsed) == ["year", "customerId", "x"]


@pytest.mark.parametrize("name", ["id", "user_id", "userId", "", "Unnamed: 0", "Nr."])
def test_names_of_identifiers(name):
    assert is_id_name(name)


@pytest.mark.parametrize(
    "name", ["year", "age", "t", "humid", "valid", "price", "time"]
)
def test_names_of_quantities(name):
    assert not is_id_name(name)


def test_numbers_in_a_column_of_dates_are_read_as_its_digits():
    months = [f"2024{month:02d}" for month in range(1, 10)]
    days = [f"{day:02d}012024" for day in (1, 5, 9, 13, 20, 28, 30, 31, 2)]
    cells = pd.DataFrame({"month": months, "day": days, "y": list("ababababa")})
    found = understand(cells, TableOptions(), target="y")
    for column, kept in zip(
        found.columns[:2], (found.parsed[n] for n in cells), strict=False
    ):
        assert column.kind == "date"
        numbers = column.parse(cells[column.name].astype(int))
        np.testing.assert_array_equal(numbers, kept)


def test_truth_values_are_the_words_of_the_training_rows():
    for words in (("true", "false"), ("TRUE", "FALSE"), ("1", "0")):
        column = Column(name="f", kind="category", categories=tuple(sorted(words)))
        found = column.parse(pd.Series([True, False], name="f"))
        assert tuple(found) == words


@pytest.mark.parametrize("clock", ["99:99", "23:60", "24:01", "12:00:61"])
def test_times_that_no_clock_shows_are_no_dates(clock):
    values = read_dates(pd.Series([f"2024-01-31 {clock}", "2024-02-01 12:00"])).values
    assert np.isnan(values[0]) and values[1] == 19754.5


def test_dates_with_a_zone_are_what_their_clocks_show():
    column = Column(name="d", kind="date")
    days = pd.Series(["2024-01-31 12:00", "2024-02-01 00:00"], name="d")
    for zone in ("UTC", "Asia/Tokyo"):
        found = column.parse(pd.to_datetime(days).dt.tz_localize(zone))
        assert found.tolist() == [19753.5, 19754.0]
