"""Policies x {jit, vmap, no recompilation, resume}: all of `POLICIES` join."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gamepruning.bandits import POLICIES

ARMS, TURNS = 5, 24
every_policy = pytest.mark.parametrize("name", POLICIES)


@functools.cache
def rewards():
    return jnp.asarray(np.random.default_rng(0).uniform(size=(TURNS, ARMS)), float)


def turn(policy, state, this):
    key, reward = this
    arm = policy.select(state, key)
    return policy.update(state, arm, reward[arm]), arm


def play(policy, key, state=None, turns=slice(None)):
    state = policy.init(ARMS, TURNS) if state is None else state
    keys = jax.random.split(key, TURNS)
    one = functools.partial(turn, policy)
    return jax.lax.scan(one, state, (keys[turns], rewards()[turns]))


@every_policy
def test_the_same_settings_are_the_same_policy(name):
    assert POLICIES[name]() is POLICIES[name]()
    assert POLICIES[name]().name == name
    assert repr(POLICIES[name]()) == f"Policy({name!r})"
    assert POLICIES[name].__doc__


@every_policy
def test_a_turn_is_traced_once(name, key):
    policy = POLICIES[name]()

    @jax.jit
    @chex.assert_max_traces(n=1)
    def step(state, this):
        return turn(policy, state, this)

    state = policy.init(ARMS, TURNS)
    for number in range(4):
        own = jax.random.fold_in(key, number)
        new, arm = step(state, (own, rewards()[number]))
        chex.assert_trees_all_equal_shapes_and_dtypes(state, new)
        state = new
    chex.assert_tree_all_finite(state)


@every_policy
def test_jit_changes_nothing(name, key):
    policy = POLICIES[name]()
    state, plain = policy.init(ARMS, TURNS), []
    for this in zip(jax.random.split(key, TURNS), rewards(), strict=True):
        state, arm = turn(policy, state, this)
        plain.append(int(arm))
    end, arms = jax.jit(functools.partial(play, policy))(key)
    assert np.asarray(arms).tolist() == plain
    chex.assert_trees_all_close(end, state, rtol=1e-4, atol=1e-5)


@every_policy
def test_seeds_side_by_side_are_the_seeds_alone(name, key):
    policy, keys = POLICIES[name](), jax.random.split(key, 3)
    state, arms = jax.vmap(functools.partial(play, policy))(keys)
    for number, own in enumerate(keys):
        alone, pulled = play(policy, own)
        np.testing.assert_array_equal(arms[number], pulled)
        mine = jax.tree.map(lambda leaf, k=number: leaf[k], state)
        chex.assert_trees_all_close(mine, alone, rtol=1e-4, atol=1e-5)


@every_policy
def test_a_state_from_disk_resumes_bit_identically(name, key):
    policy = POLICIES[name]()
    whole, arms = play(policy, key)
    half, first = play(policy, key, turns=slice(9))
    stored = jax.tree.map(np.asarray, half)
    end, rest = play(policy, key, jax.tree.map(jnp.asarray, stored), slice(9, None))
    chex.assert_trees_all_equal(end, whole)
    np.testing.assert_array_equal(np.concatenate([first, rest]), arms)
