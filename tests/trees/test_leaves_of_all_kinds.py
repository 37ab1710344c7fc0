"""Leaves that are functions (`eqx.nn.MLP` as it is): every helper takes them."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gamepruning as gp

equilibrium = gp.equilibrium
CONFIG = gp.UtilityConfig(beta=0.05, gamma=0.05, eta=0.01)
HALF = np.arange(8) < 3


def apply(params, x):
    return params["act"](x @ params["w1"]) @ params["w2"]


def make(key):
    one, two, three = jax.random.split(key, 3)
    params = {
        "w1": jax.random.normal(one, (4, 8)),
        "w2": jax.random.normal(two, (8, 3)),
        "act": jax.nn.gelu,
    }
    x = jax.random.normal(three, (12, 4))
    return gp.find_players(apply, params, x), params, x, jnp.arange(12) % 3


def steps_of(players):
    tx = gp.joint_optimizer(optax.sgd(0.1), 1e-3)
    loss = gp.cross_entropy
    return {
        "equilibrium": gp.make_equilibrium_step(
            players, loss, tx, CONFIG, normalise=True, updates="alternating"
        ),
        "market": gp.make_market_step(
            players, loss, tx, gp.Budget(keep=0.5), num_steps=100
        ),
    }


@pytest.mark.parametrize("name", ["equilibrium", "market", "hard concrete"])
def test_training_steps(key, name):
    players, params, x, y = make(key)
    if name == "hard concrete":
        step = gp.baselines.make_hard_concrete_step(
            players, gp.cross_entropy, optax.adam(1e-3), 0.01
        )
        state = step.init(0, params)
    else:
        step = steps_of(players)[name]
        state = step.init(params)
    state, _ = step.step(state, (x, y))
    assert state.params["act"] is jax.nn.gelu
    assert not np.array_equal(state.params["w1"], params["w1"])


def test_whole_games(key):
    players, params, x, y = make(key)
    tx = gp.joint_optimizer(optax.sgd(0.1), 1e-3)
    result = equilibrium.equilibrium_pruning(
        key, players, params, gp.cross_entropy, x, y,
        config=CONFIG, tx=tx, num_epochs=1, batch_size=4,
    )  # fmt: skip
    assert result.params["act"] is jax.nn.gelu
    loss = lambda p, s: gp.cross_entropy(players.gated(p, s, x), y)  # noqa: E731
    assert gp.solve(players, params, loss, CONFIG, max_steps=2).steps <= 2


def test_gradients_with_gaps_are_gradients(key):
    players, params, x, y = make(key)
    floats = {name: params[name] for name in ("w1", "w2")} | {"act": None}

    def loss(floats, gates):
        whole = floats | {"act": params["act"]}
        return gp.cross_entropy(players.gated(whole, gates, x), y)

    slope = jax.grad(loss)(floats, jnp.ones(8))
    gains = gp.utility_gradient(players, params, slope, jnp.ones(8), CONFIG)
    assert np.isfinite(gains).all()
    whole = jax.tree.map(jnp.multiply, slope, floats)
    np.testing.assert_allclose(
        players.sum_owned(whole), (slope["w1"] * floats["w1"]).sum(0), rtol=1e-5
    )


def test_scores_and_compaction(key):
    players, params, x, y = make(key)
    assert gp.magnitude_scores(players, params).value.shape == (8,)
    scores = gp.baselines.weight_gradient_scores(
        players, params, gp.cross_entropy, x, y
    )
    assert (np.asarray(scores.value) > 0).all()
    for norm in ("sum", "mean", "unit"):
        assert np.isfinite(equilibrium.squared_norms(players, params, norm)).all()
    small = gp.compact(players, params, HALF, round_to=4)
    assert small.params["act"] is jax.nn.gelu and small.mask.sum() == 4


def test_a_module_of_equinox_as_it_is(key):
    eqx = pytest.importorskip("equinox")
    model = eqx.nn.MLP(4, 3, 8, 1, activation=jax.nn.gelu, key=key)
    x, y = jax.random.normal(key, (6, 4)), jnp.arange(6) % 3
    players = gp.find_players(lambda p, x: jax.vmap(p)(x), model, x)
    assert gp.magnitude_scores(players, model).value.shape == (8,)
    gp.taylor_scores(players, model, gp.cross_entropy, x, y)
    small = gp.compact(players, model, HALF, round_to=4)
    assert small.params.layers[0].weight.shape == (4, 4)


def test_uncertainty_of_single_weights(key):
    _, params, x, _ = make(key)
    players = gp.find_players(apply, params, x, granularity="weight")
    bands = gp.mcue(key, players, params, x, num_samples=8, num_sizes=4)
    assert np.isfinite(bands.variance).all()
