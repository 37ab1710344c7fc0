"""Closed-form repair against plain NumPy, and what it promises for any model."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import gamepruning as gp
from gamepruning.reconstruction import RepairConfig

RIDGE = 1e-3
PLAIN = RepairConfig(
    ridges=(RIDGE,), held_out=0.0, rounds=0
)  # least squares on all rows


def draw(seed: int, *shape: int) -> np.ndarray:
    return (
        np.random.default_rng((seed, *shape)).standard_normal(shape).astype("float32")
    )


def refit(h, target, weights, bias=None):
    """min |h W + b - target|^2 + ridge |W - weights|^2, by normal equations."""
    h, target, weights = (np.asarray(x, float) for x in (h, target, weights))
    mean = h.mean(axis=0) if bias is not None else np.zeros(h.shape[1])
    level = target.mean(axis=0) if bias is not None else np.zeros(target.shape[1])
    x, z = h - mean, target - level
    ridge = RIDGE * np.square(x).mean(axis=0).mean() * len(x)
    gram = x.T @ x + ridge * np.eye(len(weights))
    found = np.linalg.solve(gram, x.T @ z + ridge * weights)
    return found, level - mean @ found


def close(ours, expected, rtol=2e-3):
    scale = np.abs(expected).max()
    np.testing.assert_allclose(ours, expected, atol=rtol * scale)


def mlp(params, x):
    h = jnp.maximum(x @ params["in"] + params["b"][None], 0)
    h = jnp.maximum(h @ params["mid"] + params["c"][None], 0)
    return h @ params["out"] + params["d"][None]


def mlp_params():
    return {
        "in": draw(1, 4, 12) / 2,
        "b": draw(2, 12) / 4,
        "mid": draw(3, 12, 9) / 3,
        "c": draw(4, 9) / 4,
        "out": draw(5, 9, 3) / 3,
        "d": draw(6, 3),
    }


def with_integer_weights():
    params = mlp_params()
    params["mid"] = np.round(params["mid"] * 10).astype("int8")

    def apply(params, x):
        return mlp({**params, "mid": params["mid"] / 10}, x)

    return apply, params


def some_leave(players, every: int = 3) -> np.ndarray:
    return np.arange(players.num_players) % every != 0


def test_an_mlp_is_that_of_numpy():
    params, x = mlp_params(), draw(0, 300, 4)
    players = gp.find_players(mlp, params, x)
    mask = some_leave(players)
    one, two = mask[:12], mask[12:]
    h = np.maximum(x @ params["in"] + params["b"], 0)
    z = h @ params["mid"]
    out = np.maximum(z + params["c"], 0) @ params["out"]
    mid, shift = refit(h[:, one], z[:, two], params["mid"][one][:, two], bias=0)
    c = params["c"][two] + shift
    h2 = np.maximum(h[:, one] @ mid + c, 0)
    last, d = refit(h2, out, params["out"][two], bias=0)
    ours = gp.repair(players, params, mask, x, config=PLAIN).params
    close(np.asarray(ours["mid"])[one][:, two], mid)
    close(np.asarray(ours["c"])[two], c)
    close(np.asarray(ours["out"])[two], last)
    close(ours["d"], params["d"] + d)
    np.testing.assert_array_equal(ours["in"], params["in"])
    np.testing.assert_array_equal(ours["mid"][~one], params["mid"][~one])


@pytest.mark.parametrize("groups", [1, 2])
def test_a_convolution_is_that_of_numpy(groups):
    """Strided, dilated and padded, in groups or not, without a bias."""
    params = {
        "in": draw(1, 1, 1, 2, 8),
        "conv": draw(2, 3, 2, 8 // groups, 6),
        "out": draw(3, 6, 2),
    }
    layout = ("NHWC", "HWIO", "NHWC")

    def read(params, h):
        return lax.conv_general_dilated(
            h, params["conv"], (2, 1), [(1, 1), (0, 2)], rhs_dilation=(1, 2),
            dimension_numbers=layout, feature_group_count=groups,
        )  # fmt: skip

    def apply(params, x):
        h = lax.conv_general_dilated(
            x, params["in"], (1, 1), "SAME", dimension_numbers=layout
        )
        return jnp.tanh(read(params, jnp.maximum(h, 0))).mean((1, 2)) @ params["out"]

    x = draw(0, 40, 6, 5, 2)
    players = gp.find_players(apply, params, x)
    mask = np.ones(players.num_players, bool)
    family = max(players.families, key=lambda family: family.size)
    mask[family.start + 1] = False
    h = np.maximum(np.einsum("nhwi,io->nhwo", x, params["in"][0, 0]), 0)
    padded = np.pad(h, [(0, 0), (1, 1), (0, 2), (0, 0)])
    z = np.asarray(read(params, jnp.asarray(h)))
    ours = np.asarray(gp.repair(players, params, mask, x, config=PLAIN).params["conv"])
    size, width = 8 // groups, 6 // groups
    assert not all(h_stays(players, mask, k) for k in range(8))
    for g in range(groups):
        left = [k for k in range(size) if h_stays(players, mask, g * size + k)]
        patches = np.stack(
            [
                padded[:, 2 * i + a, j + 2 * b, g * size : (g + 1) * size][:, left]
                for i in range(z.shape[1])
                for j in range(z.shape[2])
                for a in range(3)
                for b in range(2)
            ]
        )
        rows = patches.reshape(z.shape[1] * z.shape[2], 6, 40, len(left))
        rows = rows.transpose(2, 0, 1, 3).reshape(-1, 6 * len(left))
        target = z[..., g * width : (g + 1) * width].reshape(-1, width)
        before = params["conv"][:, :, left, g * width : (g + 1) * width]
        found, _ = refit(rows, target, before.reshape(-1, width))
        close(ours[:, :, left, g * width : (g + 1) * width].reshape(-1, width), found)


def h_stays(players, mask, channel: int) -> bool:
    """True if a channel of the hidden layer stays under a mask."""
    kept = players.kept_indices(mask).get(("in", 3))
    return kept is None or channel in kept


def test_attention_is_that_of_numpy():
    """Heads leave; the projection of all heads is fitted to those that stay."""
    heads, size = 4, 3
    params = {name: draw(k, 6, heads, size) / 2 for k, name in enumerate("qkv")}
    params["o"] = draw(9, heads, size, 5)

    def mix(params, x):
        q, k, v = (jnp.einsum("btm,mhd->bthd", x, params[name]) for name in "qkv")
        weights = jax.nn.softmax(jnp.einsum("bthd,bshd->bhts", q, k), axis=-1)
        return jnp.einsum("bhts,bshd->bthd", weights, v)

    def apply(params, x):
        return jnp.einsum("bthd,hdm->btm", mix(params, x), params["o"])

    x = draw(0, 30, 7, 6)
    players = gp.find_players(apply, params, x)
    mask = np.ones(players.num_players, bool)
    (family,) = [f for f in players.families if f.size == heads]
    mask[family.start] = False
    (rest,) = np.unique(players.kept_indices(mask)["o", 0], axis=0)[None]
    h = np.asarray(mix(params, jnp.asarray(x)))
    z = np.asarray(apply(params, jnp.asarray(x))).reshape(-1, 5)
    before = params["o"][rest].reshape(-1, 5)
    found, _ = refit(h[:, :, rest].reshape(len(z), -1), z, before)
    ours = gp.repair(players, params, mask, x, config=PLAIN).params["o"]
    close(np.asarray(ours)[rest].reshape(-1, 5), found)


def residual(params, x):
    """Two branches on a stream; the normalisation's mean takes what a bias would."""
    for name in ("one", "two"):
        branch = params[name]
        h = jnp.tanh(x @ branch["in"]) @ branch["out"]
        h = (h - branch["mean"][None]) * branch["scale"][None]
        x = x + h + branch["shift"][None]
    return x


