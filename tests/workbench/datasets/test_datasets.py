"""Data: what they hold, no leakage between the parts, and one clear line if not."""

import csv
import functools
import shutil
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from gamepruning.images import prepared
from gamepruning.images.cache import load_or_make
from gamepruning.tabular import Preprocessing
from gamepruning.types import InputError
from gamepruning.workbench.datasets import (
    Dataset,
    Split,
    check_dataset,
    list_datasets,
    load_dataset,
    split_rows,
)
from gamepruning.workbench.datasets.places import BUILT_IN, TEXTS
from gamepruning.workbench.datasets.recipes import RECIPES
from tests.workbench.twins import write_twins


@pytest.fixture(autouse=True)
def no_environment(monkeypatch, tmp_path):
    """Tests say where their data are."""
    for name in ("GAMEPRUNING_DATA", "TFDS_DATA_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))


def write(path: Path, header: str, rows) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(header.split(","))
        writer.writerows(rows)
    return str(path)


def simple_rows(num=60):
    """A feature that is the row number squared, noise, and two classes."""
    return [(i * i, (7 * i) % 11, "ab"[i % 2]) for i in range(num)]


def sizes(dataset: Dataset) -> list[int]:
    return [len(dataset.train[1]), len(dataset.validation[1]), len(dataset.test[1])]


def row_set(split: Split) -> set:
    return {row.tobytes() for row in split.inputs}


# ---- splits


def test_parts_are_disjoint_stratified_and_whole(key):
    strata = np.repeat([0, 1, 2], [10, 40, 3])
    rows = split_rows(key, strata, validation=0.2, test=0.3)
    assert sorted(np.concatenate(rows).tolist()) == list(range(53))
    counts = [np.bincount(strata[part], minlength=3).tolist() for part in rows]
    assert counts == [[5, 20, 1], [2, 8, 1], [3, 12, 1]]


def test_groups_stay_together(key):
    groups = np.arange(90) // 3
    rows = split_rows(key, np.zeros(90, int), groups=groups, validation=0.2, test=0.2)
    parts = [set(groups[part].tolist()) for part in rows]
    assert [len(part) for part in parts] == [18, 6, 6]
    assert not (parts[0] & parts[1] or parts[0] & parts[2] or parts[1] & parts[2])


def test_the_seed_decides_the_split():
    one, two = jax.random.split(jax.random.key(1))
    strata = np.zeros(50, int)
    first, again, second = (
        split_rows(k, strata, validation=0.2, test=0.2).test for k in (one, one, two)
    )
    assert (first == again).all() and set(first) != set(second)


def test_no_part_where_none_is_asked_for(key):
    rows = split_rows(key, np.zeros(10, int), validation=0.2, test=0.0)
    assert [len(part) for part in rows] == [8, 2, 0]


def test_a_class_too_small_to_split_is_named(key):
    strata = np.array([0] * 9 + [1] * 2)
    with pytest.raises(InputError, match="class 'rare' has 2 distinct rows"):
        split_rows(key, strata, validation=0.2, test=0.2, names=("common", "rare"))


def part(inputs, labels):
    return Split(np.asarray(inputs, np.float32), np.asarray(labels))


GOOD = part([[0.0], [1.0]], [0, 1])


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (part([[0.0], [np.nan]], [0, 1]), "row 1 of the inputs holds NaN"),
        (part([[0.0], [np.inf]], [0, 1]), "NaN or infinity"),
        (part([[0.0], [1.0]], [0, 2]), "label 2 is out of range: expected 0 to 1"),
        (part([[0.0], [1.0]], [-1, 1]), "label -1 is out of range"),
        (part([[0.0], [1.0]], [0.0, 1.0]), "expected integer labels"),
        (part([[0.0], [1.0]], [0]), "2 inputs and 1 labels"),
        (part(np.zeros((0, 1)), np.zeros(0, int)), "0 inputs and 0 labels"),
        (part([[0.0, 1.0]], [0]), r"inputs of shape \(1,\)"),
        (part([[0.0], [1.0]], [1, 1]), "nothing to learn"),
    ],
)
def test_what_is_wrong_with_data_is_said(bad, said):
    good = Dataset("own", "classification", GOOD, GOOD, GOOD, 2, (1,))
    assert check_dataset(good) is good
    with pytest.raises(InputError, match=f"^own.*{said}"):
        check_dataset(good._replace(train=bad))


