"""What the disk refuses is bad input, said in one line."""

import functools
import subprocess
import sys

import numpy as np
import pytest

from gamepruning.compaction.export import export_safetensors
from gamepruning.files.atomic import new_file, new_folder, sweep_up
from gamepruning.files.fingerprint import fingerprint
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


def test_a_folder_that_was_to_be_replaced_is_put_back(tmp_path):
    """What is there when a process is killed between the two moves."""
    (tmp_path / ".model.v1.73c84abc.old").mkdir()
    (tmp_path / ".model.v1.73c84abc.old" / "weights").write_text("old")
    (tmp_path / ".model.v1.aef12abc.tmp").mkdir()
    sweep_up(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["model.v1"]
    assert (tmp_path / "model.v1" / "weights").read_text() == "old"
    (tmp_path / ".model.v1.73c84abc.old").mkdir()
    sweep_up(tmp_path)
    assert (tmp_path / "model.v1" / "weights").read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 1
    for name in (".notes.old", ".a.old"):  # of the user
        (tmp_path / name).write_text("mine")
    sweep_up(tmp_path)
    assert (tmp_path / ".notes.old").read_text() == (tmp_path / ".a.old").read_text()


def test_fingerprints_are_those_of_other_processes():
    code = "import jax, numpy as np; from gamepruning.files.fingerprint import *; "
    code += "print(fingerprint({'act': jax.nn.relu, 'x': np.ones(2), 'f': abs}))"
    run = functools.partial(subprocess.run, capture_output=True, text=True, check=True)
    first, second = (run([sys.executable, "-c", code]).stdout for _ in range(2))
    assert first == second != ""
    one = np.array([str(k) for k in range(2000)], object)
    two = one.copy()
    two[1000] = "other"
    assert fingerprint(one) != fingerprint(two)
    assert fingerprint({"f": lambda x: x + 1}) != fingerprint({"f": lambda x: x + 2})
