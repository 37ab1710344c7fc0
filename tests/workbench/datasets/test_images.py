"""Images in a run: their parts, their pixels, and one clear line if not."""

import shutil

import pytest
from PIL import Image

from gamepruning.types import InputError
from gamepruning.workbench.datasets import image_kind, load_dataset
from gamepruning.workbench.settings.parts import DataSettings


@pytest.fixture(autouse=True)
def no_environment(monkeypatch, tmp_path):
    """Tests say where their data are."""
    for name in ("GAMEPRUNING_DATA", "TFDS_DATA_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))


def draw(folder, classes=("cat", "dog"), number=20):
    """Images of one colour; the last two of a class are copies."""
    for k, name in enumerate(classes):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for n in range(number):
            colour = (min(n, number - 2), 100 * k, 255)
            Image.new("RGB", (4, 4), colour).save(folder / name / f"{n:02}.png")
    return folder


def parts_of(data):
    return [data.train, data.validation, data.test]


def test_a_folder_is_dealt_out_class_by_class(tmp_path):
    data = load_dataset(str(draw(tmp_path / "pets")), seed=0)
    assert data.name == "pets" and data.class_names == ("cat", "dog")
    assert sum(len(part.labels) for part in parts_of(data)) == 40
    assert all(set(part.labels) == {0, 1} for part in parts_of(data))
    assert data.notes == ("pixels in [0, 1]",) and data.train.inputs.max() == 1
    seen = [{x.tobytes() for x in part.inputs} for part in parts_of(data)]
    assert not (seen[0] & seen[1] or seen[0] & seen[2] or seen[1] & seen[2])
    again = load_dataset(str(tmp_path / "pets"), seed=0)
    assert (again.train.inputs == data.train.inputs).all()


def test_parts_of_its_own_stay_and_copies_are_told(tmp_path):
    draw(tmp_path / "pets" / "train")
    draw(tmp_path / "pets" / "val", number=3)
    data = load_dataset(str(tmp_path / "pets"), seed=0)
    assert [len(part.labels) for part in parts_of(data)] == [34, 6, 6]
    assert data.notes[1:] == (
        "the part for validation is the test, as there is no other",
        "6 test images are training images, too",
    )


def test_pixels_by_channel(tmp_path):
    folder = str(draw(tmp_path / "pets"))
    how = {"pixel_mean": (0.0, 0.0, 0.5), "pixel_scale": (0.25,)}
    data = load_dataset(folder, seed=0, **how)
    assert data.train.inputs[..., 2].max() == pytest.approx(2)
    assert data.notes[0] == "pixels less 0, 0, 0.5, divided by 0.25"
    assert '"mean": [' in data.preprocessing and '"scale": 0.25' in data.preprocessing
    with pytest.raises(InputError, match=r"--pixel-mean .* channels \(3\), got 2"):
        load_dataset(folder, seed=0, pixel_mean=(0.1, 0.2))


def test_published_weights_expect_the_pixels_of_imagenet_unless_told():
    assert DataSettings().for_published().pixel_mean == (0.485, 0.456, 0.406)
    for own in ({"standardise": True}, {"pixel_scale": (0.5,)}):
        assert DataSettings(**own).for_published() == DataSettings(**own)


def test_a_class_too_small_to_split_is_named(tmp_path):
    draw(tmp_path / "pets", number=3)  # two of them are copies
    with pytest.raises(
        InputError, match="pets: cat has 2 different training images, ex"
    ):
        load_dataset(str(tmp_path / "pets"), seed=0)


def test_an_image_in_two_classes_is_told_by_their_names(tmp_path):
    draw(tmp_path / "pets")
    for path in (tmp_path / "pets" / "cat").glob("*.png"):
        shutil.copy(path, tmp_path / "pets" / "dog" / f"copy of {path.name}")
    notes = load_dataset(str(tmp_path / "pets"), seed=0).notes
    assert any("training images are in several classes" in note for note in notes)
    shutil.rmtree(tmp_path / "pets" / "dog")
    shutil.copytree(tmp_path / "pets" / "cat", tmp_path / "pets" / "dog")
    told = "pets: dog has 0 different training images of its own, .* of another class"
    with pytest.raises(InputError, match=told):
        load_dataset(str(tmp_path / "pets"), seed=0)


def test_a_path_is_a_folder_though_a_set_of_its_name_is_prepared(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    draw(tmp_path / "pets")
    made = tmp_path / "data" / "pets" / "1.0.0"
    made.mkdir(parents=True)
    (made / "dataset_info.json").write_text("{}")
    assert image_kind("pets", tmp_path / "data") == "prepared"
    assert image_kind("./pets", tmp_path / "data") == "folder"


def test_a_set_that_is_not_there_is_said_at_once(tmp_path):
    said = r"^cifar100 is not there: prepare it once[^\n]*looked in [^\n]*home/tens"
    with pytest.raises(InputError, match=said):
        load_dataset("cifar100", seed=0)
    with pytest.raises(InputError, match=r"is one image: name a folder"):
        load_dataset(str(tmp_path / "a.png"), seed=0)


def test_a_known_name_comes_before_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    draw(tmp_path / "iris")
    draw(tmp_path / "pets")
    assert image_kind("iris", None) is None and image_kind("./iris", None) == "folder"
    assert image_kind("pets", None) == "folder" and image_kind("mnist", None)
