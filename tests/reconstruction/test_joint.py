"""Gauss-Newton fits of a reader and what leads to it."""

import importlib
import inspect
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gamepruning as gp
from gamepruning.metrics import class_divergence
from gamepruning.reconstruction import (
    RepairConfig,
    eliminate_in_order,
    fits as fits_module,
)
from gamepruning.reconstruction.fit import ReaderFit
from gamepruning.reconstruction.fits import Fits
from tests.reconstruction.test_repair import (
    close,
    draw,
    mlp,
    mlp_params,
    some_leave,
)

repair_module = importlib.import_module("gamepruning.reconstruction.repair")


def config(steps: int = 10, **options) -> RepairConfig:
    return RepairConfig(gauss_newton=steps, **{"held_out": 0.0, **options})


def test_without_an_activation_the_best_of_low_rank_is_found():
    def apply(params, x):
        return (x @ params["in"]) @ params["out"]

    params = {"in": draw(1, 10, 12), "out": draw(2, 12, 8)}
    x = draw(0, 400, 10)
    players = gp.find_players(apply, params, x)
    mask = np.arange(12) < 4
    found = gp.repair(players, params, mask, x, config=config(30, rounds=0))
    full = np.asarray(apply(params, x), float)
    lost = np.square(np.asarray(players.gated(found.params, mask, x)) - full).sum()
    least = np.square(np.linalg.svd(full, compute_uv=False)[4:]).sum()  # Eckart, Young
    assert least <= lost < 1.02 * least
    (reader,) = found.report.readers
    closed = gp.repair(players, params, mask, x, config=config(0)).params
    before = np.square(np.asarray(players.gated(closed, mask, x)) - full).sum()
    close(reader.joint, lost / before, 1e-3)


def test_a_window_ends_in_what_the_rectifier_lets_through():
    params, x = mlp_params(), draw(0, 500, 4)
    players = gp.find_players(mlp, params, x)
    mask = some_leave(players)
    losses = []
    for steps in (0, 10):
        repaired = gp.repair(players, params, mask, x, config=config(steps))
        losses.append(loss_of(players, params, repaired.params, mask, x))
    assert losses[1] < 0.9 * losses[0]


def loss_of(players, params, ours, mask, x) -> float:
    full = players.gated(params, np.ones_like(mask), x)
    return float(loss(players.gated(ours, mask, x), full))


def test_classes_are_what_the_last_window_ends_in():
    params, x = mlp_params(), draw(0, 500, 4)
    params["out"] = 4 * params["out"]
    players = gp.find_players(mlp, params, x)
    mask, full = some_leave(players, 3), mlp(params, x)
    found = [
        gp.repair(players, params, mask, x, config=config(steps, classes=True))
        for steps in (0, 10)
    ]
    first, second = (
        float(class_divergence(players.gated(each.params, mask, x), full))
        for each in found
    )
    assert second < 0.8 * first


def test_what_follows_the_last_reader_is_fitted_to_the_classes():
    def apply(params, x):
        h = jax.nn.relu(x @ params["in"])
        h = jnp.tanh(h @ params["mid"])
        return h @ params["out"]

    params = {"in": draw(1, 5, 12), "mid": draw(2, 12, 6), "out": 3 * draw(3, 6, 4)}
    x = draw(0, 400, 5)
    (kept,) = [f.name for f in gp.find_players(apply, params, x).families[1:]]
    players = gp.find_players(apply, params, x, keep=[kept])
    mask = some_leave(players, 3)
    plain = gp.repair(players, params, mask, x, config=config()).params
    found = gp.repair(players, params, mask, x, config=config(classes=True)).params
    assert not np.array_equal(found["out"], plain["out"])
    full = apply(params, x)
    first, second = (
        float(class_divergence(players.gated(each, mask, x), full))
        for each in (plain, found)
    )
    assert second < first


@pytest.mark.parametrize("classes", [False, True])
def test_the_last_readers_together_get_closer_to_the_outputs(classes):
    params, x = mlp_params(), draw(0, 500, 4)
    players = gp.find_players(mlp, params, x)
    mask, full = some_leave(players, 3), mlp(params, x)
    losses = []
    for last in (0, 2):
        options = config(classes=classes, last=last)
        found = gp.repair(players, params, mask, x, config=options).params
        ours = players.gated(found, mask, x)
        distance = class_divergence(ours, full) if classes else loss(ours, full)
        losses.append(float(distance))
    assert losses[1] < losses[0]


