"""Weights of a run are used on the split that they were trained on."""

import json

import pytest

from gamepruning.files.trained import check_trained_alike
from gamepruning.types import InputError

NAMES = ("drop", "test_file", "standardise", "pixel_mean", "data_dir")
GIVEN = {
    "dataset": "/data/flowers.csv",
    "seed": 0,
    "drop": [],
    "test_file": None,
    "standardise": False,
    "pixel_mean": [],
    "image_size": None,
    "data_dir": None,
}


def trained(folder, **settings):
    config = {"settings": GIVEN | settings, "command": "gamepruning prune"}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


@pytest.mark.parametrize(
    ("then", "now", "told"),
    [
        ({"seed": 1}, {}, "trained with --seed 1, not with --seed 0: give"),
        ({"drop": ["a", "b"]}, {}, "trained with --drop a b, not without --drop"),
        ({}, {"standardise": True}, "without --standardise, not with --standardise:"),
        ({"test_file": "t.csv"}, {}, "with --test-file t.csv, not without"),
        ({}, {"dataset": "other", "pixel_mean": [0.5]}, "not with --pixel-mean 0.5"),
    ],
)
def test_another_split_or_other_inputs_are_refused(then, now, told, tmp_path):
    folder = trained(tmp_path, **then)
    (folder / "dense.safetensors").write_text("")
    for load in (folder, folder / "dense.safetensors"):
        with pytest.raises(InputError, match=told):
            check_trained_alike(load, GIVEN | now, NAMES)


@pytest.mark.parametrize(
    ("then", "now"),
    [
        ({}, {}),
        ({"data_dir": "/a"}, {"data_dir": "/b"}),
        ({"test_file": "a.csv"}, {"test_file": "b.csv"}),
        ({}, {"dataset": "/moved/flowers.csv"}),
        ({"seed": 1, "drop": ["a"]}, {"dataset": "other"}),
    ],
)
def test_what_changes_no_split_is_fine(then, now, tmp_path):
    check_trained_alike(trained(tmp_path, **then), GIVEN | now, NAMES)


def image(mean, scale=1.0):
    return json.dumps({"kind": "image", "mean": mean, "scale": scale})


@pytest.mark.parametrize(
    ("then", "now", "flags", "told"),
    [
        (
            [0.5, 0.4, 0.3],
            0.0,
            {},
            "with --pixel-mean 0.5 0.4 0.3, not with --pixel-mean",
        ),
        ([0.5, 0.5, 0.5], 0.5, {"pixel_mean": [0.5]}, ""),
        ([0.5, 0.5, 0.5], [0.5, 0.5], {}, "not with --pixel-mean 0.5 0.5"),
        (None, 0.5, {}, "without --pixel-mean, not with --pixel-mean 0.5"),
        (0.5, 0.5000001, {"pixel_mean": [0.5]}, ""),
        (0.5, 0.4, {"dataset": "other", "pixel_mean": [0.4]}, "--pixel-mean 0.4"),
    ],
)
def test_pixels_are_scaled_as_the_run_says_that_they_were(
    then, now, flags, told, tmp_path
):
    """Its flags may not say it: published weights have a scaling of their own."""
    trained(tmp_path)
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "preprocessing.json").write_text(image(then))
    if not told:
        return check_trained_alike(tmp_path, GIVEN | flags, NAMES, image(now))
    with pytest.raises(InputError, match=told):
        check_trained_alike(tmp_path, GIVEN | flags, NAMES, image(now))


@pytest.mark.parametrize("standardise", [False, True])
def test_other_images_may_be_standardised_by_other_numbers(standardise, tmp_path):
    trained(tmp_path, standardise=standardise)
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "preprocessing.json").write_text(image(0.5))
    now = GIVEN | {"dataset": "other", "standardise": True}
    if standardise:
        return check_trained_alike(tmp_path, now, NAMES, image(0.4))
    with pytest.raises(InputError, match="without --standardise, not with --stand"):
        check_trained_alike(tmp_path, now, NAMES, image(0.4))


@pytest.mark.parametrize("config", ["{", "[]", '{"settings": {}}', '{"settings": 1}'])
def test_of_other_folders_nothing_is_known(config, tmp_path):
    (tmp_path / "config.json").write_text(config)
    check_trained_alike(tmp_path, GIVEN, NAMES)
    check_trained_alike(tmp_path / "none" / "w.safetensors", GIVEN, NAMES)


def test_the_data_are_those_that_it_was_trained_on(tmp_path):
    trained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    config["contents"] = {"flowers": ["abc", "a test file"]}
    (tmp_path / "config.json").write_text(json.dumps(config))
    check_trained_alike(tmp_path, GIVEN, NAMES, contents=("abc", "another"))
    check_trained_alike(tmp_path, GIVEN, NAMES)  # images have no such thing
    with pytest.raises(InputError, match="flowers.csv is not what the network in"):
        check_trained_alike(tmp_path, GIVEN, NAMES, contents=("xyz",))
    other = GIVEN | {"dataset": "/data/trees.csv"}
    check_trained_alike(tmp_path, other, NAMES, contents=("xyz",))


@pytest.mark.parametrize("known", [None, 3, [], {}, {"flowers": []}, {"flowers": 3}])
def test_a_run_that_does_not_say_what_its_data_held_is_fine(known, tmp_path):
    trained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"contents": known}))
    check_trained_alike(tmp_path, GIVEN, NAMES, contents=("xyz",))
