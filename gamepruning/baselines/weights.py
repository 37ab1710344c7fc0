"""Scores from the parameters a player owns: their size, and size times gradient."""

from collections.abc import Callable
from typing import Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, PyTree

from gamepruning.baselines.examples import as_inputs, exact_scores, mean_over_chunks
from gamepruning.types import Scores


def magnitude_scores(players, params: PyTree, *, ord: Literal[1, 2] = 2) -> Scores:
    """Norm of each player's own parameters: |theta_i|_1 or |theta_i|_2.

    Players of a layer with more inputs own more parameters and so score higher: compare
    within a family (`top_n(..., scope="family")`) where that is not wanted.

    Args:
      players: the `Players` of the network.
      params: its parameters.
      ord: 1 for the sum of absolute values, 2 for the Euclidean norm.

    Returns:
      `Scores`, >= 0, exact, without any evaluation of the network.

    Raises:
      ValueError: `ord` is neither 1 nor 2.

    References:
      Li et al., Pruning Filters for Efficient ConvNets, ICLR 2017 (ord=1).
    """
    if ord == 1:
        return exact_scores(players.sum_owned(jax.tree.map(jnp.abs, params)), 0)
    if ord == 2:
        squares = players.sum_owned(jax.tree.map(jnp.square, params))
        return exact_scores(jnp.sqrt(squares), 0)
    raise ValueError(f"expected ord to be 1 or 2, got {ord!r}")


def weight_gradient_scores(
    players,
    params: PyTree,
    loss_fn: Callable[..., Array],
    inputs: PyTree,
    labels: ArrayLike,
    *,
    examples_at_once: int | None = None,
) -> Scores:
    """Weight times gradient: sum over a player's own parameters of |theta dL/dtheta|.

    Args:
      players: the `Players` of the network.
      params: its parameters.
      loss_fn: (outputs, labels) -> scalar, a mean over examples.
      inputs: the network's input, [B, ...], or a tuple of inputs.
      labels: their labels, [B, ...].
      examples_at_once: examples a pass, to bound memory; None takes all.

    Returns:
      `Scores`, >= 0, exact on these examples. Cost: one forward and one backward pass.

    Raises:
      ValueError: there are no examples.

    References:
      Blalock et al., What is the State of Neural Network Pruning?, MLSys 2020;
      the W*GMP baseline of Diaz-Ortiz et al., arXiv 2311.10468.
    """

    def gradient(chunk):
        *xs, y = chunk
        gates = jnp.ones(players.num_players)
        return jax.grad(lambda p: loss_fn(players.gated(p, gates, *xs), y))(params)

    def score(data):
        grads = mean_over_chunks(gradient, data, examples_at_once)
        return players.sum_owned(
            jax.tree.map(lambda p, g: jnp.abs(p * g), params, grads)
        )

    return exact_scores(jax.jit(score)((*as_inputs(inputs), labels)), 2)
