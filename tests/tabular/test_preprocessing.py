"""The fitted preprocessing: the same numbers from raw rows, before and after JSON."""

import numpy as np
import pandas as pd
import pytest

from gamepruning.tabular import (
    Column,
    Preprocessing,
    TableOptions,
    Target,
    understand,
)
from gamepruning.types import InputError

FRAME = pd.DataFrame(
    {"size": ["1", "", "3", "5"], "kind": ["b", "a", "b", ""], "same": ["7"] * 4},
    index=range(2, 6),
)
COLUMNS = [
    Column(name="size", kind="number"),
    Column(name="kind", kind="category"),
    Column(name="same", kind="number"),
]


@pytest.fixture
def fitted():
    parsed = pd.DataFrame({c.name: c.parse(FRAME[c.name]) for c in COLUMNS})
    column = Column(name="y", kind="category")
    target = Target(column=column, task="classification", classes=("no", "yes"))
    return Preprocessing.fit(COLUMNS, parsed, np.arange(4), target)


def test_features_by_hand(fitted):
    names = ("size", "size is missing", "kind=(missing)", "kind=a", "kind=b")
    assert fitted.features == names
    # 1, 3 (the median of 1, 3, 5), 3, 5: mean 3, standard deviation sqrt(2)
    r = np.sqrt(2)
    expected = [
        [-r, 0, 0, 0, 1], [0, 1, 0, 1, 0], [0, 0, 0, 0, 1], [r, 0, 1, 0, 0]
    ]  # fmt: skip
    np.testing.assert_allclose(fitted.transform(FRAME), expected, rtol=1e-6)


def test_json_and_back(fitted):
    again = Preprocessing.from_json(fitted.to_json())
    assert again == fitted
    np.testing.assert_array_equal(again.transform(FRAME), fitted.transform(FRAME))
    with pytest.raises(InputError, match="no gamepruning preprocessing"):
        Preprocessing.from_json("{}")


def test_columns_in_any_order_and_none_too_few(fitted):
    other = FRAME[["kind", "size"]]  # "same" does not vary: nothing reads it
    np.testing.assert_array_equal(fitted.transform(other), fitted.transform(FRAME))
    with pytest.raises(InputError, match="no column 'size'"):
        fitted.transform(FRAME[["kind"]])


def test_cells_as_numbers_are_those_as_text(fitted):
    typed = FRAME.assign(size=[1.0, np.nan, 3.0, 5.0], same=7)
    np.testing.assert_array_equal(fitted.transform(typed), fitted.transform(FRAME))


def test_a_category_that_is_new_has_no_feature(fitted):
    row = fitted.transform(FRAME.iloc[:1].assign(kind="new"))
    assert row[0, 2:].tolist() == [0, 0, 0]


@pytest.mark.parametrize(
    ("training", "new", "is_alike"),
    [
        ("44,8 %|1 %|0", "12 %|3,5%", True),
        ("44,8 %|1 %|0", "0", True),
        ("44,8 %|1 %|0", "0.448", False),
        ("0.448|0.01", "44,8 %", False),
        ("3,50 €|2 €", "4|5,5", True),
        ("3,50 €|2 €", "$4", False),
        ("3.5|2", "4 %|5", False),
    ],
)
def test_new_rows_have_the_units_of_training(training, new, is_alike):
    cells = pd.DataFrame({"x": training.split("|")})
    (column,) = understand(cells, TableOptions()).columns
    rows = pd.Series(new.split("|"), name="x")
    if is_alike:
        assert column.parse(rows).notna().all()
        return
    with pytest.raises(InputError, match=r"row 0, column 'x': .* convert it$"):
        column.parse(rows)


@pytest.mark.parametrize("mark", [".", ","])
def test_rows_may_be_written_otherwise_than_the_training_rows(mark):
    """A column with one reading says how ambiguous ones beside it are read."""
    written = {k: [c.replace(".", k) for c in ("2.075", "1.138")] for k in ".,"}
    sure = {k: [c.replace(".", k) for c in ("0.9762", "3.5")] for k in ".,"}
    train, other = mark, "," if mark == "." else "."
    frames = {
        k: pd.DataFrame({"a": written[k], "b": sure[k], "y": written[k]}) for k in ".,"
    }
    columns = understand(frames[train], TableOptions(), target="y").columns
    parsed = pd.DataFrame({c.name: c.parse(frames[train][c.name]) for c in columns})
    a, b, y = columns
    target = Target(column=y, task="regression")
    fitted = Preprocessing.fit([a, b], parsed, np.arange(2), target)
    for frame in (frames[train], frames[other]):
        assert fitted.transform(frame) == pytest.approx(fitted.transform(frames[train]))
        assert fitted.read(frame)[1] == pytest.approx([2.075, 1.138])
    alone = frames[train].assign(b=["1", "2"])  # nothing here tells: as in training
    assert fitted.read(alone)[1] == pytest.approx([2.075, 1.138])


def test_rows_of_one_number_are_rows_of_their_own(fitted):
    twice = pd.concat([FRAME, FRAME])
    once = fitted.transform(FRAME)
    np.testing.assert_array_equal(fitted.transform(twice), np.concatenate([once, once]))
    with pytest.raises(InputError, match="the column 'size' is there more than once"):
        fitted.transform(pd.concat([FRAME, FRAME[["size"]]], axis=1))
