"""What the program of a value function over a mesh holds and exchanges.

Nothing is timed: the compiled text of one tile says it.
"""

import re
from collections import Counter
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from benchmarks.timing import at_most
from gamepruning.coalitions.measures import negative_cross_entropy
from gamepruning.coalitions.values import value_function
from gamepruning.players import find_players

COLLECTIVES = ("all-gather", "all-reduce", "all-to-all", "reduce-scatter")
SHARE = 0.55  # of the parameters' bytes, as arguments of a device
WIDTHS = (256, 4096, 256, 4096, 256)
ROWS = 64


def count_collectives(text: str) -> Counter[str]:
    """How often a compiled program exchanges what, by name."""
    names = "|".join(COLLECTIVES)
    return Counter(re.findall(rf" ({names})(?:-start)?\(", text))


def bench_mesh() -> dict[str, Any]:
    """A network over a mesh of 2 x 2: columns and rows of its layers in turn.

    Coalitions go over one axis and the parameters over the other, beside a forward pass
    with the same metric on the same parameters.
    """
    mesh = Mesh(np.asarray(jax.devices()[:4]).reshape(2, 2), ("coalitions", "model"))
    params = _place(mesh, _weights())
    rng = np.random.default_rng(1)
    inputs = rng.normal(size=(ROWS, WIDTHS[0])).astype(np.float32)
    labels = rng.integers(0, WIDTHS[-1], ROWS)
    players = find_players(_apply, params, inputs)
    value_fn = value_function(
        players, params, negative_cross_entropy, inputs, labels, mesh=mesh
    )
    tile = value_fn.lower().compile()

    def forward(params: list) -> jax.Array:
        return negative_cross_entropy(_apply(params, inputs), jnp.asarray(labels))

    plain = jax.jit(forward).lower(params).compile()
    arguments = tile.memory_analysis().argument_size_in_bytes
    size = sum(leaf.nbytes for leaf in params)
    found, allowed = map(count_collectives, (tile.as_text(), plain.as_text()))
    return {
        "widths": list(WIDTHS),
        "rows": ROWS,
        "mesh": dict(mesh.shape),
        "players": players.num_players,
        "MB of parameters": size / 1e6,
        "MB of arguments a device": arguments / 1e6,
        "exchanges of a tile": dict(found),
        "exchanges of a forward pass": dict(allowed),
        "verdict": at_most("arguments / parameters", arguments / size, SHARE),
        "verdict of all-gathers": at_most(
            "all-gathers of a tile",
            float(found["all-gather"]),
            float(allowed["all-gather"]),
        ),
    }


def _apply(params: list, x: jax.Array) -> jax.Array:
    for weights in params[:-1]:
        x = jax.nn.relu(x @ weights)
    return x @ params[-1]


def _weights() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [
        rng.normal(size=shape).astype(np.float32) / np.float32(shape[0] ** 0.5)
        for shape in zip(WIDTHS, WIDTHS[1:], strict=False)
    ]


def _place(mesh: Mesh, weights: list[np.ndarray]) -> list[jax.Array]:
    """Columns over "model", then rows, in turn."""
    specs = PartitionSpec(None, "model"), PartitionSpec("model", None)
    return [
        jax.device_put(each, NamedSharding(mesh, specs[k % 2]))
        for k, each in enumerate(weights)
    ]
