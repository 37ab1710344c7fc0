"""Operations without parameters: what moves, joins, cuts, reduces and combines."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from tests.fuzz.network import Grower
from tests.fuzz.registry import op


def _gaussian(x):
    return jnp.exp(-x * x)


def _power(x):
    return jnp.abs(jnp.tanh(x)) ** 1.5


def _clipped_exp(x):
    return jnp.exp(jnp.clip(x, -2.0, 2.0))


ACTIVATIONS = (
    *(jax.nn.relu, jax.nn.relu, jax.nn.gelu, jnp.tanh, jnp.sin, jnp.cos),
    *(jax.nn.sigmoid, jax.nn.softplus, jax.nn.silu, jax.nn.elu, jax.nn.leaky_relu),
    *(_gaussian, _power, _clipped_exp, jnp.square, lax.stop_gradient, jnp.sign),
)


def _activate(p, x, fn):
    return fn(x)


@op(weight=9)
def activation(g: Grower, x: int):
    return g.emit("activation", _activate, [x], fn=g.pick(ACTIVATIONS))


# -- two values ------------------------------------------------------------------------


def _combine(p, x, y, how):
    return how(x, y)


def _gate(x, y):
    return x * jax.nn.sigmoid(y)


def _residual(x, y):
    return x + y


def _difference(x, y):
    return x - 0.5 * y


def _quotient(x, y):
    return x / (1.5 + jnp.sin(y))


def _choose(x, y):
    return jnp.where(x > y, x, jnp.tanh(y))


COMBINATIONS = (_residual, _residual, _residual, _gate, _difference, _quotient)


@op(weight=6)
def combination(g: Grower, x: int):
    """A residual connection, a gate, a quotient, a maximum, a choice."""
    if g.is_tokens(x) or (y := g.like(g.shapes[x])) is None:
        return None
    how = g.pick((*COMBINATIONS, jnp.maximum, _choose, jnp.multiply))
    return g.emit("combination", _combine, [x, y], how=how)


def _concatenate(p, *xs, axis):
    return jnp.concatenate(xs, axis)


@op(weight=4)
def concatenate(g: Grower, x: int):
    axis = g.axis(x, 1)
    if g.is_tokens(x) or axis is None or (y := g.like(g.shapes[x], axis)) is None:
        return None
    return g.emit("concatenate", _concatenate, [x, y], axis=axis)


def _stack(p, *xs, axis):
    return jnp.stack(xs, axis)


@op()
def stack(g: Grower, x: int):
    if g.is_tokens(x) or (y := g.like(g.shapes[x])) is None or len(g.shapes[x]) > 3:
        return None
    axis = int(g.numbers.integers(1, len(g.shapes[x]) + 1))
    return g.emit("stack", _stack, [x, y], axis=axis)


def _einsum(p, *xs, spec):
    return jnp.einsum(spec, *xs)


@op(weight=2)
def outer(g: Grower, x: int):
    """Every pair of entries of two vectors."""
    y = g.maybe(
        [k for k, s in enumerate(g.shapes) if len(s) == 2 and not g.is_tokens(k)]
    )
    if g.is_tokens(x) or len(g.shapes[x]) != 2 or y is None:
        return None
    spec = g.pick(("bi,bj->bij", "bi,bj->bji"))
    return g.emit("outer", _einsum, [x, y], spec=spec)


@op(weight=2)
def contraction(g: Grower, x: int):
    """Two values of one shape are multiplied and summed over one of their axes."""
    if g.is_tokens(x) or not 3 <= len(g.shapes[x]) <= 4:
        return None
    if (y := g.like(g.shapes[x])) is None:
        return None
    letters = "bijk"[: len(g.shapes[x])]
    lost = g.pick(letters[1:])
    rest = letters.replace(lost, "")
    return g.emit("contraction", _einsum, [x, y], spec=f"{letters},{letters}->{rest}")


def _gram(p, x, axis):
    flat = jnp.moveaxis(x, axis, 1).reshape(len(x), x.shape[axis], -1)
    return jnp.einsum("bif,bjf->bij", flat, flat)


@op(weight=2)
def gram(g: Grower, x: int):
    """Inner products of the entries of one axis, taken over all other axes."""
    axis = g.axis(x)
    if g.is_tokens(x) or axis is None:
        return None
    return g.emit("gram", _gram, [x], axis=axis)


# -- one value: order and form ---------------------------------------------------------


def _transpose(p, x, order):
    return x.transpose(order)


@op(weight=3)
def transpose(g: Grower, x: int):
    rank = len(g.shapes[x])
    if g.is_tokens(x) or rank < 3:
        return None
    order = (0, *(1 + g.numbers.permutation(rank - 1)).tolist())
    return g.emit("transpose", _transpose, [x], order=order)


def _reshape(p, x, shape):
    return x.reshape(len(x), *shape)


@op(weight=3)
def merge(g: Grower, x: int):
    """Two neighbouring axes, or all, become one."""
    shape = g.shapes[x][1:]
    if g.is_tokens(x) or len(shape) < 2:
        return None
    at = int(g.numbers.integers(len(shape) - 1))
    merged = (*shape[:at], shape[at] * shape[at + 1], *shape[at + 2 :])
    shape = merged if g.chance(0.6) else (int(np.prod(shape)),)
    return g.emit("merge", _reshape, [x], shape=shape)


@op(weight=4)
def split_axis(g: Grower, x: int):
    """One axis becomes two."""
    shape = g.shapes[x]
    options = [
        (k, n) for k in range(1, len(shape)) for n in (2, 3, 4) if shape[k] % n == 0
    ]
    if g.is_tokens(x) or not options or len(shape) > 4:
        return None
    k, n = g.pick(options)
    pair = g.pick(((n, shape[k] // n), (shape[k] // n, n)))
    new = (*shape[1:k], *pair, *shape[k + 1 :])
    return g.emit("split_axis", _reshape, [x], shape=new)


@op()
def regroup(g: Grower, x: int):
    """Any shape with the same number of entries."""
    entries = int(np.prod(g.shapes[x][1:]))
    factors = [k for k in range(2, entries) if entries % k == 0]
    if g.is_tokens(x) or not factors:
        return None
    first = g.pick(factors)
    return g.emit("regroup", _reshape, [x], shape=(first, entries // first))


def _flip_merge(p, x):
    order = (0, *range(x.ndim - 1, 0, -1))
    return lax.reshape(x, (len(x), int(np.prod(x.shape[1:]))), dimensions=order)


@op()
def flip_merge(g: Grower, x: int):
    """All axes become one, the last of them slowest, in one primitive."""
    if g.is_tokens(x) or len(g.shapes[x]) < 3:
        return None
    return g.emit("flip_merge", _flip_merge, [x])


def _expand(p, x, axis):
    return jnp.expand_dims(x, axis)


@op()
def expand(g: Grower, x: int):
    rank = len(g.shapes[x])
    if g.is_tokens(x) or rank > 3:
        return None
    return g.emit("expand", _expand, [x], axis=int(g.numbers.integers(1, rank + 1)))


def _tile(p, x, axis, how):
    if how == "tile":
        return jnp.tile(x, [2 if k == axis else 1 for k in range(x.ndim)])
    if how == "repeat":
        return jnp.repeat(x, 2, axis)
    return jnp.broadcast_to(
        jnp.expand_dims(x, axis), (*x.shape[:axis], 3, *x.shape[axis:])
    )


@op()
def copies(g: Grower, x: int):
    """Tiled, repeated, or broadcast along a new axis."""
    axis = g.axis(x, 1)
    if g.is_tokens(x) or axis is None or len(g.shapes[x]) > 3:
        return None
    return g.emit(
        "copies", _tile, [x], axis=axis, how=g.pick(("tile", "repeat", "new"))
    )


def _flip(p, x, axis):
    return jnp.flip(x, axis)


@op()
def reverse(g: Grower, x: int):
    axis = g.axis(x)
    if g.is_tokens(x) or axis is None:
        return None
    return g.emit("reverse", _flip, [x], axis=axis)


def _roll(p, x, by, axis):
    return jnp.roll(x, by, axis)


@op()
def roll(g: Grower, x: int):
    axis = g.axis(x)
    if g.is_tokens(x) or axis is None:
        return None
    return g.emit("roll", _roll, [x], by=int(g.pick((-2, -1, 1, 2))), axis=axis)


def _pad(p, x, axis, low, high, interior):
    config = [(0, 0, 0)] * x.ndim
    config[axis] = (low, high, interior)
    return lax.pad(x, jnp.zeros((), x.dtype), config)


@op(weight=2)
def pad(g: Grower, x: int):
    axis = g.axis(x, 3)
    if g.is_tokens(x) or axis is None:
        return None
    low, high = (int(g.pick((-1, 0, 1, 2))) for _ in "ab")
    interior = int(g.chance(0.1))
    ends = {"low": low, "high": high, "interior": interior}
    return g.emit("pad", _pad, [x], [], axis=axis, **ends)


def _shift(p, x, axis):
    """Zeros in front, the last entry gone."""
    width = [(1, 0) if k == axis else (0, 0) for k in range(x.ndim)]
    return lax.slice_in_dim(jnp.pad(x, width), 0, x.shape[axis], axis=axis)


@op()
def shift(g: Grower, x: int):
    axis = g.axis(x)
    if g.is_tokens(x) or axis is None:
        return None
    return g.emit("shift", _shift, [x], axis=axis)


# -- one value: parts ------------------------------------------------------------------


def _slice(p, x, axis, start, stop, step):
    return lax.slice_in_dim(x, start, stop, step, axis)


@op(weight=3)
def slice_axis(g: Grower, x: int):
    axis = g.axis(x, 3)
    if g.is_tokens(x) or axis is None:
        return None
    n = g.shapes[x][axis]
    start = int(g.numbers.integers(0, n - 1))
    stop = int(g.numbers.integers(start + 1, n + 1))
    settings = {"axis": axis, "start": start, "stop": stop, "step": g.pick((1, 1, 2))}
    return g.emit("slice_axis", _slice, [x], **settings)


def _halves(p, x, axis, how):
    a, b = jnp.split(x, 2, axis)
    return how(a, b)


@op(weight=3)
def halves(g: Grower, x: int):
    """Split in two, and the two combined."""
    axes = [k for k in g.axes(x) if g.shapes[x][k] % 2 == 0]
    if g.is_tokens(x) or not axes:
        return None
    how = g.pick((*COMBINATIONS, jnp.multiply))
    return g.emit("halves", _halves, [x], axis=g.pick(axes), how=how)


def _take(p, x, order, axis):
    return jnp.take(x, order, axis=axis)


@op()
def take(g: Grower, x: int):
    """Entries at fixed places: a shuffle, a choice, or copies."""
    axis = g.axis(x)
    if g.is_tokens(x) or axis is None:
        return None
    n = g.shapes[x][axis]
    shuffled = g.numbers.permutation(n)
    some = g.numbers.integers(0, n, g.size())
    order = shuffled if g.chance(0.5) else some
    return g.emit("take", _take, [x], order=order, axis=axis)


def _dynamic(p, x, axis, how):
    start = jnp.argmax(x.reshape(-1)) % (x.shape[axis] - 1)
    part = lax.dynamic_slice_in_dim(x, start, 2, axis)
    if how == "slice":
        return part
    return lax.dynamic_update_slice_in_dim(x, jnp.tanh(part), start, axis)


@op()
def dynamic(g: Grower, x: int):
    """A part whose place depends on the data."""
    axis = g.axis(x)
    if g.is_tokens(x) or axis is None:
        return None
    return g.emit("dynamic", _dynamic, [x], axis=axis, how=g.pick(("slice", "update")))


def _pick(p, x, axis, at):
    return lax.index_in_dim(x, at, axis, keepdims=False)


@op()
def pick_one(g: Grower, x: int):
    axis = g.axis(x)
    if g.is_tokens(x) or axis is None or len(g.shapes[x]) < 3:
        return None
    at = int(g.numbers.integers(g.shapes[x][axis]))
    return g.emit("pick_one", _pick, [x], axis=axis, at=at)


# -- one value: over an axis -----------------------------------------------------------


def _reduce(p, x, axis, fn, keepdims):
    return fn(x, axis=axis, keepdims=keepdims)


@op(weight=2)
def reduction(g: Grower, x: int):
    axis = g.axis(x)
    if g.is_tokens(x) or axis is None or len(g.shapes[x]) < 3:
        return None
    fn = g.pick((jnp.sum, jnp.mean, jnp.mean, jnp.max, jnp.min, jax.nn.logsumexp))
    settings = {"axis": axis, "fn": fn, "keepdims": g.chance(0.2)}
    return g.emit("reduction", _reduce, [x], **settings)


def _over(p, x, axis, fn):
    return fn(x, axis=axis)


@op()
def softmax(g: Grower, x: int):
    axis = g.axis(x)
    if g.is_tokens(x) or axis is None:
        return None
    return g.emit("softmax", _over, [x], axis=axis, fn=jax.nn.softmax)


@op()
def cumulative(g: Grower, x: int):
    axis = g.axis(x)
    if g.is_tokens(x) or axis is None:
        return None
    fn = g.pick((jnp.cumsum, lax.cummax))
    return g.emit("cumulative", _over, [x], axis=axis, fn=fn)


@op()
def sort(g: Grower, x: int):
    axis = g.axis(x)
    if g.is_tokens(x) or axis is None:
        return None
    return g.emit("sort", _over, [x], axis=axis, fn=jnp.sort)


def _top(p, x):
    # ties, also those of 0.0 and -0.0, are broken alike in every network
    x = x + 1e-3 * jnp.arange(x.shape[-1], dtype=x.dtype)
    values, places = lax.top_k(x, 2)
    return values + 0.01 * places


@op()
def top_k(g: Grower, x: int):
    if g.is_tokens(x) or len(g.shapes[x]) < 2 or g.shapes[x][-1] < 2:
        return None
    return g.emit("top_k", _top, [x])


def _pool(p, x, axis, window, stride, padding, how):
    def full(n):
        return [n if k == axis else 1 for k in range(x.ndim)]

    first, fn = {"max": (-jnp.inf, lax.max), "sum": (0.0, lax.add)}[how]
    first = np.array(first, x.dtype)
    return lax.reduce_window(x, first, fn, full(window), full(stride), padding)


@op(weight=3)
def pool(g: Grower, x: int):
    axis = g.axis(x)
    if g.is_tokens(x) or axis is None:
        return None
    settings = {"axis": axis, "window": g.pick((2, 3)), "stride": g.pick((1, 2))}
    settings |= {"padding": g.pick(("SAME", "VALID")), "how": g.pick(("max", "sum"))}
    return g.emit("pool", _pool, [x], **settings)


def _opaque(p, x, axis, how):
    if how == "fft":
        return jnp.fft.fft(x, axis=axis).real
    moved = jnp.moveaxis(x, axis, -1)[..., None]
    cov = jnp.eye(moved.shape[-2]) + jnp.tanh(moved) * jnp.tanh(moved).swapaxes(-1, -2)
    return jnp.moveaxis(jnp.linalg.cholesky(cov)[..., 0], -1, axis)


@op(weight=0.5)
def opaque(g: Grower, x: int):
    """What no rule is expected for."""
    axis = g.axis(x)
    if g.is_tokens(x) or axis is None:
        return None
    return g.emit("opaque", _opaque, [x], axis=axis, how=g.pick(("fft", "cholesky")))
