"""Compaction: what leaves is really gone, and nothing else changed."""

import sys

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gamepruning as gp
from gamepruning.compaction.verify import relative_error, tolerance
from tests.small import apply_mlp, make_mlp

MASK = np.array([True, False, True, True, False, True, True])


def test_the_small_model_is_the_gated_one_at_its_size(key):
    players, params, inputs, _ = make_mlp(key)
    small = gp.compact(players, params, MASK)
    assert small.params["dense0"]["kernel"].shape == (5, 3)
    assert small.params["dense1"]["kernel"].shape == (3, 2)
    np.testing.assert_allclose(
        jax.jit(small.apply)(small.params, inputs),
        players.gated(params, MASK, inputs),
        rtol=1e-6,
    )
    assert small.report.max_error < 1e-6 and small.report.params.after == 32


def test_training_goes_on_with_the_sliced_optimizer(key):
    players, params, inputs, labels = make_mlp(key)
    tx = optax.adam(1e-2)

    def loss(apply):
        return lambda p: gp.cross_entropy(apply(p, inputs), labels)

    def gated(p, x):
        return players.gated(p, MASK, x)

    grads = jax.grad(loss(gated))(params)
    updates, state = tx.update(grads, tx.init(params), params)
    params = optax.apply_updates(params, updates)
    small = gp.compact(players, params, MASK, opt_state=state)
    small_grads = jax.grad(loss(small.apply))(small.params)
    small_updates, _ = tx.update(small_grads, small.opt_state, small.params)
    full_updates, _ = tx.update(jax.grad(loss(gated))(params), state, params)
    expected = gp.compaction.slice_opt_state(
        full_updates, params, players.kept_indices(MASK)
    )
    for one, two in zip(
        jax.tree.leaves(small_updates), jax.tree.leaves(expected), strict=True
    ):
        np.testing.assert_allclose(one, two, rtol=1e-4, atol=1e-7)


def test_widths_round_up_by_score(key):
    players, params, _, _ = make_mlp(key, widths=(5, 8, 2))
    mask = np.arange(8) < 3
    small = gp.compact(players, params, mask, round_to=4, scores=np.arange(8.0))
    assert small.mask.sum() == 4
    assert small.mask[:3].all() and small.mask[7]


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (np.ones(3, bool), r"mask has shape \(3,\), expected \(7,\)"),
        (np.ones(7), "expected bool"),
        (np.ones(7, bool), "nothing would be removed"),
        (np.arange(7) < 4, "keeps 0 of the 3 players of dense1"),
    ],
)
def test_masks_that_do_not_fit(key, mask, message):
    players, params, _, _ = make_mlp(key)
    with pytest.raises(gp.InputError, match=message):
        gp.compact(players, params, mask)


def test_a_layer_vanishes_only_on_request(key):
    players, params, inputs, _ = make_mlp(key)
    small = gp.compact(players, params, np.arange(7) < 4, min_units=0)
    bias = params["dense2"]["bias"]
    np.testing.assert_allclose(
        small.apply(small.params, inputs), jnp.tile(bias, (8, 1)), rtol=1e-6
    )


def test_nothing_is_handed_out_when_outputs_differ(key, monkeypatch):
    players, params, _, _ = make_mlp(key)
    module = sys.modules["gamepruning.compaction.compact"]
    monkeypatch.setattr(module, "relative_error", lambda *_: 1e-2)
    with pytest.raises(
        gp.compaction.VerificationError, match="differ from the gated full model"
    ):
        gp.compact(players, params, MASK)


@pytest.mark.parametrize(
    ("dtype", "least", "most"),
    [(np.float64, 1e-12, 1e-8), (np.float32, 1e-6, 1e-3), (np.float16, 1e-2, 0.1)],
)
def test_rounding_has_room_in_every_precision(dtype, least, most):
    assert least <= tolerance(np.ones(1, dtype)) <= most


def test_the_state_of_linen_params_is_sliced_along(key):
    module = nn.Sequential([nn.Dense(8), nn.relu, nn.Dense(2)])
    x = jax.random.normal(key, (3, 4))
    apply, variables = gp.from_linen(module, module.init(key, x))
    players, tx = gp.find_players(apply, variables, x), optax.adam(1e-3)
    state = tx.init(variables["params"])
    small = gp.compact(players, variables, np.arange(8) < 4, opt_state=state)
    expected = tx.init(small.params["params"])
    assert jax.tree.map(jnp.shape, small.opt_state) == jax.tree.map(jnp.shape, expected)
    again = small.plan.apply_opt_state(state, variables)
    assert jax.tree.map(jnp.shape, again) == jax.tree.map(jnp.shape, expected)


def test_the_small_model_says_what_it_expects(key):
    players, params, inputs, _ = make_mlp(key)
    small = gp.compact(players, params, MASK)
    with pytest.raises(ValueError, match=r"dense0/bias has shape \(4,\), expected"):
        small.apply(params, inputs)