def test_a_target_must_be_finite():
    bad = part([[0.0], [1.0]], [0.0, np.nan])
    with pytest.raises(InputError, match="target is NaN"):
        check_dataset(Dataset("own", "regression", bad, bad, bad, 1, (1,)))


# ---- images


def test_digits():
    digits = load_dataset("digits", seed=3)
    assert sum(sizes(digits)) == 1797
    assert sizes(digits)[2] == pytest.approx(0.25 * 1797, abs=5)
    assert digits.train.inputs.dtype == np.float32
    assert digits.train.inputs.min() == 0 and digits.train.inputs.max() == 1
    for split in (digits.train, digits.validation, digits.test):
        shares = np.bincount(split.labels, minlength=10) / len(split.labels)
        assert abs(shares - 0.1).max() < 0.01


def test_digits_are_those_of_scikit_learn():
    from sklearn.datasets import load_digits

    pixels, labels = load_digits(return_X_y=True)
    digits = load_dataset("digits", seed=0)
    read = np.concatenate([split.inputs for split in digits[2:5]]).reshape(-1, 64)
    known = (np.concatenate([split.labels for split in digits[2:5]]), *read.T * 16)
    expected = (labels, *pixels.T)
    order, wanted = np.lexsort(known), np.lexsort(expected)
    np.testing.assert_array_equal(
        np.array(known)[:, order], np.array(expected)[:, wanted]
    )


