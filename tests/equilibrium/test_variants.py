"""Other readings of Algorithm 1: alternating updates, fixed norms, falling costs."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gamepruning as gp
from gamepruning.equilibrium import squared_norms
from gamepruning.types import InputError
from tests.small import make_mlp

CONFIG = gp.UtilityConfig(beta=0.1, gamma=0.05, eta=0.01)


def transform(rate=0.2, gate_rate=0.5):
    return gp.joint_optimizer(optax.sgd(rate), gp.projected_gate_ascent(gate_rate))


def steps_of(players, config=CONFIG, **options):
    return gp.make_equilibrium_step(
        players, gp.cross_entropy, transform(), config, **options
    )


def test_alternating_gates_answer_the_new_weights(key):
    players, params, inputs, labels = make_mlp(key)
    init, step = steps_of(players, updates="alternating")
    start = jnp.linspace(0.2, 1.0, players.num_players)
    state, _ = jax.jit(step)(init(params, start), (inputs, labels))

    def loss(params, gates):
        return gp.cross_entropy(players.gated(params, gates, inputs), labels)

    down = jax.grad(loss)(params, start)
    new = jax.tree.map(lambda p, g: p - 0.2 * g, params, down)
    slopes = dict(
        zip(("params", "gates"), jax.grad(loss, (0, 1))(new, start), strict=True)
    )
    ascent = gp.utility_gradient(players, new, slopes, start, CONFIG)
    np.testing.assert_allclose(
        state.gates, jnp.clip(start + 0.5 * ascent, 0, 1), atol=1e-6
    )
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), state.params, new
    )
    init, step = steps_of(players)
    both, _ = step(init(params, start), (inputs, labels))
    assert jnp.abs(both.gates - state.gates).max() > 1e-5


def test_normalised_players_keep_their_norms(key):
    players, params, inputs, labels = make_mlp(key)
    init, step = steps_of(players, normalise=True)
    state = init(params)
    for _ in range(5):
        state, _ = step(state, (inputs, labels))
    before, after = (squared_norms(players, p) for p in (params, state.params))
    np.testing.assert_allclose(after, before, rtol=1e-5)
    moved = jax.tree.map(lambda a, b: jnp.abs(a - b).max(), params, state.params)
    assert min(map(float, jax.tree.leaves(moved))) > 1e-4


def test_without_it_they_grow(key):
    players, params, inputs, labels = make_mlp(key)
    init, step = steps_of(players)
    state, _ = step(init(params), (inputs, labels))
    ratio = squared_norms(players, state.params) / squared_norms(players, params)
    assert jnp.abs(ratio - 1).max() > 1e-3


def test_a_player_at_zero_stays_there(key):
    players, params, inputs, labels = make_mlp(key)
    params["dense0"] = jax.tree.map(lambda p: p.at[..., 0].set(0), params["dense0"])
    init, step = steps_of(players, normalise=True)
    state, _ = step(init(params), (inputs, labels))
    assert all(jnp.isfinite(p).all() for p in jax.tree.leaves(state.params))


def test_a_cost_can_follow_a_schedule(key):
    players, params, inputs, labels = make_mlp(key)
    schedule = optax.linear_schedule(0.0, 0.3, 3)
    config = dataclasses.replace(CONFIG, gamma=schedule)
    init, step = steps_of(players, config)
    state = init(params)
    batches = (jnp.stack([inputs] * 3), jnp.stack([labels] * 3))
    scanned, _ = jax.jit(lambda s, b: jax.lax.scan(step, s, b))(state, batches)
    for count in range(3):
        fixed = dataclasses.replace(CONFIG, gamma=float(schedule(count)))
        state, _ = steps_of(players, fixed).step(state, (inputs, labels))
    assert scanned.steps == 3
    np.testing.assert_allclose(scanned.gates, state.gates, atol=1e-6)


def test_a_schedule_has_no_value_of_its_own(key):
    players, params, *_ = make_mlp(key)
    config = gp.UtilityConfig(beta=optax.constant_schedule(0.1))
    gates = jnp.ones(players.num_players)
    with pytest.raises(ValueError, match="beta to be a number, got a schedule"):
        gp.equilibrium.utility(players, params, params, gates, config)
    assert gp.equilibrium.utility(
        players, params, params, gates, config.at(0)
    ).shape == (7,)


def test_an_unknown_order_of_updates(key):
    players, *_ = make_mlp(key)
    with pytest.raises((InputError, TypeError)):
        steps_of(players, updates="sometimes")
