"""The way back: a module of the small configuration, equal to the small model."""

import dataclasses
from typing import Any

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import gamepruning as gp
from gamepruning.compaction import to_module
from gamepruning.images import CifarResNet
from gamepruning.types import InputError

X = jax.random.normal(jax.random.key(0), (6, 8))


class Mlp(nn.Module):
    widths: tuple[int, ...] = (16, 12)
    classes: int = 12  # as large as the second layer, and not to change

    @nn.compact
    def __call__(self, x):
        for width in self.widths:
            x = nn.relu(nn.BatchNorm(use_running_average=True)(nn.Dense(width)(x)))
        return nn.Dense(self.classes)(x)


class Shared(nn.Module):
    hidden: int = 16

    @nn.compact
    def __call__(self, x):
        for _ in range(2):
            x = jnp.tanh(nn.Dense(self.hidden)(x))
        return nn.Dense(3)(x)


class Attention(nn.Module):
    heads: int = 4
    features: int = 24

    @nn.compact
    def __call__(self, x):
        x = x[..., None] * jnp.ones(8)[None, None]
        x = nn.MultiHeadDotProductAttention(self.heads, qkv_features=self.features)(x)
        return x.mean(1)


@dataclasses.dataclass(frozen=True)
class Config:
    width: int = 16
    depth: int = 2
    dropout: float = 0.1


class Net(nnx.Module):
    def __init__(self, config: Config, rngs: Any = None):
        rngs = nnx.Rngs(0) if rngs is None else rngs
        sizes = [8, *[config.width] * config.depth, 3]
        pairs = zip(sizes[:-1], sizes[1:], strict=True)
        self.layers = nnx.List([nnx.Linear(a, b, rngs=rngs) for a, b in pairs])
        self.dropout = nnx.Dropout(config.dropout, rngs=rngs)

    def __call__(self, x):
        *first, last = self.layers
        for layer in first:
            x = self.dropout(nnx.relu(layer(x)))
        return last(x)


def pruned(net, counts, **options):
    """The small model of a linen module that keeps so many of each family."""
    apply, params = gp.from_linen(net, net.init(jax.random.key(1), X))
    return compacted(apply, params, counts, **options)


def compacted(apply, params, counts, x=X, **options):
    players = gp.find_players(apply, params, x, **options)
    scores = gp.magnitude_scores(players, params)
    mask = gp.top_n(scores, counts, players=players)
    return gp.compact(players, params, mask)


def test_fields_are_found_by_their_values():
    found = to_module(pruned(Mlp(), (6, 5)), Mlp(), X)
    assert found.changed == {"widths": ((16, 12), (6, 5))}
    assert found.module == Mlp(widths=(6, 5)) and found.max_error < 1e-6
    assert repr(found) == "SmallModule(Mlp: widths (16, 12) -> (6, 5))"
    kernel = found.params["params"]["Dense_1"]["kernel"]
    assert kernel.shape == (6, 5)
    outputs = found.module.apply(found.params, X)
    assert outputs.shape == (6, 12)


def test_an_nnx_module_holds_the_small_parameters():
    config = Config()
    apply, params = gp.from_nnx(Net(config))
    small = compacted(apply, params, (7, 7))
    found = to_module(small, config, X, make=Net)
    assert found.config == Config(width=7) and found.max_error < 1e-6
    found.module.eval()
    np.testing.assert_allclose(
        found.module(X), small.apply(small.params, X), rtol=1e-5, atol=1e-6
    )


def test_a_mapping_is_a_configuration():
    def make(config):
        return Mlp(tuple(config["hidden"]), config["classes"])

    config = {"hidden": [16, 12], "classes": 12, "batch": 16, "name": "mine"}
    found = to_module(pruned(Mlp(), (6, 12)), config, X, make=make)
    assert found.config == {**config, "hidden": [6, 12]}  # the batch is not a width


