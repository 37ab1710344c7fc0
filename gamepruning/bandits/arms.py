"""Arms = players: a pull takes one out on a mini-batch and measures the loss."""

import copy
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, ArrayLike, Float

from gamepruning.metrics import as_labels
from gamepruning.players import Players
from gamepruning.players.examples import check_examples, examples_are_apart
from gamepruning.players.unit_players import UnitPlayers
from gamepruning.run.toggle import Residuals, ToggleEvaluator
from gamepruning.trees.arrays import split_arrays
from gamepruning.trees.examples import as_inputs, count_rows, same_length
from gamepruning.trees.keys import as_key
from gamepruning.types import InputError, KeyLike, Loss

MOST_BYTES = 2**29  # of states that are kept for all mini-batches


def removal_arms(
    players: Players,
    params: Any,
    loss_fn: Loss,
    inputs: Any,
    labels: Any,
    *,
    batch_size: int = 128,
    key: KeyLike | None = None,
    most_bytes: int = MOST_BYTES,
) -> "RemovalArms":
    """One arm a player: pulling it asks what the loss would be without the player.

    loss change of player i on batch b = loss(b; all but i) - loss(b; all)

    Both losses are taken on the same mini-batch, so that what is hard about a batch
    cancels. The examples are cut into mini-batches once. The loss of the full network
    on each of them, and what a single player does not change, are computed once; where
    the trace shows the player's product, a pull is an update of rank one and the
    layers after it. Where examples depend on each other (batch norm over the batch,
    graphs), all of them are the one mini-batch.

    Args:
      players: the `Players` of the network.
      params: its parameters.
      loss_fn: (outputs, labels) -> scalar, a mean over examples.
      inputs: the network's input, [B, ...], or a tuple of inputs.
      labels: what the loss compares with, leaves [B, ...].
      batch_size: examples of a mini-batch; all, if there are fewer.
      key: shuffles the examples before they are cut; None leaves their order. The
        examples that do not fill a mini-batch are left out.
      most_bytes: what may be kept of the mini-batches; above it, what comes before the
        players is kept alone, or is computed again in every pull.

    Returns:
      The `RemovalArms`.

    Raises:
      InputError: no examples, lengths that differ, or a size below 1.

    Cost: one pass over the examples.

    Example: f = 3 s_0 + s_1 with the target 4, so removal costs 3^2 and 1^2.
      >>> import jax.numpy as jnp, gamepruning as gp
      >>> def apply(params, x):
      ...     return jnp.maximum(x @ params["in"], 0) @ params["out"]
      >>> params = {"in": jnp.array([[3.0, 1.0]]), "out": jnp.ones((2, 1))}
      >>> x, y = jnp.ones((4, 1)), jnp.full(4, 4.0)
      >>> players = gp.find_players(apply, params, x)
      >>> arms = removal_arms(players, params, gp.squared_error, x, y, batch_size=2)
      >>> arms
      RemovalArms(2 arms, 2 mini-batches, a pull costs 0.833 of a pass)
      >>> arms.loss_changes(1).tolist()
      [9.0, 1.0]

    References:
      arXiv 2606.07615: a pull masks the neuron, measures the change in loss on a
      sampled mini-batch, and restores it.
    """
    return RemovalArms(
        players, params, loss_fn, inputs, labels, batch_size, key, most_bytes
    )


