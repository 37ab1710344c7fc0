"""Hard concrete gates: their distribution, and training that closes the useless."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

import gamepruning as gp
from gamepruning.baselines.hard_concrete import (
    hard_concrete_mean,
    hard_concrete_sample,
    make_hard_concrete_step,
    open_probability,
)
from tests.small import apply_mlp


def test_the_share_of_open_gates_is_the_stated_probability(key):
    log_alpha = jnp.array([-3.0, -1.0, 0.0, 2.0])
    keys = jax.random.split(key, 20_000)
    gates = jax.vmap(lambda k: hard_concrete_sample(k, log_alpha))(keys)
    assert gates.min() == 0 and gates.max() == 1
    share = (gates > 0).mean(axis=0)
    np.testing.assert_allclose(share, open_probability(log_alpha), atol=0.015)


def test_the_gates_at_test_time():
    gates = hard_concrete_mean(jnp.array([-10.0, 0.0, 10.0]))
    np.testing.assert_allclose(gates, [0.0, 0.5, 1.0], atol=1e-6)


def test_who_is_useless_is_closed(key):
    numbers = np.random.default_rng(0)
    kernel = np.zeros((6, 6), np.float32)
    kernel[0, 1], kernel[1, 4] = 3.0, 3.0
    params = {
        "dense0": {"kernel": jnp.asarray(kernel), "bias": jnp.zeros(6)},
        "dense1": {"kernel": jnp.full((6, 2), 0.01), "bias": jnp.zeros(2)},
    }
    inputs = jnp.asarray(numbers.normal(size=(256, 6)), jnp.float32)
    labels = (inputs[:, 0] > inputs[:, 1]).astype(jnp.int32)
    players = gp.find_players(apply_mlp, params, inputs)
    init, step = make_hard_concrete_step(
        players, gp.cross_entropy, optax.adam(0.03), 0.02
    )
    step = jax.jit(step)
    state = init(key, params)
    for _ in range(400):
        state, loss = step(state, (inputs, labels))
    gates = hard_concrete_mean(state.log_alpha)
    assert np.flatnonzero(gates > 0).tolist() == [1, 4]
    assert loss < 0.3
