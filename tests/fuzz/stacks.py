"""Random networks whose layers are scanned, for (layer, unit) players.

    python -m tests.fuzz --layers --networks 500

A layer is what its features say; some keep units within the layer, others let them out:
then those units have to stay one in all layers, and the comparisons have to hold.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from tests.fuzz.grow import BATCH, read_out
from tests.fuzz.network import Grower, Network

LAYERS = 3
FEATURES = {  # and how often a layer has one
    "gated": 0.3,
    "fused": 0.3,
    "normed": 0.5,
    "heads": 0.4,
    "branch": 0.15,
    "loop": 0.2,
    "inner_layers": 0.15,
    "halves": 0.15,
    "table": 0.12,
    "shared": 0.15,
    "carried": 0.15,
    "made": 0.15,
    "remat": 0.25,
    "reverse": 0.25,
    "turned": 0.15,
    "scaled": 0.2,
    "layers_second": 0.2,
    "bias": 0.6,
    "sown": 0.15,
}
ACTIVATIONS = (jnp.tanh, jax.nn.relu, jnp.cos, jax.nn.gelu, jax.nn.sigmoid, jnp.exp)


def grow_stack(seed: int) -> Network:
    """The network of one seed; call it with 64-bit types enabled."""
    g = Grower(seed)
    shape = g.pick(((5,), (4, 5)))
    x = g.input(g.numbers.standard_normal((BATCH, *shape)))
    if g.chance(0.7):
        x = g.emit("dense", _dense, [x], [g.weight(shape[-1], g.size())])
    assert x is not None
    for _ in range(1 + g.chance(0.3)):
        x = _add_stack(g, x)
    kernel = g.weight(int(np.prod(g.shapes[x][1:])), 3)
    out = g.emit("read_out", read_out, [x], [kernel])
    return g.finish([x if out is None else out])


def _dense(p, x):
    return jnp.tanh(x @ p[0])


def _add_stack(g: Grower, x: int) -> int:
    has = {name for name, share in FEATURES.items() if g.chance(share)}
    n, m = g.shapes[x][-1], 2 * g.size()
    if len(g.shapes[x]) < 3:
        has.discard("heads")
    out = 2 * m if "fused" in has else m
    shapes = {"up": (n, out), "down": (m, n)}
    if "gated" in has:
        shapes["gate"] = (n, m)
    if "bias" in has:
        shapes["bias"] = (out,)
    if "heads" in has:
        shapes |= {"qkv": (n, 3, 2, 3), "o": (2, 3, n)}
    if "inner_layers" in has:
        shapes["inner"] = (2, m, m)
    names = sorted(shapes)
    params = [_stacked(g, shapes[name], has) for name in names]
    if "shared" in has:
        names.append("shared")
        params.append(g.weight(m, m))
    settings = {
        "names": tuple(names),
        "has": frozenset(has),
        "act": g.pick(ACTIVATIONS),
    }
    step = g.emit("stack", _run_stack, [x], params, **settings)
    assert step is not None
    return step


def _stacked(g: Grower, shape: tuple[int, ...], has: set[str]) -> int:
    full = (LAYERS, *shape)
    if "layers_second" in has:
        full = (shape[0], LAYERS, *shape[1:])
    return g.weight(*full, fan_in=2 * shape[0])


def _run_stack(p, x, names, has, act):
    w = dict(zip(names, p, strict=True))
    shared = w.pop("shared", None)
    if "layers_second" in has:
        w = {name: jnp.moveaxis(leaf, 1, 0) for name, leaf in w.items()}
    if "turned" in has:
        w = {name: leaf[::-1] for name, leaf in w.items()}
    if "scaled" in has:
        w = {name: 0.5 * leaf for name, leaf in w.items()}

    def turn(carry, w):
        x, memory = carry
        h = x / jnp.sqrt(1 + jnp.square(x)) if "normed" in has else x
        if "heads" in has:
            x = x + _attend(h, w)
        h = _hidden(h, w, has, act)
        h, memory = _meddle(h, memory, w, has, shared)
        sown = h if "sown" in has else jnp.zeros(())
        return (x + h @ w["down"], memory), sown.sum()

    if "remat" in has:
        turn = jax.checkpoint(turn)
    width = p[names.index("down")].shape[0 if "layers_second" in has else 1]
    memory = jnp.zeros((*x.shape[:-1], width), x.dtype)
    (x, memory), sown = lax.scan(turn, (x, memory), w, reverse="reverse" in has)
    return x + memory.sum() + sown.sum()


def _hidden(h, w, has, act):
    up = h @ w["up"]
    up = up + w["bias"] if "bias" in has else up
    if "fused" in has:
        first, second = jnp.split(up, 2, -1)
        up = act(first) * second
    else:
        up = act(up)
    return up * jnp.tanh(h @ w["gate"]) if "gated" in has else up


def _attend(h, w):
    q, k, v = jnp.moveaxis(jnp.einsum("btn,nchd->btchd", h, w["qkv"]), 2, 0)
    scores = jax.nn.softmax(jnp.einsum("bthd,bshd->bhts", q, k), -1)
    return jnp.einsum("bhts,bshd,hdn->btn", scores, v, w["o"])


def _meddle(h, memory, w, has, shared):
    """What the features do to the hidden units, and what is carried on."""
    if "branch" in has:
        h = lax.cond(h.shape[0] > 2, jnp.tanh, jnp.sin, h) * lax.cond(
            jnp.asarray(True), lambda: 1.0, lambda: 2.0
        )
    if "loop" in has:
        h = lax.fori_loop(0, 2, lambda _, s: jnp.tanh(s + h), h)
    if "inner_layers" in has:
        h = lax.scan(lambda s, v: (jnp.tanh(s @ v) + s, None), h, w["inner"])[0]
    if "halves" in has:
        cut = h.shape[-1] // 2
        h = jnp.concatenate([h[..., cut:], jnp.sin(h[..., :cut])], -1)
    if "table" in has:
        h = h * jnp.cos(jnp.arange(h.shape[-1], dtype=h.dtype))
    if "made" in has:
        h = h + jnp.full(h.shape[-1:], 0.5, h.dtype)
    if "shared" in has:
        h = jnp.tanh(h @ shared)
    if "carried" in has:
        memory = memory + h
    return h, memory