def residual_params():
    return {
        name: {
            "in": draw(k, 5, 16),
            "out": draw(k + 1, 16, 5) / 4,
            "mean": draw(k + 2, 5),
            "scale": 1 + draw(k + 3, 5) / 4,
            "shift": draw(k + 4, 5),
        }
        for k, name in enumerate(("one", "two"))
    }


def test_a_branch_makes_up_for_its_stream():
    """The second branch is fitted to the stream that it should leave."""
    params, x = residual_params(), draw(0, 400, 5)
    players = gp.find_players(residual, params, x)
    mask = np.arange(players.num_players) % 2 == 0
    stream = full = x
    ours = gp.repair(players, params, mask, x, config=PLAIN).params
    for name, rows in (("one", mask[:16]), ("two", mask[16:])):
        p = params[name]
        h_full = np.tanh(full @ p["in"])
        z = h_full @ p["out"] + (full - stream) / p["scale"]
        h = np.tanh(stream @ p["in"])[:, rows]
        out, shift = refit(h, z, p["out"][rows], bias=0)
        close(np.asarray(ours[name]["out"])[rows], out)
        close(ours[name]["mean"], p["mean"] - shift)
        np.testing.assert_array_equal(ours[name]["shift"], p["shift"])
        full = full + (h_full @ p["out"] - p["mean"]) * p["scale"] + p["shift"]
        stream = stream + (h @ out + shift - p["mean"]) * p["scale"] + p["shift"]


