"""Readers whose inputs do not vary, half precision, and outputs that hardly vary."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gamepruning as gp
from gamepruning.reconstruction import RepairConfig, reconstruction_scores
from gamepruning.reconstruction.scores import relative_error
from gamepruning.reconstruction.sensitivity import size_of_output

KEYS = jax.random.split(jax.random.key(0), 9)


def normal(number, *shape):
    return jax.random.normal(KEYS[number], shape)


def deep(params, x):
    hidden = jnp.tanh(x @ params["a"] + params["s"][None])
    hidden = jnp.tanh(hidden @ params["b"] + params["s2"][None])
    return hidden @ params["c"] + params["d"][None]


def deep_network():
    shapes = {"a": (4, 6), "s": (6,), "b": (6, 5), "s2": (5,), "c": (5, 3)}
    params = {name: normal(k, *shape) for k, (name, shape) in enumerate(shapes.items())}
    return params | {"d": jnp.zeros(3)}, normal(5, 64, 4)


def error_of(players, params, original, mask, x):
    found = players.gated(params, jnp.asarray(mask), x)
    return float(jnp.square(found - players.apply(original, x)).mean())


@pytest.mark.parametrize("held_out", [0.25, 0.0])
def test_what_reads_constants_gets_the_best_bias(held_out):
    """Nobody is in the first family, so that all behind it is the same for all rows."""
    params, x = deep_network()
    players = gp.find_players(deep, params, x)
    mask = np.arange(players.num_players) >= 7
    config = RepairConfig(held_out=held_out)
    repaired = gp.repair(players, params, mask, x, config=config)
    for leaf in jax.tree.leaves(repaired.params):
        assert np.isfinite(leaf).all()
    best = float(players.apply(params, x).var(axis=0).mean())
    assert error_of(players, repaired.params, params, mask, x) == pytest.approx(best)


@pytest.mark.parametrize("held_out", [0.25, 0.0])
def test_rows_that_are_all_alike_make_no_weights_infinite(held_out):
    params, x = deep_network()
    x = jnp.tile(x[:1], (100, 1))
    players = gp.find_players(deep, params, x)
    mask = np.arange(players.num_players) % 2 == 0
    config = RepairConfig(held_out=held_out)
    repaired = gp.repair(players, params, mask, x, config=config)
    assert error_of(players, repaired.params, params, mask, x) < 1e-10


@pytest.mark.parametrize("kind", [jnp.bfloat16, jnp.float16])
def test_a_bias_makes_up_for_what_half_a_precision_can_hold(kind):
    """Weights that change by less than they are rounded to do not change."""

    def apply(params, x):
        return jax.nn.softplus(x @ params["a"] + 5) @ params["b"] + params["c"][None]

    out = normal(1, 64, 3).at[1::2].multiply(3e-4)
    params = {"a": 0.1 * normal(0, 5, 64), "b": out, "c": jnp.full(3, 3.0)}
    params = jax.tree.map(lambda leaf: leaf.astype(kind), params)
    x = normal(3, 400, 5)
    players = gp.find_players(apply, params, x)
    mask = np.arange(64) % 2 == 0
    repaired = gp.repair(players, params, mask, x)
    before = error_of(players, params, params, mask, x)
    assert error_of(players, repaired.params, params, mask, x) < before / 2
    (reader,) = repaired.report.readers
    assert 0 < reader.after < reader.before


def test_a_checkpoint_of_another_activation_is_refused(tmp_path):
    params, x = {"a": normal(1, 4, 6), "b": normal(2, 6, 3)}, normal(0, 64, 4)
    mask, path = np.arange(6) < 3, tmp_path / "r.npz"

    def repair(act, config=None):
        players = gp.find_players(lambda p, x: act(x @ p["a"]) @ p["b"], params, x)
        return gp.repair(players, params, mask, x, checkpoint=path, config=config)

    first = repair(jnp.tanh, RepairConfig(ridges=(1e-3, 1e-2)))
    again = repair(jnp.tanh, RepairConfig(ridges=[1e-3, 1e-2]))
    np.testing.assert_array_equal(first.params["b"], again.params["b"])
    with pytest.raises(gp.InputError, match="another run"):
        repair(jax.nn.relu, RepairConfig(ridges=(1e-3, 1e-2)))


def test_an_output_that_does_not_vary_does_not_outweigh_the_others():
    """As a loss beside logits, which models with experts return."""
    logits, loss = normal(0, 64, 10), jnp.float32(0.5)
    off = float(relative_error((logits, loss), (-logits, loss)))
    assert off == pytest.approx(2, rel=0.1)
    little = float(relative_error((logits, loss), (logits, 1.01 * loss)))
    assert little == pytest.approx(0.5e-4, rel=1e-2)
    assert float(size_of_output(jnp.zeros(3))) == 1


def test_numbers_and_names_among_the_parameters_stay_what_they_are():
    def apply(params, x):
        hidden = x @ params["a"]
        hidden = hidden.reshape(len(x), params["heads"], -1).reshape(len(x), -1)
        return getattr(jnp, params["act"])(hidden) @ params["b"]

    params = {"a": normal(1, 4, 6), "b": normal(2, 6, 3), "act": "tanh", "heads": 2}
    x = normal(0, 64, 4)
    players = gp.find_players(apply, params, x)
    scores = reconstruction_scores(players, params, x)
    assert np.isfinite(scores.value).all()


def test_half_precision_errors_behind_a_small_scale_do_not_overflow():
    """LayerScale: errors at the stream are divided by the scale to reach the reader."""

    def apply(params, x):
        stream = x @ params["e"]
        stream = stream + jnp.tanh(stream @ params["a1"]) @ params["b1"]
        inner = jnp.tanh(stream @ params["a2"]) @ params["b2"]
        return stream + inner * params["g"][None]

    params = {"e": jnp.eye(8), "a1": normal(1, 8, 32), "b1": normal(2, 32, 8)}
    params |= {"a2": normal(3, 8, 32), "b2": normal(4, 32, 8)}
    params |= {"g": jnp.ones(8).at[0].set(1e-5)}
    params, x = jax.tree.map(jnp.float16, (params, normal(5, 64, 8)))
    players = gp.find_players(apply, params, x)
    mask = np.arange(players.num_players) % 2 == 0
    repaired = gp.repair(players, params, mask, x)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(repaired.params))
