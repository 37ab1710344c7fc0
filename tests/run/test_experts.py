"""Mixtures of experts: an expert leaves with its router column, and nobody picks it."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gamepruning as gp
from gamepruning.trace.units import Family

PICKED, NUM_EXPERTS, HIDDEN = 2, 4, 7
NUMBERS = np.random.default_rng(0)


def draw(*shape: int) -> jax.Array:
    return jnp.asarray(NUMBERS.normal(size=shape) / 2, jnp.float32)


PARAMS = {"router": draw(5, 4), "up": draw(4, 5, 7), "down": draw(4, 7, 5)}
PARAMS["bias"] = draw(4)
X = draw(6, 5)


def picked(params, x):
    """Numbers and weights of the experts of each token, weights that add up to 1."""
    shares = jax.nn.softmax(x @ params["router"])
    weights, numbers = jax.lax.top_k(shares, min(PICKED, shares.shape[1]))
    return weights / weights.sum(-1, keepdims=True), numbers


def mixed(params, x, weights):
    """All experts on all tokens."""
    h = jax.nn.gelu(jnp.einsum("td,edh->eth", x, params["up"]))
    return jnp.einsum("eth,ehd,te->td", h, params["down"], weights)


def thresholded(params, x):
    shares = jax.nn.softmax(x @ params["router"])
    least = jax.lax.top_k(shares, min(PICKED, shares.shape[1]))[0][:, -1:]
    shares = jnp.where(shares >= least, shares, 0.0)
    return mixed(params, x, shares / shares.sum(-1, keepdims=True))


def one_hot(params, x):
    weights, numbers = picked(params, x)
    hot = jax.nn.one_hot(numbers, params["router"].shape[1])
    return mixed(params, x, jnp.einsum("tk,tke->te", weights, hot))


def by_logits(params, x):
    logits = x @ params["router"]
    best, numbers = jax.lax.top_k(logits, min(PICKED, logits.shape[1]))
    hot = jax.nn.one_hot(numbers, logits.shape[1])
    return mixed(params, x, (hot * jax.nn.softmax(best)[..., None]).sum(1))


def scattered(params, x):
    weights, numbers = picked(params, x)
    zeros = jnp.zeros((len(x), params["router"].shape[1]))
    return mixed(params, x, zeros.at[jnp.arange(len(x))[:, None], numbers].set(weights))


def gathered(params, x):
    weights, numbers = picked(params, x)
    h = jax.nn.gelu(jnp.einsum("td,tkdh->tkh", x, params["up"][numbers]))
    return jnp.einsum("tkh,tkhd,tk->td", h, params["down"][numbers], weights)


def biased_sigmoids(params, x):
    scores = jax.nn.sigmoid(x @ params["router"])
    _, numbers = jax.lax.top_k(scores + params["bias"][None], PICKED)
    weights = jnp.take_along_axis(scores, numbers, -1)
    h = jax.nn.gelu(jnp.einsum("td,tkdh->tkh", x, params["up"][numbers]))
    return jnp.einsum("tkh,tkhd,tk->td", h, params["down"][numbers], weights)


def ragged(params, x):
    weights, numbers = picked(params, x)
    flat = numbers.reshape(-1)
    order = jnp.argsort(flat)
    rows = x[order // numbers.shape[1]]
    sizes = jnp.bincount(flat, length=params["router"].shape[1])
    h = jax.nn.gelu(jax.lax.ragged_dot(rows, params["up"], sizes))
    y = jax.lax.ragged_dot(h, params["down"], sizes)[jnp.argsort(order)]
    return (y.reshape(*weights.shape, -1) * weights[..., None]).sum(1)


def switch(params, x):
    """One expert a token, at most three tokens an expert."""
    shares = jax.nn.softmax(x @ params["router"])
    hot = jax.nn.one_hot(shares.argmax(-1), shares.shape[1])
    place = (jnp.cumsum(hot, 0) * hot - 1).astype(jnp.int32)
    sent = jax.nn.one_hot(place, 3) * hot[..., None]
    rows = jnp.einsum("tec,td->ecd", sent, x)
    h = jax.nn.gelu(jnp.einsum("ecd,edh->ech", rows, params["up"]))
    y = jnp.einsum("ech,ehd->ecd", h, params["down"])
    return jnp.einsum("tec,ecd,t->td", sent, y, shares.max(-1))


MODELS = [thresholded, one_hot, by_logits, scattered, gathered, biased_sigmoids]
MODELS += [ragged, switch]


def families(players: gp.Players) -> tuple[Family, Family]:
    """The experts, and their hidden units."""
    by_size = {family.size: family for family in players.families}
    return by_size[NUM_EXPERTS], by_size[HIDDEN]


@pytest.mark.parametrize("model", MODELS)
def test_the_small_model_is_the_one_with_fewer_experts(model: Callable):
    players = gp.find_players(model, PARAMS, X)
    experts, hidden = families(players)
    own = {(p.path, p.axis) for p in experts.slices} - {("bias", 0)}
    assert own == {("router", 1), ("up", 0), ("down", 0)}
    mask = np.ones(players.num_players, bool)
    mask[[experts.start + 1, hidden.start + 2]] = False
    kept, units = np.array([0, 2, 3]), np.delete(np.arange(HIDDEN), 2)
    by_hand = {
        "router": PARAMS["router"][:, kept],
        "up": PARAMS["up"][kept][..., units],
        "down": PARAMS["down"][kept][:, units],
        "bias": PARAMS["bias"][kept],
    }
    small = gp.compact(players, PARAMS, mask)
    expected = jax.jit(model)(by_hand, X)
    np.testing.assert_allclose(
        jax.jit(small.apply)(small.params, X), expected, atol=1e-6
    )
    with pytest.raises(ValueError, match="cannot be proved"):
        players.exclude(PARAMS, mask)


def test_gates_have_a_gradient_where_experts_are_out():
    players = gp.find_players(by_logits, PARAMS, X)
    experts, _ = families(players)
    gates = jnp.ones(players.num_players).at[experts.start + 1].set(0)
    loss = jax.jit(jax.value_and_grad(lambda s: players.gated(PARAMS, s, X).sum()))
    value, slope = loss(gates)
    expected = players.gated(PARAMS, gates > 0, X).sum()
    np.testing.assert_allclose(value, expected, atol=1e-5)
    assert jnp.isfinite(slope).all() and slope.any()


@pytest.mark.parametrize("model", [one_hot, gathered, ragged])
def test_fewer_experts_than_are_picked(model: Callable):
    players = gp.find_players(model, PARAMS, X)
    experts, _ = families(players)
    mask = np.ones(players.num_players, bool)
    mask[experts.start : experts.stop - 1] = False
    small = gp.compact(players, PARAMS, mask)
    by_hand = {"router": PARAMS["router"][:, 3:], "up": PARAMS["up"][3:]}
    by_hand["down"] = PARAMS["down"][3:]
    expected = jax.jit(model)(by_hand, X)
    np.testing.assert_allclose(
        jax.jit(small.apply)(small.params, X), expected, atol=1e-6
    )


def test_fewer_experts_than_are_read_by_number_are_refused():
    players = gp.find_players(biased_sigmoids, PARAMS, X)
    experts, _ = families(players)
    mask = np.ones(players.num_players, bool)
    mask[experts.start : experts.stop - 1] = False
    with pytest.raises(gp.InputError, match="picks 2 of 4 entries.*keep at least 2"):
        gp.compact(players, PARAMS, mask)


def mean_of_rows(params, x):
    return params["rows"][jax.lax.top_k(x @ params["keys"], 3)[1]].mean(1)


def row_of_the_highest(params, x):
    return params["rows"][jnp.argmax(x @ params["keys"], -1)]


def softmax_of_the_highest(params, x):
    shares, numbers = jax.lax.top_k(jax.nn.sigmoid(x @ params["keys"]), 3)
    return jnp.einsum("tk,tkd->td", jax.nn.softmax(shares), params["rows"][numbers])


@pytest.mark.parametrize("model", [mean_of_rows, softmax_of_the_highest])
def test_rows_of_nobody_are_zero(model: Callable):
    params = {"keys": draw(5, 6), "rows": draw(6, 3)}
    players = gp.find_players(model, params, X)
    small = gp.compact(players, params, np.arange(6) < 2)
    padded = {"keys": params["keys"][:, :2], "rows": params["rows"][:2]}
    if model is mean_of_rows:
        expected = jnp.tile(padded["rows"].sum(0) / 3, (len(X), 1))
    else:
        shares, numbers = jax.lax.top_k(jax.nn.sigmoid(X @ padded["keys"]), 2)
        weights = jax.nn.softmax(jnp.pad(shares, ((0, 0), (0, 1))))[:, :2]
        expected = jnp.einsum("tk,tkd->td", weights, padded["rows"][numbers])
    found = jax.jit(small.apply)(small.params, X)
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("model", [mean_of_rows, row_of_the_highest])
def test_without_anybody_to_find(model: Callable):
    params = {"keys": draw(5, 6), "rows": draw(6, 3)}
    players = gp.find_players(model, params, X)
    nobody = np.zeros((2, 6), bool)
    gated = jax.vmap(lambda gates: players.gated(params, gates, X))
    assert not np.asarray(gated(nobody)).any()
    with pytest.raises(gp.InputError, match="nobody is left.*keep at least one"):
        gp.compact(players, params, nobody[0], min_units=0)


def greedy(params, x):
    """A decoder that feeds what it finds, and returns it."""

    def step(h, _):
        token = jnp.argmax(h @ params["keys"], -1)
        return jnp.tanh(h + params["rows"][token]), token

    return jax.lax.scan(step, x, None, length=3)[1]


def in_a_branch(params, x):
    def found(x):
        token = jnp.argmax(x @ params["keys"], -1)
        return params["rows"][token], token

    return jax.lax.cond(x.sum() > 1e6, lambda x: (x, jnp.zeros(6, int)), found, x)


def in_a_custom_rule(params, x):
    @jax.custom_vjp
    def coded(keys, rows, x):
        token = jnp.argmax(x @ keys, -1)
        return rows[token], token

    coded.defvjp(
        lambda *args: (coded(*args), args),
        lambda args, slopes: (*map(jnp.zeros_like, args[:2]), slopes[0]),
    )
    return coded(params["keys"], params["rows"], x)


@pytest.mark.parametrize("model", [greedy, in_a_branch, in_a_custom_rule])
def test_numbers_that_a_body_returns_are_those_of_the_full_model(model: Callable):
    params = {"keys": draw(5, 6), "rows": draw(6, 5)}
    players = gp.find_players(model, params, X)
    mask = np.arange(6) % 2 > 0
    small = gp.compact(players, params, mask)
    numbers = jax.tree.leaves(small.apply(small.params, X))[-1]
    assert (np.asarray(numbers) % 2 == 1).all()


@pytest.mark.parametrize(
    ("model", "told"),
    [
        (lambda p, x: (x @ p["router"]).argmax(-1), "an output of the model"),
        (lambda p, x: jax.lax.top_k(x @ p["router"], 2), "an output of the model"),
        (lambda p, x: (x @ p["router"]).argmax(-1) == 1, "it is reduced by argmax"),
    ],
)
def test_numbers_that_mean_something_to_others_keep_their_axis(model, told):
    with pytest.raises(gp.InputError, match=told):
        gp.find_players(model, {"router": PARAMS["router"]}, X)


def test_a_softmax_over_units_renormalises():
    def apply(params, x):
        return jax.nn.softmax(x @ params["in"]) @ params["out"]

    params = {"in": draw(5, 6), "out": draw(6, 3)}
    players = gp.find_players(apply, params, X)
    small = gp.compact(players, params, np.arange(6) != 2)
    by_hand = {
        "in": np.delete(params["in"], 2, 1),
        "out": np.delete(params["out"], 2, 0),
    }
    expected = apply(by_hand, X)
    np.testing.assert_allclose(
        jax.jit(small.apply)(small.params, X), expected, atol=1e-6
    )


@pytest.mark.parametrize("kind", [bool, float])
def test_who_left_may_be_far_above_all_others(kind):
    """The exponential of the distance is infinite; times a gate of 0 it was NaN."""

    def apply(params, x):
        return jax.nn.softmax(x @ params["in"]) @ params["out"]

    params = {"in": draw(5, 6), "out": draw(6, 3)}
    params["in"] = params["in"].at[:, 2].multiply(1e6)
    players = gp.find_players(apply, params, X)
    gates = (np.arange(6) != 2).astype(kind)
    rest = np.array([0, 1, 3, 4, 5])
    expected = apply({"in": params["in"][:, rest], "out": params["out"][rest]}, X)
    np.testing.assert_allclose(players.gated(params, gates, X), expected, atol=1e-6)
    if kind is float:
        slope = jax.grad(lambda g: players.gated(params, g, X).sum())(gates)
        assert np.isfinite(slope[rest]).all()


def test_numbers_that_are_computed_with_stay_those_of_the_full_model():
    def compared(params, x):
        weights, numbers = picked(params, x)
        hot = jax.nn.one_hot(numbers, params["router"].shape[1])
        y = mixed(params, x, jnp.einsum("tk,tke->te", weights, hot))
        return y + numbers.sum(1, keepdims=True)

    def read(params, x):
        weights, numbers = picked(params, x)
        h = jax.nn.gelu(jnp.einsum("td,tkdh->tkh", x, params["up"][numbers]))
        y = jnp.einsum("tkh,tkhd,tk->td", h, params["down"][numbers], weights)
        return y + jnp.square(numbers).sum(1, keepdims=True)

    for apply in (compared, read):
        players = gp.find_players(apply, PARAMS, X)
        experts, _ = families(players)
        mask = np.arange(players.num_players) != experts.start + 1
        small = gp.compact(players, PARAMS, mask)  # equal to the gated model
        assert small.report.max_error < 1e-6


def test_experts_of_scanned_layers_are_chosen_by_layer():
    def deep(params, x):
        return jax.lax.scan(lambda x, w: (x + gathered(w, x), None), x, params)[0]

    params = {name: jnp.stack([x, x[::-1]]) for name, x in PARAMS.items()}
    del params["bias"]
    players = gp.find_players(deep, params, X, layers="each")
    mask = np.ones(players.num_players, bool)
    starts = [f.start for f in players.families if f.size == NUM_EXPERTS]
    mask[[starts[0] + 1, starts[1] + 3]] = False
    small = gp.compact(players, params, mask)
    kept = np.array([[0, 2, 3], [0, 1, 2]])
    by_hand = {
        "router": jnp.stack([params["router"][k][:, kept[k]] for k in range(2)]),
        "up": jnp.stack([params["up"][k][kept[k]] for k in range(2)]),
        "down": jnp.stack([params["down"][k][kept[k]] for k in range(2)]),
    }
    expected = jax.jit(deep)(by_hand, X)
    np.testing.assert_allclose(
        jax.jit(small.apply)(small.params, X), expected, atol=1e-6
    )