def test_layers_of_a_scan_are_those_of_a_loop():
    params = residual_params()
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *params.values())

    def scanned(params, x):
        def turn(x, branch):
            h = jnp.tanh(x @ branch["in"]) @ branch["out"]
            return x + h - branch["mean"][None], None

        return lax.scan(turn, x, params)[0]

    def looped(params, x):
        for k in range(2):
            branch = jax.tree.map(lambda leaf, k=k: leaf[k], params)
            h = jnp.tanh(x @ branch["in"]) @ branch["out"]
            x = x + h - branch["mean"][None]
        return x

    x = draw(0, 200, 5)
    found = []
    for apply in (scanned, looped):
        players = gp.find_players(apply, stacked, x)
        mask = np.arange(players.num_players) % 2 == 0
        repaired = gp.repair(players, stacked, mask, x)
        assert not repaired.report.alone and len(repaired.report.readers) == 2
        found.append(repaired.params)
    for ours, expected in zip(*map(jax.tree.leaves, found), strict=True):
        np.testing.assert_allclose(ours, expected, rtol=1e-3, atol=1e-4)


def test_one_matrix_that_two_products_read_is_fitted_to_both():
    params = {"a": draw(1, 3, 8), "b": draw(2, 3, 8), "out": draw(3, 8, 2)}

    def apply(params, x):
        one, two = jnp.tanh(x @ params["a"]), jnp.tanh(x @ params["b"])
        return one @ params["out"], two @ params["out"]

    x = draw(0, 100, 3)
    players = gp.find_players(apply, params, x)
    mask = some_leave(players)
    kept = players.kept_indices(mask)["out", 0]
    h = np.concatenate([np.tanh(x @ params["a"]), np.tanh(x @ params["b"])])
    found, _ = refit(h[:, kept], h @ params["out"], params["out"][kept])
    ours = gp.repair(players, params, mask, x, config=PLAIN).params["out"]
    close(np.asarray(ours)[kept], found)


def test_what_cannot_be_repaired_says_why():
    params = {"embed": draw(1, 7, 6), "in": draw(2, 6, 6)}

    def tied(params, tokens):
        h = params["embed"][tokens]
        return jnp.tanh(h @ params["in"]) @ params["embed"].T

    tokens = np.random.default_rng(0).integers(0, 7, (50, 4))
    players = gp.find_players(tied, params, tokens)
    repaired = gp.repair(players, params, some_leave(players, 2), tokens)
    reasons = {row.path: row.reason for row in repaired.report.alone}
    assert "used elsewhere" in reasons["embed"]
    assert "left alone" in repr(repaired.report)
    np.testing.assert_array_equal(repaired.params["embed"], params["embed"])


