"""Folders of images by class: layouts, modes, sizes, and one clear line if not."""

import numpy as np
import pytest
from PIL import Image

from gamepruning.images import read_folder
from gamepruning.images.sets import Labelled, group_copies
from gamepruning.types import InputError


def draw(path, size=(6, 6), mode="RGB", value=0, **options):
    """Save an image of one colour."""
    path.parent.mkdir(parents=True, exist_ok=True)
    colour = value if mode in ("L", "P", "1", "I;16") else (value,) * len(mode)
    Image.new(mode, size, colour).save(path, **options)
    return path


@pytest.fixture
def pets(tmp_path):
    """Three classes of four images each."""
    for k, name in enumerate(("cat", "dog", "eel")):
        for number in range(4):
            draw(tmp_path / "pets" / name / f"{number}.png", value=50 * k + number)
    return tmp_path / "pets"


def test_classes_are_the_names_of_the_folders(pets):
    found = read_folder(pets)
    images, labels = found.parts["train"]
    assert found.classes == ("cat", "dog", "eel") and found.notes == ()
    assert images.shape == (12, 6, 6, 3) and images.dtype == np.uint8
    assert labels.tolist() == [0] * 4 + [1] * 4 + [2] * 4
    assert images[:, 0, 0, 0].tolist()[4:8] == [50, 51, 52, 53]


def test_parts_of_its_own_are_taken_as_they_are(pets, tmp_path):
    whole = tmp_path / "whole"
    for part in ("train", "val", "test"):
        (whole / part).mkdir(parents=True)
        for name in ("cat", "dog"):
            draw(whole / part / name / "a.png")
    found = read_folder(whole)
    assert sorted(found.parts) == ["test", "train", "validation"]
    assert found.parts["test"].labels.tolist() == [0, 1]
    draw(whole / "test" / "emu" / "a.png")
    with pytest.raises(InputError, match="emu has no images for training"):
        read_folder(whole)


@pytest.mark.parametrize(
    ("mode", "value", "options", "expected"),
    [
        ("L", 7, {}, [7, 7, 7]),
        ("1", 1, {}, [255, 255, 255]),
        ("I;16", 257 * 9, {}, [9, 9, 9]),
        ("LA", 0, {}, [255, 255, 255]),  # transparent
        ("RGBA", 0, {}, [255, 255, 255]),
        ("P", 0, {}, [0, 0, 0]),
    ],
)
def test_any_mode_is_read(pets, mode, value, options, expected):
    draw(pets / "cat" / "0.png", mode=mode, value=value, **options)
    images, _ = read_folder(pets).parts["train"]
    assert images[0, 0, 0].tolist() == expected


def test_grey_images_have_one_channel(tmp_path):
    for name in ("cat", "dog"):
        draw(tmp_path / name / "a.png", mode="L")
        draw(tmp_path / name / "b.jpg", mode="L", value=9)
    assert read_folder(tmp_path).parts["train"].images.shape == (4, 6, 6, 1)
    draw(tmp_path / "cat" / "c.webp")
    found = read_folder(tmp_path)
    assert found.parts["train"].images.shape == (5, 6, 6, 3)
    assert found.notes == ("4 grey images read as colour, as the others are",)


def test_unequal_sizes_are_told_and_can_be_set(pets):
    draw(pets / "cat" / "0.png", size=(20, 10))
    found = read_folder(pets)
    assert found.parts["train"].images.shape == (12, 6, 6, 3)
    (note,) = found.notes
    assert note.startswith("images of 6 x 6 to 20 x 10 pixels resized to 6 x 6")
    assert "--image-size" in note
    smaller = read_folder(pets, image_size=4)
    assert smaller.parts["train"].images.shape == (12, 4, 4, 3)


