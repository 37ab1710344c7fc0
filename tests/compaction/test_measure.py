"""Costs against numbers worked out by hand."""

import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from jax import lax
from jax.sharding import PartitionSpec

from gamepruning.compaction import measure
from gamepruning.compaction.measure import (
    count_bytes,
    count_macs,
    count_params,
    measure_latency,
    tally_macs,
)


def shape(*sizes, dtype=jnp.float32):
    return jax.ShapeDtypeStruct(sizes, dtype)


def macs_of(module, *inputs):
    """The multiply-adds of a linen module, from shapes alone."""
    variables = jax.eval_shape(module.init, jax.random.key(0), *inputs)
    return count_macs(module.apply, variables, *inputs)


class LeNet5(nn.Module):
    @nn.compact
    def __call__(self, x):
        x = nn.tanh(nn.Conv(6, (5, 5), padding="SAME")(x))
        x = nn.avg_pool(x, (2, 2), (2, 2))
        x = nn.tanh(nn.Conv(16, (5, 5), padding="VALID")(x))
        x = nn.avg_pool(x, (2, 2), (2, 2))
        x = x.reshape(x.shape[0], -1)
        for features in (120, 84, 10):
            x = nn.Dense(features)(x)
        return x


class Block(nn.Module):
    """A residual block that halves the image and doubles the channels."""

    @nn.compact
    def __call__(self, x):
        y = nn.Conv(16, (3, 3), (2, 2), padding=1)(x)
        y = nn.relu(nn.BatchNorm(use_running_average=True)(y))
        y = nn.Conv(16, (3, 3), padding=1)(y)
        return y + nn.Conv(16, (1, 1), (2, 2))(x)


def test_lenet_5():
    # Outputs times weights of one output, layer by layer, for one image of 28x28.
    by_hand = (
        28 * 28 * 6 * (5 * 5 * 1)
        + 10 * 10 * 16 * (5 * 5 * 6)
        + 400 * 120
        + 120 * 84
        + 84 * 10
    )
    assert by_hand == 416_520
    assert macs_of(LeNet5(), shape(1, 28, 28, 1)) == by_hand
    assert macs_of(LeNet5(), shape(32, 28, 28, 1)) == 32 * by_hand


def test_a_residual_block():
    # 8 channels at 8x8 in, 16 channels at 4x4 out.
    out = 4 * 4 * 16
    by_hand = out * (9 * 8) + out * (9 * 16) + out * 8
    assert macs_of(Block(), shape(1, 8, 8, 8)) == by_hand


@pytest.mark.parametrize(
    "groups,by_hand",
    [
        (1, 6 * 6 * 16 * (9 * 8)),
        (2, 6 * 6 * 16 * (9 * 4)),
        (8, 6 * 6 * 16 * 9),  # depthwise: every output reads one channel
    ],
)
def test_grouped_and_depthwise(groups, by_hand):
    conv = nn.Conv(16, (3, 3), feature_group_count=groups)
    assert macs_of(conv, shape(1, 6, 6, 8)) == by_hand


def test_batch_groups():
    # 4 images in 2 groups: each of the 6 channels reads the 2 images of its group.
    def conv(x, w):
        return lax.conv_general_dilated(
            x, w, (1,), "VALID", batch_group_count=2,
            dimension_numbers=("NHC", "HIO", "NHC"),
        )  # fmt: skip

    x, w = shape(4, 10, 3), shape(5, 3, 6)
    assert jax.eval_shape(conv, x, w).shape == (2, 6, 6)
    assert count_macs(conv, x, w) == (2 * 6 * 6) * (5 * 3)


def test_dilated_kernel():
    conv = nn.Conv(4, (3,), kernel_dilation=2, padding="VALID")
    assert macs_of(conv, shape(1, 10, 2)) == 6 * 4 * (3 * 2)


@pytest.mark.parametrize("size,kernel,stride", [(5, 3, 2), (4, 2, 2), (6, 5, 3)])
def test_a_transposed_convolution_does_not_count_holes(size, kernel, stride):
    # Full transposed convolution: every input meets every tap of every output channel.
    def conv(x, w):
        return lax.conv_transpose(
            x, w, (stride,), [(kernel - 1, kernel - 1)],
            dimension_numbers=("NHC", "HIO", "NHC"),
        )  # fmt: skip

    x, w = shape(1, size, 3), shape(kernel, 3, 7)
    assert count_macs(conv, x, w) == size * kernel * 3 * 7


def test_matrix_products_with_batch_dimensions():
    attend = "bqhd,bkhd->bhqk"
    q, k = shape(2, 5, 3, 8), shape(2, 7, 3, 8)
    macs = count_macs(lambda q, k: jnp.einsum(attend, q, k), q, k)
    assert macs == 2 * 3 * 5 * 7 * 8
    assert count_macs(jnp.dot, shape(4), shape(4)) == 4
    assert count_macs(jnp.outer, shape(4), shape(3)) == 0


X = shape(3, 3)
ONE = 27  # x @ x


def loop(x):
    return lax.while_loop(lambda c: c[0] < 9, lambda c: (c[0] + 1, c[1] @ x), (0, x))


def branches(x):
    cheap, dear = (lambda x: x @ x), (lambda x: x @ x @ x)
    return lax.cond(x[0, 0] > 0, cheap, dear, x)


@jax.custom_vjp
def squared(x):
    return x @ x


squared.defvjp(lambda x: (x @ x, x), lambda x, g: (g @ x.T + x.T @ g,))


@jax.custom_jvp
def cubed(x):
    return x @ x @ x


cubed.defjvp(lambda x, t: (cubed(*x), t[0]))

