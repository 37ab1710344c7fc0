"""Who keeps which arrays in memory."""

import gc

import jax
import jax.numpy as jnp
import numpy as np

import gamepruning as gp


def apply(params, x):
    return jnp.tanh(x @ params["in"]) @ params["out"]


def make_params(num_players):
    keys = jax.random.split(jax.random.key(0))
    shapes = {"in": (3, num_players), "out": (num_players, 2)}
    return {
        k: jax.random.normal(key, shapes[k])
        for k, key in zip(shapes, keys, strict=True)
    }


def shapes_alive():
    gc.collect()
    return [array.shape for array in jax.live_arrays()]


def test_the_full_parameters_can_be_freed():
    """Neither players nor the small model and its report keep them."""
    num, x = 1237, jnp.ones((4, 3))  # no other array has this size
    params = make_params(num)
    players = gp.find_players(apply, params, x)
    small = gp.compact(players, params, np.arange(num) % 3 == 0)
    assert (3, num) in shapes_alive()
    del params
    assert not [shape for shape in shapes_alive() if num in shape and len(shape) == 2]
    assert small.apply(small.params, x).shape == (4, 2)


def test_without_its_values_the_full_model_is_timed_all_the_same():
    """Zeros stand in for them, but for random keys."""
    params = {**make_params(8), "rng": jax.random.key(1)}
    x = jnp.ones((4, 3))
    players = gp.find_players(apply, params, x)
    small = gp.compact(players, params, np.arange(8) < 5)
    assert small.report.latency.before.repeats > 0
