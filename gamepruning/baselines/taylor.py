"""Taylor expansions of the loss in the gates, at the full network (all gates one)."""

from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, PyTree

from gamepruning.baselines.examples import (
    can_go_alone,
    exact_scores,
    kept,
    mean_over_chunks,
)
from gamepruning.metrics import as_labels
from gamepruning.players import Players
from gamepruning.players.examples import check_examples
from gamepruning.trees.examples import as_inputs, count_rows, same_length
from gamepruning.trees.placement import replicated
from gamepruning.types import InputError, Loss, Scores

PLAYERS_AT_ONCE = 16  # whose passes over all examples are made side by side
MOST = 2**24  # numbers, one for each example and player, that are held at once


def taylor_scores(
    players: Players,
    params: PyTree,
    loss_fn: Loss,
    inputs: PyTree,
    labels: Any,
    *,
    order: Literal[1, 2] = 1,
    examples_at_once: int = 64,
) -> Scores:
    """How much the loss should change without player i, from derivatives in its gate.

    order=1: mean over examples of |dl/ds_i|. The sign is dropped because at a minimum
    the mean derivative vanishes for every player (Molchanov 2017).

    order=2: the loss change that the expansion predicts when s_i goes from 1 to 0,

        -dL/ds_i + 1/2 H_ii,    H_ii = mean of J_i^T (d2l/dz2) J_i,   J_i = dz/ds_i

    with the Gauss-Newton part of the curvature in the outputs z, which is never
    negative and needs no second derivative of the network (Molchanov 2019 takes the
    squared gradient for it). It is exact where the loss is quadratic in a gate: linear
    outputs and squared error.

    Args:
      players: the `Players` of the network.
      params: its parameters.
      loss_fn: (outputs, labels) -> scalar, a mean over examples, as these are looked at
        one by one. Where they depend on each other (batch norm over the batch, graphs)
        or are split over devices by their types (explicit sharding), the network sees
        all at once, and the loss one by one.
      inputs: the network's input, [B, ...], or a tuple of inputs.
      labels: their labels, [B, ...].
      order: 1 or 2.
      examples_at_once: examples a pass, to bound memory.

    Returns:
      `Scores`, exact on these examples; order 1 is >= 0, order 2 may be negative where
      the network does better without the player. Cost: one forward and, for order 1,
      one backward pass; for order 2 one backward pass an output. Where the network sees
      all examples at once, one pass a player instead. What is compiled is kept with the
      players for the next call with the same `loss_fn`.

    Raises:
      InputError: `order` is neither 1 nor 2, there are no examples, or
        `examples_at_once` is below 1.

    Example: f = 7 s_1 + s_2 with the target 8, so removal costs 7^2 and 1^2.
      >>> import jax.numpy as jnp, gamepruning as gp
      >>> def apply(params, x):
      ...     return jnp.maximum(x @ params["in"], 0) @ params["out"]
      >>> params = {"in": jnp.array([[3.0, 1.0], [4.0, 0.0]]), "out": jnp.ones((2, 1))}
      >>> x, y = jnp.ones((1, 2)), jnp.array([8.0])
      >>> players = gp.find_players(apply, params, x)
      >>> scores = gp.taylor_scores(players, params, gp.squared_error, x, y, order=2)
      >>> scores.value.tolist()
      [49.0, 1.0]

    References:
      Molchanov et al., Pruning Convolutional Neural Networks for Resource Efficient
      Inference, ICLR 2017; Importance Estimation for Neural Network Pruning, CVPR 2019.
    """
    if order not in (1, 2):
        raise InputError(f"expected order to be 1 or 2, got {order!r}")
    if examples_at_once < 1:
        raise InputError(f"expected at least 1 example at once, got {examples_at_once}")
    if same_length(as_inputs(inputs)) is not None:
        count_rows((as_inputs(inputs), as_labels(labels)))
    given = check_examples(players, params, loss_fn, inputs, labels)
    data = (*given.inputs, given.labels)
    if not can_go_alone(players, params, given.inputs):
        return _scores_together(players, params, loss_fn, data, order)
    expand = _first if order == 1 else _second
    num_backward = 1 if order == 1 else _num_outputs(players, params, data)

    def score(params, data):
        def alone(example):
            batch = jax.tree.map(lambda leaf: leaf[None], example)
            return expand(players, params, loss_fn, batch)

        def mean(rows):
            return jax.lax.map(alone, rows, batch_size=examples_at_once).mean(axis=0)

        most = max(MOST // players.num_players, examples_at_once)
        at_once = most if most < count_rows(data) else None
        return mean_over_chunks(mean, data, at_once)

    data = jax.tree.map(lambda leaf: replicated(jnp.asarray(leaf)), data)
    run = kept(players, ("taylor", loss_fn, order, examples_at_once), score)
    return exact_scores(run(params, data), 1 + num_backward)


def _scores_together(players, params, loss_fn, data, order: int) -> Scores:
    """The same derivatives where examples depend on each other.

    J_i, how all outputs change with gate i, is a linear pass for each player. It is
    taken as the transpose of the backward pass, which custom_vjp allows, too.
    """

    def score(params, data):
        *xs, y = data
        gates = jnp.ones(players.num_players)
        outputs, pull = jax.vjp(lambda s: players.gated(params, s, *xs), gates)
        _, push = jax.vjp(lambda z: pull(z)[0], jax.tree.map(jnp.zeros_like, outputs))
        slope = _slopes(loss_fn, outputs, y)

        def of_player(direction):
            (change,) = push(direction)
            if order == 1:
                return jnp.abs(_products(slope(outputs), change)).mean()
            here, bend = jax.jvp(slope, (outputs,), (change,))
            return (_products(bend, change) / 2 - _products(here, change)).mean()

        every = jnp.eye(players.num_players)
        return jax.lax.map(of_player, every, batch_size=PLAYERS_AT_ONCE)

    data = jax.tree.map(jnp.asarray, data)
    run = kept(players, ("taylor together", loss_fn, order), score)
    return exact_scores(run(params, data), 1 + players.num_players)


def _slopes(loss_fn, outputs, labels) -> Callable[[PyTree], PyTree]:
    """outputs -> the gradient of each example's loss, [B, ...]; of the whole, [1, ...].

    The whole is one example where outputs are not one for each label.
    """
    lengths = {jnp.shape(leaf)[:1] for leaf in jax.tree.leaves((outputs, labels))}
    if len(lengths) == 1 and () not in lengths:
        alone = lambda z, y: loss_fn(*jax.tree.map(lambda x: x[None], (z, y)))  # noqa: E731
        return lambda z: jax.vmap(jax.grad(alone))(z, labels)
    return lambda z: jax.tree.map(lambda x: x[None], jax.grad(loss_fn)(z, labels))


def _products(one: PyTree, two: PyTree) -> Array:
    """The inner product of each example's entries, [B]."""

    def product(a, b):
        return (a.reshape(len(a), -1) * b.reshape(len(a), -1)).sum(axis=1)

    found = jax.tree.leaves(jax.tree.map(product, one, two))
    return jnp.stack(found).sum(axis=0)


def _first(players, params, loss_fn, example) -> Array:
    *xs, y = example
    gates = jnp.ones(players.num_players)
    return jnp.abs(jax.grad(lambda s: loss_fn(players.gated(params, s, *xs), y))(gates))


def _second(players, params, loss_fn, example) -> Array:
    *xs, y = example
    gates = jnp.ones(players.num_players)
    outputs, pull = jax.vjp(lambda s: players.gated(params, s, *xs), gates)
    flat, unravel = ravel_pytree(outputs)
    loss = lambda z: loss_fn(unravel(z), y)  # noqa: E731
    slope, curvature = jax.grad(loss)(flat), jax.hessian(loss)(flat)
    jacobian = jax.vmap(lambda row: pull(unravel(row))[0])(
        jnp.eye(flat.size, dtype=flat.dtype)
    )
    bend = ((curvature @ jacobian) * jacobian).sum(axis=0)
    return -slope @ jacobian + bend / 2


def _num_outputs(players, params, data) -> int:
    *xs, _ = jax.tree.map(lambda leaf: leaf[:1], data)
    gates = jnp.ones(players.num_players)
    outputs = jax.eval_shape(lambda: players.gated(params, gates, *xs))
    return sum(leaf.size for leaf in jax.tree.leaves(outputs))
