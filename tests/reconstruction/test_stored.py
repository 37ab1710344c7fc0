"""A finished repair on file: read back whole, and only for the same repair."""

import importlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gamepruning as gp
from gamepruning.reconstruction import (
    Alone,
    ReaderReport,
    RepairConfig,
    RepairReport,
    stored,
)


def apply(params, x):
    return jnp.tanh(x @ params["in"]) @ params["out"] * params["scale"]


def make(kind=jnp.float32):
    one, two, three = jax.random.split(jax.random.key(0), 3)
    params = {
        "in": jax.random.normal(one, (4, 8)),
        "out": jax.random.normal(two, (8, 3)).astype(kind),
        "scale": 2,
    }
    x = jax.random.normal(three, (64, 4))
    players = gp.find_players(apply, params, x)
    return players, params, np.arange(8) % 2 == 0, x


@pytest.mark.parametrize("kind", [jnp.float32, jnp.bfloat16])
def test_a_repair_is_read_back(kind, tmp_path, monkeypatch):
    path, made = tmp_path / "repair.npz", make(kind)
    first = gp.repair(*made, checkpoint=path)
    module = importlib.import_module("gamepruning.reconstruction.repair")
    monkeypatch.setattr(module, "Fits", None)
    again = gp.repair(*made, checkpoint=path)
    for one, two in zip(
        jax.tree.leaves(first.params), jax.tree.leaves(again.params), strict=True
    ):
        assert type(one) is type(two)
        np.testing.assert_array_equal(one, two)
    assert again.params["out"].dtype == kind
    assert again.report.to_dict() == first.report.to_dict()


def test_another_repair_is_refused(tmp_path):
    path = tmp_path / "repair.npz"
    players, params, mask, x = make()
    gp.repair(players, params, mask, x, checkpoint=path)
    for args in ((params, ~mask, x), (params, mask, x[:32])):
        with pytest.raises(gp.InputError, match="of another run"):
            gp.repair(players, *args, checkpoint=path)
    with pytest.raises(gp.InputError, match="mode is .*sequential"):
        config = RepairConfig(mode="one-shot")
        gp.repair(players, params, mask, x, config=config, checkpoint=path)
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(gp.InputError, match="damaged"):
        gp.repair(players, params, mask, x, checkpoint=path)


def test_a_report_is_json_and_back():
    row = ReaderReport(
        path="out",
        num_inputs=9,
        num_outputs=2,
        num_rows=4,
        before=0.5,
        after=0.5,
        ridge=float("inf"),
        condition=3.0,
        seconds=0.1,
    )
    alone = tuple(Alone(f"w{k}", "its weights are int8") for k in range(5))
    report = RepairReport((row,), alone)
    assert report.to_dict()["readers"][0]["ridge"] is None
    assert RepairReport.from_dict(report.to_dict()).to_dict() == report.to_dict()
    few, left = report.notes
    assert few.startswith("Repair: 'out' has 9 inputs and saw 4 rows")
    assert left == "Repair left w0, w1, w2 and 2 more alone: its weights are int8."


@pytest.mark.parametrize("steps", [0, 2])
def test_a_repair_that_was_cut_off_resumes_bit_identically(
    steps, tmp_path, monkeypatch
):
    def deep(params, x):
        for w in params["mid"]:
            x = jax.nn.relu(x @ w) * params["scale"]
        return x @ params["out"]

    keys = jax.random.split(jax.random.key(0), 5)
    params = {
        "mid": [jax.random.normal(key, (6, 6)) for key in keys[:3]],
        "out": jax.random.normal(keys[3], (6, 3)),
        "scale": 0.5,
    }
    x = jax.random.normal(keys[4], (64, 6))
    players = gp.find_players(deep, params, x)
    given = players, params, np.arange(players.num_players) % 3 > 0, x
    config = RepairConfig(gauss_newton=steps, batch_size=20)
    whole = gp.repair(*given, config=config)
    path = tmp_path / "repair.npz"
    monkeypatch.setattr(stored, "SAVE_EVERY", 0)
    visited = []

    def cut(path, number, of):
        visited.append(number)
        if len(visited) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        gp.repair(*given, config=config, checkpoint=path, progress=cut)
    again = gp.repair(*given, config=config, checkpoint=path, progress=cut)
    assert visited == [0, 1, 2, 2]
    jax.tree.map(np.testing.assert_array_equal, again.params, whole.params)
    assert [r.path for r in again.report.readers] == [
        r.path for r in whole.report.readers
    ]
    read = gp.repair(*given, config=config, checkpoint=path, progress=cut)
    assert visited == [0, 1, 2, 2]
    jax.tree.map(np.testing.assert_array_equal, read.params, whole.params)