def test_digits_need_no_costly_import():
    code = (
        "import sys; from gamepruning.workbench.datasets import load_dataset; "
        "load_dataset('digits', seed=0); print(*sys.modules)"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    heavy = {"pandas", "sklearn", "tensorflow", "tensorflow_datasets"}
    assert not heavy & set(run.stdout.split())


def test_standardised_by_training_pixels():
    digits = load_dataset("digits", seed=3, standardise=True)
    assert digits.train.inputs.mean() == pytest.approx(0, abs=1e-4)
    assert digits.train.inputs.std() == pytest.approx(1, abs=1e-4)
    assert abs(digits.test.inputs.mean()) > 1e-6


def test_mnist(data_dir, tmp_path):
    mnist = load_dataset("mnist", data_dir=data_dir, cache_dir=tmp_path, seed=0)
    assert mnist.input_shape == (28, 28, 1)
    assert sum(sizes(mnist)[:2]) == 60_000 and sizes(mnist)[2] == 10_000
    # published class counts of the test images
    counts = [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert np.bincount(mnist.test.labels).tolist() == counts
    assert mnist.train.inputs.min() == 0 and mnist.train.inputs.max() == 1
    file = next(tmp_path.glob("mnist*.npz"))
    before = file.stat().st_mtime_ns
    again = load_dataset("mnist", data_dir=data_dir, cache_dir=tmp_path, seed=0)
    assert (again.train.inputs == mnist.train.inputs).all()
    assert file.stat().st_mtime_ns == before


def test_missing_mnist_is_said_at_once(tmp_path, monkeypatch):
    def never(*args):
        raise AssertionError("tfds must not be asked")

    monkeypatch.setattr(prepared, "_read_records", never)
    with pytest.raises(InputError, match="mnist is not there: prepare it once"):
        load_dataset("mnist", data_dir=tmp_path, seed=0)
    info = tmp_path / "mnist" / "3.0.1" / "dataset_info.json"
    info.parent.mkdir(parents=True)
    info.write_text('{"fileFormat": "tfrecord"}')
    with pytest.raises(InputError, match="format tfrecord, which cannot be read"):
        load_dataset("mnist", data_dir=tmp_path, cache_dir=tmp_path, seed=0)


def test_damaged_mnist_is_one_line(data_dir, tmp_path):
    source = data_dir / "tensorflow_datasets" / "mnist"
    if not source.is_dir():
        pytest.skip("needs mnist as prepared by tensorflow-datasets")
    copy = shutil.copytree(source, tmp_path / "mnist", copy_function=shutil.copyfile)
    for shard in copy.rglob("*array_record*"):
        shard.write_bytes(shard.read_bytes()[:1000])
    with pytest.raises(InputError, match="^cannot read mnist in [^\n]*$"):
        load_dataset("mnist", data_dir=tmp_path, cache_dir=tmp_path, seed=0)
    assert not list(tmp_path.glob("*.npz")) and not list(tmp_path.glob("*.part"))


# ---- the cache


def test_cache_makes_once_and_again_if_damaged(tmp_path):
    made, path = [], tmp_path / "deep" / "a.npz"

    def make():
        made.append(1)
        return {"x": np.arange(1000, dtype=np.uint8)}

    def load():
        return load_or_make(path, make, lambda arrays: arrays["x"].shape == (1000,))

    assert (load()["x"] == load()["x"]).all() and len(made) == 1
    whole = path.read_bytes()
    for damaged in (whole[:300], whole[:200] + b"!" + whole[201:], b""):
        path.write_bytes(damaged)
        assert (load()["x"] == make()["x"]).all()
        assert path.read_bytes() == whole
    assert [file.name for file in path.parent.iterdir()] == ["a.npz"]


def test_cache_leaves_nothing_half_written(tmp_path, monkeypatch):
    def broken(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(np, "savez", broken)
    with pytest.raises(KeyboardInterrupt):
        load_or_make(tmp_path / "a.npz", lambda: {"x": np.ones(3)}, lambda _: True)
    assert not list(tmp_path.iterdir())


def test_cache_that_cannot_be_written_is_said(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InputError, match="GAMEPRUNING_CACHE"):
        load_or_make(tmp_path / "file" / "a.npz", dict, lambda _: True)


# ---- texts


def write_emotion(folder: Path, train, val="so sad;sadness", test="joy joy;joy"):
    (folder / "emotion").mkdir(parents=True, exist_ok=True)
    for name, lines in (("train", train), ("val", val), ("test", test)):
        (folder / "emotion" / f"{name}.txt").write_text(lines, encoding="utf-8")
    return folder


def test_emotion_by_hand(tmp_path):
    folder = write_emotion(
        tmp_path,
        train="i am sad; sad;sadness\ni am glad;joy\nonly here;joy\njoy joy;anger\n",
    )
    emotion = load_dataset("emotion", data_dir=folder, seed=0, min_documents=1)
    # "joy joy" is in the test, so it is not in training, nor is "joy" a known word
    assert emotion.feature_names == ("am", "i", "glad", "here", "only", "sad")
    assert emotion.train.inputs.tolist() == [
        [1, 1, 0, 0, 0, 1],
        [1, 1, 1, 0, 0, 0],
        [0, 0, 0, 1, 1, 0],
    ]
    assert emotion.train.labels.tolist() == [0, 1, 1]
    assert emotion.validation.inputs.tolist() == [[0, 0, 0, 0, 0, 1]]
    assert emotion.test.inputs.tolist() == [[0, 0, 0, 0, 0, 0]]
    few = load_dataset("emotion", data_dir=folder, seed=0, min_documents=2)
    assert few.feature_names == ("am", "i")


@pytest.mark.parametrize(
    ("train", "said"),
    [
        ("no label\n", "line 1: expected text;label"),
        ("fine;joy\nwhat;happy\n", "line 2.*got label 'happy'"),
        ("rare words;joy\n", "lower min_documents"),
    ],
)
def test_emotion_refusals(tmp_path, train, said):
    with pytest.raises(InputError, match=said):
        load_dataset("emotion", data_dir=write_emotion(tmp_path, train), seed=0)


def test_emotion(data_dir):
    emotion = load_dataset("emotion", data_dir=data_dir, seed=0)
    # 19 of the published 16,000 and 2,000 rows come again in a later part
    assert sizes(emotion) == [16_000 - 16, 2_000 - 3, 2_000]
    assert emotion.num_outputs == 6 and emotion.class_names[1] == "joy"
    assert np.bincount(emotion.test.labels).tolist() == [581, 695, 159, 275, 224, 66]
    assert set(np.unique(emotion.train.inputs)) == {0, 1}
    assert emotion.train.inputs.sum(0).min() >= 10


def test_topic(data_dir):
    topic = load_dataset("topic", data_dir=data_dir, seed=0)
    assert sum(sizes(topic)[:2]) == 16_990 and sizes(topic)[2] == 4_117
    assert np.bincount(topic.test.labels)[:3].tolist() == [73, 214, 852]
    assert len(np.unique(topic.validation.labels)) == topic.num_outputs == 20
    assert topic.train.inputs.sum(0).min() >= 10
    assert "https" not in topic.feature_names and "amp" not in topic.feature_names


@pytest.mark.parametrize(
    ("row", "said"),
    [(("a", "20"), "label from 0 to 19"), (("a",), "row 2"), (("a", "x"), "row 2")],
)
def test_topic_refusals(tmp_path, row, said):
    for name in ("train", "valid"):
        write(tmp_path / TEXTS["topic"][0] / f"{name}.csv", "text,label", [row])
    with pytest.raises(InputError, match=said):
        load_dataset("topic", data_dir=tmp_path, seed=0)


# ---- tables


def test_a_table_by_hand(tmp_path):
    path = write(tmp_path / "own.csv", "square,noise,target", simple_rows())
    own = load_dataset(path, seed=0)
    assert (own.name, own.task, own.class_names) == (
        "own",
        "classification",
        ("a", "b"),
    )
    assert sizes(own) == [34, 10, 16]  # of 30 a class: .15 is 5, .25 is 8
    assert own.feature_names == ("square", "noise")
    np.testing.assert_allclose(own.train.inputs.mean(0), 0, atol=1e-6)
    np.testing.assert_allclose(own.train.inputs.std(0), 1, atol=1e-6)


def test_statistics_are_those_of_the_training_rows(tmp_path):
    """Test rows may hold anything: training inputs do not move."""
    rows = simple_rows()
    path = write(tmp_path / "a.csv", "square,noise,target", rows)
    before = load_dataset(path, seed=0)
    strata = np.array([i % 2 for i in range(60)])
    test = set(split_rows(jax.random.key(0), strata, validation=0.15, test=0.25).test)
    wild = [(x * 1e6 + 5, y, z) if i in test else (x, y, z)
            for i, (x, y, z) in enumerate(rows)]  # fmt: skip
    path = write(tmp_path / "b.csv", "square,noise,target", wild)
    after = load_dataset(path, seed=0)
    np.testing.assert_array_equal(after.train.inputs, before.train.inputs)
    assert abs(after.test.inputs).max() > 1e4


def test_text_missing_constant_and_id_columns(tmp_path):
    rows = [
        (i, f"name {i}", "red" if i % 3 else "", "" if i % 4 == 0 else i % 5, 1, i % 2)
        for i in range(60)
    ]
    path = write(tmp_path / "t.csv", "id,who,colour,size,same,target", rows)
    table = load_dataset(path, seed=0)
    assert table.feature_names == (
        "colour=(missing)",
        "colour=red",
        "size",
        "size is missing",
    )
    colours = table.test.inputs[:, :2]
    assert (colours.sum(1) == 1).all()
    missing = table.train.inputs[:, 3] == 1
    known = table.train.inputs[~missing, 2]
    assert len(set(table.train.inputs[missing, 2].tolist())) == 1
    assert known.min() <= table.train.inputs[missing, 2][0] <= known.max()
    notes = "\n".join(table.notes)
    assert "do not vary in training, left out: same" in notes
    assert "only count or name the rows, left out: id, who" in notes
    assert "training median, and marked: size" in notes


def test_a_new_category_is_in_no_column(tmp_path):
    rows = [(f"c{i // 2 % 20}", i * i, i % 2) for i in range(80)]
    path = write(tmp_path / "t.csv", "kind,x,target", rows)
    table = load_dataset(path, seed=1)
    rows = np.concatenate([table.validation.inputs, table.test.inputs])
    assert set(rows[:, :-1].sum(1).tolist()) <= {0.0, 1.0}
    assert (table.train.inputs[:, :-1].sum(1) == 1).all()


def test_identical_rows_stay_in_one_part(tmp_path):
    rows = [(i // 4, i // 4 % 3, "ab"[i // 4 % 2]) for i in range(240)]
    path = write(tmp_path / "t.csv", "x,y,target", rows)
    table = load_dataset(path, seed=0)
    train, validation, test = (row_set(split) for split in table[2:5])
    assert not (train & validation or train & test or validation & test)


def test_regression_is_standardised_and_can_be_undone(tmp_path):
    rows = [(i * i, (i * 37) % 101, 1000 + 3.5 * i) for i in range(50)]
    path = write(tmp_path / "t.csv", "a,b,target", rows)
    table = load_dataset(path, seed=0, drop=("b",))
    assert (table.task, table.num_outputs, table.class_names) == ("regression", 1, ())
    assert table.feature_names == ("a",)
    back = np.concatenate([table[i].labels for i in (2, 3, 4)])
    back = back * table.target_scale + table.target_mean
    np.testing.assert_allclose(np.sort(back), [row[2] for row in rows], rtol=1e-5)


@pytest.mark.parametrize(
    ("targets", "task"),
    [
        (["yes", "no"], "classification"),
        (["0", "1"], "classification"),
        (["0.5", "1.5"], "regression"),
        ([str(i) for i in range(30)], "regression"),
    ],
)
def test_the_task_follows_from_the_target(tmp_path, targets, task):
    rows = [((i * i) % 97, targets[i % len(targets)]) for i in range(90)]
    path = write(tmp_path / "t.csv", "x,target", rows)
    assert load_dataset(path, seed=0).task == task
    if task == "classification" and targets[0] == "0":
        assert load_dataset(path, seed=0, task="regression").task == "regression"


def test_other_target_and_separator(tmp_path):
    path = tmp_path / "t.csv"
    lines = ["y;x;z", *(f"{'uv'[i % 2]};{i * i};{i % 7}" for i in range(40))]
    path.write_text("\ufeff" + "\n".join(lines), encoding="utf-8")
    table = load_dataset(str(path), seed=0, target="y")
    assert table.class_names == ("u", "v") and table.feature_names == ("x", "z")


def test_labels_that_say_the_same_are_one_class(tmp_path):
    rows = [(i * i % 97, ["0", "1", "1.0"][i % 3]) for i in range(90)]
    table = load_dataset(write(tmp_path / "t.csv", "x,target", rows), seed=0)
    assert table.class_names == ("0", "1")


def test_few_codes_are_split_row_by_row(tmp_path):
    """Six kinds of inputs, all with both classes: none is a copy of another."""
    rows = [(i % 3, i % 2, "uv"[(i // 7) % 2]) for i in range(300)]
    table = load_dataset(write(tmp_path / "t.csv", "a,b,target", rows), seed=0)
    assert sizes(table) == [180, 45, 75]
    assert "rows with the same inputs are in several parts: only 6" in table.notes[0]


def test_a_test_file_is_the_test_part(tmp_path):
    """Read as the training rows are: other order, another way to write numbers."""
    rows = [(i * 0.37 % 5, (7 * i) % 11, "ab"[i % 2]) for i in range(60)]
    path = write(tmp_path / "a.csv", "x,y,target", rows)
    own = [("b", "1", "2,5"), ("a", "NA", "0,74")]
    (tmp_path / "b.csv").write_text(
        "target;y;x\n" + "\n".join(";".join(row) for row in own)
    )
    table = load_dataset(path, seed=0, test_file=tmp_path / "b.csv")
    assert sizes(table) == [50, 10, 2] and table.test.labels.tolist() == [1, 0]
    made = Preprocessing.from_json(table.preprocessing)
    x = table.test.inputs[:, 0] * made.columns[0].scale + made.columns[0].mean
    np.testing.assert_allclose(x, [2.5, 0.74], rtol=1e-6)
    (tmp_path / "b.csv").write_text("target;y\na;1\nb;2")
    with pytest.raises(InputError, match=r"b\.csv: no column 'x': expected x, y; got"):
        load_dataset(path, seed=0, test_file=tmp_path / "b.csv")


def test_what_a_user_drops_adds_to_what_a_recipe_does():
    recipe = RECIPES["bodyfat"]
    assert recipe.told(drop=("age",)).drop == (*recipe.drop, "age")
    assert recipe.told(keep_column=recipe.drop).drop == ()


def test_a_messy_twin_is_the_same_data(tmp_path):
    one, two = (load_dataset(name, seed=0) for name in write_twins(tmp_path))
    assert one.feature_names == two.feature_names
    assert one.feature_names[0] == "when" and one.class_names == ("0", "1", "rare")
    for split, other in zip(one[2:5], two[2:5], strict=True):
        np.testing.assert_array_equal(split.inputs, other.inputs)
        np.testing.assert_array_equal(split.labels, other.labels)
    notes = "\n".join(two.notes)
    for said in (
        "read as Windows-1252",
        "left out: Kunden-ID",
        "dates, read as days: when",
        "numbers as they were read: '",
        " in price",
        "cells read as missing: - ? NA in size, n/a in where",
    ):
        assert said in notes, said


def test_rare_classes(tmp_path):
    rows = [*simple_rows(), (9, 9.5, "c"), (8, 8.5, "c")]
    path = write(tmp_path / "t.csv", "x,y,target", rows)
    with pytest.raises(InputError, match="class 'c' has 2 distinct rows"):
        load_dataset(path, seed=0)
    table = load_dataset(path, seed=0, rare_classes="drop")
    assert table.class_names == ("a", "b") and sum(sizes(table)) == 60
    assert any(note.endswith("left out: c") for note in table.notes)


def test_rows_without_a_target(tmp_path):
    rows = simple_rows()
    rows[3:5] = [(1, 2, ""), (3, 4, "NA")]
    path = write(tmp_path / "t.csv", "x,y,target", rows)
    said = "2 of 60 rows have no target, the first is row 5: .* --missing-target drop"
    with pytest.raises(InputError, match=said):
        load_dataset(path, seed=0)
    made = load_dataset(path, seed=0, missing_target="drop", test_file=Path(path))
    assert sizes(made)[2] == 58 and made.class_names == ("a", "b")
    assert "rows without a target, left out: 2 (the first is row 5)" in made.notes
    write(tmp_path / "t.csv", "x,y,target", [(1, 2, ""), (3, 4, "")])
    with pytest.raises(InputError, match="no row has a target: every cell of 'tar"):
        load_dataset(path, seed=0, missing_target="drop")


def spoil(row: int, column: int, cell):
    rows = [list(cells) for cells in simple_rows()]
    rows[row][column] = cell
    return rows


# A header, rows, and a part of what is said about them.
@pytest.mark.parametrize(
    ("header", "rows", "said"),
    [
        ("x,y,target", spoil(3, 0, "oops"), "row 5, column 'x': expected a number"),
        ("x,y,target", spoil(3, 1, "inf"), "row 5, column 'y' is inf"),
        ("x,y,target", spoil(3, 1, "1e99"), "row 5, column 'y' is 1e99"),
        ("x,y,target", spoil(3, 2, ""), "row 5: the target is missing"),
        ("x,y,target", spoil(3, 2, "NaN"), "row 5: the target is NaN"),
        ("x,y,z", simple_rows(), "no column 'target': there are x, y, z"),
        ("x,y,targte", simple_rows(), "did you mean targte"),
        ("x,x,target", simple_rows(), "two columns are called 'x'"),
        ("1,2,3", simple_rows(), "add a header"),
        (
            "x,target",
            simple_rows(),
            "row 2: expected 2 cells as in the header, row 1, got 3",
        ),
        (
            "x,y,z,target",
            simple_rows(),
            "row 2: expected 4 cells as in the header, row 1, got 3",
        ),
        ("x,y,target", [(1, i, "a") for i in range(30)], "every target is a"),
        ("x,y,target", [], "expected a header and rows"),
        ("x,y,target", [(1, 1, "ab"[i % 2]) for i in range(60)], "distinct row"),
        ("id,target", [(i, "ab"[i % 2]) for i in range(60)], "no column is left"),
    ],
)
def test_table_refusals(tmp_path, header, rows, said):
    path = write(tmp_path / "t.csv", header, rows)
    with pytest.raises(InputError) as caught:
        load_dataset(path, seed=0)
    assert said in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"\x00\x01,\x02\n3,4", b"\xff\xfe,\n1,2\n"])
def test_a_file_that_is_no_table(tmp_path, content):
    path = tmp_path / "t.csv"
    path.write_bytes(content)
    with pytest.raises(InputError, match="^[^\n]*t.csv[^\n]*$"):
        load_dataset(str(path), seed=0)


@functools.cache
def load_once(name, data_dir):
    """A known table, read and split once for all tests of this file."""
    return load_dataset(name, data_dir=data_dir, seed=0)


def test_every_table(data_dir):
    folder = data_dir / "tabular"
    assert {path.stem for path in folder.glob("*.csv")} == set(RECIPES) - {
        "breast_cancer",
        "diabetes",
        "iris",
    }
    for name, recipe in RECIPES.items():
        table = load_once(name, data_dir)
        assert table.task == recipe.task, name
        assert np.isfinite(table.train.inputs).all(), name
        train, validation, test = (row_set(split) for split in table[2:5])
        assert not (train & validation or train & test or validation & test), name


def test_traps_of_known_tables(data_dir):
    def load(name):
        return load_once(name, data_dir)

    assert "density" not in load("bodyfat").feature_names
    assert "b" not in load("boston_housing").feature_names
    assert "insulin is missing" in load("pima_diabetes").feature_names
    assert "f1" not in load("ionosphere").feature_names
    assert load("car").input_shape == (21,)  # 4 + 4 + 4 + 3 + 3 + 3 categories
    assert load("ecoli").num_outputs == 6
    assert load("abalone").feature_names[:3] == ("sex=F", "sex=I", "sex=M")
    vowel = load("vowel")
    assert vowel.input_shape == (11,)  # sex and ten measurements
    assert [size % 66 for size in sizes(vowel)] == [0, 0, 0]  # whole speakers


def test_frequent_categories_have_features_and_others_share_none(tmp_path):
    """Of categories that are equally frequent the first by name are kept."""
    rows = [(f"c{i // 4 % 40:02d}", i * i % 997, i % 2) for i in range(640)]
    path = write(tmp_path / "t.csv", "kind,x,target", rows)
    table = load_dataset(path, seed=0)
    kinds = [name for name in table.feature_names if name.startswith("kind=")]
    assert len(kinds) == 32 and table.feature_names == (*kinds, "x")
    assert kinds == sorted(kinds)
    assert set(table.train.inputs[:, :32].sum(1).tolist()) == {0.0, 1.0}
    assert (
        "all but the 32 most frequent categories merged: kind (8 others)" in table.notes
    )


# ---- names


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("mnits", "did you mean mnist"),
        ("digit", "did you mean digits"),
        ("nothing.csv", "no file nothing.csv"),
        ("glass", "glass is not there: put tabular/glass.csv"),
        ("emotion", "emotion is not there: put emotion/ with train.txt"),
        ("topic", "topic is not there: put twitter_financial"),
    ],
)
def test_unknown_and_missing_data(name, said):
    with pytest.raises(InputError) as caught:
        load_dataset(name, seed=0)
    assert said in str(caught.value) and "\n" not in str(caught.value)


def test_unknown_options_and_folders(tmp_path):
    with pytest.raises(InputError, match="did you mean standardise"):
        load_dataset("digits", seed=0, standardize=True)
    with pytest.raises(InputError, match="no data folder"):
        load_dataset("emotion", data_dir=tmp_path / "nowhere", seed=0)


def test_the_list_says_where_or_how(tmp_path):
    write(tmp_path / "tabular" / "own.csv", "x,target", [(1, 2)])
    rows = {row.name: row for row in list_datasets(tmp_path)}
    named = {"digits", "mnist", "cifar10", "emotion", "topic", "own"}
    assert set(rows) == named | {*RECIPES}
    assert all(bool(row.where) != bool(row.how) for row in rows.values())
    there = {name for name, row in rows.items() if row.available}
    assert there == {"digits", "own", *BUILT_IN}


def test_all_that_is_there_is_listed(data_dir):
    assert all(row.available for row in list_datasets(data_dir))


@pytest.mark.parametrize(
    ("name", "rows", "num_outputs", "classes"),
    [
        ("wine", 178, 3, ("class_0", "class_1", "class_2")),
        ("breast_cancer", 569, 2, ("benign", "malignant")),
        ("diabetes", 442, 1, ()),
        ("iris", 149, 3, ("setosa", "versicolor", "virginica")),
    ],
)
def test_tables_of_scikit_learn_need_no_folder(
    name, rows, num_outputs, classes, monkeypatch
):
    monkeypatch.delenv("GAMEPRUNING_DATA", raising=False)
    found = load_dataset(name, seed=0)
    parts = (found.train, found.validation, found.test)
    assert abs(sum(len(part.labels) for part in parts) - rows) <= 1
    assert found.num_outputs == num_outputs
    assert all(name in found.preprocessing for name in classes)


def test_rows_that_a_test_file_shares_with_training_are_told(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("x,target\n" + "".join(f"{i}.5,{'ab'[i % 2]}\n" for i in range(40)))
    told = "40 of 40 test rows have the same inputs as training or validation rows"
    assert told in load_dataset(path, seed=0, test_file=path).notes
