"""A finished repair on file: read back whole, and only for the same repair."""

import importlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gamepruning as gp
from gamepruning.reconstruction import Alone, ReaderReport, RepairConfig, RepairReport


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
