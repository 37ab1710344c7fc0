"""Training steps x {jit, scan, vmap, resume}: a new step joins by one line."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from gamepruning.baselines import make_hard_concrete_step
from gamepruning.equilibrium import (
    Budget,
    UtilityConfig,
    joint_optimizer,
    make_equilibrium_step,
    make_market_step,
    make_sweep_step,
    sweep_grid,
)
from gamepruning.metrics import cross_entropy
from gamepruning.types import Step
from tests.small import make_mlp

NUM_STEPS = 6
CONFIG = UtilityConfig(beta=0.01, gamma=0.01)
POINTS = sweep_grid(gamma=[0.01, 0.1])


class Case(NamedTuple):
    """A step under test.

    Attributes:
      make: players -> the step.
      start: (step, key, params) -> the first state.
    """

    make: Callable[[Any], Step]
    start: Callable[[Step, jax.Array, Any], Any]


def tx():
    return joint_optimizer(0.05, 0.05)


def equilibrium(players, **options):
    return make_equilibrium_step(players, cross_entropy, tx(), CONFIG, **options)


def market(players):
    budget = Budget(keep=4)
    return make_market_step(
        players, cross_entropy, tx(), budget, num_steps=NUM_STEPS, every=2
    )


def sweep(players):
    one_device = jax.devices()[:1]
    return make_sweep_step(players, cross_entropy, POINTS, devices=one_device)


def hard_concrete(players):
    return make_hard_concrete_step(players, cross_entropy, optax.adam(0.01), 0.01)


def plain(step, key, params):
    return step.init(params)


def stacked(step, key, params):
    return step.init(jax.tree.map(lambda leaf: jnp.stack([leaf, 2 * leaf]), params))


STEPS = {
    "equilibrium": Case(equilibrium, plain),
    "alternating": Case(functools.partial(equilibrium, updates="alternating"), plain),
    "normalised": Case(functools.partial(equilibrium, normalise=True), plain),
    "market": Case(market, plain),
    "sweep": Case(sweep, stacked),
    "hard_concrete": Case(hard_concrete, lambda step, key, p: step.init(key, p)),
}
every_step = pytest.mark.parametrize("name", STEPS)


@functools.cache
def setting_of(name):
    """The step, its first state, and batches with a leading axis of steps."""
    key = jax.random.key(7)
    players, params, inputs, labels = make_mlp(key)
    step = STEPS[name].make(players)
    rows = (jnp.arange(NUM_STEPS)[:, None] + jnp.arange(4)[None]) % len(labels)
    state = STEPS[name].start(step, key, params)
    return step, state, (inputs[rows], labels[rows])


@pytest.fixture
def setting(name):
    """One for all tests of a step, which then compile it once."""
    return setting_of(name)


def batch_at(batches, number):
    return jax.tree.map(lambda leaf: leaf[number], batches)


def run(step, state, batches, numbers=range(NUM_STEPS)):
    infos = []
    for number in numbers:
        state, info = step(state, batch_at(batches, number))
        infos.append(info)
    return state, infos


def without_keys(tree):
    """Random keys as numbers."""
    return jax.tree.map(
        lambda leaf: (
            jax.random.key_data(leaf)
            if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
            else leaf
        ),
        tree,
    )


def assert_close(one, two):
    chex.assert_trees_all_close(
        without_keys(one), without_keys(two), rtol=1e-4, atol=1e-5
    )


@every_step
def test_jit_traces_once_and_changes_nothing(name, setting):
    step, state, batches = setting
    assert isinstance(step, Step)
    jitted = jax.jit(chex.assert_max_traces(step.step, n=1))
    end, infos = run(jitted, state, batches)
    chex.assert_trees_all_equal_shapes_and_dtypes(end, state)
    chex.assert_tree_all_finite(without_keys((end, infos)))
    first = batch_at(batches, 0)
    assert_close(jitted(state, first), step.step(state, first))


@every_step
def test_scan_is_the_loop(name, setting):
    step, state, batches = setting
    end, infos = run(jax.jit(step.step), state, batches)
    scanned, info = jax.lax.scan(step.step, state, batches)
    assert_close(scanned, end)
    assert_close(info, jax.tree.map(lambda *leaves: jnp.stack(leaves), *infos))


@every_step
def test_networks_side_by_side_are_the_networks_alone(name, setting):
    step, state, batches = setting
    one, two = batch_at(batches, 0), batch_at(batches, 1)
    jitted = jax.jit(step.step)
    other, _ = jitted(state, one)
    both = jax.tree.map(lambda *leaves: jnp.stack(leaves), state, other)
    together, info = jax.jit(jax.vmap(step.step, in_axes=(0, None)))(both, two)
    for number, alone in enumerate((state, other)):
        mine = jax.tree.map(lambda leaf, k=number: leaf[k], (together, info))
        assert_close(mine, jitted(alone, two))


@every_step
def test_a_state_from_disk_resumes_bit_identically(name, setting):
    step, state, batches = setting
    jitted = jax.jit(step.step)
    whole, infos = run(jitted, state, batches)
    half, _ = run(jitted, state, batches, range(2))
    stored = jax.tree.map(np.asarray, without_keys(half))
    resumed = jax.tree.map(
        lambda leaf, like: (
            jax.random.wrap_key_data(jnp.asarray(leaf))
            if jnp.issubdtype(like.dtype, jax.dtypes.prng_key)
            else jnp.asarray(leaf)
        ),
        stored,
        half,
    )
    end, rest = run(jitted, resumed, batches, range(2, NUM_STEPS))
    chex.assert_trees_all_equal(without_keys(end), without_keys(whole))
    chex.assert_trees_all_equal(rest, infos[2:])
