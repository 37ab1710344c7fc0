"""What processes of one command share; two real ones stand in test_processes.py."""

from pathlib import Path

import jax
import numpy as np
import pytest

from gamepruning.files import together
from gamepruning.files.run_folder import RunFolder
from gamepruning.types import InputError
from gamepruning.workbench.cli.console import main

ALONE = together.Address()


def test_shares_are_equally_long_and_cover_all(monkeypatch):
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    found = []
    for index in range(2):
        monkeypatch.setattr(jax, "process_index", lambda index=index: index)
        found.append(together.own_share({"seed": np.arange(5)})["seed"].tolist())
    assert found == [[0, 1, 2], [3, 4, 4]]


def test_one_process_has_all_and_works_where_it_was_told():
    tree = {"seed": np.arange(3)}
    assert together.own_share(tree) is together.gather_shares(tree, 3) is tree
    assert together.shared_mesh() is None
    with together.working_together("prune", Path("x"), False, False, ALONE) as own:
        assert own == Path("x")


def test_an_interrupted_run_is_the_same_elsewhere(tmp_path):
    first, other = (RunFolder(tmp_path / name, True) for name in ("run", "other"))
    first.checkpoints.mkdir(parents=True)
    (first.checkpoints / "rounds.npz").write_bytes(b"123")
    (first.partial / "config.json").write_text("{}")
    together._unpack(together._pack(first.out), other.partial)
    assert (other.checkpoints / "rounds.npz").read_bytes() == b"123"
    assert (other.partial / "config.json").read_text() == "{}"
    assert not together._pack(tmp_path / "nothing")


@pytest.mark.parametrize(
    "command, message",
    [
        ("prune --num-processes 2", "go with --distributed"),
        ("compare --distributed", "--distributed is for prune, bands, curve, sweep"),
        (
            "prune --distributed --num-processes 2 --process-id 2",
            "expected --process-id from 0 to 1",
        ),
    ],
)
def test_commands_that_cannot_be_shared_say_so(command, message, capsys):
    assert main(command.split()) == 2
    assert message in capsys.readouterr().err


def test_no_cluster_is_one_line(monkeypatch):
    def initialize(*args, **options):
        raise ValueError("coordinator_address should be defined.")

    monkeypatch.setattr(jax.distributed, "initialize", initialize)
    with pytest.raises(InputError, match="found no other processes .*--coordinator"):
        together.join_processes(ALONE)