class RemovalArms:
    """The arms of a network; made by `removal_arms`.

    Attributes:
      num_arms: N.
      num_batches: M mini-batches.
      is_open: who is in the network, bool [N]; the others cannot be pulled.
      data: what `pull` reads, a pytree of arrays: an argument of compiled functions.
      share: mean cost of a pull as estimated from shapes; a full pass has 1.
    """

    def __init__(
        self, players, params, loss_fn, inputs, labels, batch_size, key, most_bytes
    ):
        if batch_size < 1:
            raise InputError(f"expected batch_size >= 1, got {batch_size}")
        if same_length(as_inputs(inputs)) is not None:
            count_rows((as_inputs(inputs), as_labels(labels)))
        inputs, labels = check_examples(players, params, loss_fn, inputs, labels)
        self.num_arms = players.num_players
        self._players, self._loss_fn, self._most_bytes = players, loss_fn, most_bytes
        self._batch_size = batch_size
        self._arrays, self._rebuild = split_arrays(params)
        self._is_whole = not examples_are_apart(players, params, inputs)
        self._cut(inputs, labels, key)
        self.compiled: dict[Any, Any] = {}  # shared by all copies
        self._updates: Any = None  # for weights, scanned layers, dependent examples
        self.share = 1.0
        if isinstance(players, UnitPlayers) and not self._is_whole:
            one = jax.tree.map(
                lambda leaf: jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype),
                self._batches[0],
            )
            everyone = np.ones(self.num_arms, bool)
            self._updates = ToggleEvaluator(players.model, params, one, everyone)
            self.share = self._updates.moves.share
        self.is_open = np.ones(self.num_arms, bool)
        self._prepare()

    def __repr__(self) -> str:
        closed = "" if self.is_open.all() else f", {int(self.is_open.sum())} open"
        return (
            f"RemovalArms({self.num_arms} arms{closed}, {self.num_batches} "
            f"mini-batches, a pull costs {self.share:.3g} of a pass)"
        )

    def without(self, kept: ArrayLike) -> "RemovalArms":
        """The same arms when only some players are in: losses change, and who is open.

        Args:
          kept: who is in, bool [N].

        Returns:
          `RemovalArms` with the same players and mini-batches. Cost: one pass.

        Raises:
          InputError: not bool [N], or nobody is in.
        """
        kept = np.asarray(kept)
        if kept.shape != (self.num_arms,) or kept.dtype != bool or not kept.any():
            raise InputError(
                f"expected who is in as bool [{self.num_arms}] with somebody in, got "
                f"{kept.dtype} {list(kept.shape)}"
            )
        other = copy.copy(self)
        other.is_open = kept
        other._prepare()
        return other

    def renewed(
        self, params: Any, inputs: Any, labels: Any, *, key: KeyLike | None = None
    ) -> "RemovalArms":
        """The same arms on other weights and examples of the same shapes.

        What is compiled is shared: a study of many splits compiles once.

        Args:
          params: other parameters; leaves that are not arrays as they were.
          inputs: other examples, of the same number and shape.
          labels: their labels.
          key: see `removal_arms`.

        Returns:
          `RemovalArms` with everybody in. Cost: one pass.
        """
        inputs, labels = check_examples(
            self._players, params, self._loss_fn, inputs, labels
        )
        other = copy.copy(self)
        other._arrays, other._rebuild = split_arrays(params)
        other._cut(inputs, labels, key)
        other.is_open = np.ones(self.num_arms, bool)
        other._prepare()
        return other

    def pull(self, data: Any, player: ArrayLike, batch: ArrayLike) -> Float[Array, ""]:
        """Loss without a player minus loss with it, on a mini-batch; traceable.

        Args:
          data: this object's `data`.
          player: an open arm, an integer.
          batch: the number of the mini-batch, in [0, M).
        """
        inputs, labels = jax.tree.map(lambda x: x[batch], data["batches"])
        gates = data["gates"]
        after = gates.at[player].set(0.0)
        outputs = self._outputs(data, inputs, batch, gates, after, player)
        return self._loss_fn(outputs, labels) - data["losses"][batch]

    def loss_changes(self, num_batches: int | None = None) -> Float[Array, " N"]:
        """The mean loss change of every player over the first mini-batches.

        Args:
          num_batches: how many; all if None, which is the greedy oracle on these
            examples.

        Returns:
          float [N]; players that are not in get 0.

        Raises:
          InputError: it is not a number of these mini-batches.
        """
        count = self.num_batches if num_batches is None else num_batches
        if count not in range(1, self.num_batches + 1):
            raise InputError(
                f"expected num_batches in [1, {self.num_batches}], got {count}"
            )
        run = self.compile_once(("changes", count), lambda: _all_changes(self, count))
        found = run(self.data)
        return jnp.where(jnp.asarray(self.is_open), found, 0.0)

    # -- what is kept ------------------------------------------------------------------

    def _cut(self, inputs: Any, labels: Any, key: KeyLike | None) -> None:
        """The examples in mini-batches."""
        given = as_inputs(inputs)
        if self._is_whole:
            self.num_batches = 1
            self._batches = jax.tree.map(
                lambda x: jnp.asarray(x)[None], (given, labels)
            )
            return
        rows = count_rows((given, labels))
        size = min(self._batch_size, rows)
        self.num_batches = rows // size
        order = np.arange(rows)
        if key is not None:
            order = np.asarray(jax.random.permutation(as_key(key), rows))
        chosen = order[: self.num_batches * size].reshape(self.num_batches, size)
        self._batches = jax.tree.map(
            lambda leaf: jnp.asarray(leaf)[chosen], (given, labels)
        )

    def compile_once(
        self, name: Any, make: Callable[[], Callable[..., Any]]
    ) -> Callable[..., Any]:
        """A compiled function, made on first use; all copies share it."""
        if name not in self.compiled:
            self.compiled[name] = jax.jit(make())
        return self.compiled[name]

    def _prepare(self) -> None:
        """Compute what pulls share: losses, and residuals and states where they fit."""
        gates = jnp.asarray(self.is_open, jnp.result_type(float))
        if self._updates is None:
            run = self.compile_once("losses", lambda: _losses(self))
            losses = run(self._arrays, gates, self._batches)
            self.data = {"batches": self._batches, "losses": losses}
        else:
            keep = self._how_much_fits(gates)
            run = self.compile_once(("kept", keep), lambda: _kept(self, keep))
            self.data = run(self._arrays, gates, self._batches)
        self.data |= {"arrays": self._arrays, "gates": gates}

    def _how_much_fits(self, gates) -> str:
        rows, states = self._sizes(gates)
        if rows > self._most_bytes:
            return "inputs"
        return "states" if rows + states <= self._most_bytes else "rows"

    def _residuals(self, arrays, inputs) -> Residuals:
        return self._updates.prepare(self._rebuild(arrays), inputs)

    def _sizes(self, gates) -> tuple[int, int]:
        """Bytes of the residuals and of the states of all mini-batches."""
        first = jax.tree.map(lambda x: x[0], self._batches[0])

        def all_of(arrays, inputs):
            residuals = self._residuals(arrays, inputs)
            return residuals.rows, self._updates.start(residuals, gates)[0]

        found = jax.eval_shape(all_of, self._arrays, first)
        rows, states = (sum(map(_num_bytes, part)) for part in found)
        return rows * self.num_batches, states * self.num_batches

    def _outputs(self, data, inputs, batch, gates, after, player):
        if self._updates is None:
            params = self._rebuild(data["arrays"])
            return self._players.gated(params, after, *inputs)
        if "rows" in data:
            residuals = Residuals(data["shared"], [x[batch] for x in data["rows"]])
        else:
            residuals = self._residuals(data["arrays"], inputs)
        if "states" in data:
            states = [x[batch] for x in data["states"]]
        else:
            states, _ = self._updates.start(residuals, gates)

        def make_branch(kind):
            def branch(states, residuals, gates, after, player):
                both = gates, after
                return self._updates.move(kind, residuals, states, both, player)[1]

            return branch

        kinds = range(len(self._updates.moves.kinds))
        kind_of = jnp.asarray(self._updates.moves.kind_of)
        operands = (states, residuals, gates, after, player)
        return lax.switch(kind_of[player], list(map(make_branch, kinds)), *operands)


