"""How a network is grown: inputs, a random walk over the operations, an output."""

import jax
import numpy as np

from tests.fuzz import blocks, layers, shapes  # noqa: F401  (they fill OPS)
from tests.fuzz.network import Grower, Network
from tests.fuzz.registry import OPS

BATCH = 3
NAMES = sorted(OPS)
WEIGHTS = np.array([OPS[name].weight for name in NAMES])
CHANCES = WEIGHTS / WEIGHTS.sum()
INPUTS = ((5,), (7,), (4, 5), (6, 3), (5, 5, 2), (6, 4, 3), (2, 4, 4))


def grow(seed: int, num_steps: int | None = None) -> Network:
    """The network of one seed; call it with 64-bit types enabled."""
    g = Grower(seed)
    if g.chance(0.15):
        g.input(g.numbers.integers(0, 9, (BATCH, g.size())).astype(np.int32))
        last = OPS["embedding"].grow(g, 0) or 0
    else:
        last = g.input(g.numbers.standard_normal((BATCH, *g.pick(INPUTS))))
        last = OPS[g.pick(("dense", "conv", "dense_general"))].grow(g, last) or last
    num_steps = num_steps or int(g.numbers.integers(3, 13))
    for _ in range(50 * num_steps):
        if len(g.steps) >= num_steps:
            break
        name = NAMES[int(g.numbers.choice(len(NAMES), p=CHANCES))]
        new = _try(name, g, last if g.chance(0.75) else _any(g))
        last = last if new is None else new
    return g.finish(_outputs(g))


def _try(name: str, g: Grower, value: int) -> int | None:
    if g.is_tokens(value) and name != "embedding":
        return None
    return OPS[name].grow(g, value)


def _any(g: Grower) -> int:
    return int(g.numbers.integers(len(g.shapes)))


def read_out(p, x):
    """Everything is read: flattened, activated, multiplied by a kernel."""
    return jax.numpy.tanh(x.reshape(len(x), -1)) @ p[0]


def _outputs(g: Grower) -> list[int]:
    """What nothing has read yet becomes an output, mostly through a last kernel."""
    loose = [k for k in range(len(g.inputs), len(g.shapes)) if k not in g.used]
    outputs = []
    for value in loose:
        if g.chance(0.85):
            kernel = g.weight(int(np.prod(g.shapes[value][1:])), 3)
            read = g.emit("read_out", read_out, [value], [kernel])
            value = value if read is None else read
        outputs.append(value)
    return outputs
