"""What JAX has around a computation is around the gated and the small one, too."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn, nnx
from jax.ad_checkpoint import checkpoint_name, print_saved_residuals

import gamepruning as gp
from gamepruning.trace.flatten import trace

WIDTH, HIDDEN, LAYERS = 8, 16, 4
KEY = jax.random.key(0)
X = jax.random.normal(KEY, (64, WIDTH))
ONE = {
    "up": jax.random.normal(KEY, (WIDTH, HIDDEN)) / 3,
    "down": jax.random.normal(KEY, (HIDDEN, WIDTH)) / 4,
}
LIST = [ONE] * LAYERS
STACK = jax.tree.map(lambda *leaves: jnp.stack(leaves), *LIST)
POLICIES = jax.checkpoint_policies


def block(x, w):
    hidden = checkpoint_name(jnp.sin(x @ w["up"]), "hidden")
    return x + jnp.tanh(jax.nn.gelu(hidden)) @ w["down"]


def unrolled(**options):
    layer = jax.checkpoint(block, **options)

    def apply(params, x):
        for w in params:
            x = layer(x, w)
        return x

    return apply, LIST


def scanned(**options):
    layer = jax.checkpoint(block, **options)
    return lambda p, x: jax.lax.scan(lambda x, w: (layer(x, w), None), x, p)[0], STACK


def nested():
    layer = jax.checkpoint(block, policy=POLICIES.dots_saveable)
    pair = jax.checkpoint(lambda x, one, two: layer(layer(x, one), two))
    return lambda p, x: pair(pair(x, *p[:2]), *p[2:]), LIST


class LinenBlock(nn.Module):
    @nn.compact
    def __call__(self, x):
        return x + nn.Dense(WIDTH)(jnp.tanh(nn.gelu(nn.Dense(HIDDEN)(x))))


def linen():
    net = nn.Sequential([nn.remat(LinenBlock)() for _ in range(2)])
    return net.apply, net.init(KEY, X)


class NnxBlock(nnx.Module):
    def __init__(self, rngs):
        self.up = nnx.Linear(WIDTH, HIDDEN, rngs=rngs)
        self.down = nnx.Linear(HIDDEN, WIDTH, rngs=rngs)

    @nnx.remat
    def __call__(self, x):
        return x + self.down(jnp.tanh(nnx.gelu(self.up(x))))


def from_nnx():
    graph, state = nnx.split(NnxBlock(nnx.Rngs(0)))
    return lambda state, x: nnx.merge(graph, state)(x), state


NETWORKS = {
    "scan": scanned,
    "unrolled": unrolled,
    "dots": lambda: unrolled(policy=POLICIES.dots_saveable),
    "names": lambda: unrolled(policy=POLICIES.save_only_these_names("hidden")),
    "cse in part": lambda: unrolled(prevent_cse=(True, False)),
    "nested": nested,
    "linen": linen,
    "nnx": from_nnx,
}


def prune(apply, params):
    players = gp.find_players(apply, params, X)
    mask = np.arange(players.num_players) % 4 != 0
    return players, mask, gp.compact(players, params, mask)


def saved(capsys, apply, params) -> int:
    """How many activations are kept for the gradient by the parameters."""
    with jax.numpy_rank_promotion("allow"):
        print_saved_residuals(lambda params: apply(params, X).sum(), params)
    rows = capsys.readouterr().out.splitlines()
    return sum(bool(re.match(rf"f32\[({LAYERS},)?{len(X)},", row)) for row in rows)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_checkpoint_keeps_no_more_than_before(name, capsys):
    apply, params = NETWORKS[name]()
    players, mask, small = prune(apply, params)
    gates = jnp.ones(players.num_players)

    def gated(params, x):
        return players.gated(params, gates, x)

    full = saved(capsys, apply, params)
    assert full == saved(capsys, small.apply, small.params)
    assert full == saved(capsys, gated, params)
    masked = players.gated(params, mask, X)
    np.testing.assert_allclose(small.apply(small.params, X), masked, atol=1e-5)


def test_the_gradient_of_the_small_model_needs_less_memory():
    apply, params = scanned()

    def bytes_of(apply, params):
        slope = jax.grad(lambda params: (apply(params, X) ** 2).sum())
        memory = jax.jit(slope).lower(params).compile().memory_analysis()
        assert memory is not None
        return memory.temp_size_in_bytes

    players, _, small = prune(apply, params)
    gates = jnp.ones(players.num_players)
    full = bytes_of(apply, params)
    assert bytes_of(small.apply, small.params) < full
    assert bytes_of(lambda p, x: players.gated(p, gates, x), params) < 1.5 * full


def test_gradients_are_those_of_the_model():
    apply, params = nested()
    players, _, small = prune(apply, params)
    gates = jnp.ones(players.num_players)

    def slopes(apply):
        return jax.grad(lambda params: (apply(params, X) ** 2).sum())(params)

    jax.tree.map(
        lambda ours, own: np.testing.assert_allclose(ours, own, rtol=1e-3, atol=1e-3),
        slopes(lambda params, x: players.gated(params, gates, x)),
        slopes(apply),
    )


def test_a_checkpoint_is_split_where_the_gates_vary():
    """Its first layer is computed once; what the second reads passes between."""
    apply, params = nested()
    players = gp.find_players(apply, params, X)
    gates = jnp.ones(players.num_players)
    split = players.hoist(params, X, varying=[players.families[1].name])
    mask = gates.at[players.families[1].start].set(0.0)
    again = split.suffix(split.prefix(params, gates, X), mask)
    np.testing.assert_allclose(again, players.gated(params, mask, X), atol=1e-5)


def test_what_a_traced_derivative_computes_again_is_computed_again():
    """XLA must not see that it is the same: as many barriers as in the full step."""
    apply, params = unrolled()

    def step(params, x):
        slopes = jax.grad(lambda params: (apply(params, x) ** 2).sum())(params)
        return jax.tree.map(lambda w, slope: w - slope, params, slopes)

    players = gp.find_players(step, params, X, outputs_like=lambda params: params)
    small = gp.compact(players, params, np.arange(players.num_players) % 4 != 0)
    before, after = (
        jax.jit(fn).lower(p, X).as_text().count("optimization_barrier")
        for fn, p in ((step, params), (small.apply, small.params))
    )
    assert 0 < before == after


# -- names -----------------------------------------------------------------------------


@jax.jit
def feed_forward(x, w):
    with jax.named_scope("mlp"):
        return jax.nn.silu(x @ w["up"]) @ w["down"]


def named(params, x):
    with jax.named_scope("first"):
        x = jax.checkpoint(feed_forward)(x, params[0])
    with jax.named_scope("second"), jax.named_scope("half"):
        return feed_forward(x, params[1])


def op_names(fn, *args) -> set[str]:
    """The places of products and exponentials that profilers and dumps show."""
    text = jax.jit(fn).lower(*args).compile().as_text()
    assert text is not None
    found = re.findall(r'op_name="jit\(\w*\)/([^"]*(?:dot_general|exp))"', text)
    return set(found)


def test_names_of_scopes_and_functions_show():
    players = gp.find_players(named, LIST, X)
    small = gp.compact(players, LIST, np.arange(players.num_players) % 4 != 0)
    gates = jnp.ones(players.num_players)
    full = op_names(named, LIST, X)
    assert "second/half/jit(feed_forward)/mlp/dot_general" in full
    assert full <= op_names(small.apply, small.params, X)
    assert "module @jit_named" in jax.jit(small.apply).lower(small.params, X).as_text()
    assert full <= op_names(players.gated, LIST, gates, X)


def test_the_tracer_knows_the_calls_around_a_node():
    nodes = trace(named, LIST, X).graph.nodes
    first, second = nodes[0], nodes[-1]
    assert [remat.scope for remat in first.remats] == [("first",)]
    assert first.scope == ("jit(feed_forward)", "mlp")
    assert second.remats == ()
    assert second.scope == ("second", "half", "jit(feed_forward)", "mlp")


# -- rules of one's own ----------------------------------------------------------------


@jax.custom_vjp
def rounded(x):
    return jnp.round(4 * x) / 4


rounded.defvjp(lambda x: (rounded(x), None), lambda _, g: (g,))


@jax.custom_vjp
def clipped(x):
    return 1.0 * x


clipped.defvjp(lambda x: (x, None), lambda _, g: (jnp.clip(g, -1e-2, 1e-2),))


@pytest.mark.parametrize("own", [rounded, clipped])
def test_a_small_model_keeps_rules_of_ones_own_under_a_checkpoint(own):
    layer = jax.checkpoint(lambda x, w: x + own(jnp.tanh(x @ w["up"])) @ w["down"])

    def apply(params, x):
        return layer(layer(x, params[0]), params[1])

    players, mask, small = prune(apply, LIST[:2])
    gates = jnp.asarray(mask, float)
    ours = jax.grad(lambda p: (small.apply(p, X) ** 2).sum())(small.params)
    whole = jax.grad(lambda p: (players.gated(p, gates, X) ** 2).sum())(LIST[:2])
    assert all(np.abs(slope).max() > 0 for slope in jax.tree.leaves(ours))
    for layer_ours, layer_whole, kept in zip(
        ours, whole, np.split(mask, 2), strict=True
    ):
        np.testing.assert_allclose(
            layer_ours["up"], layer_whole["up"][:, kept], rtol=1e-4, atol=1e-4
        )


@jax.custom_jvp
def broken(x):
    return jnp.round(x)


@broken.defjvp
def _(primals, tangents):
    raise NotImplementedError("the kernel has no derivative")


def test_a_rule_that_fails_says_why():
    def apply(params, x):
        hidden = broken(x @ params["up"]) @ params["down"]
        return jnp.tanh(hidden) @ params["head"] if "head" in params else hidden

    players = gp.find_players(apply, {**ONE, "head": jnp.ones((WIDTH, 2))}, X)
    cause = "cannot be differentiated (NotImplementedError: the kernel has no deriv"
    assert any(cause in row.reason for row in players.frozen)
    with pytest.raises(gp.InputError, match=r"custom_jvp_call \(.*no derivative\)"):
        gp.find_players(apply, ONE, X)