def test_the_fit_to_the_outputs_has_steps_of_its_own():
    params, x = mlp_params(), draw(0, 500, 4)
    players = gp.find_players(mlp, params, x)
    mask, full = some_leave(players, 3), mlp(params, x)

    def after(last, steps=None):
        options = config(2, last=last, last_steps=steps)
        return gp.repair(players, params, mask, x, config=options).params

    jax.tree.map(np.testing.assert_array_equal, after(2, 0), after(0))
    jax.tree.map(np.testing.assert_array_equal, after(2, 2), after(2))
    few, many = (loss(players.gated(after(2, k), mask, x), full) for k in (1, 12))
    assert many < few


def test_the_fit_to_the_outputs_starts_from_a_repair(tmp_path, monkeypatch):
    params, x = mlp_params(), draw(0, 500, 4)
    players = gp.find_players(mlp, params, x)
    mask = some_leave(players, 3)
    first, whole = (
        gp.repair(players, params, mask, x, config=config(last=k)) for k in (0, 2)
    )
    monkeypatch.setattr(repair_module, "Fits", None)  # no reader is fitted anew
    file = tmp_path / "repair.npz"

    def later(rows, start=first):
        how = {"config": config(last=2), "start": start, "checkpoint": file}
        return gp.repair(players, params, mask, rows, **how)

    found = later(x)
    jax.tree.map(np.testing.assert_array_equal, found.params, whole.params)
    assert found.report.to_dict() == first.report.to_dict()
    jax.tree.map(np.testing.assert_array_equal, later(x).params, found.params)
    for start in (whole, None):
        with pytest.raises(gp.InputError, match="start is .* there and .* here"):
            later(x, start)
    file.unlink()
    more = np.concatenate([x, draw(8, 500, 4)])
    full = mlp(params, more)
    before, after = (
        loss(players.gated(repaired.params, mask, more), full)
        for repaired in (found, later(more, found))
    )
    assert after < before


def scanned_layers():
    def apply(params, x):
        def layer(h, layer):
            return h + jax.nn.relu(h @ layer["in"]) @ layer["out"], None

        return jax.lax.scan(layer, x, params)[0]

    params = {"in": draw(1, 3, 5, 9), "out": draw(2, 3, 9, 5) / 3}
    return apply, params, draw(0, 300, 5)


def test_a_layer_of_a_scan_starts_from_a_repair():
    apply, params, x = scanned_layers()
    players = gp.find_players(apply, params, x, layers="each")
    mask = np.arange(players.num_players) % 3 > 0
    first, whole = (
        gp.repair(players, params, mask, x, config=config(last=k)) for k in (0, 2)
    )
    how = {"config": config(last=2), "start": first}
    found = gp.repair(players, params, mask, x, **how)
    jax.tree.map(np.testing.assert_array_equal, found.params, whole.params)


def test_a_start_that_nothing_goes_on_from_is_told():
    params, x = mlp_params(), draw(0, 100, 4)
    players = gp.find_players(mlp, params, x)
    mask = some_leave(players, 3)
    first = gp.repair(players, params, mask, x)
    for given in (config(2), config(0, classes=True)):
        with pytest.raises(gp.InputError):
            gp.repair(players, params, mask, x, config=given, start=first)
    with pytest.raises(gp.InputError, match="give RepairConfig"):
        gp.repair(players, params, mask, x, start=first)
    fit = config(last=1)
    with pytest.raises(gp.InputError, match=r"start=dict: expected what gp\.repair"):
        inspect.unwrap(gp.repair)(players, params, mask, x, config=fit, start=params)
    other = first._replace(params={"in": first.params["in"]})
    with pytest.raises(gp.InputError):
        gp.repair(players, params, mask, x, config=fit, start=other)