def test_heads_are_a_field():
    """Their number, and with it the features that all heads have together."""
    net = Attention()
    apply, params = gp.from_linen(net, net.init(jax.random.key(1), X))
    players = gp.find_players(apply, params, X)
    kernel = params["params"]["MultiHeadDotProductAttention_0"]["query"]["kernel"]
    assert kernel.shape == (8, 4, 6)
    heads = players.select(next(f.name for f in players.families if f.size == 4))
    small = gp.compact(
        players, params, ~heads | (np.arange(players.num_players) % 2 > 0)
    )
    found = to_module(small, net, X)
    assert found.changed == {"heads": (4, 2), "features": (24, 12)}


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: to_module(pruned(Shared(), (6, 5)), Shared(), X), "share a field"),
        (lambda: to_module(pruned(Mlp(), (6, 5)), Config(), X), "make=, which builds"),
        (lambda: to_module(pruned(Mlp(), (6, 5)), 3, X, make=Mlp), "a mapping"),
        (
            lambda: to_module(pruned(Mlp(), (6, 5)), Mlp(), X, fields={"width": 6}),
            "no field 'width'.* it has widths, classes",
        ),
        (
            lambda: to_module(pruned(Mlp(), (6, 5)), Mlp(), X, fields={"widths": 6}),
            "the module says: 'int' object is not iterable",
        ),
        (
            lambda: to_module(pruned(Shared(), (6, 6)), Mlp(), X),
            "is in the module only|is in the small model only",
        ),
    ],
)
def test_what_no_configuration_can_express_is_told(call, message):
    with pytest.raises(InputError, match=message):
        call()


def test_what_is_computed_from_a_size_is_told():
    class Mean(nn.Module):
        hidden: int = 16

        @nn.compact
        def __call__(self, x):
            h = nn.relu(nn.Dense(self.hidden)(x))
            return nn.Dense(3)(h / self.hidden)

    with pytest.raises(InputError, match="computes something from a size"):
        to_module(pruned(Mean(), (6,)), Mean(), X)


def test_equal_widths_that_shrink_differently_are_matched_in_order():
    config = Mlp(widths=(16,) * 6)
    variables = config.init(jax.random.key(0), X)
    small = compacted(*gp.from_linen(config, variables), (3, 4, 5, 6, 7, 8))
    found = to_module(small, config, X)
    assert found.module == Mlp(widths=(3, 4, 5, 6, 7, 8))


class Moody(nn.Module):
    """In evaluation mode when it is told so; `encode` is all but the last layer."""

    hidden: int = 16

    def setup(self):
        self.one, self.norm, self.two = (
            nn.Dense(self.hidden),
            nn.BatchNorm(),
            nn.Dense(3),
        )

    def __call__(self, x, *, train):
        return self.two(self.encode(x, train=train))

    def encode(self, x, *, train):
        return nn.relu(self.norm(self.one(x), use_running_average=not train))


def test_keywords_of_the_call_are_passed_on():
    net = Moody()
    variables = net.init(jax.random.key(1), X, train=False)
    apply, params = gp.from_linen(net, variables, train=False)
    small = compacted(apply, params, (6,))
    found = to_module(small, net, X, call={"train": False})
    assert found.module == Moody(6)
    with pytest.raises(InputError, match="missing.*'train'"):
        to_module(small, net, X)


def test_a_method_of_an_nnx_module():
    class Coder(Net):
        def encode(self, x):
            return self(x) * 2

    module = Coder(Config(), nnx.Rngs(0))
    apply, params = gp.from_nnx(module, method="encode")
    small = compacted(apply, params, (6, 6))
    found = to_module(
        small,
        Config(),
        X,
        make=lambda config: Coder(config, nnx.Rngs(0)),
        call={"method": "encode"},
    )
    assert found.config == Config(width=6)


def test_a_pruned_resnet_is_a_module_again():
    """The channels between the convolutions of a block have a field of their own."""
    net = CifarResNet(8, widths=(4, 6, 8), num_outputs=3)
    x = jax.random.normal(jax.random.key(0), (2, 8, 8, 3))
    apply, params = gp.from_linen(net, net.init(jax.random.key(1), x))
    families = gp.find_players(apply, params, x).families
    outer = [f.name for f in families if not f.name.endswith("_conv1")]
    small = compacted(apply, params, (2, 3, 5), x, keep=outer)
    for config, fields in (
        (net, {"inner": (2, 3, 5)}),
        (net.clone(inner=(4, 6, 8)), None),
    ):
        found = to_module(small, config, x, fields=fields)
        assert found.module == net.clone(inner=(2, 3, 5))
    _, updated = found.module.apply(found.params, x, True, mutable=["batch_stats"])
    old = small.params["batch_stats"]
    chex.assert_trees_all_equal_shapes(updated["batch_stats"], old)
    assert not np.allclose(updated["batch_stats"]["bn1"]["mean"], old["bn1"]["mean"])
    with pytest.raises(InputError, match="inner channels of 3 blocks, got 2"):
        net.clone(inner=(2, 3)).init(jax.random.key(1), x)
