"""What an error of a reader's results does to the outputs: Fisher's metric."""

import warnings
from collections.abc import Sequence
from math import prod
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key, PyTree, Shaped

from gamepruning.players.examples import output_shapes
from gamepruning.players.unit_players import UnitPlayers
from gamepruning.reconstruction.moments import HIGHEST, wide
from gamepruning.reconstruction.passes import Passes, split_calls
from gamepruning.reconstruction.readers import Reader, find_readers
from gamepruning.trees.arrays import split_arrays
from gamepruning.trees.examples import same_length
from gamepruning.types import Params

LARGE = 2048  # results: more have a metric of their diagonal only
RIDGE = 1e-3  # of the metric's mean diagonal, so that no error is free
ENOUGH = 50  # gradients for each result of a matrix
PLENTY = 8192  # gradients: the square of any error is then known to 1.6 %
LEAST, MOST = 4, 32  # batches; times that each batch is used
BATCH = 64  # examples whose activations are all kept for the backward pass, at most
ENTRIES = 1 << 25  # of the outputs of one batch: fewer examples where one has many

FEW, DRAWS = 6, 32  # batches, and directions for each, that say what a gate does

Metrics = dict[tuple, Float[np.ndarray, "G n *n"]]  # by `Reader.matrix`


def sensitivities(players: UnitPlayers, params: Params, inputs: PyTree) -> Metrics:
    """For each matrix of weights the metric of its results: the sum of g g'.

    g is the gradient, with respect to the results, of the outputs along a random
    direction: where they are one array of logits [..., C] with 2 classes or more, one
    whose second moment is Fisher's matrix of the classes; else any, each output over
    its deviation. The square of an error in this metric is, up to one factor for all,
    the divergence of the outputs that it causes.

    Args:
      players: units or layers of the network.
      params: the full network's parameters.
      inputs: calibration examples.

    Returns:
      [G, M, M], or the diagonal [G, M] for more than 2,048 results; nothing (with a
      warning) for a network that has no gradient, or none that is finite.

    Cost: passes forward and backward over batches of 64 examples, until each matrix has
    50 places for each of its results, or 8,192 (at most 32 times all examples), and M^2
    a place.
    """
    calls = split_calls(players, params, inputs, _batch(players, params, inputs))
    trace = players.model.trace(calls[0])
    passes = Passes(
        trace, find_readers(trace, players.paths, None), calls, players.num_players
    )
    readers = [reader for shared in passes.shared for reader in shared.readers]
    start = passes.start(np.ones(players.num_players, bool))
    program = jax.jit(_program(passes, readers))
    metrics: Metrics = {}
    try:
        for number in range(_count(passes, readers)):
            values = start.values[number % len(calls)]
            key = jax.random.fold_in(jax.random.key(0), number)
            sums = program(start.params, values, key)
            for reader, part in zip(readers, sums, strict=True):
                own = np.asarray(part, float)
                metrics[reader.matrix] = metrics.get(reader.matrix, 0) + own
    except (ValueError, TypeError, NotImplementedError) as error:
        why = str(error).splitlines()[0]
        warnings.warn(
            f"the network has no gradient ({why}): errors of all results count alike",
            stacklevel=4,
        )
        return {}
    if not all(np.isfinite(metric).all() for metric in metrics.values()):
        warnings.warn(
            "the network's gradients are not finite on the calibration examples: "
            "errors of all results count alike",
            stacklevel=4,
        )
        return {}
    return metrics


def gate_sensitivities(
    players: UnitPlayers, params: Params, inputs: PyTree
) -> Float[np.ndarray, " N"] | None:
    """What leaving does to the outputs where nothing makes up for it, to second order.

    Args:
      players: units or layers of the network.
      params: the full network's parameters.
      inputs: calibration examples.

    Returns:
      The mean square of the derivative of the outputs by each gate, along the random
      directions of `sensitivities`; None for a network that has no gradient, or none
      that is finite.

    Cost: a pass forward and 32 backward over at most six batches of 64 examples.
    """
    calls = split_calls(players, params, inputs, _batch(players, params, inputs))
    arrays, rebuild = split_arrays(params)

    @jax.jit
    def squares(arrays, rows, keys):
        def outputs(gates):
            found = jax.tree.leaves(players.gated(rebuild(arrays), gates, *rows))
            return [out for out in found if jnp.issubdtype(out.dtype, jnp.inexact)]

        found, pull = jax.vjp(outputs, jnp.ones(players.num_players))
        draw = lambda key: jnp.square(pull(_directions(found, key))[0])  # noqa: E731
        return jax.lax.map(draw, keys).mean(axis=0)

    total = np.zeros(players.num_players)
    try:
        for number, call in enumerate(calls[:FEW]):
            _, *rows = call.rebuild(call.arrays)
            keys = jax.random.split(jax.random.key(number), DRAWS)
            total += np.asarray(squares(arrays, rows, keys), float)
    except (ValueError, TypeError, NotImplementedError):
        return None
    return total / min(len(calls), FEW) if np.isfinite(total).all() else None


