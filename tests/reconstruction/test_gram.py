"""What one pass gathers: batch after batch, in the memory of one."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gamepruning as gp
import gamepruning.reconstruction.gram as module
from gamepruning.reconstruction import gather_grams

INPUTS, WIDTH, ROWS = 2, 64, 128


def apply(params, x):
    for weights in params:
        x = jnp.tanh(x @ weights)
    return x


@pytest.fixture(scope="module")
def network():
    keys = jax.random.split(jax.random.key(0), 4)
    sizes = [(INPUTS, WIDTH), (WIDTH, WIDTH), (WIDTH, WIDTH), (WIDTH, 3)]
    pairs = zip(keys, sizes, strict=True)
    params = [jax.random.normal(key, size) / size[0] ** 0.5 for key, size in pairs]
    x = np.random.default_rng(0).normal(size=(2048, INPUTS)).astype(np.float32)
    return params, x, gp.find_players(apply, params, x[:4])


def watch(network, monkeypatch, batches: int) -> tuple[int, float]:
    """(how often sums are made, the most bytes of arrays that are alive there)."""
    params, x, players = network
    before, seen = sum(x.nbytes for x in jax.live_arrays()), []
    own = module.collect_shared

    def watched(*args, **more):
        seen.append(sum(x.nbytes for x in jax.live_arrays()) - before)
        return own(*args, **more)

    monkeypatch.setattr(module, "collect_shared", watched)
    gather_grams(players, params, x[: ROWS * batches], batch_size=ROWS)
    return len(seen), max(seen)


def test_memory_does_not_grow_with_batches(network, monkeypatch):
    watch(network, monkeypatch, 1)  # what is kept from the first call on
    times, least = watch(network, monkeypatch, 2)
    many, most = watch(network, monkeypatch, 16)
    assert many == 8 * times
    examples, activations = (ROWS * size * 4 for size in (INPUTS, WIDTH))
    assert most < least + 14 * examples + activations


def test_batches_add_up(network):
    params, x, players = network
    one, many = (
        gather_grams(players, params, x, batch_size=size) for size in (2048, 256)
    )
    assert len(one.grams) == len(many.grams) == 3
    for own, other in zip(one.grams, many.grams, strict=True):
        assert own.shared.path == other.shared.path
        np.testing.assert_allclose(other.moments, own.moments, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(other.mean, own.mean, rtol=1e-5, atol=1e-6)
