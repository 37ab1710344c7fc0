"""What a value function holds beside the network and the examples."""

import functools
from math import prod
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.timing import at_most
from gamepruning import metrics
from gamepruning.coalitions.evaluation.evaluate import Evaluator
from gamepruning.coalitions.evaluation.model import ScoredModel
from gamepruning.players import Players, find_players
from gamepruning.trace.primitives import RESHAPES
from gamepruning.workbench.networks.models import build_model


class Case(NamedTuple):
    """A network of the workbench, and so many examples."""

    name: str
    shape: tuple[int, ...]
    rows: int


CASES = (
    Case("lenet_300_100", (28, 28, 1), 10_000),
    Case("lenet_5", (28, 28, 1), 10_000),
    Case("transformer", (28, 28, 1), 4000),
    Case("resnet20", (32, 32, 3), 1000),
)


def bench_memory(
    repeats: int | None = None, *, cases: tuple[Case, ...] = CASES
) -> dict[str, Any]:
    """Bytes of a value function against one tile and two activations.

    A tile is what forward passes of as many networks, and over as many examples, as are
    valued at once take while they run; an activation is the widest value that a forward
    pass over all examples computes. What is held is counted from the arrays that are
    alive, what a tile takes as the compiler tells it.

    Args:
      repeats: not used; nothing is timed.
      cases: the networks.
    """
    del repeats
    rows = {case.name: _measure(case) for case in cases}
    most = max(row["share of the limit"] for row in rows.values())
    return {**rows, "verdict": at_most("largest share of the limit", most, 1.0)}


def _measure(case: Case) -> dict[str, float]:
    model = build_model(case.name, input_shape=case.shape, num_outputs=10)
    params = model.init(jax.random.key(0))
    inputs = jax.random.uniform(jax.random.key(1), (case.rows, *case.shape))
    labels = jnp.zeros(case.rows, int)
    players = find_players(model.apply, params, inputs[:8])
    jax.block_until_ready((params, inputs, labels))
    scored = ScoredModel(players, params, metrics.accuracy, (inputs,), labels)
    before = _live_bytes()
    everybody = np.ones(players.num_players, bool)
    evaluator = Evaluator(scored, varying=everybody, inside=~everybody)
    evaluator.join(evaluator.start(everybody[None], 1))
    held = _live_bytes() - before
    running = _temporary(evaluator.lower())
    some = jax.ShapeDtypeStruct((evaluator.rows.size, *case.shape), inputs.dtype)
    forward = _temporary(jax.jit(model.apply).lower(params, some))
    tile = evaluator.num_at_once * forward
    activation = _widest(players, params, some) * case.rows / evaluator.rows.size
    found = {
        "players": players.num_players,
        "rows": case.rows,
        "rows at once": evaluator.rows.size,
        "coalitions at once": evaluator.num_at_once,
        "MB held": held / 1e6,
        "MB while a tile runs": running / 1e6,
        "MB of a tile of forward passes": tile / 1e6,
        "MB of an activation": activation / 1e6,
    }
    share = (held + running) / (tile + 2 * activation)
    return found | {"share of the limit": share}


def _live_bytes() -> int:
    """Of all arrays that share no memory with another."""
    shards = [s.data for array in jax.live_arrays() for s in array.addressable_shards]
    parts = {(*part.devices(), part.unsafe_buffer_pointer()): part for part in shards}
    return sum(part.nbytes for part in parts.values())


def _temporary(program: jax.stages.Lowered) -> int:
    """Bytes that a program takes while it runs, arguments and results apart."""
    memory = program.compile().memory_analysis()
    assert memory is not None
    return memory.temp_size_in_bytes


def _widest(players: Players, params: Any, inputs: Any) -> int:
    """Bytes of the largest value that the network computes, other shapes apart."""
    model = players.model
    program = model.trace(model.call(params, inputs)).program
    sizes = functools.partial(map, lambda aval: prod(aval.shape) * aval.dtype.itemsize)
    return max(
        max(sizes(map(program.aval, node.outs)), default=0)
        for node in program.graph.nodes
        if node.name not in RESHAPES
    )