def test_integer_weights_stay():
    apply, params = with_integer_weights()
    x = draw(0, 100, 4)
    players = gp.find_players(apply, params, x)
    repaired = gp.repair(players, params, some_leave(players), x)
    assert [r.path for r in repaired.report.readers] == ["out"]
    assert [row.path for row in repaired.report.alone] == ["mid"]


def test_a_mask_that_keeps_all_changes_nothing():
    params, x = mlp_params(), draw(0, 50, 4)
    players = gp.find_players(mlp, params, x)
    repaired = gp.repair(players, params, np.ones(players.num_players, bool), x)
    assert repaired.report.readers == ()
    jax.tree.map(np.testing.assert_array_equal, repaired.params, params)


@pytest.mark.parametrize("mode", ["sequential", "one-shot"])
def test_no_reader_is_worse_and_the_network_is_better(mode):
    params, x = mlp_params(), draw(0, 600, 4)
    players = gp.find_players(mlp, params, x)
    mask = some_leave(players)
    repaired = gp.repair(players, params, mask, x, config=RepairConfig(mode=mode))
    assert all(reader.after <= reader.before for reader in repaired.report.readers)
    full = mlp(params, x)
    errors = [
        float(jnp.square(players.gated(each, mask, x) - full).mean())
        for each in (params, repaired.params)
    ]
    assert errors[1] < errors[0] / 2
    small = gp.compact(players, repaired.params, mask, inputs=(x[:8],))
    np.testing.assert_allclose(
        small.apply(small.params, x),
        players.gated(repaired.params, mask, x),
        rtol=1e-4,
        atol=1e-5,
    )


def test_batches_are_the_examples_at_once():
    params, x = mlp_params(), draw(0, 128, 4)
    players = gp.find_players(mlp, params, x)
    mask = some_leave(players)
    found = [
        gp.repair(
            players, params, mask, x,
            config=RepairConfig(ridges=(RIDGE,), held_out=0.0, batch_size=size),
        ).params
        for size in (128, 32)
    ]  # fmt: skip
    jax.tree.map(lambda a, b: close(a, np.asarray(b), 1e-3), *found)


def test_few_rows_warn_and_constant_inputs_do_no_harm():
    params = mlp_params()
    players = gp.find_players(mlp, params, draw(0, 8, 4))
    mask = some_leave(players)
    with pytest.warns(UserWarning, match="fewer rows than inputs"):
        repaired = gp.repair(players, params, mask, draw(0, 5, 4))
    assert all(r.after <= r.before * (1 + 1e-6) for r in repaired.report.readers)
    constant = np.ones((64, 4), "float32")
    repaired = gp.repair(players, params, mask, constant)
    assert all(r.after <= r.before * (1 + 1e-6) for r in repaired.report.readers)
    np.testing.assert_allclose(
        players.gated(repaired.params, mask, constant), mlp(params, constant), atol=1e-3
    )


def test_bad_input_is_named():
    params, x = mlp_params(), draw(0, 40, 4)
    players = gp.find_players(mlp, params, x)
    mask = some_leave(players)
    with pytest.raises(gp.InputError, match="not finite"):
        gp.repair(players, params, mask, np.where(x > 2, np.nan, x))
    with pytest.raises(gp.InputError, match="cannot take inputs of shape"):
        gp.repair(players, params, mask, draw(0, 40, 5))
    with pytest.raises(gp.InputError, match="at least one calibration example"):
        gp.repair(players, params, mask, x[:0])
    with pytest.raises(gp.InputError, match="mode='both'"):
        RepairConfig(mode="both")
    weights = gp.find_players(mlp, params, x, granularity="weight")
    with pytest.raises(gp.InputError, match="not weight players"):
        gp.repair(weights, params, np.ones(weights.num_players, bool), x)


@pytest.mark.parametrize("steps", [{"gauss_newton": 3}, {"classes": True}])
def test_one_shot_takes_no_steps(steps):
    with pytest.raises(gp.InputError, match="goes with mode='sequential'"):
        RepairConfig(mode="one-shot", **steps)
