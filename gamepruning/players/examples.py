"""Inputs, labels and a metric, checked together before anything is computed."""

from typing import Any, NamedTuple

import jax
import jax.core
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from gamepruning.metrics import as_labels, check_classes
from gamepruning.players.players import Players
from gamepruning.trees.arrays import split_arrays
from gamepruning.trees.examples import as_inputs, rows_are_independent
from gamepruning.types import InputError, Loss, Outputs, Params


class Examples(NamedTuple):
    """Labelled examples that a network and a metric take.

    Attributes:
      inputs: the network's inputs, a tuple.
      labels: what the metric compares with.
    """

    inputs: tuple
    labels: Any


def check_players(players: Any) -> None:
    """Check that this is what `find_players` returned.

    Raises:
      InputError: it is not.
    """
    if not isinstance(players, Players):
        raise InputError(
            "expected the players first, what gp.find_players(apply, params, *inputs) "
            f"returns, got {type(players).__name__}"
        )


def check_examples(
    players: Players, params: Params, metric: Loss, inputs: PyTree, labels: Any
) -> Examples:
    """Check that a metric takes a network's outputs and these labels.

    Where labels are not plainly classes of the outputs, the metric is traced once on
    the outputs' shapes, with the labels as they are: so labels out of range, one-hot,
    or of another length are found at once, also within a user's function that calls the
    library's metrics.

    Args:
      players: the `Players` of the network.
      params: its parameters.
      metric: (outputs, labels) -> scalar.
      inputs: the network's input, [B, ...], or a tuple of inputs.
      labels: what the metric compares with, [B, ...].

    Returns:
      The examples; lists of numbers are arrays now.

    Raises:
      InputError: they do not fit; the cause is named.

    Cost: none; the network is traced.

    Example:
      >>> import gamepruning as gp
      >>> apply = lambda params, x: jnp.tanh(x @ params["in"]) @ params["out"]
      >>> params = {"in": jnp.ones((2, 4)), "out": jnp.ones((4, 3))}
      >>> x = jnp.ones((2, 2))
      >>> players = gp.find_players(apply, params, x)
      >>> check_examples(players, params, gp.accuracy, x, [1, 2]).labels.tolist()
      [1, 2]
      >>> check_examples(players, params, gp.accuracy, x, [2, 3])
      Traceback (most recent call last):
      gamepruning.types.InputError: the network has 3 outputs, for the classes 0 to 2, \
but labels run from 2 to 3 (1 of 2 are outside): number the classes from 0, or give \
the network more outputs
    """
    check_players(players)
    if not callable(metric):
        raise InputError(
            "expected a metric or loss, a function (outputs, labels) -> number such as "
            f"gp.accuracy, got {type(metric).__name__}"
        )
    given = Examples(as_inputs(inputs), as_labels(labels))
    outputs = output_shapes(players, params, given.inputs)
    if _fit_as_classes(outputs, given.labels):
        return given
    known = jax.tree.map(jnp.asarray, given.labels)
    try:
        jax.eval_shape(lambda out: metric(out, known), outputs)
    except InputError as error:  # without JAX's notes on its own traceback
        raise InputError(*error.args) from None
    except Exception as error:
        name = getattr(metric, "__name__", type(metric).__name__)
        raise InputError(
            f"the metric {name} fails on outputs {_shapes(outputs)} and labels "
            f"{_shapes(known)}: {_first_line(error)}"
        ) from error
    return given


def _fit_as_classes(outputs: Outputs, labels: Any) -> bool:
    """True for one class for each example, all of them in range."""
    try:
        check_classes(outputs, labels)
    except (InputError, AttributeError):  # a tree, or for another metric
        return False
    return not isinstance(labels, jax.core.Tracer)


def examples_are_apart(players: Players, params: Params, inputs: tuple) -> bool:
    """Check that the network takes each example by itself.

    Batch norm over the batch and graphs do not. Eight examples are looked at, once for
    inputs of one shape; where values are traced, it is taken for granted.

    Args:
      players: the `Players` of the network.
      params: its parameters.
      inputs: its inputs, a tuple, [B, ...] each where examples are apart.

    Returns:
      True if the outputs of two halves are the halves of the outputs.
    """
    leaves = jax.tree.leaves(inputs)
    known = jax.tree.leaves((params, inputs))
    if any(isinstance(leaf, jax.core.Tracer) for leaf in known):
        return True
    if len({np.shape(leaf)[:1] for leaf in leaves}) != 1 or not np.shape(leaves[0]):
        return False
    about = "apart", tuple(np.shape(leaf)[1:] for leaf in leaves), len(leaves[0]) > 1
    if about not in players.model.facts:
        found = rows_are_independent(players.apply, params, inputs)
        players.model.facts[about] = found
    return players.model.facts[about]


def output_shapes(players: Players, params: Params, inputs: tuple) -> Outputs:
    """The shapes of the network's outputs.

    Raises:
      InputError: the parameters or inputs are not those of the network.
    """
    players.model.check_params(params)
    arrays, rebuild = split_arrays((params, *inputs))
    try:
        return jax.eval_shape(lambda arrays: players.apply(*rebuild(arrays)), arrays)
    except InputError:
        raise
    except Exception as error:
        raise InputError(
            f"the network cannot take inputs of shape {_shapes(inputs)} (find_players "
            f"saw {_shapes(players.example_inputs())}): {_first_line(error)}"
        ) from error


def _shapes(tree: PyTree) -> str:
    shapes = [tuple(np.shape(leaf)) for leaf in jax.tree.leaves(tree)]
    more = f" and {len(shapes) - 4} more" if len(shapes) > 4 else ""
    return " and ".join(map(str, shapes[:4])) + more if shapes else "none"


def _first_line(error: Exception) -> str:
    line = next(iter(str(error).splitlines()), "")
    return f"{type(error).__name__}: {line:.300}" if line else type(error).__name__
