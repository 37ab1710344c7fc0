"""Readers fitted to what counts of their results, against plain NumPy."""

import importlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gamepruning as gp
from gamepruning.reconstruction import RepairConfig
from tests.reconstruction.test_repair import (
    RIDGE,
    close,
    draw,
    mlp,
    mlp_params,
    refit,
    some_leave,
)


def config(**options) -> RepairConfig:
    return RepairConfig(ridges=(RIDGE,), held_out=0.0, **options)


def test_a_reader_in_front_of_a_rectifier_is_that_of_numpy():
    params, x = mlp_params(), draw(0, 300, 4)
    players = gp.find_players(mlp, params, x)
    mask = some_leave(players)
    one, two = mask[:12], mask[12:]
    h = np.maximum(x @ params["in"] + params["b"], 0)
    full = h @ params["mid"][:, two] + params["c"][two]
    mid, c = refit(h[:, one], full, params["mid"][one][:, two], bias=0)
    for _ in range(3):
        ours = h[:, one] @ mid + c
        target = np.where(full > 0, full, np.minimum(ours, 0))
        mid, c = refit(h[:, one], target, mid, bias=0)
    repaired = gp.repair(players, params, mask, x, config=config(rounds=3))
    close(np.asarray(repaired.params["mid"])[one][:, two], mid)
    close(np.asarray(repaired.params["c"])[two], c)


@pytest.mark.parametrize("relu", [jax.nn.relu, lambda x: jnp.maximum(x, 0.0)])
def test_what_a_rectifier_lets_through_gets_closer(relu):
    def apply(params, x):
        h = relu(x @ params["in"])
        return relu(h + h @ params["mid"]) @ params["out"]  # a residual stream

    params = {"in": draw(1, 5, 12), "mid": draw(2, 12, 12) / 3, "out": draw(3, 12, 2)}
    x = draw(0, 400, 5)
    players = gp.find_players(apply, params, x)
    mask = some_leave(players, 2)
    h = np.maximum(x @ params["in"], 0)
    full = np.maximum(h + h @ params["mid"], 0)[:, mask]
    errors = []
    for rounds in (0, 10):
        found = gp.repair(players, params, mask, x, config=config(rounds=rounds)).params
        ours = h[:, mask] + h[:, mask] @ np.asarray(found["mid"])[mask][:, mask]
        errors.append(float(np.square(np.maximum(ours, 0) - full).sum()))
    assert errors[1] < errors[0]


def test_other_activations_are_fitted_as_they_are():
    def apply(params, x):
        return jnp.tanh(jnp.tanh(x @ params["in"]) @ params["mid"]) @ params["out"]

    params = {key: mlp_params()[key] for key in ("in", "mid", "out")}
    x = draw(0, 200, 4)
    players = gp.find_players(apply, params, x)
    mask = some_leave(players)
    found = [
        gp.repair(players, params, mask, x, config=config(rounds=rounds)).params
        for rounds in (0, 5)
    ]
    jax.tree.map(np.testing.assert_array_equal, *found)


def test_classes_fit_the_probabilities():
    params, x = mlp_params(), draw(0, 500, 4)
    params["out"] = 4 * params["out"]
    players = gp.find_players(mlp, params, x)
    mask = some_leave(players, 2)
    full = jax.nn.softmax(mlp(params, x))
    lost = []
    for classes in (False, True):
        options = config(rounds=0, classes=classes)
        found = gp.repair(players, params, mask, x, config=options).params
        ours = jax.nn.log_softmax(players.gated(found, mask, x))
        lost.append(float((full * (jnp.log(full) - ours)).sum(axis=1).mean()))
    assert lost[1] < 0.8 * lost[0]


def test_rounds_below_0_are_told():
    with pytest.raises(gp.InputError, match="rounds=-1: expected at least 0"):
        RepairConfig(rounds=-1)


def test_what_a_reader_reads_is_squared_once(monkeypatch):
    module, asked = importlib.import_module("gamepruning.reconstruction.collect"), []
    own = module.collect

    def collect(*args, squares):
        asked.append(squares)
        return own(*args, squares=squares)

    monkeypatch.setattr(module, "collect", collect)
    params, x = mlp_params(), draw(0, 300, 4)
    players = gp.find_players(mlp, params, x)
    gp.repair(players, params, some_leave(players), x, config=config(rounds=3))
    assert asked == [True, False, False, False, True]  # two readers


def test_a_convolution_may_lose_all_that_it_reads():
    def apply(params, x):
        for name in ("in", "mid"):
            x = jax.nn.relu(jax.lax.conv_general_dilated(x, params[name], (1,), "SAME"))
        return x.mean(-1) @ params["out"]

    params = {"in": draw(1, 4, 2, 3), "mid": draw(2, 5, 4, 3), "out": draw(3, 5, 2)}
    x = draw(0, 40, 2, 6)
    players = gp.find_players(apply, params, x)
    for left in (0, 1):  # channels of the first
        mask = np.arange(9) >= 4 - left
        fixed = gp.repair(players, params, mask, x)
        assert np.isfinite(players.gated(fixed.params, mask, x)).all()
        assert len(fixed.report.readers) == 1
