"""Taps: what the full and the small network have inside, entry by entry."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gamepruning as gp
from gamepruning.distillation import tap_divergence
from gamepruning.reconstruction import tap_readers
from tests.reconstruction.test_repair import close, draw, mlp, mlp_params, some_leave


def made(apply=mlp, params=None, x=None, **options):
    params = mlp_params() if params is None else params
    x = draw(0, 60, 4) if x is None else x
    players = gp.find_players(apply, params, x, **options)
    small = gp.compact(players, params, some_leave(players))
    return players, params, x, small


def who_stays(small, family):
    return np.asarray(small.mask)[family.start : family.stop]


def test_taps_of_an_mlp_are_those_of_numpy():
    players, params, x, small = made()
    taps = tap_readers(players, small.mask)
    assert taps.paths == ("mid", "out")
    h = np.maximum(x @ params["in"] + params["b"], 0)
    mid = h @ params["mid"] + params["c"]
    stays = who_stays(small, players.families[1])
    full = taps.full(params, x)
    close(full.taps["mid"], mid[:, stays], 1e-5)
    close(full.taps["out"], mlp(params, x), 1e-5)
    close(full.outputs, mlp(params, x), 1e-5)
    ours = taps.small(small.params, x)
    p = small.params
    h = np.maximum(x @ p["in"] + p["b"], 0)
    close(ours.taps["mid"], h @ p["mid"] + p["c"], 1e-5)
    close(ours.outputs, small.apply(p, x), 1e-6)
    expected = np.mean(
        [
            np.square(ours.taps[k] - full.taps[k]).mean()
            / np.square(full.taps[k]).mean()
            for k in taps.paths
        ]
    )
    close(tap_divergence(ours.taps, full.taps), expected, 1e-5)


def residual(params, x):
    h = x @ params["stem"]
    for block in params["blocks"]:

        def branch(h, p):
            h = jnp.maximum(h @ p["in"] + p["b"][None], 0)
            return h @ p["out"] + p["c"][None]

        h = h + jax.checkpoint(branch)(h, block)
    return h @ params["head"]


def residual_params():
    blocks = [
        {
            "in": draw(k, 6, 8) / 2,
            "b": draw(k, 8),
            "out": draw(k, 8, 6) / 3,
            "c": draw(k, 6),
        }
        for k in (1, 2)
    ]
    return {"stem": draw(3, 4, 6) / 2, "blocks": blocks, "head": draw(4, 6, 3)}


def test_a_tap_stands_behind_the_residual_stream_and_outside_of_remat():
    inner = [f"blocks/{k}/in" for k in (0, 1)]
    players, params, x, small = made(residual, residual_params())
    taps = tap_readers(players, small.mask)
    assert set(inner) < set(taps.paths)
    stream, block = np.asarray(x @ params["stem"]), params["blocks"][0]
    h = np.maximum(stream @ block["in"] + np.asarray(block["b"]), 0)
    stream = stream + h @ block["out"] + np.asarray(block["c"])
    found = taps.full(params, x).taps["blocks/0/out"]
    outer = next(f for f in players.families if f.name == "blocks/0/out")
    close(found, stream[:, who_stays(small, outer)], 1e-5)


def test_a_network_with_taps_is_differentiated_and_takes_other_batches():
    players, params, x, small = made(residual, residual_params())
    taps = tap_readers(players, small.mask)
    theirs = jax.jit(taps.full)(params, x[:7])

    def loss(p):
        found = taps.small(p, x[:7])
        return tap_divergence(found.taps, theirs.taps)

    before, slope = jax.jit(jax.value_and_grad(loss))(small.params)
    stepped = jax.tree.map(lambda p, g: p - 1e-3 * g, small.params, slope)
    assert loss(stepped) < before
    repaired = gp.repair(players, params, small.mask, x)
    again = gp.compact(players, repaired.params, small.mask)
    assert loss(again.params) < before
    zero = jax.grad(lambda t: tap_divergence(theirs.taps, t))(dict(theirs.taps))
    assert all(not np.any(v) for v in zero.values())


def test_convolutions_and_weights_that_are_read_twice_have_taps():
    def apply(params, x):
        window = {"window_strides": (1, 1), "padding": "SAME"}
        numbers = {"dimension_numbers": ("NHWC", "HWIO", "NHWC")}
        h = jax.lax.conv_general_dilated(x, params["in"], **window, **numbers)
        h = jnp.tanh(h)
        for _ in range(2):
            h = h + jnp.tanh(h @ params["a"]) @ params["b"]
        return h.mean(axis=(1, 2)) @ params["out"]

    params = {
        "in": draw(1, 3, 3, 2, 6),
        "a": draw(2, 6, 9) / 2,
        "b": draw(3, 9, 6) / 3,
        "out": draw(4, 6, 3),
    }
    players, params, x, small = made(apply, params, draw(0, 8, 5, 5, 2))
    taps = tap_readers(players, small.mask)
    assert {"a 0", "a 1", "b 0", "b 1", "out"} <= set(taps.paths)
    full, ours = taps.full(params, x), taps.small(small.params, x)
    shapes = [{k: v.shape for k, v in each.taps.items()} for each in (full, ours)]
    assert shapes[0] == shapes[1]
    assert shapes[0]["b 1"][:3] == (8, 5, 5)


def test_slices_of_one_parameter_have_a_tap_each():
    def apply(params, x):
        h = x @ params["in"]
        for k in range(2):
            h = jnp.tanh(h @ params["w"][k])
        return h @ params["out"]

    params = {"in": draw(1, 4, 8), "w": draw(2, 2, 8, 8) / 2, "out": draw(3, 8, 3)}
    players, params, x, small = made(apply, params)
    taps = tap_readers(players, small.mask)
    assert taps.paths == ("w 0", "w 1", "out")
    full = taps.full(params, x).taps
    first = x @ params["in"] @ params["w"][0]
    assert full["w 0"].shape[1] < 8
    gap = np.abs(np.asarray(full["w 0"])[:, :, None] - np.asarray(first)[:, None])
    assert gap.min(axis=2).max() < 1e-5


def test_two_products_that_end_in_one_sum_have_one_tap():
    def apply(params, x):
        h = jnp.tanh(x @ params["in"])
        return jnp.tanh(h @ params["a"] + jnp.square(h) @ params["b"]) @ params["out"]

    shapes = {"in": (4, 8), "a": (8, 6), "b": (8, 6), "out": (6, 3)}
    params = {name: draw(k, *shape) for k, (name, shape) in enumerate(shapes.items())}
    players, params, x, small = made(apply, params)
    taps = tap_readers(players, small.mask)
    assert len(taps.paths) == 2
    assert taps.paths[1] == "out"


def test_numbers_in_the_parameters_mean_the_same_under_jit():
    def apply(params, x):
        h = x @ params["stem"]
        h = h + jnp.tanh(h @ params["in"]) @ params["out"] * params["scale"]
        return h @ params["head"]

    shapes = {"stem": (4, 6), "in": (6, 9), "out": (9, 6), "head": (6, 3)}
    params = {name: draw(k, *shape) for k, (name, shape) in enumerate(shapes.items())}
    players, params, x, small = made(apply, params | {"scale": 0.5})
    taps = tap_readers(players, small.mask)
    for run, own in ((taps.full, params), (taps.small, small.params)):
        eager, jitted = run(own, x).taps, jax.jit(run)(own, x).taps
        assert eager.keys() == jitted.keys()
        for name in eager:
            close(jitted[name], eager[name], 1e-5)


def test_half_precision_does_not_overflow():
    big = {"a": jnp.full(4, 300, jnp.float16)}
    assert float(tap_divergence({"a": jnp.full(4, 330, jnp.float16)}, big)) == (
        pytest.approx(0.01, rel=1e-3)
    )


def test_who_stays_whole_and_loops_have_no_tap():
    players, params, x, _ = made()
    with pytest.raises(gp.InputError, match="no tap: this mask cuts no axis"):
        tap_readers(players, np.ones(players.num_players, bool))

    def apply(params, x):
        def layer(h, layer):
            return h + jnp.tanh(h @ layer["in"]) @ layer["out"], None

        return jax.lax.scan(layer, x, params)[0]

    stack = {"in": draw(1, 3, 4, 9), "out": draw(2, 3, 9, 4) / 3}
    players = gp.find_players(apply, stack, x)
    with pytest.raises(gp.InputError, match="in loops and branches"):
        tap_readers(players, some_leave(players))
    players = gp.find_players(apply, stack, x, layers="each")
    with pytest.raises(gp.InputError, match="scanned layers have no taps"):
        tap_readers(players, some_leave(players))

    def tied(params, x):
        return jnp.tanh(x @ params["in"]) @ jnp.abs(params["out"])

    params = {"in": draw(1, 4, 9), "out": draw(2, 9, 4)}
    players = gp.find_players(tied, params, x)
    with pytest.raises(gp.InputError, match="no tap: nothing that reads a cut axis"):
        tap_readers(players, some_leave(players))
    weights = gp.find_players(mlp, mlp_params(), x, granularity="weight")
    with pytest.raises(gp.InputError, match="granularity='unit'"):
        tap_readers(weights, some_leave(weights))


def test_what_does_not_fit_is_told():
    players, params, x, small = made()
    taps = tap_readers(players, small.mask)
    with pytest.raises(gp.InputError, match="as after this compaction"):
        taps.small(params, x)
    with pytest.raises(gp.InputError):
        taps.full(small.params, x)
    full, ours = taps.full(params, x).taps, taps.small(small.params, x).taps
    with pytest.raises(gp.InputError, match="the same taps of both"):
        tap_divergence({"out": ours["out"]}, full)
    with pytest.raises(gp.InputError, match="the same taps of both"):
        tap_divergence({}, {})
    with pytest.raises(gp.InputError, match="tap 'out' has shape"):
        tap_divergence({**ours, "out": ours["out"][:3]}, full)
    with pytest.raises(gp.InputError, match=r"give the \.taps of"):
        inspect.unwrap(tap_divergence)(taps.small(small.params, x), full)
