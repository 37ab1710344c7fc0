"""Two processes that share one mesh, against this one alone."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
import pytest
from jax.sharding import Mesh

import gamepruning as gp
from tests.coalitions.over_processes import (
    ESTIMATE,
    bits,
    digest,
    make_game,
    make_keyed_game,
    played,
    played_on_split,
    pruned,
    some_masks,
    trained,
)

NUM = 2


class Ended(NamedTuple):
    """How one of the processes ended."""

    code: int
    out: str

    def told(self) -> dict:
        (line,) = re.findall(r"^RESULT (.*)$", self.out, re.MULTILINE)
        return json.loads(line)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("processes") / "shapley.npz"


@pytest.fixture(scope="module")
def ended(checkpoint) -> list[Ended]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    flags = os.environ["XLA_FLAGS"].replace("device_count=4", "device_count=1")
    command = [sys.executable, "-m", "tests.coalitions.over_processes", str(NUM)]
    processes = [
        subprocess.Popen(
            [*command, str(index), port, str(checkpoint)],
            env=os.environ | {"XLA_FLAGS": flags, "GAMEPRUNING_TYPECHECK": "0"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for index in range(NUM)
    ]
    outs = [process.communicate(timeout=300)[0] for process in processes]
    pairs = zip(processes, outs, strict=True)
    return [Ended(process.returncode, out) for process, out in pairs]


def test_they_find_the_bits_of_one_process(ended):
    alone = bits(gp.value_function(*make_game()))
    for one in ended:
        assert one.told()["bits"] == alone, one.out


def test_games_while_training_end_with_the_gates_of_one_process(ended):
    alone = trained(Mesh(np.array(jax.devices()[:1]), ("coalitions",)))
    assert all(min(gates) < max(gates) for gates in alone.values())
    for name, gates in alone.items():
        first, second = (one.told()["gates"][name] for one in ended)
        assert first == second
        np.testing.assert_allclose(first, gates, atol=1e-5)


def test_bandits_are_those_of_one_process(ended):
    alone = played(None)
    for one in ended:
        assert one.told()["played"] == alone, one.out


def test_bandits_on_weights_that_are_split_over_processes(ended):
    alone = played_on_split(None)
    assert ended[0].told()["split"] == ended[1].told()["split"]
    for name, found in ended[0].told()["split"].items():
        np.testing.assert_allclose(found, alone[name], atol=1e-5)


def test_what_cannot_work_is_one_clear_error(ended):
    for one in ended:
        far, *different = one.told()["errors"]
        assert re.search("1 of 1 devices belong to other processes: pass mesh=", far)
        for line in different:
            assert line.startswith("the processes have different parameters")
        line = one.told()["no mesh"]
        assert re.search(
            "'dense0/kernel' lies on devices of other .*: pass mesh=", line
        )


def test_different_questions_are_refused_by_both(ended):
    for one in ended:
        for line in one.told()["different questions"]:
            assert line.startswith("the processes ask about different coalitions")


def test_the_first_process_says_what_the_scores_are_and_who_leaves(ended):
    first, second = (one.told()["differing"] for one in ended)
    assert first == second
    alone = gp.banzhaf_values(
        jax.random.key(1),
        gp.value_function(*make_game()),
        num_evaluations=60,
        method="sample_reuse",
    )
    np.testing.assert_array_equal(first["scores"], alone.value)
    assert first["order"] == [0, 1, 2]


def test_a_network_whose_weights_are_split_is_scored_repaired_cut_and_written(
    ended, tmp_path
):
    alone = pruned(None, tmp_path / "small.safetensors")
    assert ended[0].told()["pruned"] == ended[1].told()["pruned"]
    found = ended[0].told()["pruned"]
    assert found["mask"] == alone["mask"]
    np.testing.assert_allclose(found["scores"], alone["scores"], rtol=1e-4, atol=1e-6)
    for one, other in zip(found["weights"], alone["weights"], strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4)


def test_a_random_key_among_the_inputs(ended):
    alone = digest(gp.value_function(*make_keyed_game())(some_masks()))
    assert [one.told()["keyed"] for one in ended] == [alone, alone]


def test_weights_are_those_of_the_first(ended):
    expected = ["x", [0.0, 1.0, 2.0], digest(jax.random.key_data(jax.random.key(0)))]
    assert [one.told()["trained"] for one in ended] == [expected, expected]


def test_losses_are_finite_where_those_of_one_process_are(ended):
    for one in ended:
        np.testing.assert_array_equal(one.told()["losses"], [1.0, 2.0, np.nan])


def test_what_the_first_has_is_broadcast(ended):
    assert [one.told()["broadcast"] for one in ended] == [1000, 1000]


def test_the_death_of_one_ends_the_other_with_one_line(ended):
    assert ended[1].code == -signal.SIGKILL, ended[1].out
    assert ended[0].code == 3, ended[0].out
    (line,) = re.findall("^LOST (.*)$", ended[0].out, re.MULTILINE)
    assert line.startswith("another process has ended, so this one does, too")


def test_one_process_goes_on_where_two_were_killed(ended, checkpoint):
    assert ended[0].code == 3 and checkpoint.exists()
    done, key = [], jax.random.key(1)
    value_fn = gp.value_function(*make_game())
    whole = gp.shapley_values(key, value_fn, **ESTIMATE)
    resumed = gp.shapley_values(
        key,
        value_fn,
        **ESTIMATE,
        checkpoint=checkpoint,
        progress=lambda now, total: done.append(now),
    )
    assert done[0] > 300 and done[-1] <= 600
    for one, other in zip(resumed[:2], whole[:2], strict=True):
        np.testing.assert_array_equal(one, other)
