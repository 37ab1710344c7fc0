"""The market without training, and families chosen in order."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import gamepruning as gp
from gamepruning.reconstruction import (
    ReconstructionConfig,
    RepairConfig,
    eliminate_in_order,
    reconstruction_scores,
    trade,
)
from gamepruning.reconstruction.sensitivity import sensitivities
from tests.reconstruction.test_repair import draw, mlp, mlp_params, with_integer_weights


def test_the_metric_is_that_of_fisher():
    params, x = mlp_params(), draw(0, 256, 4)
    players = gp.find_players(mlp, params, x)
    found = sensitivities(players, params, (x,))
    assert len(found) == 2

    def logits(errors, row):
        h = jnp.maximum(row @ params["in"] + params["b"], 0)
        h = jnp.maximum(h @ params["mid"] + errors + params["c"], 0)
        return h @ params["out"] + params["d"]

    expected = np.zeros((9, 9))
    for row in x:
        p = np.asarray(jax.nn.softmax(logits(jnp.zeros(9), row)))
        slope = np.asarray(jax.jacobian(logits)(jnp.zeros(9), row))
        expected += slope.T @ (np.diag(p) - np.outer(p, p)) @ slope
    (ours,) = [m[0] for m in found.values() if m.shape[-1] == 9]
    ours = ours * np.trace(expected) / np.trace(ours)
    assert np.abs(ours - expected).max() < 0.1 * np.abs(expected).max()


def test_errors_that_no_output_sees_cost_nothing():
    def apply(params, x):
        return jnp.maximum(x @ params["in"], 0) @ params["mid"] @ params["out"]

    out = draw(3, 6, 3)
    out[3:] = 0  # the last three are computed and not read
    mid = draw(2, 8, 6)
    mid[4:, :3] /= 10
    mid[4:, 3:] *= 10
    params, x = {"in": draw(1, 4, 8), "mid": mid, "out": out}, draw(0, 200, 4)
    players = gp.find_players(apply, params, x)
    first = players.families[0]
    value = np.asarray(reconstruction_scores(players, params, x).value)
    value = value[first.start : first.stop]
    assert set(np.argsort(value)[-3:]) <= {0, 1, 2, 3}


def test_a_network_without_gradients_is_eliminated_all_the_same():
    def apply(params, x):
        h = jnp.maximum(x @ params["in"], 0)
        start = jnp.zeros((), jnp.int32), h @ params["out"]
        body = lambda carry: (carry[0] + 1, 0.9 * carry[1])  # noqa: E731
        return lax.while_loop(lambda carry: carry[0] < 2, body, start)[1]

    params, x = {"in": draw(1, 4, 8), "out": draw(2, 8, 3)}, draw(0, 64, 4)
    players = gp.find_players(apply, params, x)
    with pytest.warns(UserWarning, match="has no gradient"):
        scores = reconstruction_scores(players, params, x)
    assert np.isfinite(np.asarray(scores.value)).all()


@pytest.mark.parametrize("unit", ["players", "params", "macs"])
def test_trades_keep_the_budget_and_help(unit):
    params, x = mlp_params(), draw(0, 300, 4)
    players = gp.find_players(mlp, params, x)
    size = gp.players.size_of(players, unit)
    target = 0.4 * float(size(np.ones(players.num_players)))
    found = trade(players, params, x, target, unit=unit)
    assert found.size == float(size(found.mask)) <= target * (1 + 1e-6)
    assert found.loss <= found.cleared
    assert 1 <= found.num_evaluations <= 200
    kept = [found.mask[f.start : f.stop].sum() for f in players.families]
    assert min(kept) >= 1


def test_a_target_that_is_too_small_is_told():
    params, x = mlp_params(), draw(0, 64, 4)
    players = gp.find_players(mlp, params, x)
    with pytest.raises(gp.InputError, match="one player of each family"):
        trade(players, params, x, 1)


def test_in_order_keeps_the_counts_and_is_a_repair():
    params, x = mlp_params(), draw(0, 300, 4)
    players = gp.find_players(mlp, params, x)
    start = np.arange(players.num_players) % 2 == 0
    found = eliminate_in_order(players, params, start, x)
    for f in players.families:
        assert found.mask[f.start : f.stop].sum() == start[f.start : f.stop].sum()
    small = gp.compact(players, found.params, found.mask)
    gated = players.gated(found.params, found.mask, x)
    np.testing.assert_allclose(small.apply(small.params, x), gated, atol=1e-5)

    def lost(params, mask):
        return float(np.square(players.gated(params, mask, x) - mlp(params_, x)).mean())

    params_ = params
    given = gp.repair(players, params, start, x).params
    assert lost(found.params, found.mask) < lost(given, start)
    with pytest.raises(gp.InputError, match="expected sequential"):
        config = RepairConfig(mode="one-shot")
        eliminate_in_order(players, params, start, x, config=config)


def test_in_order_leaves_a_family_with_several_readers_as_given():
    def apply(params, x):
        h = jnp.maximum(x @ params["in"], 0)
        return h @ params["one"], h @ params["two"]

    params = {"in": draw(1, 4, 8), "one": draw(2, 8, 3), "two": draw(3, 8, 2)}
    x = draw(0, 100, 4)
    players = gp.find_players(apply, params, x)
    mask = np.arange(8) % 2 == 0
    found = eliminate_in_order(players, params, mask, x)
    np.testing.assert_array_equal(found.mask, mask)
    assert len(found.report.readers) == 2


def test_in_order_decides_two_families_that_one_matrix_reads():
    def apply(params, x):
        both = [jnp.maximum(x @ params["one"], 0), jnp.tanh(x @ params["two"])]
        return jnp.concatenate(both, axis=-1) @ params["out"]

    params = {"one": draw(1, 4, 8), "two": draw(2, 4, 6), "out": draw(3, 14, 3)}
    x = draw(0, 100, 4)
    players = gp.find_players(apply, params, x)
    found = eliminate_in_order(players, params, np.arange(14) % 2 == 0, x)
    assert [int(found.mask[f.start : f.stop].sum()) for f in players.families] == [4, 3]


def test_in_order_leaves_a_family_that_something_else_reads_as_given():
    def apply(params, x):
        h = jnp.maximum(x @ params["in"], 0)
        computed = h @ (2 * params["one"])  # weights that cannot be fitted
        return jnp.tanh(computed) + h @ params["two"]

    params = {"in": draw(1, 4, 8), "one": draw(2, 8, 3), "two": draw(3, 8, 3)}
    x = draw(0, 100, 4)
    players = gp.find_players(apply, params, x)
    mask = np.arange(8) % 2 == 0
    found = eliminate_in_order(players, params, mask, x)
    np.testing.assert_array_equal(found.mask, mask)
    given = gp.repair(players, params, mask, x).params
    np.testing.assert_allclose(found.params["two"], given["two"], atol=1e-5)


def test_gradients_that_are_not_finite_are_told():
    def apply(params, x):
        h = jnp.maximum(x @ params["in"], 0) @ params["out"]
        return jnp.sqrt(jnp.maximum(h, 0))

    params, x = {"in": draw(1, 4, 8), "out": draw(2, 8, 3)}, draw(0, 64, 4)
    players = gp.find_players(apply, params, x)
    with pytest.warns(UserWarning, match="gradients are not finite"):
        scores = reconstruction_scores(players, params, x)
    assert np.isfinite(np.asarray(scores.value)).all()


@pytest.mark.parametrize(
    "outputs",
    [
        lambda z: {"class": z.argmax(axis=-1), "sure": z > 0, "z": z},
        lambda z: jnp.where(jnp.arange(3) < 2, z, -jnp.inf),  # a class masked out
        lambda z: jnp.round(8 * z).astype(int),
    ],
)
def test_trades_judge_outputs_of_any_kind(outputs):
    def apply(params, x):
        return outputs(jnp.maximum(x @ params["in"], 0) @ params["out"])

    params, x = {"in": draw(1, 4, 8), "out": draw(2, 8, 3)}, draw(0, 64, 4)
    players = gp.find_players(apply, params, x)
    found = trade(players, params, x, 2)
    assert found.size == 2 and np.isfinite(found.loss) and found.loss > 0


def test_examples_that_depend_on_each_other_are_all_asked():
    def apply(params, x, edges):
        return edges @ jnp.maximum(edges @ x @ params["in"], 0) @ params["out"]

    params, x = {"in": draw(1, 4, 8), "out": draw(2, 8, 3)}, draw(0, 20, 4)
    edges = (np.eye(20) + np.roll(np.eye(20), 1, axis=0)).astype("float32")
    players = gp.find_players(apply, params, x, edges)
    config = ReconstructionConfig(num_examples=9)
    assert trade(players, params, (x, edges), 3, config=config).size == 3


def test_trades_that_cannot_be_made_are_told():
    params, x = {"in": draw(1, 4, 8), "out": draw(2, 8, 3)}, draw(0, 64, 4)

    def apply(params, x):
        return jnp.maximum(x @ params["in"], 0) @ params["out"]

    players = gp.find_players(apply, params, x)
    with pytest.raises(gp.InputError, match="across='share': expected network"):
        trade(players, params, x, 4, config=ReconstructionConfig(across="share"))
    with pytest.raises(gp.InputError, match="expected a size in players"):
        trade(players, params, x, np.nan)
    with pytest.raises(gp.InputError, match="num_examples=0"):
        ReconstructionConfig(num_examples=0)

    def undefined(params, x):
        return jnp.log(apply(params, x))

    players = gp.find_players(undefined, params, x)
    with pytest.raises(gp.InputError, match="loses is not finite"):
        trade(players, params, x, 4)


def test_who_is_left_alone_reads_an_axis_that_is_cut():
    apply, params = with_integer_weights()
    x = draw(0, 100, 4)
    players = gp.find_players(apply, params, x)
    first, second = players.families
    for cut, expected in ((second, []), (first, ["mid"])):
        mask = np.ones(players.num_players, bool)
        mask[cut.start : cut.start + 3] = False
        report = eliminate_in_order(players, params, mask, x).report
        assert [row.path for row in report.alone] == expected