NESTED = {
    "jit": (jax.jit(lambda x: x @ x), ONE),
    "remat": (jax.checkpoint(lambda x: x @ x), ONE),
    "custom vjp": (squared, ONE),
    "custom jvp": (cubed, 2 * ONE),
    "gradient of a custom vjp": (
        jax.value_and_grad(lambda x: squared(x).sum()),
        3 * ONE,
    ),
    "gradient alone": (jax.grad(lambda x: squared(x).sum()), 2 * ONE),
    "dead code": (lambda x: (x @ x, jax.jit(lambda y: (y @ y, y))(x)[1])[1], 0),
    "dead carry": (
        lambda x: lax.scan(lambda c, _: ((c[0] @ x, c[1] @ x), None), (x, x), None, 5)[
            0
        ][0],
        5 * ONE,
    ),
    "scan": (lambda x: lax.scan(lambda c, _: (c @ x, None), x, None, 5)[0], 5 * ONE),
    "map": (lambda x: lax.map(lambda r: x @ r, jnp.ones((4, 3))), 4 * 9),
    "fori": (lambda x: lax.fori_loop(0, 6, lambda i, c: c @ x, x), 6 * ONE),
    "scan in scan": (
        lambda x: lax.scan(
            lambda c, _: (lax.scan(lambda d, _: (d @ x, None), c, None, 2)[0], None),
            x,
            None,
            3,
        )[0],
        6 * ONE,
    ),
    "cond": (branches, 2 * ONE),
    "vmap": (lambda x: jax.vmap(lambda r: x @ r)(jnp.ones((4, 3))), 4 * 9),
}


@pytest.mark.parametrize("fn,by_hand", NESTED.values(), ids=NESTED)
def test_nested_programs(fn, by_hand):
    macs = tally_macs(fn, X)
    assert macs.total == by_hand
    assert macs.by_primitive == ({"dot_general": by_hand} if by_hand else {})
    assert macs.notes == ()


def test_a_while_loop_counts_once_and_says_so():
    macs = tally_macs(loop, X)
    assert macs.total == ONE
    assert macs.notes == ("the body of a while loop counts once",)


def test_what_is_not_counted_is_said():
    mesh = jax.make_mesh((1,), ("i",), axis_types=(jax.sharding.AxisType.Auto,))
    spec = PartitionSpec()
    inner = jax.shard_map(lambda x: x @ x, mesh=mesh, in_specs=spec, out_specs=spec)
    macs = tally_macs(lambda x: inner(x) @ x, jnp.ones((3, 3)))
    assert macs.total == ONE
    assert macs.notes == ("shard_map is not counted",)


def test_nothing_to_count():
    assert tally_macs(jnp.sin, X) == measure.Macs(0, {}, ())


def test_parameters_and_bytes():
    tree = {
        "a": jnp.ones((3, 4)),
        "b": np.ones(5, np.float64),
        "c": jnp.ones((2, 0)),
        "d": shape(2, 2, dtype=jnp.bfloat16),
        "e": jax.nn.relu,
        "f": None,
        "g": 3.0,
    }
    assert count_params(tree) == 12 + 5 + 4
    assert count_bytes(tree) == 12 * 4 + 5 * 8 + 4 * 2


def test_functions_among_the_arguments_are_part_of_the_model():
    def apply(params, x, scale):
        return params["act"](x @ params["w"]) * scale

    args = ({"act": jax.nn.relu, "w": jnp.ones((3, 4))}, shape(2, 3), 2.0)
    assert count_macs(apply, *args) == 24
    assert measure_latency(apply, *args, repeats=2).repeats == 2


# -- time ------------------------------------------------------------------------------


def test_the_larger_product_takes_longer():
    product = jax.jit(lambda x: x @ x)
    calls = {"small": (product, (shape(4, 4),)), "large": (product, (shape(700, 700),))}
    latency = measure_latency(calls, budget=0.3)
    assert latency["large"].median > latency["small"].median > 0
    for result in latency.values():
        assert result.p10 <= result.median <= result.p90
        assert 5 <= result.repeats <= 2000
    assert latency["small"].repeats == latency["large"].repeats


def test_functions_take_turns(monkeypatch):
    order = []

    def note(call):
        order.append(call())
        return 1.0

    monkeypatch.setattr(measure, "_prepare", lambda fn, args: fn)
    monkeypatch.setattr(measure, "_seconds", note)
    calls = {name: (lambda name=name: name, ()) for name in "abc"}
    measure_latency(calls, repeats=3)
    assert "".join(order) == "abccbaabc"


def test_quantiles(monkeypatch):
    ticks = iter(range(1, 12))
    monkeypatch.setattr(measure, "_seconds", lambda call: float(next(ticks)))
    assert measure_latency(jnp.sin, 1.0, repeats=11) == (6.0, 2.0, 10.0, 11)


def test_the_budget_bounds_the_time():
    start = time.perf_counter()
    latency = measure_latency(lambda x: x @ x, shape(300, 300), budget=0.2)
    assert latency.repeats >= 5
    assert time.perf_counter() - start < 5


def test_compiling_is_not_measured():
    traced = []

    def fn(x):
        traced.append(1)
        time.sleep(0.5)
        return x + 1

    assert measure_latency(fn, jnp.ones(3), repeats=3).p90 < 0.25
    assert len(traced) == 1


@pytest.mark.parametrize("options", [{"repeats": 0}, {"budget": 0.0}])
def test_bad_settings(options):
    with pytest.raises(ValueError, match="expected repeats >= 1 and budget > 0"):
        measure_latency(jnp.sin, 1.0, **options)