def test_gauss_newton_steps_see_who_has_just_left():
    params, x = mlp_params(), draw(0, 500, 4)
    players = gp.find_players(mlp, params, x)
    start, full = some_leave(players, 2), mlp(params, x)
    losses = []
    for how in (config(0), config(10), config(10, last=2)):
        found = eliminate_in_order(players, params, start, x, config=how)
        ours = players.gated(found.params, found.mask, x)
        losses.append(float(loss(ours, full)))
        again = gp.repair(players, params, found.mask, x, config=how).params
        theirs = float(loss(players.gated(again, found.mask, x), full))
        assert losses[-1] < 1.5 * theirs
    assert losses[2] < losses[1] < 0.9 * losses[0]


@pytest.mark.parametrize("place", [0, 300])
def test_what_is_not_finite_is_told_by_a_fit_from_a_start(place):
    params, x = mlp_params(), draw(0, 500, 4)
    players = gp.find_players(mlp, params, x)
    mask = some_leave(players, 3)
    first = gp.repair(players, params, mask, x)
    bad = np.array(x)
    bad[place] = np.nan
    with pytest.raises(gp.InputError, match="not finite"):
        gp.repair(players, params, mask, bad, config=config(last=2), start=first)


def test_a_class_that_is_masked_out_is_no_obstacle():
    def apply(params, x):
        return mlp(params, x).at[:, 1].set(-jnp.inf)

    params, x = mlp_params(), draw(0, 500, 4)
    players = gp.find_players(apply, params, x)
    mask, full = some_leave(players, 3), apply(params, x)
    options = config(classes=True, last=2)
    found = gp.repair(players, params, mask, x, config=options).params
    plain = gp.repair(players, params, mask, x).params
    distances = [
        float(class_divergence(players.gated(p, mask, x), full)) for p in (plain, found)
    ]
    assert distances[1] < distances[0]


def test_outputs_that_cannot_be_fitted_to_are_told():
    def several(params, x):
        outputs = mlp(params, x)
        return outputs, outputs.sum()

    def number(params, x):
        return mlp(params, x)[:, 0]

    params, x = mlp_params(), draw(0, 200, 4)
    for apply, classes in ((several, False), (number, True)):
        players = gp.find_players(apply, params, x)
        mask = some_leave(players, 3)
        first = gp.repair(players, params, mask, x)
        fit = config(2, last=2, classes=classes)
        with pytest.raises(gp.InputError, match="expected one output of floats"):
            gp.repair(players, params, mask, x, config=fit, start=first)


def test_rows_of_numbers_are_held_out_too():
    def apply(params, x):
        return mlp(params, x)[:, 0]

    params, x = mlp_params(), draw(0, 60, 4)
    players = gp.find_players(apply, params, x)
    mask = some_leave(players, 2)
    seen = np.concatenate([x[:45], draw(9, 15, 4) * 30])  # the last quarter is unlike
    careful, free = (
        gp.repair(
            players, params, mask, seen, config=config(30, last=2, held_out=share)
        ).params
        for share in (0.25, 0.0)
    )
    assert any(
        not np.array_equal(one, two)
        for one, two in zip(
            jax.tree.leaves(careful), jax.tree.leaves(free), strict=True
        )
    )


def test_a_start_may_have_lists_for_tuples():
    def apply(params, x):
        return mlp(
            dict(zip(("in", "b", "mid", "c", "out", "d"), params, strict=True)), x
        )

    params, x = tuple(mlp_params().values()), draw(0, 200, 4)
    players = gp.find_players(apply, params, x)
    mask, options = some_leave(players, 3), config(2, last=1)
    first = gp.repair(players, params, mask, x)
    listed = first._replace(params=list(first.params))
    found, again = (
        gp.repair(players, params, mask, x, config=options, start=start)
        for start in (first, listed)
    )
    assert type(again.params) is tuple
    jax.tree.map(np.testing.assert_array_equal, found.params, again.params)


def test_traced_parameters_are_told():
    params, x = mlp_params(), draw(0, 100, 4)
    players = gp.find_players(mlp, params, x)
    mask = some_leave(players, 3)
    with pytest.raises(gp.InputError, match="parameters or inputs are traced"):
        jax.jit(lambda p: gp.repair(players, p, mask, x).params)(params)


def loss(ours, full):
    return jnp.square(ours - full).mean()


