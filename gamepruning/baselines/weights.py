"""Scores from the parameters a player owns: their size, and size times gradient."""

from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PyTree

from gamepruning.baselines.examples import (
    chunk_size,
    exact_scores,
    kept,
    mean_over_chunks,
)
from gamepruning.metrics import as_labels
from gamepruning.players import Family, Players
from gamepruning.players.examples import check_examples, check_players
from gamepruning.run.owned import add_entries
from gamepruning.trace.model import OWN_ROLES
from gamepruning.trees.arrays import map_arrays
from gamepruning.trees.examples import as_inputs, count_rows
from gamepruning.trees.paths import named_leaves, path_name
from gamepruning.trees.placement import replicated
from gamepruning.trees.trainable import (
    is_numeric,
    is_trainable,
    put_trainable,
    take_trainable,
    widen,
)
from gamepruning.types import InputError, Loss, Scores


def magnitude_scores(
    players: Players, params: PyTree, *, ord: Literal[1, 2] = 2
) -> Scores:
    """Norm of each player's own parameters: |theta_i|_1 or |theta_i|_2.

    Input features own none: theirs is the norm of the weights that read them. Players
    of a layer with more inputs own more parameters and so score higher: compare within
    a family (`top_n(..., scope="family")`) where that is not wanted.

    Args:
      players: the `Players` of the network.
      params: its parameters.
      ord: 1 for the sum of absolute values, 2 for the Euclidean norm.

    Returns:
      `Scores`, >= 0, exact, without any evaluation of the network, in float32 at least:
      whole numbers (quantised weights) and half precision count by their values.

    Raises:
      InputError: `ord` is neither 1 nor 2.

    Example:
      >>> import jax.numpy as jnp, gamepruning as gp
      >>> def apply(params, x):
      ...     return jnp.maximum(x @ params["in"], 0) @ params["out"]
      >>> params = {"in": jnp.array([[3.0, 1.0], [4.0, 0.0]]), "out": jnp.ones((2, 1))}
      >>> players = gp.find_players(apply, params, jnp.ones((1, 2)))
      >>> gp.magnitude_scores(players, params, ord=1).value.tolist()
      [7.0, 1.0]

    References:
      Li et al., Pruning Filters for Efficient ConvNets, ICLR 2017 (ord=1).
    """
    check_players(players)
    if ord == 1:
        return exact_scores(_sum_owned(players, jnp.abs, params), 0)
    if ord == 2:
        return exact_scores(jnp.sqrt(_sum_owned(players, _square, params)), 0)
    raise InputError(f"expected ord to be 1 or 2, got {ord!r}")


def weight_gradient_scores(
    players: Players,
    params: PyTree,
    loss_fn: Loss,
    inputs: PyTree,
    labels: Any,
    *,
    examples_at_once: int | None = None,
) -> Scores:
    """Weight times gradient: sum over a player's own parameters of |theta dL/dtheta|.

    Quantised weights (int8 and the like) are taken as the real numbers that they are.

    Args:
      players: the `Players` of the network.
      params: its parameters.
      loss_fn: (outputs, labels) -> scalar, a mean over examples.
      inputs: the network's input, [B, ...], or a tuple of inputs.
      labels: their labels, [B, ...].
      examples_at_once: examples a pass, to bound memory; None takes all.

    Returns:
      `Scores`, >= 0, exact on these examples. Cost: one forward and one backward pass.
      What is compiled is kept with the players for the next call with the same
      `loss_fn`.

    Raises:
      InputError: there are no examples.

    Example:
      >>> import jax.numpy as jnp, gamepruning as gp
      >>> def apply(params, x):
      ...     return jnp.maximum(x @ params["in"], 0) @ params["out"]
      >>> params = {"in": jnp.array([[3.0, 1.0], [4.0, 0.0]]), "out": jnp.ones((2, 1))}
      >>> x, y = jnp.ones((1, 2)), jnp.array([9.0])  # f = 8, dL/df = -2
      >>> players = gp.find_players(apply, params, x)
      >>> scores = gp.baselines.weight_gradient_scores(
      ...     players, params, gp.squared_error, x, y
      ... )
      >>> scores.value.tolist()
      [14.0, 2.0]

    References:
      Blalock et al., What is the State of Neural Network Pruning?, MLSys 2020;
      the W*GMP baseline of Diaz-Ortiz et al., arXiv 2311.10468.
    """

    def loss(floats, rest, chunk):
        *xs, y = chunk
        everyone = jnp.ones(players.num_players)
        return loss_fn(players.gated(put_trainable(floats, rest), everyone, *xs), y)

    def score(params, data):
        floats, rest = _split(params)
        slope = lambda chunk: jax.grad(loss)(floats, rest, chunk)  # noqa: E731
        grads = mean_over_chunks(slope, data, at_once)
        product = jax.tree.map(lambda w, g: widen(w) * widen(g), floats, grads)
        silent = jax.tree.map(_silenced, rest)
        return _sum_owned(players, jnp.abs, put_trainable(product, silent))

    if examples_at_once is not None:
        count_rows((as_inputs(inputs), as_labels(labels)))
    given = check_examples(players, params, loss_fn, inputs, labels)
    at_once = chunk_size(players, params, given.inputs, examples_at_once)
    run = kept(players, ("weight gradient", loss_fn, at_once), score)
    data = (*given.inputs, given.labels)
    return exact_scores(run(_as_floats(players, params), data), 2)


