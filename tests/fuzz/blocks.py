"""Operations with a body: loops, branches, custom derivatives, calls."""

import jax
import jax.numpy as jnp
from jax import lax

from tests.fuzz.network import Grower
from tests.fuzz.registry import op


def _vanilla(p, x, reverse):
    def step(h, x_t):
        h = jnp.tanh(x_t @ p[0] + h @ p[1] + p[2][None])
        return h, h

    first = jnp.zeros((len(x), p[1].shape[0]), x.dtype)
    return lax.scan(step, first, x.swapaxes(0, 1), reverse=reverse)[1].swapaxes(0, 1)


@op(weight=2)
def recurrence(g: Grower, x: int):
    """A scan over axis 1."""
    if g.is_tokens(x) or len(g.shapes[x]) != 3:
        return None
    n = g.size()
    params = [g.weight(g.shapes[x][-1], n), g.weight(n, n), g.bias(n)]
    return g.emit("recurrence", _vanilla, [x], params, reverse=g.chance(0.3))


def _lstm(p, x):
    def step(carry, x_t):
        c, h = carry
        i, f, o, z = jnp.split(x_t @ p[0] + h @ p[1], 4, -1)
        c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(z)
        h = jax.nn.sigmoid(o) * jnp.tanh(c)
        return (c, h), h

    zeros = jnp.zeros((len(x), p[1].shape[0]), x.dtype)
    return lax.scan(step, (zeros, zeros), x.swapaxes(0, 1))[1].swapaxes(0, 1)


@op()
def lstm(g: Grower, x: int):
    """All four gates in one kernel."""
    if g.is_tokens(x) or len(g.shapes[x]) != 3:
        return None
    n = g.size()
    params = [g.weight(g.shapes[x][-1], 4 * n), g.weight(n, 4 * n)]
    return g.emit("lstm", _lstm, [x], params)


def _stacked(p, x):
    def block(h, layer):
        up, down = layer
        return h + jax.nn.relu(h @ up) @ down, None

    return lax.scan(block, x, (p[0], p[1]))[0]


@op(weight=2)
def scan_over_layers(g: Grower, x: int):
    if g.is_tokens(x) or len(g.shapes[x]) < 2:
        return None
    n, m = g.shapes[x][-1], g.size()
    params = [g.weight(3, n, m, fan_in=3 * n), g.weight(3, m, n, fan_in=3 * m)]
    return g.emit("scan_over_layers", _stacked, [x], params)


def _loop(p, x, how):
    def body(_, h):
        return jnp.tanh(h @ p[0] + x)

    if how == "fori":
        return lax.fori_loop(0, 3, body, x)
    turn = lambda carry: (carry[0] + 1, body(0, carry[1]))  # noqa: E731
    return lax.while_loop(lambda carry: carry[0] < 3, turn, (0, x))[1]


@op()
def loop(g: Grower, x: int):
    if g.is_tokens(x) or len(g.shapes[x]) < 2:
        return None
    n = g.shapes[x][-1]
    return g.emit("loop", _loop, [x], [g.weight(n, n)], how=g.pick(("fori", "while")))


def _branch(p, x):
    first = p[0].reshape(-1)[0] > 0
    return lax.cond(first, lambda h: jnp.tanh(h @ p[0]), lambda h: jnp.sin(h @ p[1]), x)


@op()
def branch(g: Grower, x: int):
    """Which one depends on a parameter's first entry, which so is looked at."""
    if g.is_tokens(x) or len(g.shapes[x]) < 2:
        return None
    n, m = g.shapes[x][-1], g.size()
    return g.emit("branch", _branch, [x], [g.weight(n, m), g.weight(n, m)])


def _switch(p, x, at):
    branches = [lambda h: h, jnp.tanh, lambda h: h * p[0][None]]
    return lax.switch(jnp.asarray(at), branches, x)


