"""A run folder appears whole or not at all, and an interrupted run can go on."""

import errno
import json
import math
import os
import signal
import subprocess
import sys
from pathlib import Path

import jax.numpy as jnp
import pytest

from gamepruning.errors import Diverged
from gamepruning.files import lock
from gamepruning.files.checkpoint import save_checkpoint
from gamepruning.files.lock import hold, holder
from gamepruning.files.records import read_records
from gamepruning.files.run_folder import RunFolder, fresh_name, working_in
from gamepruning.types import InputError


def started(out, resume):
    return working_in(RunFolder(out, resume), "gamepruning prune")


def test_it_appears_at_the_end(tmp_path):
    out = tmp_path / "deep" / "run"
    with started(out, False) as folder:
        folder.write_text("a/b.txt", "hello")
        folder.records.add({"stage": "dense", "epoch": 1})
        assert not out.exists()
    assert (out / "a" / "b.txt").read_text() == "hello"
    assert sorted(path.name for path in out.iterdir()) == ["a", "metrics.jsonl"]
    assert [path.name for path in out.parent.iterdir()] == ["run"]


def test_nothing_is_left_after_an_error(tmp_path):
    with pytest.raises(InputError), started(tmp_path / "run", False) as folder:
        folder.write_text("a.txt", "hello")
        raise InputError("bad")
    assert list(tmp_path.iterdir()) == []


def test_checkpoints_survive_an_interruption(tmp_path):
    out = tmp_path / "run"
    again = "resume with: gamepruning prune --resume --out .*run$"
    with pytest.raises(KeyboardInterrupt, match=again), started(out, False) as folder:
        folder.write_text("config.json", '{"settings": {}}')
        save_checkpoint(folder.checkpoints / "dense.npz", {}, meta={"epochs": 1})
        raise KeyboardInterrupt
    assert not out.exists()
    with pytest.raises(InputError, match="interrupted run .* --resume"):
        RunFolder(out, False).check()
    with started(out, True) as folder:
        assert folder.read_config() == {"settings": {}}
        assert (folder.checkpoints / "dense.npz").is_file()
    assert [path.name for path in out.iterdir()] == ["config.json"]


def test_places_that_are_taken(tmp_path):
    (tmp_path / "run").mkdir()
    with pytest.raises(InputError, match="run folder .* exists"):
        RunFolder(tmp_path / "run", False).check()
    with pytest.raises(InputError, match="nothing to resume"):
        RunFolder(tmp_path / "other", True).check()
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot make the run folder"):
        started(tmp_path / "file" / "run", False).__enter__()