def _losses(arms: RemovalArms) -> Callable[..., Any]:
    """(arrays, gates, batches) -> the losses of all mini-batches, [M]."""

    def run(arrays, gates, batches):
        params = arms._rebuild(arrays)

        def one(batch):
            inputs, labels = batch
            return arms._loss_fn(arms._players.gated(params, gates, *inputs), labels)

        return lax.map(one, batches)

    return run


def _kept(arms: RemovalArms, keep: str) -> Callable[..., Any]:
    """(arrays, gates, batches) -> what pulls read, as much of it as `keep` says."""

    def run(arrays, gates, batches):
        def one(batch):
            inputs, labels = batch
            residuals = arms._residuals(arrays, inputs)
            states, outputs = arms._updates.start(residuals, gates)
            kept = {"rows": residuals.rows, "states": states}
            names = {"inputs": (), "rows": ("rows",), "states": ("rows", "states")}
            return arms._loss_fn(outputs, labels), {k: kept[k] for k in names[keep]}

        inputs, labels = batches
        losses, kept = lax.map(one, batches)
        data = {"losses": losses, **kept}
        data["batches"] = (inputs if keep == "inputs" else (), labels)
        if keep != "inputs":
            first = jax.tree.map(lambda x: x[0], inputs)
            data["shared"] = arms._residuals(arrays, first).shared
        return data

    return run


def _all_changes(arms: RemovalArms, num_batches: int) -> Callable[..., Any]:
    """data -> the mean loss change of every player over the first mini-batches, [N]."""

    def run(data):
        def of_player(player):
            batches = jnp.arange(num_batches)
            return lax.map(lambda b: arms.pull(data, player, b), batches).mean()

        return lax.map(of_player, jnp.arange(arms.num_arms))

    return run


def _num_bytes(array: Any) -> int:
    return int(np.prod(array.shape)) * array.dtype.itemsize
