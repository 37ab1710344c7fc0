"""Statistics of the players' activations, read where the players are gated."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from gamepruning.run.by_layer import tapped_run
from gamepruning.trace.model import TracedModel
from gamepruning.trees.placement import beside, replicated
from gamepruning.trees.trainable import widen
from gamepruning.types import Params

Moments = tuple[Float[jax.Array, " N"], Float[jax.Array, " N"]]


def activation_moments(model: TracedModel, params: Params, inputs: tuple) -> Moments:
    """Mean and variance of each player's activation, where it is first read."""
    call = model.call(params, *inputs)
    trace = model.trace(call)
    tap = _Tap()
    tapped_run(model, trace, tap).run(trace.program.graph, call.arrays)
    return tap.moments(model.num_players)


class _Tap:
    """Notes the mean and the variance of each player's activation, once."""

    def __init__(self):
        self._seen: dict[int, tuple] = {}  # by player + 1, as in `Columns`

    def __call__(self, array, dim: int, columns: np.ndarray) -> None:
        new = [n for n in np.unique(columns) if n and n not in self._seen]
        if not new:
            return
        others = tuple(k for k in range(array.ndim) if k != dim)
        array = widen(array)
        centre = array.mean(axis=others, keepdims=True)
        spread = jnp.square(jnp.abs(array - centre)).mean(axis=others)
        mean, variance = map(replicated, (centre.reshape(spread.shape), spread))
        for number in new:
            entries = np.flatnonzero((columns == number).any(axis=1))
            own = mean[entries].mean()
            between = jnp.square(jnp.abs(mean[entries] - own)).mean()
            self._seen[number] = (own.real, variance[entries].mean() + between)

    def moments(self, num_players: int) -> Moments:
        """Mean and variance; NaN for players that were not met."""
        nothing = (jnp.nan, jnp.nan)
        pairs = [self._seen.get(k + 1, nothing) for k in range(num_players)]
        home = jnp.zeros(())
        mean, variance = (
            jnp.stack([beside(home, jnp.asarray(p[k])) for p in pairs]) for k in (0, 1)
        )
        return mean, variance