def test_a_photograph_is_turned_as_it_says(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    for name in ("cat", "dog"):
        draw(tmp_path / name / "a.jpg", size=(8, 4), exif=exif)
    assert read_folder(tmp_path).parts["train"].images.shape == (2, 8, 4, 3)


def test_what_is_left_out_is_named_and_counted(pets):
    (pets / "cat" / "0.png").write_bytes(b"no image")
    whole = (pets / "dog" / "1.png").read_bytes()
    (pets / "dog" / "1.png").write_bytes(whole[: len(whole) // 2])
    (pets / "dog" / "notes.txt").write_text("a dog")
    (pets / "fox").mkdir()
    for hidden in (".DS_Store", "Thumbs.db"):
        (pets / "eel" / hidden).write_text("hidden")
    (pets / ".git").mkdir()
    found = read_folder(pets)
    assert len(found.parts["train"].images) == 10
    unreadable, others, empty = found.notes
    assert unreadable.startswith("unreadable images left out (2): cat/0.png (cannot id")
    assert "dog/1.png (" in unreadable
    assert others == "files that are not images left out (1): dog/notes.txt"
    assert empty == "folders without images left out (1): fox"


def test_a_folder_beside_the_parts_is_called_one(tmp_path):
    for name in ("train/cat", "train/dog", "holdout/cat"):
        draw(tmp_path / name / "a.png")
    (tmp_path / "val").mkdir()
    found = read_folder(tmp_path)
    assert list(found.parts) == ["train"]
    assert found.notes == ("folders beside train left out (2): holdout, val",)


@pytest.mark.parametrize(
    ("made", "said"),
    [
        ((), "no images in .*: expected a sub-folder with images for each of two"),
        (("a.png",), "1 images lie in .* itself, such as a.png: put each into"),
        (("cat/a.png", "b.png"), "1 images lie in .* itself"),
        (("cat/a.png", "cat/b.png"), r"only one class has images \(cat\), expected"),
        (("cat/young/a.png", "dog/a.png"), r"cat holds folders \(young\): put"),
        (("test/cat/a.png", "test/dog/b.png"), "has test, but no folder train"),
        (
            ("train/cat/a.png", "train/dog/a.png", "test/a.png"),
            "1 images lie in .*test",
        ),
        (
            ("train/a.png", "test/cat/a.png", "test/dog/b.png"),
            "1 images lie in .*train",
        ),
        (("cat/a.txt",), "no images in"),
    ],
)
def test_a_folder_that_will_not_do_is_one_line(tmp_path, made, said):
    for name in made:
        path = tmp_path / "own" / name
        if path.suffix == ".png":
            draw(path)
        else:
            path.parent.mkdir(parents=True)
            path.write_text("text")
    (tmp_path / "own").mkdir(exist_ok=True)
    with pytest.raises(InputError, match=f"^[^\n]*{said}[^\n]*$"):
        read_folder(tmp_path / "own")


def test_images_that_cannot_all_be_held_are_refused(pets, monkeypatch):
    monkeypatch.setattr("os.sysconf", lambda name: 1 if "PAGE" in name else 1000)
    with pytest.raises(InputError, match="--image-size"):
        read_folder(pets)


def test_copies_are_found_among_very_many_images():
    images = np.zeros((20_001, 2, 2, 1), np.uint8)
    images[7] = 1
    part = Labelled(images, np.zeros(len(images), np.int32))
    groups, notes = group_copies({"train": part})
    assert (np.flatnonzero(groups) == [7]).all()
    assert not notes


def numbered(*numbers, labels=None):
    images = np.array(numbers, np.uint8).reshape(-1, 1, 1, 1)
    return Labelled(images, np.zeros(len(images), int) if labels is None else labels)


def test_copies_between_all_parts_are_told():
    parts = {"train": numbered(1, 2), "test": numbered(2, 3, 4)}
    assert group_copies(parts)[1] == ["1 test images are training images, too"]
    assert group_copies(parts | {"validation": numbered(1, 3)})[1] == [
        "1 validation images are training images, too",
        "2 test images are training or validation images, too",
    ]


def test_an_image_of_several_classes_is_told():
    train = numbered(1, 1, 2, 2, 3, labels=np.array([0, 1, 0, 0, 1]))
    groups, notes = group_copies({"train": train})
    assert groups.tolist() == [0, 0, 1, 1, 2]
    assert notes == ["1 training images are in several classes"]


def test_16_bits_are_told_and_an_image_that_would_be_black_is_named(pets):
    draw(pets / "cat" / "0.png", mode="I;16", value=257 * 9)
    draw(pets / "cat" / "1.png", mode="I;16", value=200)
    draw(pets / "cat" / "2.png", mode="I;16", value=0)
    found = read_folder(pets)
    assert len(found.parts["train"].images) == 11
    assert "16 bits read as 8 (2 images)" in found.notes
    told = "left out (1): cat/1.png (16 bits of which the largest is 200: save it as 8)"
    assert found.notes[-1].endswith(told)
