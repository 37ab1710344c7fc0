"""Scores from what a player emits, and scores from nothing at all."""

import jax
import jax.numpy as jnp
from jaxtyping import PyTree

from gamepruning.baselines.examples import (
    chunk_size,
    exact_scores,
    kept,
    mean_over_chunks,
)
from gamepruning.players import Players
from gamepruning.players.branch_players import BranchPlayers
from gamepruning.players.examples import check_players, output_shapes
from gamepruning.trees.examples import as_inputs
from gamepruning.trees.keys import as_key
from gamepruning.types import InputError, KeyLike, Scores


def activation_scores(
    players: Players,
    params: PyTree,
    inputs: PyTree,
    *,
    examples_at_once: int | None = None,
) -> Scores:
    """Variance of each player's activation over examples and positions.

    A player that always says the same can be replaced by a constant.

    Args:
      players: the `Players` of the network.
      params: its parameters.
      inputs: the network's input, [B, ...], or a tuple of inputs.
      examples_at_once: examples a pass, to bound memory; None takes all.

    Returns:
      `Scores`, >= 0, exact on these examples. Cost: one evaluation, two where the
      examples come in chunks.

    Raises:
      InputError: there are no examples, or a player is read inside a while loop or a
        branch alone, where activations are not seen.

    Example:
      >>> import jax.numpy as jnp, gamepruning as gp
      >>> def apply(params, x):
      ...     return jnp.maximum(x @ params["in"], 0) @ params["out"]
      >>> params = {"in": jnp.array([[3.0, 1.0], [4.0, 0.0]]), "out": jnp.ones((2, 1))}
      >>> x = jnp.array([[1.0, 0.0], [0.0, 1.0]])  # they emit 3, 4 and 1, 0
      >>> players = gp.find_players(apply, params, x)
      >>> gp.baselines.activation_scores(players, params, x).value.tolist()
      [0.25, 0.25]

    References:
      Thimm and Fiesler, Evaluating pruning methods, 1995; in the same spirit Hu et al.,
      Network Trimming, arXiv 1607.03250.
    """

    def score(params, data):
        def moments(xs):
            return players.activation_moments(params, *xs)

        def about(mean):
            def spread(xs):
                own, variance = moments(xs)
                return variance + jnp.square(own - mean)

            return spread

        mean, variance = mean_over_chunks(moments, data, at_once)
        if at_once is None:
            return variance
        return mean_over_chunks(about(mean), data, at_once)

    check_players(players)
    given = as_inputs(inputs)
    output_shapes(players, params, given)
    at_once = chunk_size(players, params, given, examples_at_once)
    run = kept(players, ("activation", at_once), score)
    return exact_scores(run(params, given), 1)


def influence_scores(
    players: Players,
    params: PyTree,
    inputs: PyTree,
    *,
    examples_at_once: int | None = None,
) -> Scores:
    """Block influence: how far each residual branch turns the stream.

    1 - mean of cos(x, x + f(x)) along the last axis, over examples and positions.

    Args:
      players: residual branches, of `find_players(..., granularity="branch")`.
      params: the parameters of the network.
      inputs: the network's input, [B, ...], or a tuple of inputs.
      examples_at_once: examples a pass, to bound memory; None takes all.

    Returns:
      `Scores` from 0 to 2, exact on these examples. Cost: one evaluation.

    Raises:
      InputError: others play, or there are no examples.

    Example: the first branch adds its stream again, the second turns it by 90 degrees.
      >>> import jax.numpy as jnp, gamepruning as gp
      >>> def apply(params, x):
      ...     x = x + x @ params["one"]
      ...     return x + x @ params["two"]
      >>> params = {"one": jnp.eye(2), "two": jnp.array([[-1.0, 1.0], [-1.0, -1.0]])}
      >>> x = jnp.array([[1.0, 0.0], [0.0, 3.0]])
      >>> players = gp.find_players(apply, params, x, granularity="branch")
      >>> gp.baselines.influence_scores(players, params, x).value.tolist()
      [0.0, 1.0]

    References:
      Men et al., ShortGPT, arXiv 2403.03853, section 2.2, of whole layers.
    """
    check_players(players)
    if not isinstance(players, BranchPlayers):
        raise InputError(
            "the influence is that of residual branches: find_players(..., "
            f'granularity="branch"), not {players.granularity} players'
        )
    given = as_inputs(inputs)
    output_shapes(players, params, given)
    at_once = chunk_size(players, params, given, examples_at_once)

    def score(params, data):
        return mean_over_chunks(
            lambda xs: players.influence(params, *xs), data, at_once
        )

    run = kept(players, ("influence", at_once), score)
    return exact_scores(run(params, given), 1)


def random_scores(key: KeyLike, players: Players) -> Scores:
    """Uniform numbers: the control that every other method has to beat.

    Args:
      key: random key.
      players: the `Players` of the network.

    Returns:
      `Scores` in [0, 1), without any evaluation of the network.
    """
    return exact_scores(jax.random.uniform(as_key(key), (players.num_players,)), 0)
