"""Gates where a product with them is not enough: integers, searches, sums."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import gamepruning as gp


def int8_network(params, x):
    hidden = jnp.round(jnp.clip(x @ params["a"], -100, 100)).astype(jnp.int8)
    kind = jnp.int32
    return lax.dot(hidden, params["c"], preferred_element_type=kind).astype(float)


def test_an_integer_is_in_or_out():
    """0.9 of it is not 0, which a cast of the gate would make of it."""
    params = {"a": np.full((2, 3), 10, np.float32), "c": np.ones((3, 2), np.int8)}
    x = np.ones((1, 2), np.float32)
    players = gp.find_players(int8_network, params, x)
    for gates, expected in (((0.9, 1, 1), 60), ((0.0, 1, 1), 40), ((1, 1, 1), 60)):
        found = players.gated(params, jnp.array(gates, jnp.float32), x)
        np.testing.assert_array_equal(found, np.full((1, 2), expected))


def routed(params, x):
    scores = jnp.maximum(x @ params["r"], 0)
    _, found = lax.top_k(scores, 1)
    return params["e"][found[:, 0]]


def test_who_left_is_not_found_among_zeros():
    """The score of the first expert alone is above 0; without it all others tie."""
    router = np.zeros((2, 4), np.float32)
    router[:, 0] = 1
    params = {"r": router, "e": np.repeat(np.arange(1.0, 5)[:, None], 2, 1)}
    params = jax.tree.map(jnp.float32, params)
    x = np.ones((1, 2), np.float32)
    players = gp.find_players(routed, params, x)
    mask = np.array([False, True, True, True])
    for gates in (jnp.asarray(mask), jnp.asarray(mask, jnp.float32)):
        np.testing.assert_array_equal(players.gated(params, gates, x), [[2, 2]])
    small = gp.compact(players, params, mask)
    np.testing.assert_array_equal(small.apply(small.params, x), [[2, 2]])
    with pytest.raises(gp.InputError, match="cannot be proved"):
        players.exclude(params, mask)


@pytest.mark.parametrize(
    "search",
    [
        lambda h: jnp.argmax(h > 0.5, -1),
        lambda h: jnp.argmax(jnp.where(h > 0.5, h, -jnp.inf), -1),
        lambda h: jnp.argmax(jnp.where(h > 0.5, 1, jnp.iinfo(jnp.int32).min), -1),
        lambda h: lax.top_k(jnp.where(h > 0.5, h, -jnp.inf), 1)[1][:, 0],
        lambda h: lax.top_k(h.astype(jnp.uint8), 1)[1][:, 0],
    ],
)
def test_who_left_is_not_found_among_the_lowest(search):
    """Those who stay are as low as a number can be, and so is who left."""

    def apply(params, x):
        return params["e"][search(x @ params["r"])]

    router = jnp.zeros((2, 4)).at[:, 0].set(1)
    params = {"r": router, "e": jnp.repeat(jnp.arange(1.0, 5)[:, None], 2, 1)}
    x = jnp.ones((1, 2))
    players = gp.find_players(apply, params, x)
    mask = np.array([False, True, True, True])
    for gates in (mask, mask.astype(np.float32)):
        np.testing.assert_array_equal(players.gated(params, gates, x), [[2, 2]])
    small = gp.compact(players, params, mask)
    np.testing.assert_array_equal(small.apply(small.params, x), [[2, 2]])


@pytest.mark.parametrize("relu", [jax.nn.relu, lambda z: jnp.maximum(z, 0)])
def test_fewer_units_than_a_sparse_autoencoder_picks(relu):
    """A relu is a custom derivative; the values of nobody were minus infinity."""

    def apply(params, x):
        values, numbers = lax.top_k(relu(x @ params["a"]), 3)
        return jnp.einsum("bk,bkd->bd", values, params["b"][numbers])

    first, second, third = jax.random.split(jax.random.key(0), 3)
    params = {"a": jax.random.normal(first, (3, 5))}
    params["b"] = jax.random.normal(second, (5, 2))
    x = jax.random.normal(third, (4, 3))
    players = gp.find_players(apply, params, x)
    expected = jnp.maximum(x @ params["a"][:, :2], 0) @ params["b"][:2]
    found = players.gated(params, np.arange(5) < 2, x)
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert not np.asarray(players.gated(params, np.zeros(5, bool), x)).any()


def test_what_is_found_of_those_who_left_is_zero():
    def best_three(params, x):
        values, _ = lax.top_k(jax.nn.softmax(x @ params["r"]), 3)
        return values

    params = {"r": jnp.eye(4) * 3}
    x = jnp.eye(4)
    players = gp.find_players(best_three, params, x)
    mask = np.array([True, False, False, True])
    found = players.gated(params, jnp.asarray(mask), x)
    assert not np.asarray(found)[:, 2].any() and (np.asarray(found)[:, :2] > 0).all()
    small = gp.compact(players, params, mask)
    np.testing.assert_allclose(small.apply(small.params, x), found, rtol=1e-6)


def halves(x, w):
    """A softmax in a loop that returns its divisor, too."""
    power = jnp.exp(x @ w)
    total = power.sum(-1, keepdims=True)
    return x + (power / total) @ w.T, total


@pytest.mark.parametrize(
    "apply",
    [
        lambda params, x: jnp.exp(x @ params["w"]).sum(-1),
        lambda params, x: (x @ params["w"]).max(-1) + x[:, 0],
        lambda params, x: jnp.log(jnp.exp(x @ params["w"]).mean(-1)),
        lambda params, x: jnp.log(jnp.exp(x @ params["w"]).sum(-1)),
        lambda params, x: 1 / jnp.exp(x @ params["w"]).sum(-1),
        lambda params, x: x[:, 0] / jnp.exp(x @ params["w"]).sum(-1),
        lambda params, x: jax.nn.softmax(z := x @ params["w"])[:, :2] + z.max(),
        lambda params, x: jax.nn.logsumexp(x @ params["w"], axis=-1),
        lambda params, x: lax.scan(halves, x, params["w"][None])[1],
    ],
    ids=[
        "a sum of exponentials",
        "a maximum with something added",
        "a mean of exponentials",
        "a logarithm that is subtracted from nothing",
        "a reciprocal that multiplies nothing",
        "a divisor of something else",
        "a softmax, and its maximum added to something",
        "a logsumexp that is subtracted from nothing",
        "a sum that leaves the body of a loop",
    ],
)
def test_only_a_softmax_gates_its_sum_and_its_maximum(apply):
    """With nobody in, these would be what they are with everybody in."""
    with pytest.raises(gp.InputError, match="it is reduced by"):
        gp.find_players(apply, {"w": jnp.ones((2, 4))}, jnp.ones((3, 2)))


def masked_by_hand(z):
    is_in = z < 3
    power = jnp.exp(z - jnp.where(is_in, z, -1e9).max(-1, keepdims=True)) * is_in
    return power / power.sum(-1, keepdims=True)


@pytest.mark.parametrize(
    "softmax",
    [
        jax.nn.softmax,
        lambda z: jnp.exp(jax.nn.log_softmax(z)),
        lambda z: jnp.exp(z - jnp.log(jnp.exp(z).sum(-1, keepdims=True))),
        lambda z: jnp.exp(z) / jnp.exp(z).sum(-1, keepdims=True),
        lambda z: jnp.exp(z) * jnp.exp(z).sum(-1, keepdims=True) ** -1,
        lambda z: jnp.exp(z) * (1 / jnp.exp(z).sum(-1, keepdims=True)),
        lambda z: jnp.exp(z) / (2 * jnp.exp(z).sum(-1, keepdims=True) / 3),
        lambda z: jnp.exp(z) / (1 + jnp.exp(z).sum(-1, keepdims=True)),
        lambda z: z / z.sum(-1, keepdims=True),
        lambda z: jax.nn.softmax(z, where=(z < 3) & (z > -3)),
        lambda z: jax.nn.softmax(z, where=(jnp.arange(z.shape[1]) != 1)[None]),
        lambda z: jnp.exp(jax.nn.log_softmax(z, where=z < 3)),
        lambda z: jnp.exp(z - jax.nn.logsumexp(z, axis=-1, keepdims=True)),
        masked_by_hand,
    ],
)
def test_softmaxes_in_all_spellings_are_gated(softmax):
    def apply(params, x):
        return softmax(x @ params["a"]) @ params["b"]

    params = {"a": jax.random.normal(jax.random.key(0), (3, 5)), "b": jnp.ones((5, 2))}
    params["b"] *= jnp.arange(5.0)[:, None]
    x = jax.random.normal(jax.random.key(1), (4, 3))
    players = gp.find_players(apply, params, x)
    assert players.num_players == 5
    small = gp.compact(players, params, np.arange(5) < 3)
    expected = softmax(x @ params["a"][:, :3]) @ params["b"][:3]
    np.testing.assert_allclose(small.apply(small.params, x), expected, rtol=1e-5)


def test_a_logsumexp_is_gated_on_request():
    def apply(params, x):
        return jax.nn.logsumexp(x @ params["w"], axis=-1)

    params = {"w": jax.random.normal(jax.random.key(0), (3, 5))}
    x = jax.random.normal(jax.random.key(1), (4, 3))
    players = gp.find_players(apply, params, x, reductions="gate")
    expected = apply({"w": params["w"][:, :2]}, x)
    for gates in (np.arange(5) < 2, (np.arange(5) < 2).astype(np.float32)):
        found = players.gated(params, gates, x)
        np.testing.assert_allclose(found, expected, rtol=1e-5)
    nobody = players.gated(params, np.zeros(5, bool), x)
    assert (np.asarray(nobody) == -np.inf).all()


@pytest.mark.parametrize("kind", [lambda d: d, lambda d: jnp.round(d).astype(int)])
def test_codes_that_left_are_not_the_nearest(kind):
    def quantised(params, x):
        apart = jnp.square(x[:, None] - params["codes"][None]) @ jnp.ones(3)
        return params["codes"][kind(apart).argmin(-1)]

    first, second = jax.random.split(jax.random.key(0))
    params = {"codes": 4 * jax.random.normal(first, (5, 3))}
    x = 4 * jax.random.normal(second, (6, 3))
    players = gp.find_players(quantised, params, x)
    assert players.num_players == 5
    expected = quantised({"codes": params["codes"][1:4]}, x)
    assert (expected != quantised(params, x)).any()
    mask = np.array([False, True, True, True, False])
    for gates in (mask, mask.astype(np.float32)):
        np.testing.assert_allclose(players.gated(params, gates, x), expected)
    small = gp.compact(players, params, mask)
    np.testing.assert_allclose(small.apply(small.params, x), expected)
    assert not np.asarray(players.gated(params, np.zeros(5, bool), x)).any()


def test_the_maximum_of_nobody_is_zero():
    """Beside a search; a softmax subtracts it, and there everybody is in it."""

    def apply(params, x):
        scores = x @ params["r"]
        return params["e"][scores.argmax(-1)], scores.max(-1)

    params = {"r": jnp.full((2, 4), -1.0), "e": jnp.ones((4, 2))}
    x = jnp.ones((3, 2))
    players = gp.find_players(apply, params, x)
    for gates in (np.zeros(4, bool), np.zeros(4, np.float32)):
        for found in players.gated(params, gates, x):
            assert not np.asarray(found).any()
    _, highest = players.gated(params, np.arange(4) == 1, x)
    np.testing.assert_array_equal(highest, np.full(3, -2.0))


@pytest.mark.parametrize("around", [lambda fn: fn, jax.jit, jax.checkpoint])
def test_a_softmax_over_units_loses_them_in_a_training_step(around):
    """The derivative of its divisor is a sum over who stays."""

    @around
    def model(params, x):
        return jax.nn.softmax(x @ params["a"]) @ params["b"]

    def step(params, x):
        def loss(params):
            return jnp.sin(model(params, x)).mean()

        return jax.tree.map(jnp.subtract, params, jax.grad(loss)(params))

    first, second, third = jax.random.split(jax.random.key(0), 3)
    params = {"a": jax.random.normal(first, (3, 5))}
    params["b"] = jax.random.normal(second, (5, 2))
    x = jax.random.normal(third, (4, 3))
    players = gp.find_players(step, params, x, outputs_like=lambda params: params)
    assert players.num_players == 5 + 2
    mask = np.arange(7) != 1
    small = gp.compact(players, params, mask)
    expected = step({"a": small.params["a"], "b": small.params["b"]}, x)
    found = small.apply(small.params, x)
    for name in params:
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-5)


def test_what_a_checkpoint_computes_again_is_the_model():
    """A sum over units stays whole there as in the model itself."""

    def step(params, x):
        @jax.checkpoint
        def loss(params):
            hidden = x @ params["a"]
            return (hidden - hidden.mean(-1, keepdims=True)) @ params["b"]

        slopes = jax.grad(lambda params: loss(params).sum())(params)
        return jax.tree.map(jnp.subtract, params, slopes)

    params, x = {"a": jnp.ones((3, 5)), "b": jnp.ones((5, 1))}, jnp.ones((4, 3))
    with pytest.raises(gp.InputError, match="it is reduced by reduce_sum"):
        gp.find_players(step, params, x, outputs_like=lambda params: params)