def test_weights_that_something_else_needs_stay():
    def apply(params, x):
        h = jnp.tanh(x @ params["shared"])
        a = jax.nn.relu(h @ params["in"]) @ params["out"]
        return a, h @ params["side"]

    shapes = {"shared": (5, 6), "in": (6, 10), "out": (10, 3), "side": (6, 2)}
    params = {name: draw(k, *shape) for k, (name, shape) in enumerate(shapes.items())}
    x = draw(9, 300, 5)
    names = [f.name for f in gp.find_players(apply, params, x).families]
    players = gp.find_players(
        apply, params, x, keep=[n for n in names if "in" not in n]
    )
    mask = some_leave(players, 2)
    found = gp.repair(players, params, mask, x, config=config()).params
    for name in ("shared", "side"):
        np.testing.assert_array_equal(found[name], params[name])
    assert not np.array_equal(found["in"], params["in"])


def test_one_layer_of_a_scan_leaves_the_others_alone():
    apply, params, x = scanned_layers()
    players = gp.find_players(apply, params, x)
    mask = some_leave(players, 2)
    losses = []
    for steps in (0, 5):
        found = gp.repair(players, params, mask, x, config=config(steps)).params
        losses.append(loss_of(players, params, found, mask, x))
    assert losses[1] < losses[0]


def test_rows_held_out_end_what_does_not_carry_over():
    def apply(params, x):
        return jax.nn.relu(x @ params["in"]) @ params["out"]

    params = {"in": draw(1, 40, 12), "out": draw(2, 12, 3)}
    x, test = draw(0, 60, 40), draw(5, 2000, 40)
    players = gp.find_players(apply, params, x)
    mask = np.arange(12) < 6
    free, careful, closed = (
        loss_of(players, params, found.params, mask, test)
        for found in (
            gp.repair(players, params, mask, x, config=config(steps, held_out=share))
            for steps, share in ((30, 0.0), (30, 0.3), (0, 0.3))
        )
    )
    assert careful < free
    assert careful <= 1.05 * closed


def test_who_stays_whole_is_not_touched():
    params, x = mlp_params(), draw(0, 200, 4)
    players = gp.find_players(mlp, params, x)
    everyone = np.ones(players.num_players, bool)
    found = gp.repair(players, params, everyone, x, config=config(classes=True)).params
    jax.tree.map(np.testing.assert_array_equal, found, params)


def test_a_wrong_number_of_steps_is_told():
    with pytest.raises(gp.InputError, match=r"gauss_newton=-1: expected at least 0"):
        RepairConfig(gauss_newton=-1)


def test_readers_fitted_together_by_no_steps_are_told():
    with pytest.raises(gp.InputError, match="give gauss_newton"):
        RepairConfig(last=2)


def test_steps_of_a_fit_that_is_not_made_are_told():
    for given in ({"gauss_newton": 2}, {"classes": True}):
        with pytest.raises(gp.InputError, match="give gauss_newton and last"):
            RepairConfig(last_steps=2, **given)
    with pytest.raises(gp.InputError, match="last_steps=2 goes with mode='sequential'"):
        RepairConfig(mode="one-shot", last_steps=2)


def test_a_step_too_far_is_taken_back_to_the_bit(monkeypatch):
    """In half precision what is added and taken off again is not what was there."""
    monkeypatch.setattr(fits_module, "CLASS_ROUNDS", 5)
    fits: Any = object.__new__(Fits)
    fits._cut = SimpleNamespace(params=[np.linspace(-1, 1, 9).astype(jnp.bfloat16)])
    ended = []

    def to(aims):
        goes_on = len(ended) < 4
        step = np.full((1, 9, 1), 0.3 * (len(ended) + 1))
        ridge = 1.0 if goes_on else np.inf
        found = ReaderFit(step, np.zeros((1, 1)), ridge, 1.0, 1.0, 0.5)
        if goes_on:
            write(found, None)
            ended.append(fits._cut.params[0])
        return None, found

    def write(found, sums):
        wide = fits._cut.params[0].astype(float) + found.weights[0, :, 0]
        fits._cut.params[0] = wide.astype(jnp.bfloat16)

    fits.to, fits._write = to, write
    fits.to_classes({})
    np.testing.assert_array_equal(fits._cut.params[0], ended[-1])
