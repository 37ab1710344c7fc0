"""Operations with parameters: products, convolutions, norms, look-ups."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from tests.fuzz.network import Grower
from tests.fuzz.registry import op


def _dense(p, x, axis, place):
    y = jnp.moveaxis(x, axis, -1) @ p[0]
    if len(p) > 1:
        y = y + p[1].reshape((1,) * (y.ndim - 1) + (-1,))
    return jnp.moveaxis(y, -1, place)


@op(weight=8)
def dense(g: Grower, x: int):
    if (axis := g.axis(x, 1)) is None:
        return None
    width = g.size() + 2
    params = [g.weight(g.shapes[x][axis], width)]
    params += [g.bias(width)] if g.chance(0.7) else []
    place = g.pick((axis, -1))
    return g.emit("dense", _dense, [x], params, axis=axis, place=place)


def _dense_general(p, x, axes):
    return jnp.tensordot(x, p[0], axes=(axes, tuple(range(len(axes)))))


@op(weight=2)
def dense_general(g: Grower, x: int):
    """Several axes in, several out."""
    axes = g.axes(x, 1)
    count = min(len(axes), g.pick((1, 2)))
    if not count:
        return None
    axes = tuple(sorted(g.numbers.permutation(axes)[:count].tolist()))
    out = tuple(g.size() for _ in range(g.pick((1, 2))))
    kernel = g.weight(*(g.shapes[x][a] for a in axes), *out)
    return g.emit("dense_general", _dense_general, [x], [kernel], axes=axes)


def _batched_dense(p, x, axis, other):
    x = jnp.moveaxis(x, (axis, other), (-2, -1))
    return jnp.einsum("...ei,eio->...eo", x, p[0])


@op()
def batched_dense(g: Grower, x: int):
    """One kernel for each entry of another axis (experts, members, heads)."""
    axes = g.axes(x)
    if len(axes) < 2:
        return None
    axis, other = g.numbers.permutation(axes)[:2].tolist()
    kernel = g.weight(g.shapes[x][axis], g.shapes[x][other], g.size())
    return g.emit(
        "batched_dense", _batched_dense, [x], [kernel], axis=axis, other=other
    )


def _low_rank(p, x):
    return x @ (p[0] + p[1] @ p[2])


@op()
def low_rank(g: Grower, x: int):
    n, r, m = g.shapes[x][-1], g.size(), g.size()
    params = [g.weight(n, m), g.weight(n, r), g.weight(r, m)]
    return g.emit("low_rank", _low_rank, [x], params) if len(g.shapes[x]) > 1 else None


def _weight_norm(p, x):
    norm = jnp.sqrt((p[0] ** 2).sum(0, keepdims=True) + 1e-3)
    return x @ (p[0] / norm * p[1].reshape(1, -1))


@op()
def weight_norm(g: Grower, x: int):
    if len(g.shapes[x]) < 2:
        return None
    n, m = g.shapes[x][-1], g.size()
    return g.emit("weight_norm", _weight_norm, [x], [g.weight(n, m), g.positive(m)])


def _there_and_back(p, x):
    return jnp.tanh(x @ p[0]) @ p[0].T


@op()
def tied(g: Grower, x: int):
    """W and W.T."""
    if len(g.shapes[x]) < 2:
        return None
    return g.emit("tied", _there_and_back, [x], [g.weight(g.shapes[x][-1], g.size())])


def _conv(p, x, layout, strides, padding, rhs, lhs, groups):
    return lax.conv_general_dilated(
        *(x, p[0], strides, padding),
        lhs_dilation=lhs,
        rhs_dilation=rhs,
        dimension_numbers=layout,
        feature_group_count=groups,
    )


def _layout(g: Grower, rank: int) -> tuple[str, str, str]:
    """Where batch, features and space are, in input, kernel and output."""
    space = "XY"[: rank - 2]

    def shuffled(two: str) -> str:
        letters = list(two + space)
        if g.chance(0.5):
            letters = [letters[k] for k in g.numbers.permutation(len(letters))]
        return "".join(letters)

    lhs = "N" + shuffled("C")
    return lhs, shuffled("IO"), "N" + shuffled("C")


def _any_conv(g: Grower, x: int, name: str, layout, groups: int, kernel_in: int, out):
    """Kernel sizes, strides, padding and dilations at random."""
    window = {c: int(g.pick((1, 2, 3))) for c in "XY"}
    sizes = {"I": kernel_in, "O": out, **window}
    many = len(g.shapes[x]) - 2
    settings = {
        "layout": layout,
        "strides": tuple(g.pick((1, 1, 2)) for _ in range(many)),
        "padding": g.pick(("SAME", "SAME", "VALID", ((1, 0),) * many)),
        "rhs": (g.pick((1, 1, 2)),) * many,
        "lhs": (1,) * many,
        "groups": groups,
    }
    if not isinstance(settings["padding"], str) and g.chance(0.5):
        settings["lhs"] = (2,) * many
    kernel = g.weight(*(sizes[c] for c in layout[1]), fan_in=kernel_in * 3)
    return g.emit(name, _conv, [x], [kernel], **settings)


def _picture(g: Grower, x: int):
    """A layout and the number of input channels it means; 0 if x is not a picture."""
    if not 3 <= len(g.shapes[x]) <= 4:
        return None, 0
    layout = _layout(g, len(g.shapes[x]))
    return layout, g.shapes[x][layout[0].index("C")]


@op(weight=4)
def conv(g: Grower, x: int):
    layout, n = _picture(g, x)
    return _any_conv(g, x, "conv", layout, 1, n, g.size()) if n else None


@op(weight=2)
def grouped_conv(g: Grower, x: int):
    layout, n = _picture(g, x)
    groups = g.maybe([k for k in (2, 3) if n and n % k == 0])
    if groups is None:
        return None
    out = groups * g.pick((1, 2, 3))
    return _any_conv(g, x, "grouped_conv", layout, groups, n // groups, out)


@op(weight=2)
def depthwise_conv(g: Grower, x: int):
    layout, n = _picture(g, x)
    if not n:
        return None
    return _any_conv(g, x, "depthwise_conv", layout, n, 1, n * g.pick((1, 2)))


def _norm(x, axes):
    centred = x - x.mean(axes, keepdims=True)
    return centred * lax.rsqrt((centred**2).mean(axes, keepdims=True) + 1e-2)


def _along(vector, axis, ndim):
    return vector.reshape([-1 if k == axis % ndim else 1 for k in range(ndim)])


def _layer_norm(p, x, axis):
    scale, shift = (_along(v, axis, x.ndim) for v in p)
    return _norm(x, (axis,)) * scale + shift


@op()
def layer_norm(g: Grower, x: int):
    if (axis := g.axis(x)) is None:
        return None
    n = g.shapes[x][axis]
    return g.emit("layer_norm", _layer_norm, [x], [g.positive(n), g.bias(n)], axis=axis)


def _group_norm(p, x, groups):
    parts = x.reshape(*x.shape[:-1], groups, x.shape[-1] // groups)
    axes = (*range(1, x.ndim - 1), x.ndim)
    return _norm(parts, axes).reshape(x.shape) * _along(p[0], -1, x.ndim)


@op()
def group_norm(g: Grower, x: int):
    n = g.shapes[x][-1]
    groups = g.maybe([k for k in (2, 3) if n % k == 0 and n > k])
    if groups is None or len(g.shapes[x]) < 2:
        return None
    return g.emit("group_norm", _group_norm, [x], [g.positive(n)], groups=groups)


def _batch_norm(p, x, axis):
    mean, var, scale, shift = (_along(v, axis, x.ndim) for v in p)
    return (x - mean) * lax.rsqrt(var + 1e-3) * scale + shift


@op(weight=2)
def batch_norm(g: Grower, x: int):
    """Running statistics are parameters."""
    if (axis := g.axis(x, 1)) is None:
        return None
    n = g.shapes[x][axis]
    params = [g.bias(n), g.positive(n), g.positive(n), g.bias(n)]
    return g.emit("batch_norm", _batch_norm, [x], params, axis=axis)


def _scale(p, x, axis):
    return x * _along(p[0], axis, x.ndim)


@op()
def learnt_scale(g: Grower, x: int):
    if (axis := g.axis(x, 1)) is None:
        return None
    params = [g.bias(g.shapes[x][axis])]
    return g.emit("learnt_scale", _scale, [x], params, axis=axis)


def _prelu(p, x, axis):
    return jnp.where(x > 0, x, x * _along(p[0], axis, x.ndim))


@op()
def prelu(g: Grower, x: int):
    if (axis := g.axis(x, 1)) is None:
        return None
    return g.emit("prelu", _prelu, [x], [g.bias(g.shapes[x][axis])], axis=axis)


def _shift(p, x):
    return x + p[0][None]


@op()
def position_table(g: Grower, x: int):
    """A parameter as large as an example."""
    if len(g.shapes[x]) < 2:
        return None
    return g.emit("position_table", _shift, [x], [g.bias(*g.shapes[x][1:])])


def _embed(p, tokens):
    return p[0][tokens]


@op(weight=2)
def embedding(g: Grower, x: int):
    """Look the tokens up, where there are any."""
    if not g.is_tokens(0):
        return None
    return g.emit("embedding", _embed, [0], [g.weight(9, g.size(), fan_in=1)])


def _squeeze_excite(p, x):
    mean = x.mean(tuple(range(1, x.ndim - 1)))
    gate = jax.nn.sigmoid(jax.nn.relu(mean @ p[0]) @ p[1])
    return x * gate.reshape(len(x), *(1,) * (x.ndim - 2), -1)


@op()
def squeeze_excite(g: Grower, x: int):
    if len(g.shapes[x]) < 3:
        return None
    n, m = g.shapes[x][-1], g.size()
    return g.emit(
        "squeeze_excite", _squeeze_excite, [x], [g.weight(n, m), g.weight(m, n)]
    )


def _glu(p, x):
    value, gate = jnp.split(x @ p[0], 2, axis=-1)
    return value * jax.nn.sigmoid(gate)


@op(weight=2)
def gated_linear(g: Grower, x: int):
    if len(g.shapes[x]) < 2:
        return None
    return g.emit("gated_linear", _glu, [x], [g.weight(g.shapes[x][-1], 2 * g.size())])


def _attend(q, k, v):
    weights = jax.nn.softmax(jnp.einsum("bqhd,bkhd->bhqk", q, k))
    return jnp.einsum("bhqk,bkhd->bqhd", weights, v)


def _attention(p, x):
    q, k, v = (jnp.einsum("btc,chd->bthd", x, w) for w in p[:3])
    return jnp.einsum("bthd,hdc->btc", _attend(q, k, v), p[3])


@op(weight=2)
def attention(g: Grower, x: int):
    if len(g.shapes[x]) != 3:
        return None
    c, h, d, e = g.shapes[x][-1], g.pick((2, 3)), g.size(), g.size()
    params = [g.weight(c, h, d), g.weight(c, h, d), g.weight(c, h, e)]
    params.append(g.weight(h, e, c if g.chance(0.5) else g.size()))
    return g.emit("attention", _attention, [x], params)


def _fused_qkv(p, x, heads, order):
    b, t, _ = x.shape
    sizes = [{"3": 3, "h": heads, "d": -1}[c] for c in order]
    qkv = (x @ p[0]).reshape(b, t, *sizes)
    qkv = jnp.moveaxis(qkv, [2 + order.index(c) for c in "3hd"], [0, 3, 4])
    return _attend(*qkv).reshape(b, t, -1) @ p[1]


@op(weight=2)
def fused_qkv(g: Grower, x: int):
    """One kernel for all three, its columns in any of six orders."""
    if len(g.shapes[x]) != 3:
        return None
    heads, d = g.pick((2, 3)), g.pick((2, 3, 4))
    order = "".join(g.numbers.permutation(list("3hd")))
    params = [g.weight(g.shapes[x][-1], 3 * heads * d), g.weight(heads * d, g.size())]
    return g.emit("fused_qkv", _fused_qkv, [x], params, heads=heads, order=order)


def _constant(p, x, table, kind):
    return x * table[None] if kind == "product" else x + table[None]


@op()
def constant(g: Grower, x: int):
    """An array that is not a parameter."""
    if len(g.shapes[x]) < 2:
        return None
    kind = g.pick(("product", "sum"))
    shape = tuple(n if g.chance(0.7) else 1 for n in g.shapes[x][1:])
    return g.emit("constant", _constant, [x], table=g.constant(*shape), kind=kind)


def _constant_dense(p, x, table):
    return x @ table


@op()
def constant_dense(g: Grower, x: int):
    if len(g.shapes[x]) < 2:
        return None
    table = g.constant(g.shapes[x][-1], g.size())
    return g.emit("constant_dense", _constant_dense, [x], table=table)


def _hyper(p, x, y):
    kernel = (y @ p[0]).reshape(len(y), x.shape[-1], -1)
    return jnp.einsum("bi,bio->bo", x, kernel)


@op()
def hypernetwork(g: Grower, x: int):
    """A kernel that is made from another value."""
    y = g.maybe(
        [k for k, s in enumerate(g.shapes) if len(s) == 2 and not g.is_tokens(k)]
    )
    if len(g.shapes[x]) != 2 or y is None:
        return None
    n, m = g.shapes[x][1], g.pick((2, 3))
    return g.emit("hypernetwork", _hyper, [x, y], [g.weight(g.shapes[y][1], n * m)])


def _radial(p, x):
    return jnp.exp(-((x[..., None, :] - p[0]) ** 2).mean(-1))


@op()
def radial(g: Grower, x: int):
    """Distances to learnt centres."""
    if len(g.shapes[x]) < 2:
        return None
    return g.emit(
        "radial", _radial, [x], [g.weight(g.size(), g.shapes[x][-1], fan_in=1)]
    )


def _scatter_rows(p, x, rows):
    zeros = jnp.zeros((len(x), int(rows.max()) + 1, *x.shape[2:]), x.dtype)
    return zeros.at[:, rows].add(x)


@op()
def scatter_add(g: Grower, x: int):
    """Rows are added up by number, as messages in a graph."""
    if len(g.shapes[x]) < 3:
        return None
    rows = g.numbers.integers(0, 3, g.shapes[x][1]).astype(np.int32)
    return g.emit("scatter_add", _scatter_rows, [x], rows=rows)
