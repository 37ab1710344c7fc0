"""Repair of models with something unusual around their readers."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import gamepruning as gp
from gamepruning.reconstruction import RepairConfig, gather_grams
from gamepruning.reconstruction.stretch import Programs


def draw(seed: int, *shape: int) -> np.ndarray:
    rng = np.random.default_rng((seed, *shape))
    return rng.standard_normal(shape).astype("float32") / 2


PLAIN = RepairConfig(ridges=(1e-6,), held_out=0.0, rounds=0)


def losses(apply, params, *inputs, config=PLAIN):
    """(as cut, repaired, repaired from Grams) against the full network, and params."""
    players = gp.find_players(apply, params, *inputs)
    mask = np.arange(players.num_players) % 3 != 0
    repaired = gp.repair(players, params, mask, inputs, config=config)
    grams = gather_grams(players, params, inputs)
    quick = grams.run.passes.with_params(grams.repaired(mask))
    full = jax.tree.leaves(apply(params, *inputs))

    def loss(params):
        ours = jax.tree.leaves(players.gated(params, mask, *inputs))
        return sum(np.square(a - b).mean() for a, b in zip(ours, full, strict=True))

    return loss(params), loss(repaired.params), loss(quick), repaired.params


@pytest.mark.parametrize("scale", [np.float32(0), np.array([0, 1, 2, 1, 1], "float32")])
def test_a_branch_that_is_scaled_by_zero_is_no_obstacle(scale):
    params = {name: draw(k, 5, 9) for k, name in enumerate("ac")}
    params |= {name: draw(k, 9, 5) for k, name in enumerate("bd")} | {"s": scale}

    def apply(params, x):
        x = x + jnp.maximum(x @ params["a"], 0) @ params["b"]
        branch = jnp.maximum(x @ params["c"], 0) @ params["d"]
        return x + jnp.broadcast_to(params["s"], branch.shape) * branch

    cut, repaired, quick, _ = losses(apply, params, draw(0, 200, 5))
    assert repaired < cut / 2 and quick < cut / 2


@pytest.mark.parametrize("kind", ["bias of rows", "factor of rows", "integers"])
def test_a_bias_that_cannot_take_an_intercept_stays(kind):
    """As many rows as outputs, so that the sizes do not give the bias away."""
    params = {"a": draw(1, 6, 9), "b": draw(2, 9, 4), "c": draw(3, 4)}
    if kind == "integers":
        params["c"] = np.arange(4, dtype="int32")
    row = jnp.array([0.0, 1.0, 2.0, 3.0])[None, :, None]

    def apply(params, x):
        result = jax.nn.sigmoid(x @ params["a"]) @ params["b"]
        if kind == "bias of rows":
            return result + params["c"][None, :, None]
        if kind == "factor of rows":
            return result * row + params["c"][None, None]
        return result + params["c"].astype("float32")[None, None]

    cut, repaired, quick, found = losses(apply, params, draw(0, 60, 4, 6))
    assert repaired < cut / 2 and quick < cut / 2
    np.testing.assert_array_equal(found["c"], params["c"])
    assert losses(apply, params, draw(0, 60, 4, 6), config=RepairConfig())[1] < cut / 2


def test_a_shared_matrix_whose_readers_change_places():
    """One reader of W is needed early, for the stream that V is corrected by."""
    params = {name: draw(k, 6, 8) for k, name in enumerate("abc")}
    params |= {"V": draw(1, 8, 5), "W": draw(2, 8, 5)}

    def apply(params, x):
        one, two, three = (jnp.tanh(x @ params[name]) for name in "abc")
        early, other, late = two @ params["V"], one @ params["W"], three @ params["W"]
        return early + jnp.tanh(late), other

    cut, repaired, _, _ = losses(apply, params, draw(0, 200, 6))
    assert repaired < cut


def test_a_long_computation_without_inputs_is_no_recursion():
    params = {"a": draw(1, 2, 5, 6), "b": draw(2, 2, 6, 5) / 9}

    def turn(carry, layer):
        x, level = carry
        for _ in range(300):  # 1,200 operations in two turns: more than may be nested
            level = level * 0.9 + 0.1
        return (x + jnp.tanh(x @ layer["a"]) @ layer["b"] * level, level), None

    def apply(params, x):
        return lax.scan(turn, (x, jnp.ones(())), params)[0][0]

    x = draw(0, 20, 5)
    players = gp.find_players(apply, params, x)
    mask = np.arange(players.num_players) != 1
    grams = gather_grams(players, params, x)
    assert len(grams.grams) == 2 and grams.repaired(mask)


def test_programs_of_one_text_that_read_different_arguments_differ():
    programs, args = Programs(), (jnp.zeros(2), jnp.ones(2))
    first = programs.prepare(lambda a, b: a + 1, *args)
    second = programs.prepare(lambda a, b: b + 1, *args)
    assert first(*args)[0] == 1 and second(*args)[0] == 2


def test_grams_take_one_pass():
    """Each stretch of the program is run once."""
    params = {"a": draw(1, 5, 6), "b": draw(2, 6, 7), "c": draw(3, 7, 2)}
    calls: list[int] = []

    def apply(params, x):
        h = jnp.maximum(x @ params["a"], 0)
        h = jax.pure_callback(lambda h: (calls.append(1), h)[1], h, h)
        h = jnp.maximum(h @ params["b"], 0)
        return h @ params["c"]

    x = draw(0, 40, 5)
    players = gp.find_players(apply, params, x)
    gather_grams(players, params, x)  # looks at whether examples are apart, too
    calls.clear()
    gather_grams(players, params, x)
    assert len(calls) == 1


def test_recurrent_weights_are_fitted_though_the_first_state_is_a_constant():
    """Zeros that meet the weights first are an activation like those that follow."""

    def gru(start):
        def apply(params, x):
            def cell(h, now):
                gate = jax.nn.sigmoid(now @ params["wz"] + h @ params["uz"])
                new = jnp.tanh(now @ params["wc"] + h @ params["uc"])
                h = (1 - gate) * h + gate * new
                return h, None

            return lax.scan(cell, start(params, x), x.swapaxes(0, 1))[0] @ params["out"]

        return apply

    def zeros(params, x):
        return jnp.zeros((len(x), 8))

    def by_inputs(params, x):
        return 0 * (x[:, 0] @ params["wz"])

    shapes = {"wz": (5, 8), "uz": (8, 8), "wc": (5, 8), "uc": (8, 8), "out": (8, 3)}
    params = {
        name: jax.random.normal(jax.random.key(seed), shape) / 2
        for seed, (name, shape) in enumerate(shapes.items())
    }
    x = jax.random.normal(jax.random.key(9), (200, 4, 5))
    mask = np.arange(8) % 2 == 0
    found = []
    for start in (zeros, by_inputs):
        players = gp.find_players(gru(start), params, x)
        found.append(gp.repair(players, params, mask, x))
        assert [reader.path for reader in found[-1].report.readers] == [
            *("uz", "uc", "out")
        ]
        assert not found[-1].report.alone
    for name in shapes:
        np.testing.assert_allclose(
            found[0].params[name], found[1].params[name], atol=1e-5
        )
    full = gru(zeros)(params, x)
    lost = [
        float(jnp.square(players.gated(p, mask, x) - full).mean())
        for p in (params, found[0].params)
    ]
    assert lost[1] < 0.9 * lost[0]


def parts_of(params, axis):
    """Weights and bias of two halves, each an array of its own."""
    halves = dict(zip("bc", np.split(params["b"], 2, axis), strict=True))
    return {"a": params["a"], "d": params["d"], **halves}


@pytest.mark.parametrize("axis", [0, 1])
def test_weights_joined_from_two_parameters_are_repaired_as_one(axis):
    params = {"a": draw(1, 6, 12), "b": draw(2, 12, 8), "d": draw(3, 8)}

    def apply(params, x, weights):
        bias = jnp.concatenate([params["d"][:3], params["d"][3:]])
        return jax.nn.sigmoid(x @ params["a"]) @ weights + bias[None]

    def joined(params, x):
        both = [params["b"], params["c"]]
        return apply(params, x, jnp.concatenate(both, axis))

    x, parts = draw(0, 200, 6), parts_of(params, axis)
    cut, repaired, quick, found = losses(joined, parts, x)
    assert repaired < cut / 2 and quick < cut / 2
    one = losses(lambda params, x: apply(params, x, params["b"]), params, x)
    np.testing.assert_allclose([repaired, quick], one[1:3], rtol=1e-4)
    together = np.concatenate([found["b"], found["c"]], axis)
    np.testing.assert_allclose(together, one[3]["b"], atol=1e-5)
    np.testing.assert_allclose(found["d"], one[3]["d"], atol=1e-5)


def test_a_parameter_that_is_joined_and_read_alone_stays():
    params = {name: draw(k, 6, 6) for k, name in enumerate("abc")}

    def apply(params, x):
        h = jnp.tanh(x @ params["a"])
        both = h @ jnp.concatenate([params["b"], params["c"]], 1)
        return jnp.concatenate([both, h @ params["b"]], 1)

    x = draw(0, 200, 6)
    players = gp.find_players(apply, params, x)
    report = gp.repair(players, params, np.arange(6) > 1, x).report
    assert not report.readers
    assert {alone.path for alone in report.alone} == {"b", "b + c"}
    assert all("used elsewhere" in alone.reason for alone in report.alone)


def test_the_joined_kernels_of_an_lstm_are_repaired_as_its_own():
    """Two cells of one function; the optimised one joins its kernels and its biases.

    Four readers in turn see what those before have repaired, one does not.
    """
    x = draw(0, 200, 5, 6)

    def run(cell):
        class Network(nn.Module):
            @nn.compact
            def __call__(self, x):
                states = nn.RNN(cell(12, name="cell"))(x)
                return nn.Dense(3, name="end")(states[:, -1])

        apply = Network().apply
        params = Network().init(jax.random.key(1), x[:1])
        return losses(apply, params, x, config=RepairConfig(ridges=(1e-3,)))

    one, two = run(nn.LSTMCell), run(nn.OptimizedLSTMCell)
    assert two[1] < two[0] / 2
    np.testing.assert_allclose(two[0], one[0], rtol=1e-5)
    np.testing.assert_allclose(two[1:3], one[1:3], rtol=0.05)


@pytest.mark.parametrize("kind", ["stack", "split"])
def test_weights_joined_in_other_ways(kind):
    columns = [draw(k, 12) for k in range(8)]
    params = {"a": draw(1, 6, 12), "b": columns if kind == "stack" else draw(2, 12, 8)}

    def weights(params):
        if kind == "stack":
            return jnp.stack(params["b"], 1)
        return jnp.concatenate(jnp.split(params["b"], [5], 1)[::-1], 1)

    def apply(params, x):
        return jax.nn.sigmoid(x @ params["a"]) @ weights(params)

    def whole(params, x):
        return jax.nn.sigmoid(x @ params["a"]) @ params["b"]

    x, one = draw(0, 200, 6), {"a": params["a"], "b": np.asarray(weights(params))}
    cut, repaired, quick, _ = losses(apply, params, x)
    assert repaired < cut / 2 and quick < cut / 2
    np.testing.assert_allclose([repaired, quick], losses(whole, one, x)[1:3], rtol=1e-3)


def test_whole_numbers_among_joined_weights_are_named():
    params = {"a": draw(1, 6, 6), "b": draw(2, 6, 3), "c": np.ones((6, 3), np.int32)}

    def apply(params, x):
        both = [params["b"], params["c"].astype(jnp.float32)]
        return jnp.tanh(x @ params["a"]) @ jnp.concatenate(both, 1)

    x = draw(0, 50, 6)
    players = gp.find_players(apply, params, x)
    (alone,) = gp.repair(players, params, np.arange(6) > 1, x).report.alone
    assert alone == ("b + c", "some of its weights are int32")
