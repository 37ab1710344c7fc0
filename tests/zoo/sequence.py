"""Loops: recurrent networks, scans, conditions."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax
from jax.nn import relu, sigmoid

from tests.zoo.case import Draw, Model, case, dense, linen


class LSTMThenGRU(nn.Module):
    dtype: jnp.dtype

    @nn.compact
    def __call__(self, x: Any):
        cells: Any = (
            nn.OptimizedLSTMCell(16, param_dtype=self.dtype),
            nn.GRUCell(12, param_dtype=self.dtype),
        )
        for cell in cells:
            x = nn.RNN(cell)(x)
        return nn.Dense(4)(x[:, -1])


@case((16, 12))
def lstm_then_gru(draw: Draw) -> Model:
    """A unit owns its column and its row in all four (three) gates."""
    return linen(draw, LSTMThenGRU(draw.dtype), draw.normal(3, 5, 6))


@case((8,), frozen=(("out/w", 1),))
def elman_network(draw: Draw) -> Model:
    """A scan over time written by hand, with the state's first value a parameter."""

    def apply(params, x):
        def step(state, x_t):
            state = jnp.tanh(x_t @ params["w"] + state @ params["u"])
            return state, dense(params["out"], state)

        first = jnp.tile(params["first"][None], (len(x), 1))
        return lax.scan(step, first, x.swapaxes(0, 1))[1].swapaxes(0, 1)

    params = {"w": draw.weight(5, 8), "u": draw.weight(8, 8), "first": draw.bias(8)}
    params |= {"out": draw.dense(8, 3)[0]}
    return Model(apply, params, (draw.normal(3, 4, 5),))


@case((7, 6))
def bidirectional(draw: Draw) -> Model:
    """Forwards and backwards, then concatenated: two families under one kernel."""

    def run(layer, x, reverse):
        def step(h, x_t):
            z = sigmoid(x_t @ layer["z"] + h @ layer["uz"])
            h = (1 - z) * h + z * jnp.tanh(x_t @ layer["w"] + h @ layer["u"])
            return h, h

        first = jnp.zeros((len(x), layer["u"].shape[0]), x.dtype)
        return lax.scan(step, first, x.swapaxes(0, 1), reverse=reverse)[1]

    def apply(params, x):
        both = [run(params["forth"], x, False), run(params["back"], x, True)]
        return dense(params["out"], jnp.concatenate(both, -1).mean(0))

    def cell(units):
        names = {"w": 5, "z": 5, "u": units, "uz": units}
        return {name: draw.weight(rows, units) for name, rows in names.items()}

    params = {"forth": cell(7), "back": cell(6), "out": draw.dense(13, 3)[0]}
    return Model(apply, params, (draw.normal(3, 4, 5),))


@case((10, 22), frozen=(("layers/0/w", 0), ("layers/1/w", 0)))
def scan_over_layers(draw: Draw) -> Model:
    """Stacked parameters, one residual block a step: a player is the same unit in
    all layers; the axis of the layers is frozen."""

    def apply(params, x):
        def block(x, layer):
            return x + dense(layer[1], relu(dense(layer[0], x))), None

        x = lax.scan(block, dense(params["in"], x), params["layers"])[0]
        return dense(params["out"], x)

    layers = [draw.dense(10, 22, 10) for _ in range(4)]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *layers)
    ends = {"in": draw.dense(6, 10)[0], "out": draw.dense(10, 3)[0]}
    return Model(apply, {"layers": stacked, **ends}, (draw.normal(3, 6),))


@case((10, 22))
def linen_scan_over_layers(draw: Draw) -> Model:
    """The same through `nn.scan` and `nn.remat`."""

    class Block(nn.Module):
        @nn.compact
        def __call__(self, x, _):
            hidden = nn.gelu(nn.Dense(22)(x))
            return x + nn.Dense(10)(hidden), None

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            stack = nn.scan(
                nn.remat(Block, prevent_cse=False),
                variable_axes={"params": 0},
                split_rngs={"params": True},
                length=3,
            )
            x, _ = stack()(nn.Dense(10)(x), None)
            return nn.Dense(2)(x)

    return linen(draw, Net(), draw.normal(3, 6))


@case((12,), frozen=(("sorted/w", 1), ("out/w", 0)))
def loops_and_conditions(draw: Draw) -> Model:
    """12 units through fori_loop, cond and remat; a layer that is sorted is frozen."""

    def apply(params, x):
        x = relu(dense(params["in"], x))
        x = lax.fori_loop(0, 3, lambda _, h: jnp.tanh(dense(params["loop"], h)), x)
        x = lax.cond(
            params["switch"] > 0, lambda h: h * params["scale"][None], jnp.sin, x
        )
        x = jax.checkpoint(lambda h: relu(dense(params["again"], h)) + h)(x)
        x = jnp.sort(dense(params["sorted"], x), -1)
        return dense(params["out"], x)

    params = {"in": draw.dense(6, 12)[0], "loop": draw.dense(12, 12)[0]}
    params |= {"again": draw.dense(12, 12)[0], "sorted": draw.dense(12, 7)[0]}
    params |= {"scale": draw.positive(12), "switch": draw.positive()}
    params["out"] = draw.dense(7, 3)[0]
    return Model(apply, params, (draw.normal(3, 6),))