@pytest.mark.parametrize("name", ["", ".", "/", ".."])
def test_a_place_without_a_name_is_bad_input(name, tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    for resume in (False, True):
        with pytest.raises(InputError, match="exists|name a new folder|to resume"):
            RunFolder(Path(name), resume).check()


def test_without_locks_no_file_stays_open(tmp_path, monkeypatch):
    """Windows has none, and renames no folder in which a file is open."""
    monkeypatch.setattr(lock, "fcntl", None)
    with started(tmp_path / "run", False) as folder:
        folder.write_text("a.txt", "hello")
        assert not (folder.partial / "lock").exists()
        assert holder(folder.partial / "lock") == ""
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["a.txt"]


def test_names_do_not_collide(tmp_path):
    (tmp_path / "a-1").mkdir()
    (tmp_path / "a-2.partial").mkdir()
    assert fresh_name(tmp_path, "a").name == "a-3"


def test_records_after_the_checkpoint_are_forgotten(tmp_path):
    with started(tmp_path / "run", False) as folder:
        for stage, epoch in (("dense", 1), ("dense", 2), ("game", 1), ("game", 2)):
            folder.records.add({"stage": stage, "epoch": epoch, "x": jnp.pi})
        folder.records.forget_after("game", 1)
        kept = [(line["stage"], line["epoch"]) for line in folder.records.read()]
    assert kept == [("dense", 1), ("dense", 2), ("game", 1)]


def test_a_line_that_was_cut_short_is_left_out(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"stage": "dense", "epoch": 1}\n{"epo')
    assert read_records(path) == [{"stage": "dense", "epoch": 1}]
    assert read_records(tmp_path / "none") == []


@pytest.mark.parametrize(
    "damage", [b'{"a": 1}', b"\xff\xfe\x00", b"7", b'{"stage": 1, "epoch": "x"}']
)
def test_records_end_at_the_first_that_is_damaged(damage, tmp_path):
    path = tmp_path / "metrics.jsonl"
    whole = b'{"stage": "dense", "epoch": 1}'
    path.write_bytes(b"\n".join([whole, damage, whole]))
    assert read_records(path) == [{"stage": "dense", "epoch": 1}]


@pytest.mark.parametrize(
    "text", ["[]", "null", "{", "{}", '{"settings": 1}', "[" * 10**5]
)
def test_a_damaged_config_is_bad_input(text, tmp_path):
    folder = RunFolder(tmp_path / "run", True)
    folder.partial.mkdir()
    (folder.partial / "config.json").write_text(text)
    with pytest.raises(InputError, match="cannot read .*config.json"):
        folder.read_config()


def test_a_full_disk_leaves_what_there_is(tmp_path):
    """Unlike bad input it can be mended, and the run go on."""
    out = tmp_path / "run"
    with pytest.raises(InputError), started(out, False) as folder:
        save_checkpoint(folder.checkpoints / "dense.npz", {}, meta={"epochs": 1})
        raise InputError("cannot write") from OSError("no space")
    assert RunFolder(out, True).has_work


def test_rows_that_took_long_are_kept(tmp_path):
    """Even after bad input, which says so."""
    out = tmp_path / "run"
    kept = "^bad; what was done is kept, resume with: gamepruning prune --resume"
    with pytest.raises(InputError, match=kept), started(out, False) as folder:
        save_checkpoint(folder.checkpoints / "dense.npz", {}, meta={"epochs": 1})
        folder.write_text("checkpoints/row.json", "{}")
        raise InputError("bad")
    assert RunFolder(out, True).has_work


@pytest.mark.parametrize("error", [InputError("bad"), RuntimeError("a bug")])
def test_no_error_deletes_what_was_trained(error, tmp_path):
    out = tmp_path / "run"
    with pytest.raises(type(error)) as raised, started(out, False) as folder:
        save_checkpoint(folder.checkpoints / "dense.npz", {}, meta={"epochs": 1})
        raise error
    told = "".join([str(raised.value), *getattr(raised.value, "__notes__", [])])
    assert f"resume with: gamepruning prune --resume --out {out}" in told
    assert RunFolder(out, True).has_work


WRITES = [
    OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)),
    ValueError("RESOURCE_EXHAUSTED: os_error: No space left on device [28]"),
]


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (
            Diverged("diverged: take a lower rate"),
            "rate and another --out, or delete .*",
        ),
        (MemoryError("Unable to allocate"), "too little memory: .*, resume with: gam"),
    ],
)
def test_only_what_can_go_on_is_to_be_resumed(error, told, tmp_path):
    with pytest.raises(InputError, match=told) as said:  # noqa: SIM117
        with started(tmp_path / "run", False) as folder:
            save_checkpoint(folder.checkpoints / "dense.npz", {}, meta={"epochs": 1})
            raise error
    assert ("--resume" in str(said.value)) == isinstance(error, MemoryError)
    assert (tmp_path / "run.partial" / "checkpoints" / "dense.npz").is_file()


def test_records_are_json_that_every_reader_takes(tmp_path):
    with started(tmp_path / "run", False) as folder:
        folder.records.add({"stage": "a", "epoch": 1, "points": [math.nan, 1.0]})
        folder.records.sort()
    text = (tmp_path / "run" / "metrics.jsonl").read_text()
    assert json.loads(text, parse_constant=pytest.fail)["points"] == [None, 1.0]


@pytest.mark.parametrize("error", WRITES)
def test_a_full_disk_is_one_line_whichever_library_writes(error, tmp_path):
    told = "No space left on device: .*run.partial; what was done is kept"
    with (
        pytest.raises(InputError, match=told),
        started(tmp_path / "run", False) as folder,
    ):
        save_checkpoint(folder.checkpoints / "dense.npz", {}, meta={"epochs": 1})
        raise error


