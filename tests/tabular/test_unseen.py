"""Rows that are not like those of training: what is done with them is told."""

import numpy as np
import pandas as pd
import pytest

from gamepruning.tabular import Preprocessing, TableOptions, understand
from gamepruning.tabular.target import understand_target
from gamepruning.tabular.understand import without
from gamepruning.types import InputError


def fitted(**cells):
    num = len(next(iter(cells.values())))
    frame = pd.DataFrame({**cells, "target": ["yes", "no"] * (num // 2)})
    found = understand(frame, TableOptions(), target="target")
    target = understand_target(frame["target"], found, "auto")
    found = without(found, "target")
    return Preprocessing.fit(found.columns, found.parsed, np.arange(num), target)


def told(made, **cells):
    rows = pd.DataFrame(cells)
    made.transform(rows)
    return made.unseen(rows)


def test_a_category_that_training_did_not_have():
    made = fitted(color=["red", "tan"] * 4, shape=["x", "y"] * 4)
    assert told(made, color=["red", "tan"], shape=["y", "x"]) == []
    colors, shapes = ["red", "pink", "blue", "pink"], ["x", "z", "x", "x"]
    assert told(made, color=colors, shape=shapes) == [
        "categories that training did not have, taken as none of those it had: "
        "color in 3 of 4 rows ('pink', 'blue'), shape in 1 of 4 rows ('z')"
    ]
    assert told(made, color=["", "tan"], shape=["x", "x"]) == [
        "missing cells in columns where training had none, taken as no category: "
        "color in 1 of 2 rows"
    ]


def test_a_category_that_was_merged_may_be_new_or_rare():
    kinds = [f"k{i % 40}" for i in range(80)]
    made = fitted(kind=kinds, color=["red", "tan"] * 40)
    (line,) = told(made, kind=["k39", "k99", "k0"], color=["red"] * 3)
    assert line.startswith("categories new or too rare in training") and "'k99'" in line


def test_missing_cells_and_numbers_far_off():
    made = fitted(x=[f"{i}.5" for i in range(8)])
    gaps, far = told(made, x=["", "3.5", "9999.5"])
    assert gaps.startswith("missing cells") and gaps.endswith("x in 1 of 3 rows")
    assert far.startswith("numbers over 20 standard deviations from the training mean")
    assert far.endswith("x in 1 of 3 rows ('9999.5')")


DAYS = [f"{1 + i:02d}.{1 + i % 12:02d}.2024" for i in range(20)]


def test_dates_written_otherwise_are_read_where_that_is_certain():
    made = fitted(when=DAYS)
    slashes = [day.replace(".", "/") for day in DAYS]
    american = [f"{day[3:5]}/{day[:2]}/{day[6:]}" for day in DAYS]
    iso = [f"{day[6:]}-{day[3:5]}-{day[:2]}" for day in DAYS]
    known = made.transform(pd.DataFrame({"when": DAYS}))
    for written in (slashes, american, iso):
        np.testing.assert_array_equal(
            made.transform(pd.DataFrame({"when": written})), known
        )


@pytest.mark.parametrize(
    "cells, message",
    [
        (["01/02/2024", "03/04/2024"], "2 dates such as '01/02/2024' may begin with"),
        (["13/02/2024", "01/14/2024"], "2 dates such as '13/02/2024' may begin with"),
        (
            ["soon", "01.02.2024", "later"],
            "row 0, .* got 'soon' .one of 2 rows.: mend it",
        ),
        (["45321", "45322"], "row 0, column 'when': expected a date .* 2 rows"),
    ],
)
def test_dates_that_may_mean_two_things_are_refused_with_their_number(cells, message):
    with pytest.raises(InputError, match=message):
        fitted(when=DAYS).transform(pd.DataFrame({"when": cells}))


def test_what_training_decides_is_told():
    made = fitted(when=[day.replace(".", "/") for day in DAYS])
    assert told(made, when=["01/02/2024", "03/04/2024"]) == [
        "dates with two readings, read as in training: when (day first, such as "
        "'01/02/2024')"
    ]
    (line,) = told(made, when=["01/31/2024"])
    assert line == (
        "dates written otherwise than in training: when (month first, such as "
        "'01/31/2024')"
    )
    made = fitted(x=[f"{i},25" for i in range(8)])
    (line,) = told(made, x=["2.5"])
    assert line.startswith("numbers written otherwise than in training: x (point as")
    assert told(fitted(x=[f"{i}.25" for i in range(8)]), x=["1.138"]) == []
