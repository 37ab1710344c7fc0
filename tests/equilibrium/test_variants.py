"""Other readings of Algorithm 1: alternating updates, fixed norms, falling costs."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gamepruning as gp
from gamepruning.equilibrium import squared_norms
from gamepruning.equilibrium.step import keep_norms
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


def heads(params, x):
    q = jnp.tanh(jnp.einsum("bd,dhk->bhk", x, params["q"]))
    return jnp.einsum("bhk,hko->bo", q, params["o"])


def make_heads(key):
    params = {
        "q": jax.random.normal(key, (3, 2, 4)),
        "o": jax.random.normal(key, (2, 4, 2)),
    }
    x = jax.random.normal(key, (5, 3))
    return gp.find_players(heads, params, x), params, (x, jnp.arange(5) % 2)


def test_norms_hold_where_entries_have_two_owners(key):
    players, params, batch = make_heads(key)
    norms = squared_norms(players, params)
    more = params["q"] * jnp.linspace(0.8, 1.3, 24).reshape(3, 2, 4)
    kept = keep_norms(players, params | {"q": more}, norms)
    np.testing.assert_allclose(squared_norms(players, kept), norms, rtol=3e-5)
    init, step = steps_of(players, normalise=True)
    state = jax.jit(step)(init(params), batch)[0]
    found = squared_norms(players, state.params)
    np.testing.assert_allclose(found, norms, rtol=3e-5)
    assert jnp.abs(state.params["q"] - params["q"]).max() > 1e-4


def test_norms_in_half_precision_stay_where_they_started(key):
    players, params, inputs, labels = make_mlp(key, (8, 16, 4), 32)
    params = jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), params)
    init, step = steps_of(players, normalise=True)
    batch = (inputs.astype(jnp.bfloat16), labels)
    run = jax.jit(lambda s: jax.lax.scan(lambda s, _: step(s, batch), s, length=200))
    state, _ = run(init(params))
    before, after = (squared_norms(players, p) for p in (params, state.params))
    np.testing.assert_allclose(after, before, rtol=0.01)
    assert state.params["dense0"]["kernel"].dtype == jnp.bfloat16


def test_norms_leave_whole_numbers_alone(key):
    def apply(params, x):
        hidden = jnp.tanh(x @ params["w"].astype(jnp.float32) + params["b"][None])
        return hidden @ params["out"]

    params = {
        "w": jnp.arange(12, dtype=jnp.int8).reshape(3, 4),
        "b": jnp.linspace(-1.0, 1.0, 4),
        "out": jax.random.normal(key, (4, 2)),
    }
    x = jax.random.normal(key, (5, 3))
    players = gp.find_players(apply, params, x)
    init, step = steps_of(players, normalise=True)
    state, _ = step(init(params), (x, jnp.arange(5) % 2))
    assert state.params["w"].dtype == jnp.int8
    np.testing.assert_array_equal(state.params["w"], params["w"])
    np.testing.assert_allclose(jnp.abs(state.params["b"]), jnp.abs(params["b"]), 1e-6)


def test_a_state_without_norms_is_told(key):
    players, params, inputs, labels = make_mlp(key)
    plain = steps_of(players).init(params)
    init, step = steps_of(players, normalise=True)
    with pytest.raises(InputError, match="norms that this state does not have"):
        step(plain, (inputs, labels))
    state, _ = step(plain._replace(norms=init(params).norms), (inputs, labels))
    assert state.norms.shape == (7,)


def test_transforms_that_look_at_the_loss_are_given_it(key):
    players, params, inputs, labels = make_mlp(key)
    tx = optax.chain(gp.joint_optimizer(0.1, 1e-3), optax.contrib.reduce_on_plateau())
    init, step = gp.make_equilibrium_step(players, gp.cross_entropy, tx, CONFIG)
    state, info = step(init(params), (inputs, labels))
    assert state.opt_state[1].best_value == info.loss


def test_gates_to_start_from_are_floats_that_can_move(key):
    players, params, *_ = make_mlp(key)
    budget = gp.Budget(keep=3)
    market = gp.make_market_step(
        players, gp.cross_entropy, transform(), budget, num_steps=100
    )
    for init in (steps_of(players).init, market.init):
        for kind in (bool, int):
            with pytest.raises(InputError, match="float gates"):
                init(params, np.ones(7, kind))
        with pytest.raises(InputError, match="one gate a player"):
            init(params, np.ones(6, np.float32))
        assert init(params, jnp.ones(7, jnp.bfloat16)).gates.dtype == jnp.float32


def test_complex_parameters_are_refused(key):
    def apply(params, x):
        return jnp.abs(jnp.tanh(x @ params["in"]) @ params["out"])

    params = {"in": jnp.ones((3, 4), jnp.complex64), "out": jnp.ones((4, 2))}
    players = gp.find_players(apply, params, jnp.ones((1, 3)))
    gates = jnp.ones(4)
    grads = {"params": params, "gates": gates}
    for play in (
        lambda: steps_of(players),
        lambda: gp.utility_gradient(players, params, grads, gates, CONFIG),
        lambda: gp.equilibrium.competition(players, params, gates),
        lambda: gp.solve(players, params, lambda p, s: s.sum(), CONFIG),
    ):
        with pytest.raises(InputError, match="real parameters, and 'in' is complex64"):
            play()
