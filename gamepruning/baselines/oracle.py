"""The greedy loss oracle: take every player out alone and look at the loss."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree

from gamepruning.baselines.examples import (
    chunk_size,
    exact_scores,
    kept,
    mean_over_chunks,
)
from gamepruning.metrics import as_labels
from gamepruning.players import Players
from gamepruning.players.examples import check_examples
from gamepruning.trees.examples import as_inputs, count_rows
from gamepruning.types import InputError, Loss, Scores


def loss_oracle_scores(
    players: Players,
    params: PyTree,
    loss_fn: Loss,
    inputs: PyTree,
    labels: Any,
    *,
    batch_size: int = 16,
    examples_at_once: int | None = None,
) -> Scores:
    """Loss without player i minus the loss of the full network, for every i.

    Families are visited in turn; what comes before a family is computed once for all of
    its players.

    Args:
      players: the `Players` of the network.
      params: its parameters.
      loss_fn: (outputs, labels) -> scalar, a mean over examples.
      inputs: the network's input, [B, ...], or a tuple of inputs.
      labels: their labels, [B, ...].
      batch_size: players taken out side by side; memory grows with it.
      examples_at_once: examples a pass, to bound memory; None takes all.

    Returns:
      `Scores`, exact on these examples; 0 for a player that nothing depends on,
      negative where the network does better without. Cost: N + 1 evaluations, less
      what is shared. What is compiled is kept with the players for the next call with
      the same `loss_fn`.

    Raises:
      InputError: `batch_size` is below 1, or there are no examples.

    Example: f = 7 s_1 + s_2 with the target 8, so removal costs 7^2 and 1^2.
      >>> import jax.numpy as jnp, gamepruning as gp
      >>> def apply(params, x):
      ...     return jnp.maximum(x @ params["in"], 0) @ params["out"]
      >>> params = {"in": jnp.array([[3.0, 1.0], [4.0, 0.0]]), "out": jnp.ones((2, 1))}
      >>> x, y = jnp.ones((1, 2)), jnp.array([8.0])
      >>> players = gp.find_players(apply, params, x)
      >>> scores = gp.baselines.loss_oracle_scores(
      ...     players, params, gp.squared_error, x, y
      ... )
      >>> scores.value.tolist()
      [49.0, 1.0]
    """
    if batch_size < 1:
        raise InputError(f"expected batch_size >= 1, got {batch_size}")

    def increase(params, chunk):
        *xs, y = chunk
        everyone = jnp.ones(players.num_players)
        full = loss_fn(players.gated(params, everyone, *xs), y)
        alone = [
            _without_each(players, params, loss_fn, family, xs, y, batch_size)
            for family in players.families
        ]
        return jnp.concatenate([*alone, jnp.zeros(0)]) - full

    def score(params, data):
        increase_on = functools.partial(increase, params)
        return mean_over_chunks(increase_on, data, at_once)

    if examples_at_once is not None:
        count_rows((as_inputs(inputs), as_labels(labels)))
    given = check_examples(players, params, loss_fn, inputs, labels)
    at_once = chunk_size(players, params, given.inputs, examples_at_once)
    run = kept(players, ("loss oracle", loss_fn, batch_size, at_once), score)
    value = run(params, (*given.inputs, given.labels))
    return exact_scores(value, players.num_players + 1)


def _without_each(players, params, loss_fn, family, xs, y, batch_size) -> Array:
    everyone = jnp.ones(players.num_players)
    prefix, suffix = players.hoist(params, *xs, varying=(family.name,))
    shared = prefix(params, everyone, *xs)

    def loss_without(player):
        return loss_fn(suffix(shared, everyone.at[player].set(0.0)), y)

    members = jnp.arange(family.start, family.stop)
    return jax.lax.map(loss_without, members, batch_size=min(batch_size, family.size))
