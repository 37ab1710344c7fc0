"""What the disk refuses is bad input, said in one line."""

import jax.export
import numpy as np
import pytest

from gamepruning.compaction.export import export_safetensors
from gamepruning.compaction.stablehlo import export_stablehlo
from gamepruning.files.atomic import new_file
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


def test_exporting_without_flatbuffers_says_so(monkeypatch, tmp_path):
    def fail(exported):
        raise ImportError("This requires the `flatbuffers` package")

    monkeypatch.setattr(jax.export.Exported, "serialize", fail)
    w, x = np.ones((3, 2), np.float32), np.ones((4, 3), np.float32)
    with pytest.raises(InputError, match="needs the package flatbuffers"):
        export_stablehlo(lambda w, x: x @ w, w, [x], tmp_path / "dot.stablehlo")