@case((9,), gradient="forward")
def deep_equilibrium(draw: Draw) -> Model:
    """A while_loop whose state is fed back through a square matrix."""

    def apply(params, x):
        drive = dense(params["in"], x)

        def go_on(carry):
            step, _ = carry
            return step < 6

        def improve(carry):
            step, z = carry
            return step + 1, jnp.tanh(z @ params["u"] + drive)

        _, z = lax.while_loop(go_on, improve, (0, jnp.zeros_like(drive)))
        return dense(params["out"], z)

    params = {"in": draw.dense(6, 9)[0], "u": draw.weight(9, 9) / 2}
    params["out"] = draw.dense(9, 3)[0]
    return Model(apply, params, (draw.normal(3, 6),))


@case((10,))
def associative_scan(draw: Draw) -> Model:
    """h_t = a_t h_(t-1) + b_t by parallel prefix sums, as state-space models do."""

    def combine(left, right):
        return left[0] * right[0], right[0] * left[1] + right[1]

    def apply(params, x):
        gate, drive = sigmoid(dense(params["gate"], x)), dense(params["drive"], x)
        _, h = lax.associative_scan(combine, (gate, (1 - gate) * drive), axis=1)
        return dense(params["out"], h * jax.nn.silu(dense(params["skip"], x)))

    params = {n: draw.dense(5, 10)[0] for n in ("gate", "drive", "skip")}
    params["out"] = draw.dense(10, 3)[0]
    return Model(apply, params, (draw.normal(2, 7, 5),))


@case((8, 6))
def selective_state_space(draw: Draw) -> Model:
    """Mamba's core: 8 channels by 6 states, both players: a state leaves in all
    channels at once."""

    def apply(params, x):
        u = jax.nn.silu(dense(params["in"], x))
        delta = jax.nn.softplus(dense(params["delta"], u))
        b, c = u @ params["b"], u @ params["c"]
        decay = jnp.exp(-delta[..., None] * params["a"][None, None])
        drive = (delta * u)[..., None] * b[:, :, None]

        def step(h, now):
            decay, drive, c = now
            h = decay * h + drive
            return h, jnp.einsum("bds,bs->bd", h, c)

        time_first = [jnp.moveaxis(v, 1, 0) for v in (decay, drive, c)]
        y = lax.scan(step, jnp.zeros_like(drive[:, 0]), tuple(time_first))[1]
        return dense(params["out"], jnp.moveaxis(y, 0, 1) + u * params["d"][None, None])

    params = {"in": draw.dense(5, 8)[0], "delta": draw.dense(8, 8)[0]}
    params |= {"b": draw.weight(8, 6), "c": draw.weight(8, 6)}
    params |= {"a": draw.positive(8, 6), "d": draw.bias(8)}
    params["out"] = draw.dense(8, 3)[0]
    return Model(apply, params, (draw.normal(2, 5, 5),))


@case((9, 11))
def neural_ode(draw: Draw) -> Model:
    """Runge-Kutta steps of a small vector field over a state of 9."""

    def apply(params, x):
        def field(z):
            up, down = params["field"]
            return dense(down, jnp.tanh(dense(up, z)))

        def step(z, _):
            k1 = field(z)
            k2 = field(z + 0.1 * k1)
            return z + 0.05 * (k1 + k2), None

        z = lax.scan(step, dense(params["in"], x), None, length=4)[0]
        return dense(params["out"], z)

    params = {"in": draw.dense(4, 9)[0], "field": draw.dense(9, 11, 9)}
    params["out"] = draw.dense(9, 2)[0]
    return Model(apply, params, (draw.normal(3, 4),))


@case((8, 6), frozen=(("message/w", 0),), batched=())
def graph_network(draw: Draw) -> Model:
    """Messages along edges are looked up by index and added up by index."""

    def apply(params, nodes, edges):
        messages = relu(dense(params["message"], nodes))[edges[:, 0]]
        zeros = jnp.zeros((len(nodes), 8), nodes.dtype)
        received = zeros.at[edges[:, 1]].add(messages)
        return dense(params["out"], relu(dense(params["update"], received)))

    message, update, out = draw.dense(5, 8, 6, 3)
    params = {"message": message, "update": update, "out": out}
    inputs = (draw.normal(6, 5), draw.integers(6, 9, 2))
    return Model(apply, params, inputs)