def _batch(players: UnitPlayers, params: Params, inputs: tuple) -> int:
    """Examples a pass: a language model's logits are many."""
    shapes = jax.tree.leaves(output_shapes(players, params, inputs))
    num = same_length(inputs) or 1  # of a graph all is one batch
    each = sum(prod(leaf.shape) for leaf in shapes) // num
    return max(1, min(BATCH, ENTRIES // max(each, 1)))


def _count(passes: Passes, readers: Sequence[Reader]) -> int:
    """How many gradients of batches: some dozens for each result of a matrix."""
    shape = passes.readers.line.shape
    needed = [LEAST]
    for reader in readers:
        places = max(prod(shape(reader.step.outs[0])) // reader.has_output.size, 1)
        wanted = min(ENOUGH * reader.has_output.shape[1], PLENTY)
        needed.append(-(-wanted // places))
    return min(MOST * len(passes.calls), max(needed))


def root(metric: np.ndarray) -> np.ndarray:
    """L with L L' = the metric and a little of the identity; of a diagonal, its root.

    Example:
      >>> root(np.array([4.0, 4.0])).round(3).tolist()
      [2.001, 2.001]
    """
    if metric.ndim == 1:
        return np.sqrt(metric + max(RIDGE * metric.mean(), 1e-30))
    size = max(RIDGE * float(np.trace(metric)) / len(metric), 1e-30)
    return np.linalg.cholesky(metric + size * np.eye(len(metric)))


def _program(passes: Passes, readers: Sequence[Reader]):
    """(parameters, one batch, key) -> for each reader the sum of g g'."""
    runner, line = passes.runner, passes.readers.line
    number = {reader.step: k for k, reader in enumerate(readers)}
    mask = jnp.ones(passes.num_players, bool)

    def run(leaves, values, key):
        def outputs(errors: Sequence[Any]) -> list[Any]:
            env = passes.env(range(len(leaves)), leaves)
            env.update(values)
            for step in line.steps:
                runner.run([step], env, mask)
                if step in number:
                    env[step.outs[0]] = env[step.outs[0]] + errors[number[step]]
            found = (jnp.asarray(runner.read(env, out)) for out in line.outputs)
            return [out for out in found if jnp.issubdtype(out.dtype, jnp.inexact)]

        results = [reader.step.outs[0] for reader in readers]
        avals = [line.analysis.program.aval(line.original(value)) for value in results]
        zeros = [jnp.zeros(aval.shape, aval.dtype) for aval in avals]
        found, pull = jax.vjp(outputs, zeros)
        (gradients,) = pull(_directions(found, key))
        return [_sum_of_squares(*pair) for pair in zip(readers, gradients, strict=True)]

    return run


def _directions(outputs: Sequence[Array], key: Key[Array, ""]) -> list[Array]:
    """What the gradient is taken of: a root of Fisher's matrix, or any direction.

    With random signs r, the sum over classes of r_c sqrt(p_c) (e_c - p) has diag(p) -
    p p' as its second moment. A class drawn from p has it, too, but where the network
    is sure the classes that it doubts would hardly be drawn.
    """
    if len(outputs) == 1 and outputs[0].ndim > 1 and outputs[0].shape[-1] > 1:
        (logits,) = outputs
        chances = jax.nn.softmax(logits)
        signs = jax.random.rademacher(key, logits.shape, logits.dtype)
        drawn = signs * jnp.sqrt(chances)
        return [drawn - chances * drawn.sum(axis=-1, keepdims=True)]
    keys = jax.random.split(key, max(len(outputs), 1))
    return [_direction(*pair) for pair in zip(outputs, keys, strict=False)]


def _direction(output: Array, key: Key[Array, ""]) -> Array:
    drawn = jax.random.normal(key, output.shape, output.dtype)
    return drawn / jnp.sqrt(size_of_output(output)).astype(output.dtype)


def size_of_output(output: Array) -> Float[Array, ""]:
    """The variance of an output; its mean square where it hardly varies, 1 if it is 0.

    Example:
      >>> [float(size_of_output(jnp.array(x))) for x in ([0.0, 2.0], [3.0], [0.0])]
      [1.0, 9.0, 1.0]
    """
    output = wide(output)
    variance, square = output.var(), jnp.square(abs(output)).mean()
    square = jnp.where(square > 0, square, 1.0)
    return jnp.where(variance > 1e-6 * square, variance, square)


def _sum_of_squares(reader: Reader, gradient: Array) -> Shaped[Array, "G n *n"]:
    g = jnp.asarray(reader.product.results(gradient), jnp.float32)
    if g.shape[-1] > LARGE:
        return jnp.square(g).sum(axis=1)
    return jnp.einsum("gri,grj->gij", g, g, precision=HIGHEST)
