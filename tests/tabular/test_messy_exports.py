"""Tables as spreadsheets, forms and sensors write them, beside their clean twins."""

import numpy as np
import pandas as pd
import pytest

from gamepruning.tabular import TableOptions, read_table, understand
from gamepruning.types import InputError

NUMBERS = [1.25 * k + 0.5 for k in range(1, 41)]  # more kinds than categories have


def parse(*cells, **options):
    table = pd.DataFrame({"x": [*map(str, cells)]})
    found = understand(table, TableOptions(**options))
    return found.parsed["x"], found


@pytest.mark.parametrize(
    "write",
    [
        "{} metres".format,
        "{} km/h".format,
        "{} kWh/m²".format,
        "{}\u00b0C".format,
        "–{}".format,
        '="{}"'.format,
        "\u200b{}\ufeff".format,
    ],
)
def test_numbers_with_words_and_marks_around_them(write, tmp_path):
    cells = ["x", *map(write, NUMBERS)]
    (tmp_path / "t.csv").write_text("\n".join(cells), encoding="utf-8")
    found = understand(read_table(tmp_path / "t.csv"), TableOptions())
    sign = -1 if write(1) == "–1" else 1
    assert found.parsed["x"].tolist() == [sign * number for number in NUMBERS]


def test_a_unit_of_a_few_rows_is_that_of_training():
    found = parse(*(f"{number} years" for number in NUMBERS))[1]
    (column,) = found.columns
    assert column.parse(pd.Series(["1 year", "2 years"])).tolist() == [1, 2]
    with pytest.raises(InputError, match="expected numbers with 'year'"):
        column.parse(pd.Series(["1 month"]))


def test_a_few_words_with_numbers_stay_categories():
    for cells in (["1 year", "2 years", "10 years"], ["2 rooms", "3 rooms"]):
        assert parse(*cells)[1].columns[0].kind == "category"


@pytest.mark.parametrize(
    ("cells", "days"),
    [
        ("1h 30m|45m|2h", [0.0625, 0.03125, 1 / 12]),
        ("90 min|1 Std 30 Min", [0.0625, 0.0625]),
        ("PT90M|P1DT12H", [0.0625, 1.5]),
        ("0 days 12:00:00|-2 days 00:00:00", [0.5, -2]),
        ("1 day, 6:00:00|120:00:00", [1.25, 5]),
        ("1yrs 0mon|2yrs 0mon", [365.25, 730.5]),
    ],
)
def test_durations_are_days(cells, days):
    values, found = parse(*cells.split("|"))
    np.testing.assert_allclose(values, days)
    assert found.notes == ("durations, read as days: x",)
    (column,) = found.columns
    np.testing.assert_allclose(column.parse(pd.Series(["45m"])), 0.03125)


@pytest.mark.parametrize("cells", ["5m|10m", "3M|6M|10Y", "2D|3D", "1y 6m|2y 3m"])
def test_what_may_be_no_duration_stays_a_category(cells):
    try:
        assert parse(*cells.split("|"))[1].columns[0].kind == "category"
    except InputError as error:
        assert "several units" in str(error)


@pytest.mark.parametrize(
    "write",
    [
        "{0:%Y/%m/%d %I:%M:%S %p} GMT+2".format,
        "{0:%Y-%m-%d %H:%M:%S} CEST".format,
        "{0:%d}. August 2022, {0:%H:%M} Uhr".format,
        "{0:%d} de agosto de 2022 {0:%H:%M}".format,
    ],
)
def test_dates_of_forms_and_letters(write):
    days = pd.date_range("2022-08-01", periods=20, freq="25h")
    known = (days - pd.Timestamp(0)) / pd.Timedelta(days=1)
    np.testing.assert_allclose(parse(*map(write, days))[0], known)


def test_many_thousands_with_a_mark_and_without_follow_the_other_columns():
    cells = [f"{10**4 + 137 * k:,}" if k % 2 else str(10**4 + 7 * k) for k in range(30)]
    with pytest.raises(InputError, match="may be .* say --decimal point"):
        parse(*cells)
    table = pd.DataFrame({"x": cells, "y": ["1.5"] * 30})
    assert understand(table, TableOptions()).parsed["x"].min() == 10**4


@pytest.mark.parametrize("end", ["0 h/week in all", "0h 10m of 3", "5-7 apples"])
def test_many_cells_of_one_shape_that_begin_with_a_number_are_refused(end):
    with pytest.raises(InputError, match="neither numbers nor dates"):
        parse(*(f"{k}{end} {k}" for k in range(40)))


@pytest.mark.parametrize("write", ["ca. {}", "w={}", "np.float64({})", "Temp {} C"])
def test_many_numbers_with_decimals_behind_words_are_refused(write):
    with pytest.raises(InputError, match="neither numbers nor dates"):
        parse(*map(write.format, NUMBERS))
    assert parse(*(f"room {k}" for k in range(40)))[1].columns[0].kind == "category"


def test_times_in_several_zones_are_told():
    _, found = parse("2022-01-01T08:00:00Z", "2022-01-02T08:00:00+05:00")
    assert "times in several zones, read as they stand: x" in found.notes


def test_rows_of_totals_are_refused_or_told():
    rows = [[name, str(k), str(k * k)] for k, name in enumerate(["a", "b"] * 10)]
    table = pd.DataFrame([*rows, ["Total", "190", "2470"]], columns=["n", "x", "y"])
    with pytest.raises(InputError, match="row 20 holds the sums of those above"):
        understand(table, TableOptions())
    table.loc[20] = ["Subtotal", "12", "13"]
    found = understand(table, TableOptions())
    assert "(delete them): row 20 ('Subtotal') in n" in found.notes[0]


def test_a_title_in_the_first_cell_is_no_header(tmp_path):
    (tmp_path / "t.csv").write_text("Report;;\na;b;c\n1;2;3\n")
    with pytest.raises(
        InputError, match="header of 3 names, got 'Report' alone: put #"
    ):
        read_table(tmp_path / "t.csv")


def test_errors_of_other_languages_are_missing():
    values, _ = parse("1.5", "#N/V", "#WERT!", "#¡VALOR!", "-1.#IND", "2.5")
    assert values.isna().sum() == 4