def test_input_features_leave(key):
    _, params, inputs, _ = make_mlp(key)
    players = gp.find_players(apply_mlp, params, inputs, input_axes={0: 1})
    mask = np.ones(players.num_players, bool)
    mask[[0, 2, 5]] = False
    small = gp.compact(players, params, mask)
    assert small.input_kept[0][1].tolist() == [1, 3, 4]
    np.testing.assert_allclose(
        small.apply(small.params, inputs[:, small.input_kept[0][1]]),
        players.gated(params, mask, inputs),
        rtol=1e-6,
    )
    with pytest.raises(ValueError, match="expected the 3 that stay"):
        small.apply(small.params, inputs)


def test_units_leave_when_none_of_their_weights_is_read(key):
    _, params, inputs, _ = make_mlp(key)
    players = gp.find_players(apply_mlp, params, inputs, granularity="weight")
    mask = np.ones(players.num_players, bool)
    readers = mask[20:32].reshape(4, 3)  # dense1/kernel
    readers[1] = False
    mask[:3] = False
    small = gp.compact(players, params, mask)
    assert small.params["dense0"]["kernel"].shape == (5, 3)
    applied = small.plan.apply(params)
    jax.tree.map(np.testing.assert_array_equal, applied, small.params)
    assert not np.all(applied["dense0"]["kernel"])
    np.testing.assert_allclose(
        small.apply(small.params, inputs),
        players.gated(params, mask, inputs),
        rtol=1e-6,
    )


class Normed(nn.Module):
    """Convolutions and batch norms whose dead units still speak."""

    padding: str

    @nn.compact
    def __call__(self, x):
        x = nn.Conv(6, (3, 3), padding="VALID")(x)
        x = nn.sigmoid(nn.BatchNorm(use_running_average=True)(x))
        x = nn.Conv(7, (3, 3), padding=self.padding, use_bias=False)(x)
        x = jnp.cos(nn.BatchNorm(use_running_average=True)(x)).mean((1, 2))
        return nn.Dense(3)(nn.sigmoid(nn.Dense(12)(x)))


def make_normed(key, padding):
    module = Normed(padding)
    x = jax.random.normal(key, (4, 9, 9, 1))
    variables = module.init(key, x)
    leaves, treedef = jax.tree.flatten(variables)
    keys = jax.random.split(key, len(leaves))
    leaves = [
        leaf + 0.5 * jnp.abs(jax.random.normal(k, leaf.shape))
        for k, leaf in zip(keys, leaves, strict=True)
    ]
    return module, jax.tree.unflatten(treedef, leaves), x


def test_what_dead_players_emit_is_folded(key):
    module, params, x = make_normed(key, "VALID")
    players = gp.find_players(module.apply, params, x)
    mask = np.arange(players.num_players) % 2 == 0
    dead = players.participate(params, mask)
    small = gp.compact(players, dead, mask, fold=True)
    expected = module.apply(dead, x)
    assert relative_error(expected, small.apply(small.params, x)) < 1e-5
    silent = gp.compact(players, dead, mask)
    assert relative_error(expected, silent.apply(silent.params, x)) > 1e-2


def test_folding_refuses_what_it_cannot_do_exactly(key):
    module, params, x = make_normed(key, "SAME")
    players = gp.find_players(module.apply, params, x)
    mask = np.arange(players.num_players) % 2 == 0
    with pytest.raises(gp.InputError, match="is not dead: its weights in .* not zero"):
        gp.compact(players, params, mask, fold=True)
    dead = players.participate(params, mask)
    with pytest.raises(gp.InputError, match="differs from place to place"):
        gp.compact(players, dead, mask, fold=True)


def test_relative_error_tells_apart_what_differs():
    one = {"a": jnp.array([1.0, jnp.nan, jnp.inf]), "b": jnp.array([1, 2])}
    assert relative_error(one, one) == 0
    assert relative_error(one, {**one, "a": jnp.array([1.0, 0.0, jnp.inf])}) == np.inf
    assert relative_error(one, {**one, "b": jnp.array([1, 3])}) == 0.5
    assert relative_error(jnp.zeros(3), jnp.full(3, 1e-3)) == pytest.approx(1e-3)
    assert relative_error(jnp.zeros(3), jnp.zeros(4)) == np.inf


def test_what_the_model_closes_over_is_cut_once(key):
    """No full-size array in the smaller model, nor in what it computes."""
    fixed = jax.random.normal(key, (64, 64))
    params = {"a": fixed[:5], "b": fixed[:, :3]}
    inputs = fixed[:2, :5]

    def apply(params, x):
        return jnp.tanh(jnp.tanh(x @ params["a"]) @ fixed) @ params["b"]

    players = gp.find_players(apply, params, inputs)
    mask = np.arange(players.num_players) % 4 == 0
    small = gp.compact(players, params, mask, inputs=(inputs,))
    for run in (small.apply, jax.vmap(small.apply, (None, 0))):
        traced = jax.make_jaxpr(run)(small.params, inputs[None])
        assert [np.shape(array) for array in traced.consts] == [(16, 16)]
        assert "gather" not in str(traced)
        again = jax.make_jaxpr(run)(small.params, inputs[None])
        assert again.consts[0] is traced.consts[0]
