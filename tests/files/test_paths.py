"""Paths as people write them, with a home folder and without."""

from pathlib import Path

import pytest

from gamepruning.files.paths import cache_folder, from_home, is_path, short_names
from gamepruning.types import InputError


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (["iris", "/h/iris.csv"], ["iris", "h/iris"]),
        (["/a/b/t.csv", "/c/b/t.csv", "/c/d/t.csv"], ["a/b/t", "c/b/t", "d/t"]),
        (["/a/t.csv", "/a/t"], ["/a/t.csv", "/a/t"]),
        (["/a/t.csv", "/b/t.tsv"], ["t", "t.tsv"]),
        (["/photos.v2"], ["photos.v2"]),
    ],
)
def test_names_tell_files_apart(paths, names):
    assert list(short_names(paths).items()) == list(zip(paths, names, strict=True))


def test_without_a_home_nothing_is_written_to_a_folder_called_tilde(monkeypatch):
    """In a container of a user without a home, Path.expanduser raises."""
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.delenv("GAMEPRUNING_CACHE", raising=False)
    monkeypatch.setattr("os.path.expanduser", lambda path: path)
    assert from_home("~/data") == Path("~/data")
    with pytest.raises(InputError, match="variable GAMEPRUNING_CACHE"):
        cache_folder()
    assert cache_folder("here") == Path("here")


def test_paths_are_no_names():
    assert all(map(is_path, ["./iris", "../iris", "/iris", "~/iris"]))
    assert not any(map(is_path, ["iris", "emnist/letters"]))
