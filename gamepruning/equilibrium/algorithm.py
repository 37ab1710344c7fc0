"""Algorithm 1 in its plain form, from a network to who survives, in one call."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, ArrayLike, Bool, Float, PyTree

from gamepruning.equilibrium.config import UtilityConfig
from gamepruning.equilibrium.step import (
    THRESHOLD,
    EquilibriumInfo,
    make_equilibrium_step,
    surviving_players,
)
from gamepruning.players import Players


class EquilibriumResult(NamedTuple):
    """Where the dynamics ended.

    Attributes:
      params: the trained weights theta, not yet scaled by the gates.
      gates: participation s, float [N] in [0, 1].
      mask: who is left, bool [N]; it may empty a family.
      info: `EquilibriumInfo` with a leading axis, one entry an epoch: the mean loss,
        and the participation at the epoch's end.
    """

    params: PyTree
    gates: Float[Array, " N"]
    mask: Bool[Array, " N"]
    info: EquilibriumInfo


def equilibrium_pruning(
    key: Array,
    players: Players,
    params: PyTree,
    loss_fn: Callable[..., Array],
    inputs: PyTree,
    labels: ArrayLike,
    *,
    config: UtilityConfig,
    tx: optax.GradientTransformation,
    num_epochs: int,
    batch_size: int,
    threshold: float = THRESHOLD,
) -> EquilibriumResult:
    """Train weights and participation together, then say who is left (Algorithm 1).

    The whole run is one compiled program. Each epoch visits the examples in a new
    random order, in batches of `batch_size`; the remainder of an epoch is left out.

    Args:
      key: random key for the order of the examples.
      players: the `Players` of the network.
      params: initial weights.
      loss_fn: (outputs, labels) -> scalar to be minimised.
      inputs: the network's input, [B, ...], or a tuple of inputs.
      labels: their labels, [B, ...].
      config: the weights of the utility's terms.
      tx: transform over {"params", "gates"}; see `joint_optimizer`.
      num_epochs: passes over the data.
      batch_size: examples a step.
      threshold: players with a smaller gate are out.

    Returns:
      `EquilibriumResult`. How far a gate can travel is bounded by the number of steps:
      with Adam by about steps x learning rate, which should be several units.

    Raises:
      ValueError: fewer examples than `batch_size`.

    References:
      Shah and Khan, arXiv 2512.22106, Algorithm 1.
    """
    data = (*(inputs if isinstance(inputs, tuple) else (inputs,)), labels)
    data = tuple(jax.tree.map(jnp.asarray, part) for part in data)
    num_examples = jnp.shape(labels)[0]
    if not 1 <= batch_size <= num_examples:
        raise ValueError(
            f"expected batch_size in [1, {num_examples}] (the number of examples), got "
            f"{batch_size}"
        )
    init, step = make_equilibrium_step(
        players, loss_fn, tx, config, threshold=threshold
    )
    num_used = num_examples - num_examples % batch_size

    @jax.jit
    def run(state, keys, data):
        def visit(state, rows):
            return step(state, jax.tree.map(lambda leaf: leaf[rows], data))

        def epoch(state, epoch_key):
            order = jax.random.permutation(epoch_key, num_examples)[:num_used]
            state, info = jax.lax.scan(visit, state, order.reshape(-1, batch_size))
            last = jax.tree.map(lambda trace: trace[-1], info)
            return state, last._replace(loss=info.loss.mean())

        return jax.lax.scan(epoch, state, keys)

    state, info = run(init(params), jax.random.split(key, num_epochs), data)
    mask = surviving_players(state.gates, threshold=threshold)
    return EquilibriumResult(state.params, state.gates, mask, info)
