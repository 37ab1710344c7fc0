"""Statistics of the players' activations, read where the players are gated."""

import jax.numpy as jnp
import numpy as np

from gamepruning.run.interpret import Gated


def activation_moments(players, params, inputs):
    """`Players.activation_moments`."""
    call = players._call(params, inputs)
    traced, columns = players._trace(call)
    seen: dict[int, tuple] = {}

    def tap(array, dim: int, columns: np.ndarray):
        new = [n for n in np.unique(columns) if n and n not in seen]
        if not new:
            return
        others = tuple(k for k in range(array.ndim) if k != dim)
        array = jnp.asarray(array, jnp.result_type(array, float))
        first, second = array.mean(axis=others), jnp.square(array).mean(axis=others)
        for number in new:
            entries = np.flatnonzero((columns == number).any(axis=1))
            seen[number] = (first[entries].mean(), second[entries].mean())

    gates = jnp.ones(players.num_players)
    Gated(traced.analysis, columns, gates, tap).run(traced.program.graph, call.leaves)
    nothing = (jnp.nan, jnp.nan)
    pairs = [seen.get(k + 1, nothing) for k in range(players.num_players)]
    mean, square = (jnp.stack([jnp.asarray(p[k]) for p in pairs]) for k in (0, 1))
    return mean, jnp.maximum(square - jnp.square(mean), 0)