def _square(leaf: Array) -> Array:
    return jnp.square(jnp.abs(leaf))


def _sum_owned(players: Players, fn: Callable[[Array], Array], tree: PyTree) -> Array:
    """Sum of fn(entry) over each player's own parameters, at least in float32."""

    def term(leaf):
        return fn(widen(leaf)) if is_numeric(leaf) else jnp.zeros(np.shape(leaf))

    terms = map_arrays(term, tree)
    total = players.sum_owned(terms)
    for family in players.families:
        if any(part.role == "input" for part in family.slices):
            own, is_input = _sum_read(players, family, terms)
            here = slice(family.start, family.stop)
            own = jnp.where(is_input, own.astype(total.dtype), total[here])
            total = total.at[here].set(own)
    return total


def _sum_read(
    players: Players, family: Family, terms: PyTree
) -> tuple[Array, np.ndarray]:
    """The same over the weights that read input features, which own none.

    Returns:
      float [n], and bool [n]: who of the family are input features.
    """
    if players.granularity == "layer":
        return _sum_read_by_layer(players, family, terms)
    leaves = named_leaves(terms)
    total = jnp.zeros(family.size)
    for part in family.slices:
        if part.role == "in":
            leaf = leaves[part.path]
            others = tuple(k for k in range(leaf.ndim) if k != part.axis)
            member = np.repeat(np.arange(family.size), [len(i) for i in part.index])
            rows = replicated(leaf.sum(axis=others))[np.concatenate(part.index)]
            total = total.at[member].add(rows)
    return total, np.ones(family.size, bool)


def _sum_read_by_layer(
    players: Players, family: Family, terms: PyTree
) -> tuple[Array, np.ndarray]:
    """Where whole layers play, one family has the slices of all of them."""
    model, leaves = players.model, named_leaves(terms)
    labels = [*model.base.param_labels, *model.base.input_labels]
    labels = dict(zip(model.array_names, labels, strict=True))
    player_of = np.arange(model.num_players + 1)
    if model.layers is not None:  # an input is the same one in all layers
        player_of = np.concatenate([[0], 1 + model.layers.at(0)])

    def columns(path: str, axis: int) -> np.ndarray:
        found = model.base.columns(labels[path][axis])
        assert found is not None
        return player_of[found]

    places = {(part.path, part.axis): part.role for part in family.slices}
    is_input = np.zeros(model.num_players + 1, bool)
    total = jnp.zeros(model.num_players + 1)  # 0: entries that nobody has
    for (path, axis), role in places.items():
        if role == "input":
            is_input[columns(path, axis)] = True
        elif role == "in":
            others = tuple(k for k in range(leaves[path].ndim) if k != axis)
            entries = replicated(leaves[path].sum(axis=others))
            total = add_entries(total, entries, columns(path, axis))
    return total[1:], is_input[1:]


def _silenced(leaf: Any) -> Any:
    """Zeros for whole numbers, which have no gradient; other leaves as they are."""
    return jnp.zeros_like(leaf) if is_numeric(leaf) else leaf


def _as_floats(players: Players, params: PyTree) -> PyTree:
    """Quantised weights of players as float32, in which they have a gradient."""
    own = {
        part.path
        for family in players.families
        for part in family.slices
        if part.role in (*OWN_ROLES, "in")
    }

    def cast(path, leaf):
        whole = is_numeric(leaf) and not is_trainable(leaf)
        return widen(leaf) if whole and path_name(path) in own else leaf

    return jax.tree_util.tree_map_with_path(cast, params)


def _split(params: PyTree) -> tuple[PyTree, PyTree]:
    rest = jax.tree.map(lambda leaf: None if is_trainable(leaf) else leaf, params)
    return take_trainable(params), rest
