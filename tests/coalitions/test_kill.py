"""A process that is killed while it estimates, and one that goes on from its file."""

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from gamepruning.coalitions.indices import banzhaf_values

# One child after the other works on the same checkpoint. The first kills itself after
# 700 evaluations, the second in the middle of its fifth write, the third ends. They are
# forks, because imports are what takes long; the parent computes nothing.
WORKER = """
import json, os, signal, sys
import jax, numpy as np
from gamepruning.coalitions.indices import banzhaf_values

folder, worth, replace = sys.argv[1], np.sin(np.arange(12.0)), os.replace
path, out = folder + "/state.npz", folder + "/out.npz"
seen = writes = 0

def work(kill_after, kill_at_write):
    def game(masks):
        global seen
        seen += len(masks)
        if kill_after and seen > kill_after:
            os.kill(os.getpid(), signal.SIGKILL)
        return np.tanh(np.asarray(masks) @ worth)

    def write(source, target):
        global writes
        writes += 1
        if writes == kill_at_write:
            os.kill(os.getpid(), signal.SIGKILL)
        replace(source, target)

    os.replace = write
    key, given = jax.random.key(3), {"checkpoint": path, "round_size": 64}
    scores = banzhaf_values(key, game, 12, num_evaluations=2000, **given)
    np.savez(out, value=scores.value, stderr=scores.stderr, seen=seen)

ends = []
for kill in ((700, 0), (0, 5), (0, 0)):
    child = os.fork()
    if not child:
        work(*kill)
        os._exit(0)
    ends.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
print(json.dumps(ends))
"""


def game(masks):
    return np.tanh(np.asarray(masks) @ np.sin(np.arange(12.0)))


@pytest.fixture(scope="module")
def killed(tmp_path_factory) -> dict[str, Any]:
    """The result of a run that was killed twice, and the evaluations of its end."""
    folder: Path = tmp_path_factory.mktemp("killed")
    command = [sys.executable, "-c", WORKER, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [-signal.SIGKILL, -signal.SIGKILL, 0], done.stderr
    with np.load(folder / "out.npz") as found:
        return dict(found)


def test_ends_bit_equal_to_a_run_that_was_never_killed(killed):
    whole = banzhaf_values(jax.random.key(3), game, 12, num_evaluations=2000)
    assert killed["value"].tobytes() == np.asarray(whole.value).tobytes()
    assert killed["stderr"].tobytes() == np.asarray(whole.stderr).tobytes()


def test_does_again_only_what_was_not_on_file(killed):
    # 10 rounds of 64 were on file after the first kill, 4 more after the second; by two
    # times 8 values the game is known again
    assert killed["seen"] == 2000 - 14 * 64 + 16
