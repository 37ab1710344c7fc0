"""`reductions="width"`: norms divide by what stays, as a module of that width does."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gamepruning as gp
from gamepruning.compaction.report import GATED, WIDTH
from gamepruning.huggingface.layers import layer_norm, rms_norm

GONE = (2, 5)
KEPT = np.delete(np.arange(8), GONE)
TOKENS = jnp.arange(10).reshape(2, 5)


def draw(seed: int, **shapes: tuple[int, ...]) -> dict[str, jax.Array]:
    numbers = np.random.default_rng(seed)
    return {
        name: jnp.asarray(numbers.normal(size=shape), jnp.float32)
        for name, shape in shapes.items()
    }


def apply(params, tokens):
    """A tied embedding; norms with means, variances, products and square roots."""
    x = params["embed"][tokens] * params["embed"].shape[1] ** 0.5
    x = (
        x
        + jax.nn.gelu(rms_norm(params["rms"], x, 1e-5) @ params["up"]) @ params["down"]
    )
    h = layer_norm(params["scale"], params["shift"], x, 1e-5)
    x = x + jnp.tanh(h @ params["up2"]) @ params["down2"]
    unbiased = jnp.var(x, -1, ddof=1, keepdims=True)
    x = x / jnp.sqrt(unbiased + 1)
    square = jnp.einsum("btd,btd->bt", x, x) / x.shape[-1]
    x = x / (1 + square[..., None])
    root = jnp.linalg.norm(x, axis=-1, keepdims=True) / x.shape[-1] ** 0.5
    return jnp.einsum("btd,vd->btv", x / root, params["embed"])


SHAPES = {"embed": (20, 8), "rms": (8,), "scale": (8,), "shift": (8,)}
SHAPES |= {"up": (8, 12), "down": (12, 8), "up2": (8, 12), "down2": (12, 8)}
PARAMS = draw(0, **SHAPES)
READS = ("up", "up2")


# By hand: the parameters of a model that is built at the smaller width.
CUT = {k: x[KEPT] if k in READS else x[..., KEPT] for k, x in PARAMS.items()}
oracle = jax.jit(apply)


@pytest.fixture(scope="module")
def stream() -> tuple[gp.Players, np.ndarray, gp.compaction.CompactModel]:
    players = gp.find_players(apply, PARAMS, TOKENS, reductions="width")
    mask = without(players, GONE)
    return players, mask, gp.compact(players, PARAMS, mask)


def without(players: gp.Players, gone: tuple[int, ...]) -> np.ndarray:
    """The mask without some entries of the stream."""
    (family,) = (f for f in players.families if f.size == 8)
    mask = np.ones(players.num_players, bool)
    mask[family.start + np.array(gone)] = False
    return mask


def test_the_small_model_is_the_one_built_at_the_smaller_width(stream):
    _, _, small = stream
    more = jnp.concatenate([TOKENS, TOKENS[:, ::-1]])  # traced anew
    for tokens in (TOKENS, more):
        found = jax.jit(small.apply)(small.params, tokens)
        np.testing.assert_allclose(found, oracle(CUT, tokens), atol=1e-5)
    for name, x in CUT.items():
        np.testing.assert_array_equal(small.params[name], x)


def test_it_is_never_called_equal_to_the_gated_model(stream):
    players, mask, small = stream
    assert small.report.reference == WIDTH != GATED
    assert GATED not in str(small.report)
    assert small.report.to_dict(measure=False)["reference"] == WIDTH
    zeroed = gp.find_players(apply, PARAMS, TOKENS, reductions="gate")
    found = jax.jit(zeroed.gated)(PARAMS, mask, TOKENS)
    assert abs(found - oracle(CUT, TOKENS)).max() > 0.1
    mask = np.ones_like(mask)
    mask[players.families[-1].start] = False  # a neuron
    assert gp.compact(players, PARAMS, mask).report.reference == GATED


@pytest.mark.parametrize("dtype", [bool, float])
def test_gates_and_hoisted_gates_compute_the_small_model(stream, dtype):
    players, mask, _ = stream
    gates, expected = jnp.asarray(mask, dtype), oracle(CUT, TOKENS)
    hoisted = players.hoist(PARAMS, TOKENS, varying=~mask)

    @jax.jit
    def both(gates):
        kept = hoisted.prefix(PARAMS, jnp.ones_like(gates), TOKENS)
        return hoisted.suffix(kept, gates), players.gated(PARAMS, gates, TOKENS)

    for found in both(gates):
        np.testing.assert_allclose(found, expected, atol=1e-5)


def test_nobody_left_and_gradients_are_finite():
    def plain(params, x):
        return rms_norm(params["s"], x @ params["w"], 1e-5) @ params["out"]

    params, x = draw(1, w=(3, 4), s=(4,), out=(4, 2)), jnp.ones((2, 3))
    players = gp.find_players(plain, params, x, reductions="width")
    loss = jax.jit(jax.value_and_grad(lambda s: players.gated(params, s, x).sum()))
    value, slope = loss(jnp.zeros(4))
    assert value == 0 and jnp.isfinite(slope).all()
    small = gp.compact(players, params, np.zeros(4, bool), min_units=0)
    assert not jax.jit(small.apply)(small.params, x).any()


def test_zeros_and_folding_are_refused_in_one_line(stream):
    players, mask, _ = stream
    with pytest.raises(ValueError, match='reductions="width"'):
        players.exclude(PARAMS, mask)
    dead = players.participate(PARAMS, jnp.asarray(mask, float))
    with pytest.raises(gp.InputError, match="norms divide by what stays"):
        gp.compact(players, dead, mask, fold=True)


def test_repair_fits_the_readers_of_the_stream():
    def tied(params, tokens):
        x = params["embed"][tokens]
        h = rms_norm(params["rms"], x, 1e-5)
        x = x + jax.nn.gelu(h @ params["up"]) @ params["down"]
        return jnp.einsum("btd,vd->btv", x, params["embed"])

    texts = jax.random.randint(jax.random.key(1), (64, 5), 0, 20)
    players = gp.find_players(tied, PARAMS, texts, reductions="width")
    mask = without(players, GONE)
    repaired = gp.repair(players, PARAMS, mask, texts)
    gated = jax.jit(players.gated)
    full = gated(PARAMS, np.ones_like(mask), texts)
    before = abs(gated(PARAMS, mask, texts) - full).mean()
    assert abs(gated(repaired.params, mask, texts) - full).mean() < before
    assert [reader.path for reader in repaired.report.readers] == ["up"]
    alone = {found.path: found.reason for found in repaired.report.alone}
    assert "gather" in alone["embed"]


class Net(nn.Module):
    width: int = 8

    @nn.compact
    def __call__(self, x):
        x = nn.Dense(self.width)(x)
        for norm in (nn.LayerNorm, nn.RMSNorm):
            x = x + nn.Dense(self.width)(nn.relu(nn.Dense(6)(norm()(x))))
        return nn.Dense(3)(nn.LayerNorm()(x))


def test_a_flax_module_of_the_small_width():
    x = jax.random.normal(jax.random.key(0), (4, 5))
    apply, variables = gp.from_linen(Net(), Net().init(jax.random.key(1), x))
    players = gp.find_players(apply, variables, x, reductions="width")
    small = gp.compact(players, variables, without(players, (0, 1, 2)))
    assert gp.to_module(small, Net(), x).module == Net(width=5)


def test_scanned_layers():
    def scanned(params, x):
        def layer(x, w):
            h = rms_norm(w["scale"], x, 1e-5)
            return x + jnp.tanh(h @ w["up"]) @ w["down"], None

        x, _ = jax.lax.scan(layer, x @ params["in"], params["layers"])
        return rms_norm(params["scale"], x, 1e-5) @ params["out"]

    layers = draw(2, scale=(3, 8), up=(3, 8, 6), down=(3, 6, 8))
    outside = {"in": (4, 8), "scale": (8,), "out": (8, 3)}
    params = {**draw(3, **outside), "layers": layers}
    x = jax.random.normal(jax.random.key(0), (5, 4))
    players = gp.find_players(scanned, params, x, reductions="width", layers="each")
    small = gp.compact(players, params, without(players, GONE))
    assert small.report.reference == WIDTH
    each = {"scale": layers["scale"][:, KEPT], "up": layers["up"][:, KEPT]}
    own = {
        "in": params["in"][:, KEPT],
        "scale": params["scale"][KEPT],
        "out": params["out"][KEPT],
        "layers": each | {"down": layers["down"][..., KEPT]},
    }
    expected = scanned(own, x)
    np.testing.assert_allclose(
        jax.jit(small.apply)(small.params, x), expected, atol=1e-5
    )
