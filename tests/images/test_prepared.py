"""Sets of tensorflow-datasets, by a source in the place of its files."""

import json

import numpy as np
import pytest

from gamepruning.images import prepared
from gamepruning.images.prepared import find_prepared, list_prepared, read_prepared
from gamepruning.types import InputError


class Source:
    """Random access to drawn records, as tfds has it."""

    def __init__(self, records):
        self.records = records

    def __len__(self):
        return len(self.records)

    def __getitems__(self, rows):
        return [self.records[row] for row in rows]


def prepare(place, name="shapes", *, dims=(4, 4, 3), features=None, splits=None):
    """The files beside the records of a set that somebody prepared."""
    folder = place / name / "1.0.0"
    folder.mkdir(parents=True)
    own = {
        "picture": {"image": {"shape": {"dimensions": [str(d) for d in dims]}}},
        "kind": {"classLabel": {"numClasses": "2"}},
    }
    features = {"featuresDict": {"features": features or own}}
    (folder / "features.json").write_text(json.dumps(features))
    (folder / "kind.labels.txt").write_text("round\nsquare\n")
    sizes = splits or {"train": 6, "test": 2}
    info = {
        "fileFormat": "array_record",
        "splits": [{"name": n, "shardLengths": [str(k)]} for n, k in sizes.items()],
    }
    (folder / "dataset_info.json").write_text(json.dumps(info))
    return folder


@pytest.fixture
def asked(monkeypatch):
    """The splits that tfds was asked for; it has images of all sizes in `shapes`."""
    asked = []

    class Builder:
        shapes = [(4, 4, 3)]

        def as_data_source(self, split):
            asked.append(split)
            number = {"train": 6, "test": 2}[split]
            shapes = [self.shapes[k % len(self.shapes)] for k in range(number)]
            return Source(
                [
                    {"picture": np.full(shape, k, np.uint8), "kind": k % 2}
                    for k, shape in enumerate(shapes)
                ]
            )

    import tensorflow_datasets as tfds

    monkeypatch.setattr(tfds, "builder_from_directory", lambda folder: Builder())
    return asked, Builder


def test_a_set_is_decoded_once(tmp_path, asked):
    folder = prepare(tmp_path)
    assert find_prepared("shapes", [tmp_path]) == folder
    assert list_prepared([tmp_path]) == {"shapes": folder}
    found = read_prepared(folder, tmp_path / "cache")
    assert found.classes == ("round", "square") and found.notes == ()
    assert found.parts["train"].images.shape == (6, 4, 4, 3)
    assert found.parts["train"].images[5, 0, 0].tolist() == [5, 5, 5]
    assert found.parts["test"].labels.tolist() == [0, 1]
    again = read_prepared(folder, tmp_path / "cache")
    assert (again.parts["test"].images == found.parts["test"].images).all()
    assert asked[0] == ["train", "test"]


def test_unequal_images_are_resized_and_told(tmp_path, asked):
    asked[1].shapes = [(4, 6, 3), (8, 4, 3), (4, 4, 1)]
    folder = prepare(tmp_path, dims=(-1, -1, 3), splits={"train": 6, "extra": 3})
    for _ in range(2):  # decoded, and from the cache
        found = read_prepared(folder, tmp_path / "cache")
        assert found.parts["train"].images.shape == (6, 4, 4, 3)
        resized, left = found.notes
        assert "resized to 4 x 4" in resized and left == "splits left out: extra"
    small = read_prepared(folder, tmp_path / "cache", image_size=2)
    assert small.parts["train"].images.shape == (6, 2, 2, 3)


def test_what_is_no_set_of_images_by_class_is_refused(tmp_path):
    features = {"text": {"text": {}}, "kind": {"classLabel": {"numClasses": "2"}}}
    folder = prepare(tmp_path, features=features)
    assert list_prepared([tmp_path]) == {}
    with pytest.raises(InputError, match="not a set of images by class: it has text"):
        read_prepared(folder, tmp_path)
    folder = prepare(tmp_path, "tests_only", splits={"test": 2})
    with pytest.raises(InputError, match="has no split train: it has test"):
        read_prepared(folder, tmp_path)


@pytest.mark.parametrize("splits", [[], [{"name": "train"}], [{}], None])
def test_damaged_facts_are_one_line(splits, tmp_path):
    folder = prepare(tmp_path)
    info = {"fileFormat": "array_record"} | (
        {} if splits is None else {"splits": splits}
    )
    (folder / "dataset_info.json").write_text(json.dumps(info))
    with pytest.raises(InputError):
        read_prepared(folder, tmp_path / "cache")


def test_the_newest_version_counts(tmp_path):
    for version in ("9.0.0", "10.0.0"):
        (tmp_path / "a" / version).mkdir(parents=True)
        (tmp_path / "a" / version / "dataset_info.json").write_text("{}")
    assert find_prepared("a", [tmp_path]).name == "10.0.0"
    assert find_prepared("./a", [tmp_path]) is None  # a folder of this name
    assert prepared.is_known("cifar100") and not prepared.is_known("no_such_set")