@op()
def switch(g: Grower, x: int):
    if g.is_tokens(x) or len(g.shapes[x]) != 2:
        return None
    return g.emit(
        "switch", _switch, [x], [g.bias(g.shapes[x][1])], at=g.pick((0, 1, 2))
    )


@jax.custom_vjp
def _rounded(x):
    return jnp.round(4 * x) / 4


_rounded.defvjp(lambda x: (_rounded(x), None), lambda _, ct: (ct,))


@jax.custom_jvp
def _smooth(x):
    return jnp.maximum(x, 0.0) + 0.1 * jnp.sin(x)


@_smooth.defjvp
def _smooth_jvp(primals, tangents):
    return _smooth(primals[0]), tangents[0] * jnp.where(primals[0] > 0, 1.0, 0.1)


def _quiet(x):
    return jnp.tanh(x) * x


WRAPPED = (_rounded, _smooth, jax.jit(_quiet), jax.checkpoint(_quiet), jax.jit(_smooth))


def _wrap(p, x, number):
    return WRAPPED[number](x)


@op(weight=4)
def wrapped(g: Grower, x: int):
    """custom_vjp, custom_jvp, nested jit, remat."""
    if g.is_tokens(x):
        return None
    number = int(g.numbers.integers(len(WRAPPED)))
    return g.emit("wrapped", _wrap, [x], number=number)


@jax.custom_vjp
def _matmul(x, w):
    return x @ w


_matmul.defvjp(
    lambda x, w: (x @ w, (x, w)),
    lambda kept, ct: (ct @ kept[1].T, jnp.einsum("...i,...o->io", kept[0], ct)),
)


def _custom_dense(p, x):
    return _matmul(x, p[0])


@op()
def custom_dense(g: Grower, x: int):
    """A product with a gradient of its own."""
    if g.is_tokens(x) or len(g.shapes[x]) < 2:
        return None
    kernel = g.weight(g.shapes[x][-1], g.size())
    return g.emit("custom_dense", _custom_dense, [x], [kernel])


def _mapped(p, x, axis):
    def member(x, w):
        return jax.nn.relu(x @ w)

    return jax.vmap(member, in_axes=(axis, 0), out_axes=axis)(x, p[0])


@op()
def mapped(g: Grower, x: int):
    """vmap over a middle axis, with a kernel for each entry."""
    if g.is_tokens(x) or len(g.shapes[x]) < 3:
        return None
    axis = g.maybe([k for k in g.axes(x) if k < len(g.shapes[x]) - 1])
    if axis is None:
        return None
    kernel = g.weight(g.shapes[x][axis], g.shapes[x][-1], g.size())
    return g.emit("mapped", _mapped, [x], [kernel], axis=axis)


def _prefix(p, x, axis):
    def join(a, b):
        return a[0] * b[0], b[0] * a[1] + b[1]

    decay = jax.nn.sigmoid(x)
    return lax.associative_scan(join, (decay, x), axis=axis)[1]


@op()
def associative_scan(g: Grower, x: int):
    axis = g.axis(x)
    if g.is_tokens(x) or axis is None:
        return None
    return g.emit("associative_scan", _prefix, [x], axis=axis)


def _dropout(p, x, seed):
    bits = jax.random.bernoulli(jax.random.key(seed), 0.7, x.shape)
    return jnp.where(bits, x / 0.7, 0.0)


@op()
def dropout(g: Grower, x: int):
    if g.is_tokens(x):
        return None
    return g.emit("dropout", _dropout, [x], seed=int(g.numbers.integers(100)))


def _slope(p, x):
    def energy(x):
        return jax.nn.softplus(x @ p[0]).sum()

    return jax.grad(energy)(x)


@op()
def input_gradient(g: Grower, x: int):
    """The gradient of a small network with respect to its input."""
    if g.is_tokens(x) or len(g.shapes[x]) < 2:
        return None
    return g.emit("input_gradient", _slope, [x], [g.weight(g.shapes[x][-1], g.size())])
