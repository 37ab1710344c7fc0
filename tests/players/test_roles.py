"""What players own, whatever is done to parameters before they are read."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gamepruning as gp

SHAPES = {"w1": (4, 6), "b1": (6,), "w2": (6, 5), "w3": (5, 2)}
KEYS = dict(zip(SHAPES, jax.random.split(jax.random.key(0), 5), strict=False))
PARAMS = {name: jax.random.normal(KEYS[name], SHAPES[name]) for name in SHAPES}
X = jax.random.normal(jax.random.key(9), (3, 4))
MASK = (jax.random.uniform(jax.random.key(10), (4, 6)) < 0.7).astype(float)


def network(params, x, see=lambda w: w):
    x = jnp.tanh(x @ see(params["w1"]) + params["b1"][None])
    return jnp.tanh(x @ see(params["w2"])) @ see(params["w3"])


def scaled(params, x):
    """Each unit of the first layer has a scale of its own."""
    return network(params | {"w1": params["w1"] * jnp.exp(params["b1"])[None]}, x)


def masked(params, x):
    return network(params | {"w1": params["w1"] * MASK}, x)


def standardised(params, x):
    w = params["w1"]
    return network(params | {"w1": (w - w.mean(0)[None]) / w.std(0)[None]}, x)


def bent(params, x):
    return network(params, x, jax.nn.sigmoid)


def with_slope(params, x):
    """A network and its derivative by the input, as in physics-informed networks."""
    return jax.jvp(lambda x: network(params, x), (x,), (jnp.ones_like(x),))


def with_gradient(params, x):
    return jax.value_and_grad(lambda x: network(params, x).sum())(x)


VARIANTS = [network, scaled, masked, standardised, bent, with_slope, with_gradient]


@pytest.mark.parametrize("apply", VARIANTS)
def test_players_own_what_they_read(apply):
    players = gp.find_players(apply, PARAMS, X)
    assert [family.size for family in players.families] == [6, 5]
    squares = jax.tree.map(jnp.square, PARAMS)
    first = squares["w1"].sum(0) + squares["b1"]
    expected = jnp.concatenate([first, squares["w2"].sum(0)])
    np.testing.assert_allclose(players.sum_owned(squares), expected, rtol=1e-6)


@pytest.mark.parametrize("apply", VARIANTS)
def test_participation_scales_what_players_own(apply):
    players = gp.find_players(apply, PARAMS, X)
    gates = jax.random.uniform(jax.random.key(3), (11,))
    first, second = gates[None, :6], gates[None, 6:]
    expected = PARAMS | {
        "w1": PARAMS["w1"] * first,
        "b1": PARAMS["b1"] * first[0],
        "w2": PARAMS["w2"] * second,
    }
    scaled = players.participate(PARAMS, gates)
    jax.tree.map(np.testing.assert_array_equal, scaled, expected)


@pytest.mark.parametrize("apply", VARIANTS)
def test_single_weights_play_whatever_is_done_to_them(apply):
    """A unit none of whose weights is read leaves for good."""
    players = gp.find_players(apply, PARAMS, X, granularity="weight")
    assert [family.size for family in players.families] == [24, 30, 10]
    mask = np.ones(64, bool)
    mask[24 : 24 + 5] = False  # what reads the first unit
    small = gp.compact(players, PARAMS, mask)
    leaves = apply in (network, scaled, masked, standardised, with_slope)
    assert small.params["w1"].shape == ((4, 5) if leaves else (4, 6))


def test_a_tied_kernel_is_read_where_it_is_made():
    """A unit that is read by the kernel that makes it stays while that does."""

    def apply(params, x):
        hidden = jnp.tanh(x @ params["w1"])
        again = jnp.tanh(hidden @ params["w2"]) @ params["w2"].T
        return again @ params["w1"].T

    players = gp.find_players(apply, PARAMS, X, granularity="weight")
    mask = np.ones(players.num_players, bool)
    mask[24 : 24 + 5] = False
    assert gp.compact(players, PARAMS, mask).params["w1"].shape == (4, 6)
    mask[:24:6] = False  # and what makes it, which reads it in the end
    assert gp.compact(players, PARAMS, mask).params["w1"].shape == (4, 5)


@jax.custom_vjp
def rounded_product(x, w):
    return jnp.round(4 * x) @ jnp.round(4 * w) / 16


rounded_product.defvjp(
    lambda x, w: (rounded_product(x, w), (x, w)),
    lambda saved, g: (g @ saved[1].T, saved[0].T @ g),
)


@jax.custom_jvp
def ceiled_product(x, w):
    return jnp.ceil(4 * x) @ jnp.ceil(4 * w) / 16


@ceiled_product.defjvp
def _(primals, tangents):
    (x, w), (dx, dw) = primals, tangents
    return ceiled_product(x, w), dx @ w + x @ dw


@pytest.mark.parametrize("product", [rounded_product, ceiled_product])
def test_gates_keep_a_derivative_of_ones_own(product):
    """Rounding has no slope: the rule's is the only one there is."""

    def apply(params, x):
        x = jnp.tanh(product(x, params["w1"]))
        return jnp.tanh(product(x, params["w2"])) @ params["w3"]

    players = gp.find_players(apply, PARAMS, X)

    def loss(params, gates):
        return (players.gated(params, gates, X) ** 2).sum()

    plain = jax.grad(lambda params: (apply(params, X) ** 2).sum())(PARAMS)
    assert all(np.abs(plain[name]).max() > 0 for name in ("w1", "w2", "w3"))
    ones = jax.grad(loss)(PARAMS, jnp.ones(11))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), ones, plain)

    mask = np.arange(11) % 3 > 0
    small = gp.compact(players, PARAMS, mask)
    ours = jax.grad(lambda p: (small.apply(p, X) ** 2).sum())(small.params)
    masked = jax.grad(loss)(PARAMS, jnp.asarray(mask))
    kept = [np.flatnonzero(part) for part in (mask[:6], mask[6:])]
    np.testing.assert_allclose(ours["w1"], masked["w1"][:, kept[0]], rtol=1e-4)
    np.testing.assert_allclose(ours["w2"], masked["w2"][np.ix_(*kept)], rtol=1e-4)

    gates = jnp.linspace(0.3, 0.9, 11)
    slopes = jax.grad(loss, argnums=1)(PARAMS, gates)
    step = 1e-3 * jax.nn.one_hot(7, 11)  # the second layer's gates move no rounding
    above, below = (loss(PARAMS, gates + sign * step) for sign in (1, -1))
    np.testing.assert_allclose(slopes[7], (above - below) / 2e-3, rtol=1e-2)
