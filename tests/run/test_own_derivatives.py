"""Functions with a derivative of their own: outputs and slopes of the smaller model."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental.ode import odeint
from jax.experimental.xla_metadata import set_xla_metadata

import gamepruning as gp

NUMBERS = np.random.default_rng(0)
X = jnp.asarray(NUMBERS.standard_normal((4, 6)), jnp.float32)
PARAMS = {
    "a": jnp.asarray(NUMBERS.standard_normal((6, 8)), jnp.float32),
    "b": jnp.asarray(NUMBERS.standard_normal((8, 3)), jnp.float32),
    "step": jnp.float32(0.3),
}
LEVELS = jnp.linspace(-1, 1, 5)
FIXED = jnp.asarray(NUMBERS.standard_normal((8, 8)), jnp.float32)


def check_slopes(apply, num_players: int) -> None:
    """The gated and the smaller model have the outputs and gradients of the model."""
    players = gp.find_players(apply, PARAMS, X)
    assert (players.num_players, players.opaque) == (num_players, ())
    mask = np.arange(num_players) % 3 != 0
    small = gp.compact(players, PARAMS, mask, inputs=(X,))
    kept = players.kept_indices(mask)

    def gated(params, gates):
        return players.gated(params, gates, X)

    def value_and_slopes(run, params):
        return jax.jit(jax.value_and_grad(lambda p: (run(p) ** 2).sum()))(params)

    everybody, some = jnp.ones(num_players), jnp.asarray(mask, jnp.float32)
    close = partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-4)
    ours = value_and_slopes(lambda p: gated(p, everybody), PARAMS)
    jax.tree.map(
        close,
        ours,
        value_and_slopes(lambda p: apply(p, X), PARAMS),
    )
    whole, slopes = value_and_slopes(lambda p: gated(p, some), PARAMS)
    for (path, axis), indices in kept.items():
        slopes[path] = jnp.take(slopes[path], indices, axis)
    jax.tree.map(
        close,
        value_and_slopes(lambda p: small.apply(p, X), small.params),
        (whole, slopes),
    )


# -- what a function closes over -------------------------------------------------------


@jax.custom_vjp
def to_levels(h):
    distance = jnp.abs(jnp.expand_dims(h, -1) - LEVELS[None, None])
    return LEVELS[jnp.argmin(distance, -1)]


to_levels.defvjp(lambda h: (to_levels(h), None), lambda _, g: (g,))


@jax.custom_vjp
def through_fixed(h):
    return jnp.tanh(h @ FIXED)


through_fixed.defvjp(
    lambda h: (through_fixed(h), None), lambda _, g: ((2 * g) @ FIXED.T,)
)


@pytest.mark.parametrize(
    ("own", "num_players"),
    [(to_levels, 8), (lambda h: through_fixed(jnp.tanh(h)), 16)],
)
def test_a_rule_of_a_function_that_closes_over_an_array(own, num_players):
    check_slopes(lambda p, x: own(x @ p["a"]) @ p["b"], num_players)


def test_a_slope_by_what_a_function_closes_over_is_refused():
    def apply(params, x):
        shift = jnp.sin(x.sum(0, keepdims=True) @ params["a"])

        @jax.custom_vjp
        def shifted(h):
            return FIXED[:1] * (h + shift) @ FIXED

        shifted.defvjp(lambda h: (shifted(h), None), lambda _, g: (g,))
        return shifted(x @ params["a"]) @ params["b"]

    players = gp.find_players(apply, PARAMS, X)
    gates = jnp.ones(players.num_players)
    with pytest.raises(gp.InputError, match="closes over"):
        jax.grad(lambda p: players.gated(p, gates, X).sum())(PARAMS)


def test_an_ode_has_players_whose_network_can_be_trained():
    """Nothing runs backwards through its while loop, but for its rule."""
    params = {"in": X[:2], "up": FIXED[:6] / 4, "down": FIXED[:, :6] / 4}

    def apply(params, x):
        def slope(y, t, up, down):
            return jnp.tanh(y @ up) @ down

        start = x @ params["in"]
        ends = odeint(slope, start, jnp.array([0.0, 1.0]), params["up"], params["down"])
        return ends[-1]

    x = X[:1, :2]
    players = gp.find_players(apply, params, x)
    assert (players.num_players, len(players.families)) == (8, 1)
    assert players.opaque == ()
    gates = jnp.ones(players.num_players)
    slopes = jax.grad(lambda p: players.gated(p, gates, x).sum())(params)
    expected = jax.grad(lambda p: apply(p, x).sum())(params)
    for name in params:
        np.testing.assert_allclose(slopes[name], expected[name], rtol=1e-3, atol=1e-4)


# -- sums in a rule --------------------------------------------------------------------


@jax.custom_vjp
def learnt_steps(w, step):
    return jnp.round(w / step) * step


learnt_steps.defvjp(
    lambda w, step: (learnt_steps(w, step), w / step),
    lambda ratio, g: (g, jnp.sum(g * (jnp.round(ratio) - ratio))),
)


@jax.custom_vjp
def weighed(h):
    return 1.0 * h


weighed.defvjp(
    lambda h: (h, h),
    lambda h, g: (g / jnp.sqrt(jnp.sum(g**2) + 1e-3) * jnp.sum(h**2),),
)


@jax.custom_jvp
def scaled(h):
    return 1.0 * h


@scaled.defjvp
def _(primals, tangents):
    (h,), (t,) = primals, tangents
    return h, t * jnp.sum(h**2)


@pytest.mark.parametrize(
    "layer",
    [
        lambda p, x: x @ learnt_steps(p["a"], p["step"]),
        lambda p, x: weighed(x @ p["a"]),
        lambda p, x: scaled(x @ p["a"]),
    ],
)
def test_a_sum_in_a_rule_is_over_who_stays(layer):
    check_slopes(lambda p, x: jax.nn.relu(layer(p, x)) @ p["b"], 8)


# -- calls and notes -------------------------------------------------------------------


@jax.custom_vjp
def remembered(h):
    return jnp.sin(h)


remembered.defvjp(
    lambda h: (jnp.sin(h), jnp.cos(h)), lambda c, g: (c * g,), optimize_remat=True
)


@pytest.mark.parametrize(
    "own",
    [
        remembered,
        jax.checkpoint(remembered),
        lambda h: set_xla_metadata(jnp.tanh(h), note="own"),
    ],
)
def test_calls_and_notes_are_followed(own):
    check_slopes(lambda p, x: own(x @ p["a"]) @ p["b"], 8)


@pytest.mark.parametrize(
    "own",
    [
        jax.lax.composite(lambda h: 3 * jnp.tanh(h), name="own.tanh"),
        jax.grad(lambda h: remembered(h).sum()),
    ],
)
def test_calls_that_jax_does_not_differentiate_are_followed(own):
    def apply(params, x):
        return own(x @ params["a"]) @ params["b"]

    players = gp.find_players(apply, PARAMS, X)
    assert (players.num_players, players.opaque) == (8, ())
    everybody = players.gated(PARAMS, jnp.ones(8), X)
    np.testing.assert_allclose(everybody, apply(PARAMS, X), rtol=1e-5, atol=1e-5)
    small = gp.compact(players, PARAMS, np.arange(8) < 5, inputs=(X,))
    assert small.params["a"].shape == (6, 5)
