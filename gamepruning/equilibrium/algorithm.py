"""Algorithm 1 in its plain form, from a network to who survives, in one call."""

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, Required, TypedDict, Unpack

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, PyTree

from gamepruning.equilibrium.config import UtilityConfig
from gamepruning.equilibrium.step import (
    THRESHOLD,
    EquilibriumInfo,
    EquilibriumState,
    make_equilibrium_step,
    surviving_players,
)
from gamepruning.options import make_options
from gamepruning.players import Players
from gamepruning.players.examples import check_examples, examples_are_apart
from gamepruning.trees.examples import count_rows, leading_length
from gamepruning.trees.keys import as_key
from gamepruning.trees.trainable import put_trainable, take_arrays
from gamepruning.types import InputError, KeyLike, Loss


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

    def __repr__(self) -> str:
        losses = self.info.loss
        loss = f", loss {float(losses[-1]):.4g}" if len(losses) else ""
        return (
            f"EquilibriumResult({int(self.mask.sum())} of {len(self.mask)} players "
            f"left after {len(losses)} epochs{loss})"
        )


class TrainingKeywords(TypedDict, total=False):
    """How `equilibrium_pruning` trains; see there."""

    tx: Required[optax.GradientTransformation]
    num_epochs: Required[int]
    batch_size: Required[int]
    threshold: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainingOptions:
    """How `equilibrium_pruning` trains; see there.

    Raises:
      InputError: the number of epochs is negative.
    """

    tx: optax.GradientTransformation
    num_epochs: int
    batch_size: int
    threshold: float = THRESHOLD

    def __post_init__(self):
        if self.num_epochs < 0:
            raise InputError(f"expected num_epochs >= 0, got {self.num_epochs}")


def equilibrium_pruning(
    key: KeyLike,
    players: Players,
    params: PyTree,
    loss_fn: Loss,
    inputs: PyTree,
    labels: Any,
    *,
    config: UtilityConfig,
    **training: Unpack[TrainingKeywords],
) -> EquilibriumResult:
    """Train weights and participation together, then say who is left (Algorithm 1).

    The whole run is one compiled program. Each epoch visits the examples in a new
    random order, in batches of `batch_size`; the remainder of an epoch is left out.
    Examples that depend on each other (a graph, batch norm over the batch) are not
    divided: an epoch is one step on all of them, in their order.

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
      batch_size: examples a step; all of them, B, where they depend on each other.
      threshold: players with a smaller gate are out.

    Returns:
      `EquilibriumResult`. How far a gate can travel is bounded by the number of steps:
      with Adam by about steps x learning rate, which should be several units.

    Raises:
      InputError: fewer examples than `batch_size`.
      InputError: examples depend on each other, and `batch_size` is not B.
      TypeError: an unknown keyword, or a missing one.

    References:
      Shah and Khan, arXiv 2512.22106, Algorithm 1.
    """
    chosen = make_options(TrainingOptions, training, equilibrium_pruning)
    given = check_examples(players, params, loss_fn, inputs, labels)
    labels = given.labels
    data = (*given.inputs, labels)
    data = tuple(jax.tree.map(jnp.asarray, part) for part in data)
    is_whole = not examples_are_apart(players, params, given.inputs)
    count = leading_length if is_whole else count_rows
    num_examples = count((labels, *given.inputs))
    _check_batch_size(chosen.batch_size, num_examples, is_whole)
    size = None if is_whole else chosen.batch_size
    threshold = chosen.threshold
    init, step = make_equilibrium_step(
        players, loss_fn, chosen.tx, config, threshold=threshold
    )

    def train(state, batch):  # jit and scan take arrays alone
        whole = state._replace(params=put_trainable(state.params, params))
        new, info = step(whole, batch)
        return new._replace(params=take_arrays(new.params)), info

    run = jax.jit(partial(_train, train, num_examples, size))
    start = init(params)._replace(params=take_arrays(params))
    keys = jax.random.split(as_key(key), chosen.num_epochs)
    state, info = run(start, keys, data)
    state = state._replace(params=put_trainable(state.params, params))
    mask = surviving_players(state.gates, threshold=threshold)
    return EquilibriumResult(state.params, state.gates, mask, info)


def _check_batch_size(batch_size: int, num_examples: int, is_whole: bool) -> None:
    """Check that the examples can be divided into batches of this size."""
    if not 1 <= batch_size <= num_examples:
        raise InputError(
            f"expected batch_size in [1, {num_examples}] (the number of examples), got "
            f"{batch_size}"
        )
    if is_whole and batch_size != num_examples:
        raise InputError(
            "the outputs of an example depend on the other examples (a graph, or batch "
            f"norm over the batch), so they cannot be divided into batches of "
            f"{batch_size}: pass batch_size={num_examples}, all of them, and more "
            "epochs; or choose batches of your own for gp.make_equilibrium_step"
        )


def _train(
    step: Callable[[EquilibriumState, Any], tuple[EquilibriumState, EquilibriumInfo]],
    num_examples: int,
    batch_size: int | None,
    state: EquilibriumState,
    keys: Array,
    data: tuple,
) -> tuple[EquilibriumState, EquilibriumInfo]:
    """An epoch for each key; the infos are those of the epochs.

    Without a batch size, an epoch is one step on the data as they are.
    """
    if batch_size is None:
        return jax.lax.scan(lambda state, _: step(state, data), state, keys)
    num_used = num_examples - num_examples % batch_size

    def visit(state: EquilibriumState, rows: Array):
        return step(state, jax.tree.map(lambda leaf: leaf[rows], data))

    def epoch(state: EquilibriumState, epoch_key: Array):
        order = jax.random.permutation(epoch_key, num_examples)[:num_used]
        state, info = jax.lax.scan(visit, state, order.reshape(-1, batch_size))
        last = jax.tree.map(lambda trace: trace[-1], info)
        return state, last._replace(loss=info.loss.mean())

    return jax.lax.scan(epoch, state, keys)
