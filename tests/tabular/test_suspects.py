"""What may be meant otherwise than it is read is told, and how to mend it."""

import jax
import numpy as np
import pandas as pd
import pytest

from gamepruning.tabular import Column, Preprocessing, TableOptions, understand
from gamepruning.tabular.split import split_rows
from gamepruning.tabular.suspects import find_sentinels
from gamepruning.tabular.target import understand_target
from gamepruning.tabular.understand import leave_out_ids
from gamepruning.types import InputError
from gamepruning.workbench.cli.commands import parse


def table(**columns):
    return pd.DataFrame({name: cells.split("|") for name, cells in columns.items()})


@pytest.mark.parametrize(
    ("cells", "told"),
    [
        ("-999|1|2|-999|NA", "'-999' in 2 of 5 cells of x (--missing -999 NA makes"),
        ("999.9|12.1|13|999.9", "'999.9' in 2 of 4 cells of x (--missing 999.9 makes"),
        ("-9999|9999|1|-9999|9999|5", "'-9999' in 2 of 6 cells of x, '9999' in 2 of 6"),
        ("2020-1-2|9999-12-31|2021-2-3|9999-12-31", "'9999-12-31' in 2 of 4 cells"),
        ("2.1.2020|01.01.1900|3.2.2021|01.01.1900", "--missing 01.01.1900 makes"),
    ],
)
def test_values_that_may_stand_for_missing_ones_are_told_and_kept(cells, told):
    found = understand(table(x=cells), TableOptions())
    (note,) = (note for note in found.notes if note.startswith("values far from all"))
    assert told in note
    assert found.parsed["x"].isna().sum() == cells.split("|").count("NA")


@pytest.mark.parametrize(
    "cells",
    [
        [9, 99, 9999, 9999, 5000, 20000],  # among the others
        [-999, 1, 2, 3],  # once
        [1000, 1001, 1000, 1001, 1],  # no usual marker
        [99, 99, 99],  # nothing else
    ],
)
def test_usual_values_are_no_markers(cells):
    assert find_sentinels(pd.Series(cells, dtype=float), is_date=False) == []


def test_a_marker_that_is_a_number_is_remembered_for_rows_of_any_type():
    options = TableOptions(missing=("-999", "1.1.1900"))
    cells = table(x="-999|1|2|4", day="1.1.1900|1.1.2000|2.1.2000|3.1.2000")
    cells["target"] = ["a", "b", "a", "b"]
    found = understand(cells, options)
    target = understand_target(cells["target"], found, "classification")
    own = [column for column in found.columns if column.name != "target"]
    made = Preprocessing.fit(own, found.parsed, range(4), target)
    made = Preprocessing.from_json(made.to_json())
    typed = pd.DataFrame({"x": [-999.0, 1, 2, 4]})
    typed["day"] = pd.to_datetime(cells["day"], dayfirst=True)
    assert made.features == ("x", "x is missing", "day", "day is missing")
    assert made.transform(cells)[:, 1].tolist() == [1, 0, 0, 0]
    assert (made.transform(typed) == made.transform(cells)).all()


@pytest.mark.parametrize("cells", ["-999,00|1,5|2,5", "-999 %|1 %|2 %", "-999.0|1|2"])
def test_a_marker_that_is_a_number_counts_however_it_is_written(cells):
    found = understand(table(x=cells), TableOptions(missing=("-999",), decimal="comma"))
    assert found.parsed["x"].isna().tolist() == [True, False, False]
    assert f"cells read as missing: {cells.split('|')[0]} in x" in found.notes


def test_a_marker_may_begin_with_a_minus_on_the_command_line():
    words = "prune --dataset t.csv --missing -999 NA -1,5 --seed 3".split()
    settings = parse(words).keywords["settings"]
    assert settings.data.missing == ("-999", "NA", "-1,5")


def test_categories_that_differ_in_case_or_spaces_are_told_and_kept_apart():
    cells = table(x="Yes|yes|No|new  york|New York|", y="a|b|c|a|b|c")
    found = understand(cells, TableOptions())
    assert found.parsed["x"].nunique() == 6
    assert found.notes == (
        "categories that differ in case or spaces alone, kept apart (write them "
        "alike): 'Yes' (1) and 'yes' (1) in x, 'new  york' (1) and 'New York' (1) in x",
    )


def test_a_rare_class_that_differs_in_case_alone_is_told_with_the_other():
    strata, names = np.array([0] * 10 + [1]), ("Yes", "yes")
    with pytest.raises(InputError, match="write it as 'Yes' if that is meant"):
        split_rows(jax.random.key(0), strata, validation=0.2, test=0.2, names=names)


def test_account_numbers_are_names_and_large_quantities_are_not():
    numbers = [123456789012345678 + 10**15 * k for k in range(40)]
    cells = pd.DataFrame({"account": map(str, numbers)})
    cells["x"] = [str(k % 7) for k in range(40)]
    cells["turnover"] = [f"{k + 1}0000000000000000" for k in range(40)]
    cells["microseconds"] = [f"162784626112345{k % 10}" for k in range(40)]
    found = leave_out_ids(understand(cells, TableOptions()), TableOptions())
    assert list(found.parsed) == ["x", "turnover", "microseconds"]
    told = "\n".join(found.notes)
    assert "float would lose, kept as names" in told and "left out: account" in told
    options = TableOptions(keep_column=("account",))
    assert "account" in leave_out_ids(understand(cells, options), options).parsed
    options = TableOptions(numeric=("account",))
    found = understand(cells[["account"]], options)
    assert found.columns[0].kind == "number"
    column = Column(name="account", kind="category", categories=(str(numbers[0]),))
    assert column.parse(pd.Series(numbers[:1])).tolist() == [str(numbers[0])]


def test_shares_leave_rows_for_training():
    key, strata = jax.random.key(0), np.zeros(10, int)
    for shares in (
        {"validation": 0.15, "test": 0.9},
        {"validation": -0.1, "test": 0.2},
    ):
        with pytest.raises(InputError, match="leave no rows for training"):
            split_rows(key, strata, **shares)
    parts = split_rows(key, np.zeros(3, int), validation=0.45, test=0.45)
    assert [len(part) for part in parts] == [1, 1, 1]
