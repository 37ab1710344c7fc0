"""The transforms: gates climb, and never leave [0, 1]."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from gamepruning.equilibrium import (
    joint_optimizer,
    project_to_box,
    projected_gate_ascent,
)

TRANSFORMS = {
    "plain": lambda: projected_gate_ascent(0.3),
    "adam": lambda: projected_gate_ascent(0.3, optax.scale_by_adam()),
    "momentum": lambda: projected_gate_ascent(0.3, optax.trace(0.9)),
    "schedule": lambda: projected_gate_ascent(optax.linear_schedule(1.0, 0.0, 10)),
    "multi_steps": lambda: optax.MultiSteps(
        projected_gate_ascent(0.3, optax.scale_by_adam()), every_k_schedule=3
    ).gradient_transformation(),
    "inject": lambda: optax.inject_hyperparams(projected_gate_ascent)(0.3),
    "inject_schedule": lambda: optax.inject_hyperparams(projected_gate_ascent)(
        optax.linear_schedule(1.0, 0.0, 10), optimizer=optax.scale_by_adam()
    ),
    "chained_behind_clipping": lambda: optax.chain(
        optax.clip_by_global_norm(1.0), projected_gate_ascent(5.0)
    ),
}


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
@pytest.mark.parametrize("name", TRANSFORMS)
def test_gates_never_leave_the_box(name, dtype, key):
    tx = TRANSFORMS[name]()
    start = jnp.linspace(0.0, 1.0, 33).astype(dtype)

    def step(carry, step_key):
        gates, state = carry
        slope = jax.random.normal(step_key, gates.shape, dtype) * 3
        updates, state = tx.update(slope, state, gates)
        gates = optax.apply_updates(gates, updates)
        return (gates, state), gates

    run = jax.jit(
        lambda gates, keys: jax.lax.scan(step, (gates, tx.init(gates)), keys)[1]
    )
    path = run(start, jax.random.split(key, 60))
    assert path.dtype == dtype
    assert ((path >= 0) & (path <= 1)).all()
    assert (path[-1] != start).any()


@pytest.mark.parametrize("name", TRANSFORMS)
def test_transforms_compile_once(name):
    tx = TRANSFORMS[name]()
    gates, slope = jnp.full(3, 0.5, jnp.float32), jnp.ones(3, jnp.float32)
    update = jax.jit(tx.update)
    _, state = update(slope, tx.init(gates), gates)
    update(slope, state, gates)
    assert update._cache_size() == 1


def test_gates_at_the_wall_land_on_it_exactly(key):
    gates = jax.random.uniform(key, (1000,))
    box = project_to_box()
    for far, wall in ((10.0, 1.0), (-10.0, 0.0)):
        updates, _ = box.update(jnp.full(1000, far), box.init(gates), gates)
        assert (optax.apply_updates(gates, updates) == wall).all()


def test_projection_is_idempotent(key):
    box = project_to_box(-0.5, 0.25)
    value = jax.random.uniform(key, (100,), minval=-0.5, maxval=0.25)
    step = jax.random.normal(jax.random.fold_in(key, 1), (100,))
    once, _ = box.update(step, box.init(value), value)
    twice, _ = box.update(once, box.init(value), value)
    np.testing.assert_allclose(once, twice, atol=1e-7)


def test_the_climb_is_uphill_to_the_best_response():
    # U(s) = b s - c s^2 is highest at b / 2c: .25, 2 (cut to 1), -1 (cut to 0).
    benefit, cost = jnp.array([0.5, 4.0, -2.0]), 1.0
    tx = projected_gate_ascent(0.1)
    gates = jnp.ones(3)
    state = tx.init(gates)
    for _ in range(200):
        updates, state = tx.update(benefit - 2 * cost * gates, state, gates)
        gates = optax.apply_updates(gates, updates)
    np.testing.assert_allclose(gates, [0.25, 1.0, 0.0], atol=1e-6)


def make_joint():
    joint = {"params": {"w": jnp.ones((2, 2))}, "gates": jnp.full(3, 0.5)}
    grads = {"params": {"w": jnp.full((2, 2), 2.0)}, "gates": jnp.array([1.0, -1, 0])}
    return joint, grads


def test_weights_descend_and_gates_climb():
    joint, grads = make_joint()
    tx = joint_optimizer(optax.sgd(0.1), projected_gate_ascent(0.1))
    updates, _ = tx.update(grads, tx.init(joint), joint)
    new = optax.apply_updates(joint, updates)
    np.testing.assert_allclose(new["params"]["w"], np.full((2, 2), 0.8), rtol=1e-6)
    np.testing.assert_allclose(new["gates"], [0.6, 0.4, 0.5], rtol=1e-6)


def test_the_weights_state_is_that_of_their_own_transform():
    joint, grads = make_joint()
    adam = optax.adam(1e-3)
    tx = joint_optimizer(adam, projected_gate_ascent(0.1))
    updates, state = tx.update(grads, tx.init(joint), joint)
    expected, expected_state = adam.update(
        grads["params"], adam.init(joint["params"]), joint["params"]
    )
    assert jax.tree.all(jax.tree.map(jnp.array_equal, updates["params"], expected))
    assert jax.tree.all(jax.tree.map(jnp.array_equal, state.params, expected_state))


def test_extra_arguments_reach_both_parts():
    joint, grads = make_joint()
    plateau = optax.chain(optax.sgd(0.1), optax.contrib.reduce_on_plateau())
    tx = joint_optimizer(plateau, projected_gate_ascent(0.1))
    updates, _ = tx.update(grads, tx.init(joint), joint, value=1.0)
    assert set(updates) == {"params", "gates"}


def test_the_joint_transform_works_under_wrappers():
    joint, grads = make_joint()
    half = lambda learning_rate: joint_optimizer(  # noqa: E731
        optax.sgd(learning_rate), projected_gate_ascent(learning_rate)
    )
    tx = optax.MultiSteps(optax.inject_hyperparams(half)(learning_rate=0.1), 2)
    state = tx.init(joint)
    for _ in range(2):
        updates, state = tx.update(grads, state, joint)
        joint = optax.apply_updates(joint, updates)
    np.testing.assert_allclose(joint["params"]["w"], np.full((2, 2), 0.8), rtol=1e-6)
    np.testing.assert_allclose(joint["gates"], [0.6, 0.4, 0.5], rtol=1e-6)


def test_mistakes_are_named():
    joint, grads = make_joint()
    tx = joint_optimizer(optax.sgd(0.1), projected_gate_ascent(0.1))
    with pytest.raises(ValueError, match="'params' and 'gates'"):
        tx.init(joint["params"])
    with pytest.raises(ValueError, match="current values"):
        tx.update(grads, tx.init(joint))
    gate_tx = projected_gate_ascent(0.1)
    with pytest.raises(ValueError, match="current values"):
        gate_tx.update(grads["gates"], gate_tx.init(joint["gates"]))
    with pytest.raises(ValueError, match="lower <= upper"):
        project_to_box(1.0, 0.0)


def test_what_has_no_update_stays():
    box, values = project_to_box(), {"a": jnp.array(0.5), "b": jnp.array(2.0)}
    updates, _ = box.update({"a": jnp.array(1.0), "b": None}, box.init(values), values)
    assert updates["b"] is None and updates["a"] == 0.5