def test_a_run_that_still_goes_on_is_left_alone(tmp_path):
    out = tmp_path / "run"
    live = f"another run is at work in .*process {os.getpid()} on .*: wait"
    with started(out, False) as folder:
        folder.write_text("config.json", '{"settings": {}}')
        for resume in (False, True):
            with pytest.raises(InputError, match=live):
                RunFolder(out, resume).check()
            with pytest.raises(InputError, match=live):
                started(out, resume).__enter__()
    assert sorted(path.name for path in out.iterdir()) == ["config.json"]


HOLD = """
import sys, time
from pathlib import Path
from gamepruning.files.lock import hold
with hold(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_the_lock_of_a_killed_process_is_free(tmp_path):
    path = tmp_path / "lock"
    command = [sys.executable, "-c", HOLD, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout and process.stdout.readline() == b"held\n"
        assert holder(path).startswith(f"process {process.pid} on ")
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert holder(path) == ""
    with hold(path):
        assert holder(path).startswith(f"process {os.getpid()} on ")


def test_a_run_killed_before_it_began_is_begun_anew(tmp_path):
    folder = RunFolder(tmp_path / "run", False)
    folder.checkpoints.mkdir(parents=True)
    (folder.partial / "lock").write_text("")
    (folder.partial / ".config.json.0.tmp").write_text("")
    with started(tmp_path / "run", False):
        pass
    assert not list((tmp_path / "run").iterdir())


def test_a_folder_of_somebody_else_is_not_taken(tmp_path):
    (tmp_path / "run.partial").mkdir()
    (tmp_path / "run.partial" / "mine.txt").write_text("")
    with pytest.raises(InputError, match="an interrupted run is in"):
        started(tmp_path / "run", False).__enter__()


def test_a_finished_run_and_a_run_of_another_command_are_named(tmp_path):
    config = {"settings": {}, "command": "gamepruning curve --seeds 2"}
    with pytest.raises(KeyboardInterrupt), started(tmp_path / "a", False) as folder:
        folder.write_text("config.json", json.dumps(config))
        save_checkpoint(folder.checkpoints / "dense.npz", {}, meta={"epochs": 1})
        raise KeyboardInterrupt
    RunFolder(tmp_path / "a", True).check("curve")
    with pytest.raises(InputError, match="one of curve, not of prune: game"):
        RunFolder(tmp_path / "a", True).check("prune")
    with started(tmp_path / "a", True):
        pass
    with pytest.raises(InputError, match="is finished: nothing is left to resume"):
        RunFolder(tmp_path / "a", True).check("prune")


@pytest.mark.parametrize("config", ["{}", "{", "[]", '{"settings": {}, "command": 1}'])
def test_what_somebody_else_has_is_not_tidied_away(config, tmp_path):
    out = tmp_path / "project"
    (out / "checkpoints").mkdir(parents=True)
    (out / "config.json").write_text(config)
    (out / "lock").write_text("")
    (out / "checkpoints" / "epoch9.pt").write_text("weights")
    with pytest.raises(InputError, match="run folder .*project exists"):
        RunFolder(out, True).check("prune")
    assert (out / "lock").is_file()
    assert (out / "checkpoints" / "epoch9.pt").is_file()


def test_a_finished_run_that_was_not_tidied_up_is(tmp_path):
    """The process was killed between its last two steps."""
    out = tmp_path / "run"
    (out / "checkpoints").mkdir(parents=True)
    config = {"settings": {}, "command": "gamepruning prune"}
    (out / "config.json").write_text(json.dumps(config))
    (out / "lock").write_text("")
    with pytest.raises(InputError, match="is finished"):
        RunFolder(out, True).check("prune")
    assert [path.name for path in out.iterdir()] == ["config.json"]


def test_the_folder_of_an_unfinished_run_is_no_run(tmp_path):
    """Completion on the command line gives run.partial, where there is only that."""
    with pytest.raises(KeyboardInterrupt), started(tmp_path / "run", False) as folder:
        folder.write_text("config.json", '{"command": "gamepruning prune"}')
        folder.write_text("checkpoints/dense.npz", "")
        raise KeyboardInterrupt
    partial = tmp_path / "run.partial"
    assert partial.is_dir()
    with pytest.raises(InputError, match=r"unfinished run works: say --out \S*run$"):
        RunFolder(partial, True).check()
