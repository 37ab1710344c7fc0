"""What the disk refuses is bad input, said in one line."""

import numpy as np
import pytest

from gamepruning.compaction.export import export_safetensors
from gamepruning.files.atomic import new_file, new_folder
from gamepruning.types import InputError


@pytest.mark.parametrize("name", ["file/x", "x" * 300, "folder"])
def test_a_file_that_cannot_be_written(name, tmp_path):
    (tmp_path / "file").write_text("old")
    (tmp_path / "folder").mkdir()
    with pytest.raises(InputError), new_file(tmp_path / name) as temporary:
        temporary.write_text("new")
    assert (tmp_path / "file").read_text() == "old"


def test_a_disk_that_fails_is_not_a_format_that_cannot_hold_it(tmp_path):
    (tmp_path / "file").write_text("old")
    with pytest.raises(InputError, match="cannot write .*: (File exists|Not a dir)"):
        export_safetensors({"w": np.ones(3)}, tmp_path / "file" / "x")


def test_the_folder_that_one_is_in(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="expected a file to write, got the folder"):
        export_safetensors({"w": np.ones(3)}, ".")


def test_a_failed_write_leaves_nothing_whatever_the_name(tmp_path):
    with (
        pytest.raises(KeyboardInterrupt),
        new_folder(tmp_path / "m[v1]", may_replace=lambda _: False) as temporary,
    ):
        temporary.mkdir()
        (temporary / "part").write_text("half")
        raise KeyboardInterrupt
    assert not list(tmp_path.iterdir())
